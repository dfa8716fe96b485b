package syslog

import (
	"bytes"
	"strconv"
	"time"

	"github.com/runnel-log/runnel/record"
)

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
// relay. A text that begins with a BOM gets a second one, because the first is
// not part of the text.
func Append5424(dst []byte, v record.View) []byte {
	dst = appendPriority(dst, v)
	dst = append(dst, '1', ' ')
	dst = appendTime(dst, v.When())
	dst = appendField(append(dst, ' '), v.Host())
	dst = appendField(append(dst, ' '), v.App())
	dst = appendField(append(dst, ' '), v.ProcID())
	dst = appendField(append(dst, ' '), v.MsgID())
	sd, message := v.SD(), v.Message()
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
	if message[0] == bom[0] && bytes.HasPrefix(message, []byte(bom)) {
		dst = append(dst, bom...)
	}
	return append(dst, message...)
}

// Append3164 appends v as an RFC 3164 message, without framing, and returns the
// longer slice. The time is in loc, in whole seconds; an absent host or app is
// "-". MSGID and structured data have no place there and are left out. A byte
// that would end the field (a blank, a control character, '[' and ']' in app
// and procid, what no host's name holds) becomes '_'.
func Append3164(dst []byte, v record.View, loc *time.Location) []byte {
	dst = appendPriority(dst, v)
	dst = time.Unix(0, v.When()).In(loc).AppendFormat(dst, time.Stamp)
	dst = append(dst, ' ')
	dst = appendHost(dst, v.Host())
	dst = append(dst, ' ')
	dst = appendTag(dst, v.App(), false)
	if pid := v.ProcID(); len(pid) > 0 {
		dst = append(dst, '[')
		dst = append(appendTag(dst, pid, true), ']')
	}
	dst = append(dst, ':')
	if message := v.Message(); len(message) > 0 {
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

// appendTime writes ns since 1970 as an RFC 5424 TIMESTAMP in UTC.
func appendTime(dst []byte, ns int64) []byte {
	seconds, nanos := ns/1e9, ns%1e9
	if nanos < 0 {
		seconds, nanos = seconds-1, nanos+1e9
	}
	days, second := seconds/86400, int(seconds%86400)
	if second < 0 {
		days, second = days-1, second+86400
	}
	year, month, dom := civilFromDays(days)
	dst = append(dst, byte('0'+year/1000), byte('0'+year/100%10), byte('0'+year/10%10), byte('0'+year%10), '-',
		byte('0'+month/10), byte('0'+month%10), '-', byte('0'+dom/10), byte('0'+dom%10), 'T',
		byte('0'+second/36000), byte('0'+second/3600%10), ':', byte('0'+second/600%6), byte('0'+second/60%10), ':',
		byte('0'+second/10%6), byte('0'+second%10))
	micros := int(nanos / 1000)
	switch {
	case micros == 0:
	case micros%1000 == 0:
		m := micros / 1000
		dst = append(dst, '.', byte('0'+m/100), byte('0'+m/10%10), byte('0'+m%10))
	default:
		dst = append(dst, '.', byte('0'+micros/100000), byte('0'+micros/10000%10), byte('0'+micros/1000%10),
			byte('0'+micros/100%10), byte('0'+micros/10%10), byte('0'+micros%10))
	}
	return append(dst, 'Z')
}

// appendField writes a header field of RFC 5424.
func appendField(dst, value []byte) []byte {
	if len(value) == 0 {
		return append(dst, '-')
	}
	at := len(dst)
	dst = append(dst, value...)
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
