package syslog

import (
	"encoding/binary"
	"math"
	"time"

	"github.com/runnel-log/runnel/record"
)

// The years whose every instant fits an int64 of nanoseconds. Outside of them
// a time is kept as text: it must not wrap to a wrong year.
const (
	minYear = 1678
	maxYear = 2261
)

// isoSecond remembers the last "2006-01-02T15:04:05" and its second, because
// the messages of one connection share theirs.
type isoSecond struct {
	a, b, c uint64 // the text: bytes 0–7, 8–15, 11–18
	unix    int64
}

// read returns the second that the 19 bytes at at state, as UTC.
func (s *isoSecond) read(b []byte, at int) (unix int64, ok bool) {
	if at+19 > len(b) {
		return 0, false
	}
	le := binary.LittleEndian
	x, y, z := le.Uint64(b[at:]), le.Uint64(b[at+8:]), le.Uint64(b[at+11:])
	if x == s.a && y == s.b && z == s.c {
		return s.unix, true
	}
	t := b[at : at+19]
	if t[4] != '-' || t[7] != '-' || t[10] != 'T' {
		return 0, false
	}
	year, month, dom := digits(t[:4]), digits(t[5:7]), digits(t[8:10])
	second, ok := clock(t[11:])
	if !ok || !validDate(year, month, dom) {
		return 0, false
	}
	s.a, s.b, s.c, s.unix = x, y, z, daysFromCivil(year, month, dom)*86400+int64(second)
	return s.unix, true
}

// fast reads a TIMESTAMP that is not nil (RFC 5424 §6.2.3), with up to nine
// digits of fraction where the RFC allows six: real senders write nine.
func (s *isoSecond) timestamp(b []byte, at int) (ns int64, end int, ok bool) {
	unix, ok := s.read(b, at)
	at += 19
	if !ok || at >= len(b) {
		return 0, 0, false
	}
	fraction := int64(0)
	if b[at] == '.' {
		first := at + 1
		for at = first; at < len(b) && b[at]-'0' < 10; at++ {
			fraction = fraction*10 + int64(b[at]-'0')
		}
		if at == first || at-first > 9 || at >= len(b) {
			return 0, 0, false
		}
		fraction *= powers[9-(at-first)]
	}
	switch b[at] {
	case 'Z':
		return unix*1e9 + fraction, at + 1, true
	case '+', '-':
		offset, ok := zone(b[at:])
		return (unix-offset)*1e9 + fraction, at + 6, ok
	}
	return 0, 0, false
}

// ParseTime reads an RFC 3339 time with up to nine digits of fraction, in the form
// RFC 5424 §6.2.3 has it: capital T and Z. false says that it is another text,
// perhaps a time all the same.
func ParseTime(b []byte) (ns int64, ok bool) {
	var s isoSecond
	ns, end, ok := s.timestamp(b, 0)
	return ns, ok && end == len(b)
}

var powers = [10]int64{1, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9}

// zone reads "+07:00" and returns its seconds east of UTC.
func zone(b []byte) (east int64, ok bool) {
	if len(b) < 6 || b[3] != ':' {
		return 0, false
	}
	h, m := digits(b[1:3]), digits(b[4:6])
	if h < 0 || h > 23 || m < 0 || m > 59 {
		return 0, false
	}
	east = int64(h*3600 + m*60)
	if b[0] == '-' {
		east = -east
	}
	return east, true
}

// stampSecond remembers the last "Jan _2 15:04:05" and the second it was taken for.
type stampSecond struct {
	a, b uint64 // the text: bytes 0–7, 7–14
	ns   int64
}

// fastStamp reads the TIMESTAMP of RFC 3164 §4.1.2 in its exact form.
func (p *Parser) fastStamp(b []byte, at int) (ns int64, ok bool) {
	if at+15 > len(b) {
		return 0, false
	}
	x, y := binary.LittleEndian.Uint64(b[at:]), binary.LittleEndian.Uint64(b[at+7:])
	if x == p.stamp.a && y == p.stamp.b {
		return p.stamp.ns, true
	}
	t := b[at : at+15]
	month := monthNamed(t)
	dom := digits(t[4:6])
	if t[4] == ' ' {
		dom = digits(t[5:6])
	}
	second, ok := clock(t[7:])
	if !ok || month == 0 || t[3] != ' ' || t[6] != ' ' {
		return 0, false
	}
	if ns, ok = p.nearest(month, dom, second); ok {
		p.stamp = stampSecond{x, y, ns}
	}
	return ns, ok
}

// nearest returns the instant with that date and time of day, in the parser's
// location, that is nearest to now: RFC 3164 states no year, and on New Year's
// Eve the right one may be last year or next.
func (p *Parser) nearest(month, dom, second int) (ns int64, ok bool) {
	now := p.now().In(p.location())
	best := int64(math.MaxInt64)
	for year := now.Year() - 1; year <= now.Year()+1; year++ {
		t, valid := p.local(year, month, dom, second)
		if !valid {
			continue
		}
		if off := max(t-now.UnixNano(), now.UnixNano()-t); off < best {
			best, ns, ok = off, t, true
		}
	}
	return ns, ok
}

// local returns a time of day of a day in the parser's location.
func (p *Parser) local(year, month, dom, second int) (ns int64, ok bool) {
	if !validDate(year, month, dom) {
		return 0, false
	}
	return time.Date(year, time.Month(month), dom, second/3600, second/60%60, second%60, 0, p.location()).UnixNano(), true
}

