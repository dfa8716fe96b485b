package syslog

import (
	"bytes"

	"github.com/runnel-log/runnel/record"
)

// fast5424 reads the rest of a well-formed RFC 5424 message, from its
// TIMESTAMP on. Fields may be of any length: Docker puts 64 hexadecimal digits
// into MSGID, where the RFC has room for 32.
func (p *Parser) fast5424(b []byte, at int, r *record.Record) bool {
	if at+1 < len(b) && b[at] == '-' && b[at+1] == ' ' {
		at += 2
	} else {
		ns, end, ok := p.iso.timestamp(b, at)
		if !ok || end >= len(b) || b[end] != ' ' {
			return false
		}
		r.Time = ns
		at = end + 1
	}
	var ok bool
	if r.Host, at, ok = field(b, at); !ok {
		return false
	}
	if r.App, at, ok = field(b, at); !ok {
		return false
	}
	if r.ProcID, at, ok = field(b, at); !ok {
		return false
	}
	if r.MsgID, at, ok = field(b, at); !ok || at >= len(b) {
		return false
	}
	if b[at] == '-' {
		at++
	} else {
		end := structured(b, at)
		if end <= at {
			return false
		}
		r.SD = b[at:end:end]
		at = end
	}
	if at == len(b) {
		r.Message = nil
		return true
	}
	if b[at] != ' ' {
		return false
	}
	r.Message = b[at+1:]
	return true
}

// field reads one header field and the blank after it; "-" is nil.
func field(b []byte, at int) (value []byte, next int, ok bool) {
	end := graphic(b, at)
	if end == at || end >= len(b) || b[end] != ' ' {
		return nil, at, false
	}
	if end-at == 1 && b[at] == '-' {
		return nil, end + 1, true
	}
	return b[at:end:end], end + 1, true
}

// loose5424 reads a message that begins like RFC 5424 as far as it goes; at is
// where its priority ends. It returns false, with r in any state, if there is
// no version and time, for then it is no RFC 5424 at all.
func (p *Parser) loose5424(b []byte, at int, r *record.Record) bool {
	at, ok := p.looseStart(b, at, r)
	if !ok {
		return false
	}
	partial := func(from int) bool {
		r.Message, r.Flags = b[min(from, len(b)):], r.Flags|record.BestEffort
		return true
	}
	var starts [4]int
	for i, f := range [...]*[]byte{&r.Host, &r.App, &r.ProcID, &r.MsgID} {
		starts[i] = at
		end := visible(b, at)
		if end == at || end >= len(b) || b[end] != ' ' {
			return partial(at)
		}
		if *f = b[at:end:end]; end-at == 1 && b[at] == '-' {
			*f = nil
		}
		at = end + 1
	}
	if at >= len(b) || (b[at] != '-' && b[at] != '[') || (b[at] == '-' && at+1 < len(b) && b[at+1] != ' ') {
		if p.dockerTag(b, starts[1], r) {
			return true
		}
		// Some field holds a blank, and nobody can say which: only the host stands.
		r.App, r.ProcID, r.MsgID = nil, nil, nil
		return partial(starts[1])
	}
	if b[at] == '-' {
		r.Message = b[min(at+2, len(b)):]
		return true
	}
	return p.looseSD(b, at, r) || partial(at)
}

// looseStart reads VERSION and TIMESTAMP and returns where HOSTNAME begins.
func (p *Parser) looseStart(b []byte, at int, r *record.Record) (next int, ok bool) {
	from := at
	for at < len(b) && at-from < 3 && b[at]-'0' < 10 {
		at++
	}
	if at == from || b[from] == '0' || at >= len(b) || b[at] != ' ' {
		return 0, false
	}
	if at-from > 1 || b[from] != '1' {
		r.Flags |= record.BestEffort // the version's number is not kept
	}
	at++
	if at+1 < len(b) && b[at] == '-' && b[at+1] == ' ' {
		return at + 2, true
	}
	ns, end := p.looseISO(b[at:])
	if end == 0 || b[at+10] != 'T' || (at+end < len(b) && b[at+end] != ' ') {
		return 0, false
	}
	p.setTime(r, ns, b[at:at+end])
	return min(at+end+1, len(b)), true
}

// setTime sets a time, or keeps its text where there is no such time.
func (p *Parser) setTime(r *record.Record, ns int64, text []byte) {
	if r.Time = ns; ns == record.NoTime {
		r.Attrs.Set(AttrTimestamp, record.String, text)
		r.Flags |= record.BestEffort
	}
}

// looseSD reads the structured data at at and the message after it.
func (p *Parser) looseSD(b []byte, at int, r *record.Record) bool {
	end := structured(b, at)
	if end <= at {
		r.Flags |= record.BestEffort
		if end = looseStructured(b, at); end <= at {
			return false
		}
	}
	r.SD = b[at:end:end]
	if end < len(b) && b[end] == ' ' {
		end++
	} else if end < len(b) {
		r.Flags |= record.BestEffort
	}
	r.Message = b[end:]
	return true
}

// dockerTag reads what Docker writes for a tag with blanks: the tag, dockerd's
// pid, the same tag, "-". The repetition says where the tag ends.
func (p *Parser) dockerTag(b []byte, at int, r *record.Record) bool {
	rest := b[at:]
	for i := 1; i < len(rest); i++ {
		if rest[i] != ' ' {
			continue
		}
		end := i + 1
		for end < len(rest) && rest[end]-'0' < 10 {
			end++
		}
		tag := rest[:i:i]
		if end == i+1 || end >= len(rest) || rest[end] != ' ' || !bytes.HasPrefix(rest[end+1:], tag) {
			continue
		}
		after := rest[end+1+i:]
		if len(after) < 2 || after[0] != ' ' || after[1] != '-' || (len(after) > 2 && after[2] != ' ') {
			continue
		}
		r.App, r.ProcID, r.MsgID = tag, rest[i+1:end:end], rest[end+1:end+1+i:end+1+i]
		r.Message = after[min(3, len(after)):]
		return true
	}
	return false
}

// visible returns where the run of bytes that are neither blank nor control
// character ends; UTF-8 is let through, since Docker's tags hold it.
func visible(b []byte, at int) int {
	for at < len(b) && b[at] > ' ' && b[at] != 0x7f {
		at++
	}
	return at
}
