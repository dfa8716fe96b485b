package syslog

import (
	"bytes"
	"time"

	"github.com/runnel-log/runnel/record"
)

// looseStamp reads the time at at, in any of the forms that stand in an
// RFC 3164 header, sets r.Time and returns its end; -1 if none stands there.
// The end is that of the message, a blank, or Cisco's colon.
func (p *Parser) looseStamp(b []byte, at int, r *record.Record) (end int) {
	if at >= len(b) {
		return -1
	}
	if ns, n := p.looseISO(b[at:]); n > 0 {
		end = at + n
		if !endsStamp(b, end) {
			return -1
		}
		p.setTime(r, ns, b[at:end])
		return end
	}
	return p.monthStamp(b, at, r)
}

func endsStamp(b []byte, end int) bool {
	return end >= len(b) || b[end] == ' ' || (b[end] == ':' && (end+1 == len(b) || b[end+1] == ' '))
}

// monthStamp reads "Nov 2 [2026 ]10:11:12[.123][ CET:]", the month in any case.
func (p *Parser) monthStamp(b []byte, from int, r *record.Record) (end int) {
	at := from
	if at+12 > len(b) || b[at+3] != ' ' {
		return -1
	}
	month := monthNamed([]byte{b[at] &^ 0x20, b[at+1] | 0x20, b[at+2] | 0x20})
	if month == 0 {
		return -1
	}
	at += 4
	at += countBlanks(b[at:])
	dom, at := number(b, at, 2)
	if dom < 0 || at >= len(b) || b[at] != ' ' {
		return -1
	}
	at++
	year := -1
	if at+5 < len(b) && b[at+4] == ' ' && digits(b[at:at+4]) >= 0 {
		year, at = digits(b[at:at+4]), at+5
	}
	if at+8 > len(b) || b[at+2] != ':' || b[at+5] != ':' || digits(b[at:at+2]) < 0 || digits(b[at+3:at+5]) < 0 || digits(b[at+6:at+8]) < 0 {
		return -1
	}
	second, ok := clock(b[at:])
	fraction, end := fractionOf(b, at+8)
	if !endsStamp(b, end) {
		return -1
	}
	ns := int64(0)
	if ok && year >= 0 {
		ns, ok = p.local(year, month, dom, second)
	} else if ok {
		ns, ok = p.nearest(month, dom, second)
	}
	if !ok {
		p.setTime(r, record.NoTime, b[from:end])
		return end
	}
	r.Time = ns + fraction
	return p.zoneName(b, end, r)
}

// number reads one to most digits at at.
func number(b []byte, at, most int) (n, end int) {
	for end = at; end < len(b) && end-at < most && b[end]-'0' < 10; end++ {
		n = n*10 + int(b[end]-'0')
	}
	if end == at {
		return -1, at
	}
	return n, end
}

// zoneName reads the " CET" that Cisco IOS puts between the time and ": %", and
// moves r.Time into that zone. An abbreviation says little by itself (IST is
// three zones), so only UTC and those that the location uses are believed.
func (p *Parser) zoneName(b []byte, at int, r *record.Record) (end int) {
	colon := bytes.Index(b[at:min(at+9, len(b))], []byte(": %"))
	if colon < 3 || b[at] != ' ' {
		return at
	}
	name := b[at+1 : at+colon]
	for _, c := range name {
		if c < 'A' || c > 'Z' {
			return at
		}
	}
	stated := time.Unix(0, r.Time).In(p.location())
	local, east := stated.Zone()
	switch {
	case string(name) == local:
	case string(name) == "UTC" || string(name) == "GMT":
		r.Time += int64(east) * 1e9
	default:
		r.Attrs.Set(AttrZone, record.String, name)
		r.Flags |= record.BestEffort
	}
	return at + colon
}
