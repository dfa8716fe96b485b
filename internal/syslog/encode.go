package syslog

import (
	"bytes"
	"strconv"
	"time"

	"github.com/runnel-log/runnel/record"
)

// Encoder writes records, and remembers the last second it wrote: the records
// of a batch share theirs, and making its text is half of the work. The zero
// value is ready. An Encoder is not safe for concurrent use.
type Encoder struct {
	utc   [19]byte // "2006-01-02T15:04:05" of utcAt
	utcAt int64    // seconds since 1970
	known bool

	local   [15]byte // "Jan _2 15:04:05" of localAt in loc
	localAt int64
	loc     *time.Location // nil before the first
}

// Append5424 is Encoder.Append5424 for a single record.
func Append5424(dst []byte, v record.View) []byte {
	var e Encoder
	return e.Append5424(dst, v)
}

// Append3164 is Encoder.Append3164 for a single record.
func Append3164(dst []byte, v record.View, loc *time.Location) []byte {
	var e Encoder
	return e.Append3164(dst, v, loc)
}

// Append5424 appends v as an RFC 5424 message, without framing, and returns the
// longer slice. What was received is kept: the event's time in UTC with as many
// digits of fraction as it has, at most six (RFC 5424 §6.2.3), or the receive
// time where none was stated; fields at their full length, also beyond the
// RFC's limits, as Docker sends them; "-" for what is absent.
//
// A byte that the RFC allows in no header field (a blank, a control character,
// a byte above 126) becomes '_'. Structured data that is not well-formed is put
// before the message instead, with "-" in its place, so that nothing is lost. An absent
// facility or severity becomes user or notice, as RFC 3164 §4.3.3 asks of a
// relay. A text that begins with a BOM keeps it: reading leaves it there.
func (e *Encoder) Append5424(dst []byte, v record.View) []byte {
	return e.Append5424With(dst, v, v.SD(), v.Message())
}

// Append5424With is Append5424 with other structured data and another message
// than v has; both may be nil.
func (e *Encoder) Append5424With(dst []byte, v record.View, sd, message []byte) []byte {
	dst = appendPriority(dst, v)
	dst = append(dst, '1', ' ')
	dst = e.appendTime(dst, v.When())
	dst = appendField(append(dst, ' '), v.Host())
	dst = appendField(append(dst, ' '), v.App())
	dst = appendField(append(dst, ' '), v.ProcID())
	dst = appendField(append(dst, ' '), v.MsgID())
	switch {
	case len(sd) == 0:
		dst = append(dst, ' ', '-')
	case ValidSD(sd):
		dst = append(append(dst, ' '), sd...)
	default:
		dst = append(append(dst, " - "...), sd...)
	}
	if len(message) == 0 {
		return dst
	}
	dst = append(dst, ' ')
	return append(dst, message...)
}

// Append3164 appends v as an RFC 3164 message, without framing, and returns the
// longer slice. The time is in loc, never nil, in whole seconds; an absent host or app is
// "-". MSGID and structured data have no place there and are left out. A byte
// that would end the field (a blank, a control character, '[' and ']' in app
// and procid, what no host's name holds) becomes '_'.
func (e *Encoder) Append3164(dst []byte, v record.View, loc *time.Location) []byte {
	return e.Append3164With(dst, v, loc, v.Message())
}

// Append3164With is Append3164 with another message than v has.
func (e *Encoder) Append3164With(dst []byte, v record.View, loc *time.Location, message []byte) []byte {
	dst = appendPriority(dst, v)
	seconds, _ := split(v.When())
	if seconds != e.localAt || loc != e.loc {
		time.Unix(seconds, 0).In(loc).AppendFormat(e.local[:0], time.Stamp)
		e.localAt, e.loc = seconds, loc
	}
	dst = append(dst, e.local[:]...)
	dst = append(dst, ' ')
	dst = appendHost(dst, v.Host())
	dst = append(dst, ' ')
	dst = appendTag(dst, v.App(), false)
	if pid := v.ProcID(); len(pid) > 0 {
		dst = append(dst, '[')
		dst = append(appendTag(dst, pid, true), ']')
	}
	dst = append(dst, ':')
	if len(message) > 0 {
		dst = append(append(dst, ' '), message...)
	}
	return dst
}

func appendPriority(dst []byte, v record.View) []byte {
	facility, severity := v.Facility(), v.Severity()
	if facility > 23 {
		facility = 1 // user
	}
	if severity > 7 {
		severity = 5 // notice
	}
	dst = strconv.AppendUint(append(dst, '<'), uint64(facility)<<3|uint64(severity), 10)
	return append(dst, '>')
}