// monthNamed returns 1 to 12 for the three letters that b begins with, else 0.
func monthNamed(b []byte) int {
	switch string(b[:3]) {
	case "Jan":
		return 1
	case "Feb":
		return 2
	case "Mar":
		return 3
	case "Apr":
		return 4
	case "May":
		return 5
	case "Jun":
		return 6
	case "Jul":
		return 7
	case "Aug":
		return 8
	case "Sep":
		return 9
	case "Oct":
		return 10
	case "Nov":
		return 11
	case "Dec":
		return 12
	}
	return 0
}

// clock reads "15:04:05" at the start of b as seconds since midnight.
func clock(b []byte) (second int, ok bool) {
	if len(b) < 8 || b[2] != ':' || b[5] != ':' {
		return 0, false
	}
	h, m, s := digits(b[:2]), digits(b[3:5]), digits(b[6:8])
	if h < 0 || h > 23 || m < 0 || m > 59 || s < 0 || s > 59 {
		return 0, false
	}
	return h*3600 + m*60 + s, true
}

// digits returns the number that b writes, or -1 if b is not all digits.
func digits(b []byte) int {
	n := 0
	for _, c := range b {
		if c < '0' || c > '9' {
			return -1
		}
		n = n*10 + int(c-'0')
	}
	return n
}

func validDate(year, month, dom int) bool {
	if year < minYear || year > maxYear || month < 1 || month > 12 || dom < 1 {
		return false
	}
	last := 31
	switch month {
	case 4, 6, 9, 11:
		last = 30
	case 2:
		last = 28
		if year%4 == 0 && (year%100 != 0 || year%400 == 0) {
			last = 29
		}
	}
	return dom <= last
}

// daysFromCivil returns the days from 1970-01-01 to a date of the Gregorian
// calendar: years begin in March, so that the leap day comes last.
func daysFromCivil(year, month, dom int) int64 {
	if month <= 2 {
		year--
		month += 12
	}
	era := year / 400
	yoe := year - era*400
	doy := (153*(month-3)+2)/5 + dom - 1
	doe := yoe*365 + yoe/4 - yoe/100 + doy
	return int64(era*146097 + doe - 719468)
}

// civilFromDays is the inverse of daysFromCivil, for the years that fit an
// int64 of nanoseconds.
func civilFromDays(days int64) (year, month, dom int) {
	// From the 1st of March of the year 0, so that everything below is unsigned.
	day := uint32(days + 719468)
	era := day / 146097
	doe := day % 146097
	yoe := (doe - doe/1460 + doe/36524 - doe/146096) / 365
	doy := doe - (365*yoe + yoe/4 - yoe/100)
	mp := (5*doy + 2) / 153
	y, m := yoe+era*400, mp+3
	if m > 12 {
		y, m = y+1, m-12
	}
	return int(y), int(m), int(doy - (153*mp+2)/5 + 1)
}

// looseISO reads an ISO 8601 time as senders really write it: 'T' or a blank,
// '.' or ',', any number of digits (nine count), a zone as Z, +07, +0700 or
// +07:00, or none, which means the parser's location. It returns the end, 0 if
// this is no such text, and NoTime if it is but no such time exists.
func (p *Parser) looseISO(b []byte) (ns int64, end int) {
	if len(b) < 19 || b[4] != '-' || b[7] != '-' || (b[10] != 'T' && b[10] != ' ') || b[13] != ':' || b[16] != ':' ||
		min(digits(b[:4]), digits(b[5:7]), digits(b[8:10]), digits(b[11:13]), digits(b[14:16]), digits(b[17:19])) < 0 {
		return 0, 0
	}
	fraction, end := fractionOf(b, 19)
	zoned, east, end := looseZone(b, end)
	second, ok := clock(b[11:])
	year, month, dom := digits(b[:4]), digits(b[5:7]), digits(b[8:10])
	if !ok || !validDate(year, month, dom) {
		return record.NoTime, end
	}
	if !zoned {
		ns, _ = p.local(year, month, dom, second)
		return ns + fraction, end
	}
	return (daysFromCivil(year, month, dom)*86400+int64(second)-east)*1e9 + fraction, end
}

// fractionOf reads ".123" or ",123" at at as nanoseconds.
func fractionOf(b []byte, at int) (ns int64, end int) {
	if at >= len(b) || (b[at] != '.' && b[at] != ',') {
		return 0, at
	}
	scale := int64(1e8)
	for at++; at < len(b) && b[at]-'0' < 10; at++ {
		ns += int64(b[at]-'0') * scale
		scale /= 10
	}
	return ns, at
}

// looseZone reads a zone at at. Some senders say UTC twice ("+00:00Z", "Z+00").
func looseZone(b []byte, at int) (zoned bool, east int64, end int) {
	end = at
	for end < len(b) && end-at < 9 && (b[end]-'0' < 10 || b[end] == ':' && end+1 < len(b) && b[end+1]-'0' < 10 ||
		b[end] == '+' || b[end] == '-' || b[end] == 'Z' || b[end] == 'z') {
		end++
	}
	text := b[at:end]
	switch string(text) {
	case "Z", "z", "Z+00", "Z+00:00", "+00:00Z", "+0000Z":
		return true, 0, end
	}
	if len(text) == 0 || text[0] != '+' && text[0] != '-' {
		return false, 0, at
	}
	full := []byte{text[0], '0', '0', ':', '0', '0'}
	switch len(text) {
	case 3: // +07
		copy(full[1:], text[1:])
	case 5: // +0700
		copy(full[1:], text[1:3])
		copy(full[4:], text[3:])
	case 6: // +07:00
		copy(full, text)
	default:
		return false, 0, at
	}
	if east, zoned = zone(full); !zoned {
		return false, 0, at
	}
	return true, east, end
}
