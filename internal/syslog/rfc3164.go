package syslog

import (
	"bytes"

	"github.com/runnel-log/runnel/record"
)

// fast3164 reads "Nov 22 10:14:57 [host ]tag[pid]: message" from its time on
// (RFC 3164 §4.1; without the host it is Docker's default format).
func (p *Parser) fast3164(b []byte, at int, r *record.Record) bool {
	ns, ok := p.fastStamp(b, at)
	at += 15
	if !ok || at >= len(b) || b[at] != ' ' {
		return false
	}
	r.Time = ns
	at++
	end := graphic(b, at)
	if end == at || (end < len(b) && b[end] != ' ') {
		return false
	}
	if b[end-1] != ':' {
		if end >= len(b) || !isHost(b[at:end]) {
			return false
		}
		if r.Host = b[at:end:end]; end-at == 1 && b[at] == '-' {
			r.Host = nil
		}
		at = end + 1
		end = graphic(b, at)
		if end == at || (end < len(b) && b[end] != ' ') || b[end-1] != ':' {
			return false
		}
	} else if isAddress(b[at:end]) {
		return false
	}
	if !setTag(b[at:end-1], r) {
		return false
	}
	r.Message = b[min(end+1, len(b)):]
	return true
}

// setTag sets App and ProcID from a tag without its colon: "app" or
// "app[pid]". A tag with a pid may hold anything (Docker's may be JSON); one
// without must not look like the beginning of quoted or bracketed text, or the
// first word of a JSON message would be taken for it.
func setTag(tag []byte, r *record.Record) bool {
	n := len(tag)
	if n == 0 {
		return false
	}
	if tag[n-1] == ']' {
		for i := n - 2; i > 0; i-- {
			if tag[i] == '[' {
				r.App, r.ProcID = tag[:i:i], tag[i+1:n-1:n-1]
				nilDash(r)
				return true
			}
		}
	}
	switch tag[0] {
	case '{', '[', '(', '<', '"', '\'', '=':
		return false
	}
	r.App, r.ProcID = tag[:n:n], nil
	nilDash(r)
	return true
}

// nilDash makes "-", as Append3164 writes it for a record without an App, absent.
func nilDash(r *record.Record) {
	if len(r.App) == 1 && r.App[0] == '-' {
		r.App = nil
	}
}

// hostBytes marks what a host's name or address may hold. '/' and '@' are seen
// in the field; '=', ',', '|', '%' and brackets begin messages, not hosts.
var hostBytes = func() (t [256]bool) {
	for c := range t {
		t[c] = c >= '0' && c <= '9' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= 0x80 ||
			c == '.' || c == '-' || c == '_' || c == ':' || c == '/' || c == '@'
	}
	return t
}()

// isHost reports whether b can be a host: its bytes are a host's, and one of
// them is a letter or digit, unless it is the nil value "-".
func isHost(b []byte) bool {
	word := len(b) == 1 && b[0] == '-'
	for _, c := range b {
		if !hostBytes[c] {
			return false
		}
		word = word || c >= '0' && c != ':' && c != '@' && c != '_'
	}
	return word
}

// isAddress reports whether b, which ends in a colon, is an IPv6 address such
// as "1::" and not a tag.
func isAddress(b []byte) bool {
	if bytes.Count(b, []byte{':'}) < 2 {
		return false
	}
	for _, c := range b {
		if c != ':' && c != '.' && (c < '0' || c > '9') && (c < 'a' || c > 'f') && (c < 'A' || c > 'F') {
			return false
		}
	}
	return true
}

// loose3164 reads the many ways in which RFC 3164 is really written, from the
// end of the priority on: ISO times, years, fractions, Cisco's counters and
// zones, blanks anywhere, no tag, no host. It returns false, with r in any
// state, if there is neither a time nor, after a priority, a tag.
func (p *Parser) loose3164(b []byte, at int, r *record.Record) bool {
	from := at
	if at > 0 {
		at += countBlanks(b[at:])
	}
	time := p.cisco(b, at, r)
	end := p.looseStamp(b, time, r)
	if end < 0 {
		r.Host, r.Time = nil, record.NoTime
		r.Attrs.Reset()
		return from > 0 && p.tagOnly(b, at, r)
	}
	if time > at {
		r.Attrs.Set(AttrPrefix, record.String, bytes.TrimRight(b[at:time], " "))
	}
	if end < len(b) && b[end] == ':' {
		end++ // Cisco
	}
	if end >= len(b) {
		r.Message, r.Flags = b[end:], r.Flags|record.BestEffort
		return true
	}
	at = end + 1
	if blanks := countBlanks(b[at:]); blanks > 0 {
		at += blanks // "Nov 22 10:11:12  tag: …": an empty host
	} else if r.Host == nil {
		at = p.looseHost(b, at, r)
	}
	if next := p.looseTag(b, at, r); next > 0 {
		r.Message = b[next:]
		return true
	}
	r.Message, r.Flags = b[at:], r.Flags|record.BestEffort
	return true
}

// looseHost sets the host if the word at at is one and returns what follows it.
func (p *Parser) looseHost(b []byte, at int, r *record.Record) (next int) {
	end := visible(b, at)
	if end == at || end >= len(b) || b[end] != ' ' || !isHost(b[at:end]) || (b[end-1] == ':' && !isAddress(b[at:end])) {
		return at
	}
	if end-at != 1 || b[at] != '-' {
		r.Host = b[at:end:end]
	}
	return end + 1
}

// looseTag sets App and ProcID if a tag stands at at, and returns where the
// message begins; 0 if there is none. A tag is the word before ": ", or
// "app[123]" without the colon.
func (p *Parser) looseTag(b []byte, at int, r *record.Record) (next int) {
	end := visible(b, at)
	if end == at || (end < len(b) && b[end] != ' ') {
		return 0
	}
	word := b[at:end]
	if word[len(word)-1] == ':' {
		word = word[:len(word)-1]
	} else if i := bytes.LastIndexByte(word, '['); i <= 0 || i+2 >= len(word) || word[len(word)-1] != ']' ||
		digits(word[i+1:len(word)-1]) < 0 {
		return 0
	}
	if !setTag(word, r) {
		return 0
	}
	return min(end+1, len(b))
}

// tagOnly reads "tag: message" or "tag[pid]: message" after a priority and no
// time, as Python's SysLogHandler writes it with an ident. Without a time the
// word has to look like a program's name.
func (p *Parser) tagOnly(b []byte, at int, r *record.Record) bool {
	next := p.looseTag(b, at, r)
	if next == 0 || digits(r.App) >= 0 {
		return false
	}
	for _, c := range r.App {
		if !hostBytes[c] || c == ':' {
			return false
		}
	}
	r.Message, r.Flags = b[next:], r.Flags|record.BestEffort
	return len(r.App) > 0
}

func countBlanks(b []byte) int {
	n := 0
	for n < len(b) && b[n] == ' ' {
		n++
	}
	return n
}

// cisco steps over what IOS puts before the time, up to "105: 000104: name: *",
// and returns where the time begins. A name there is the host.
func (p *Parser) cisco(b []byte, at int, r *record.Record) int {
	for range 3 {
		end := visible(b, at)
		if end-at < 2 || b[end-1] != ':' || end >= len(b) || b[end] != ' ' {
			break
		}
		if word := b[at : end-1]; digits(word) < 0 {
			if !isHost(word) || r.Host != nil {
				break
			}
			r.Host = word[:len(word):len(word)]
		}
		at = end + 1
	}
	if at < len(b) && (b[at] == '*' || b[at] == '.') {
		at++
	}
	return at
}