// split returns the whole seconds of ns, rounded down, and what is left.
func split(ns int64) (seconds int64, nanos uint32) {
	seconds, rest := ns/1e9, ns%1e9
	if rest < 0 {
		seconds, rest = seconds-1, rest+1e9
	}
	return seconds, uint32(rest)
}

// appendTime writes ns since 1970 as an RFC 5424 TIMESTAMP in UTC.
func (e *Encoder) appendTime(dst []byte, ns int64) []byte {
	seconds, nanos := split(ns)
	if seconds != e.utcAt || !e.known {
		e.setSecond(seconds)
	}
	dst = append(dst, e.utc[:]...)
	switch micros := nanos / 1000; {
	case micros == 0:
		return append(dst, 'Z')
	case micros%1000 == 0:
		millis := micros / 1000
		return append(dst, '.', byte('0'+millis/100), byte('0'+millis/10%10), byte('0'+millis%10), 'Z')
	default:
		t := [8]byte{0: '.', 7: 'Z'}
		putPair(t[1:], micros/10000)
		putPair(t[3:], micros/100%100)
		putPair(t[5:], micros%100)
		return append(dst, t[:]...)
	}
}

// setSecond remembers the text of a second.
func (e *Encoder) setSecond(seconds int64) {
	days, rest := seconds/86400, seconds%86400
	if rest < 0 {
		days, rest = days-1, rest+86400
	}
	year, month, dom := civilFromDays(days)
	second := uint32(rest)
	t := &e.utc
	t[4], t[7], t[10], t[13], t[16] = '-', '-', 'T', ':', ':'
	putPair(t[0:], uint32(year)/100)
	putPair(t[2:], uint32(year)%100)
	putPair(t[5:], uint32(month))
	putPair(t[8:], uint32(dom))
	putPair(t[11:], second/3600)
	putPair(t[14:], second/60%60)
	putPair(t[17:], second%60)
	e.utcAt, e.known = seconds, true
}

// putPair writes two digits.
func putPair(t []byte, n uint32) { t[0], t[1] = byte('0'+n/10), byte('0'+n%10) }

// appendField writes a header field of RFC 5424.
func appendField(dst, value []byte) []byte {
	if len(value) == 0 {
		return append(dst, '-')
	}
	at := len(dst)
	dst = append(dst, value...)
	if allGraphic(value) {
		return dst
	}
	for i := graphic(dst, at); i < len(dst); i = graphic(dst, i) {
		dst[i] = '_'
	}
	return dst
}

// appendHost writes a host so that it is read as one.
func appendHost(dst, value []byte) []byte {
	at := len(dst)
	dst = append(dst, value...)
	for i := at; i < len(dst); i++ {
		if !hostBytes[dst[i]] {
			dst[i] = '_'
		}
	}
	if len(dst) == at || !isHost(dst[at:]) {
		return append(dst[:at], '-')
	}
	if n := len(dst); dst[n-1] == ':' && !isAddress(dst[at:]) {
		dst[n-1] = '_' // or it would be read as the tag
	}
	return dst
}

// appendTag writes one part of a tag so that it is read as that part.
func appendTag(dst, value []byte, pid bool) []byte {
	if len(value) == 0 && !pid {
		return append(dst, '-')
	}
	at := len(dst)
	dst = append(dst, value...)
	for i := at; i < len(dst); i++ {
		c := dst[i]
		first := i == at && !pid && (c == '{' || c == '(' || c == '<' || c == '"' || c == '\'' || c == '=')
		if c <= ' ' || c == 0x7f || c == '[' || c == ']' || first {
			dst[i] = '_'
		}
	}
	return dst
}

// AppendOctet appends message with its octet count (RFC 6587 §3.4.1). Nothing
// in it is changed. message may not be part of dst's free space.
func AppendOctet(dst, message []byte) []byte {
	dst = strconv.AppendInt(dst, int64(len(message)), 10)
	return append(append(dst, ' '), message...)
}

// AppendLF appends message and the LF that ends it (RFC 6587 §3.4.2). An LF
// inside it would begin a message of its own, so it becomes "#012", as rsyslog
// writes it.
func AppendLF(dst, message []byte) []byte {
	for {
		i := bytes.IndexByte(message, '\n')
		if i < 0 {
			return append(append(dst, message...), '\n')
		}
		dst = append(append(dst, message[:i]...), "#012"...)
		message = message[i+1:]
	}
}
