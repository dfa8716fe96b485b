package record

import (
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"math"
	"math/bits"
	"slices"
	"strconv"
	"unicode/utf8"
	"unsafe"
)

// Meta is what a stored record does not know about itself. Absent parts are left out.
type Meta struct {
	Stream      string   // the stream it is stored in; empty: the record's own
	Offset      uint64   // its offset there; 0: not stored
	Agent       string   // this agent's name, for records that carry none
	OriginAgent [16]byte // this store's identity, the origin of records that carry none
	OriginEpoch uint32
}

// AppendJSON appends v as one line of JSON without a line end, in the form of
// docs/format/record.md "JSON". It is valid JSON whatever the record holds: bytes
// that are not UTF-8 become U+FFFD, Bytes become base64, and a Float that JSON
// cannot write becomes the string NaN, +Inf or -Inf.
func AppendJSON(dst []byte, v View, m Meta) []byte {
	dst = slices.Grow(dst, len(v)+512)
	start, at := len(dst), headerSize
	next := func(n int) []byte {
		at += n
		return v[at-n : at]
	}
	host, app := next(v.short(atHost)), next(v.short(atApp))
	procID, msgID := next(v.short(atProcID)), next(v.short(atMsgID))
	stream, input := next(v.short(atStream)), next(v.short(atInput))
	peer, agent := next(v.short(atPeer)), next(v.short(atAgent))
	at += v.short(atOrigin)
	sd, message := next(v.long(atSD)), next(v.long(atMessage))

	// Every member brings a comma; the first one's becomes the brace.
	dst = appendTimes(dst, v.Time(), v.Received())
	dst = appendPlace(dst, v, m, stream, agent)
	if f := v.Facility(); f != Absent {
		dst = strconv.AppendUint(append(dst, `,"facility":`...), uint64(f), 10)
	}
	if s := v.Severity(); s != Absent {
		dst = strconv.AppendUint(append(dst, `,"severity":`...), uint64(s), 10)
	}
	dst = appendMember(dst, `,"host":`, host)
	dst = appendMember(dst, `,"app":`, app)
	dst = appendMember(dst, `,"procid":`, procID)
	dst = appendMember(dst, `,"msgid":`, msgID)
	dst = appendMember(dst, `,"message":`, message)
	if v.short(atAttrCount) > 0 {
		dst = appendAttrs(append(dst, `,"attrs":`...), v.Attrs())
	}
	if len(sd) > 0 {
		dst = appendSD(append(dst, `,"sd":`...), sd)
	}
	dst = appendMember(dst, `,"input":`, input)
	dst = appendMember(dst, `,"peer":`, peer)
	if f := v.Flags(); f != 0 {
		dst = appendFlags(dst, f)
	}
	if len(dst) == start {
		dst = append(dst, ',')
	}
	dst[start] = '{'
	return append(dst, '}')
}

// appendTimes appends the members time and received. They are mostly of the same
// second, and then share its text.
func appendTimes(dst []byte, stated, received int64) []byte {
	from := len(dst)
	if stated != NoTime {
		dst = append(appendTime(append(dst, `,"time":"`...), stated), '"')
	}
	if received == 0 || received == NoTime {
		return dst
	}
	if stated < 0 || received < 0 || stated/1e9 != received/1e9 {
		return append(appendTime(append(dst, `,"received":"`...), received), '"')
	}
	second := dst[from+len(`,"time":"`):][:len("2006-01-02T15:04:05")]
	dst = append(append(dst, `,"received":"`...), second...)
	return append(appendFraction(dst, uint32(received%1e9)), '"')
}

// appendPlace appends where the record is and where it came from: stream,
// offset, agent and origin.
func appendPlace(dst []byte, v View, m Meta, stream, agent []byte) []byte {
	if m.Stream != "" {
		stream = bytesOf(m.Stream)
	}
	dst = appendMember(dst, `,"stream":`, stream)
	if m.Offset > 0 {
		dst = strconv.AppendUint(append(dst, `,"offset":`...), m.Offset, 10)
	}
	if len(agent) == 0 {
		agent = bytesOf(m.Agent)
	}
	dst = appendMember(dst, `,"agent":`, agent)
	if v.short(atOrigin) > 0 {
		o := v.Origin()
		dst = appendOrigin(dst, o.Agent[:], o.Epoch)
		dst = appendEscaped(dst, o.Stream)
		dst = strconv.AppendUint(append(dst, '/'), o.Sequence, 10)
		if o.Child > 0 {
			dst = strconv.AppendUint(append(dst, '.'), uint64(o.Child), 10)
		}
		return append(dst, '"')
	}
	if m.Offset > 0 && m.OriginAgent != [16]byte{} {
		dst = appendOrigin(dst, m.OriginAgent[:], m.OriginEpoch)
		dst = appendEscaped(dst, bytesOf(m.Stream))
		return append(strconv.AppendUint(append(dst, '/'), m.Offset, 10), '"')
	}
	return dst
}

// appendOrigin appends the member up to the stream's name.
func appendOrigin(dst, agent []byte, epoch uint32) []byte {
	dst = hex.AppendEncode(append(dst, `,"origin":"`...), agent)
	return append(strconv.AppendUint(append(dst, '/'), uint64(epoch), 10), '/')
}

// appendMember appends name and value, or nothing if value is empty.
func appendMember(dst []byte, name string, value []byte) []byte {
	if len(value) == 0 {
		return dst
	}
	return appendString(append(dst, name...), value)
}

func appendFlags(dst []byte, f Flags) []byte {
	start := len(dst)
	for i, name := range flagNames {
		if f&(1<<i) != 0 {
			dst = append(append(append(dst, `,"`...), name...), '"')
		}
	}
	if len(dst) == start {
		return dst // only flags of a later version
	}
	const open = `,"flags":[`
	dst = append(dst, open...)
	copy(dst[start+len(open)-1:], dst[start:len(dst)-len(open)]) // its first comma is where the bracket belongs
	copy(dst[start:], open)
	return append(dst[:len(dst)-1], ']')
}

// AppendAttrsJSON appends the attributes of v as a JSON object, in the form they
// have within AppendJSON; {} if it has none.
func AppendAttrsJSON(dst []byte, v View) []byte {
	if v.short(atAttrCount) == 0 {
		return append(dst, '{', '}')
	}
	return appendAttrs(slices.Grow(dst, v.long(atAttrs)), v.Attrs())
}

// appendAttrs appends the attributes as an object.
func appendAttrs(dst []byte, a Attrs) []byte {
	sep := byte('{')
	for b := a.buf; len(b) > 0; {
		key, value, n := nextAttr(b)
		b = b[n:]
		dst = append(appendString(append(dst, sep), key), ':')
		dst = appendValue(dst, value)
		sep = ','
	}
	return append(dst, '}')
}

// appendValue appends an attribute's value as JSON.
func appendValue(dst []byte, v Value) []byte {
	switch v.Kind {
	case Int:
		return strconv.AppendInt(dst, v.Int(), 10)
	case Float:
		return appendFloat(dst, v.Float())
	case Bool:
		return strconv.AppendBool(dst, v.Bool())
	case Bytes:
		return append(base64.StdEncoding.AppendEncode(append(dst, '"'), v.Data), '"')
	case JSON:
		s := scanner{text: v.Data}
		if s.value(0) && s.end() {
			return appendCompact(dst, v.Data)
		}
	}
	return appendString(dst, v.Data)
}

// appendFloat appends f so that it reads back as a Float: with a fraction or an exponent.
func appendFloat(dst []byte, f float64) []byte {
	switch {
	case math.IsNaN(f):
		return append(dst, `"NaN"`...)
	case math.IsInf(f, 1):
		return append(dst, `"+Inf"`...)
	case math.IsInf(f, -1):
		return append(dst, `"-Inf"`...)
	}
	from := len(dst)
	if abs := math.Abs(f); abs != 0 && (abs < 1e-6 || abs >= 1e21) {
		dst = strconv.AppendFloat(dst, f, 'e', -1, 64)
		if n := len(dst); dst[n-4] == 'e' && dst[n-2] == '0' { // 1e-7 and not 1e-07, as JavaScript writes it
			dst = append(dst[:n-2], dst[n-1])
		}
		return dst
	}
	dst = strconv.AppendFloat(dst, f, 'f', -1, 64)
	for _, c := range dst[from:] {
		if c == '.' {
			return dst
		}
	}
	return append(dst, ".0"...)
}

// appendCompact appends valid JSON text on one line, its strings made safe like ours.
func appendCompact(dst, text []byte) []byte {
	for s := (scanner{text: text}); s.space() != 0 || s.at < len(text); {
		if c := text[s.at]; c != '"' {
			dst = append(dst, c)
			s.at++
			continue
		}
		raw, _, _ := s.str()
		dst = append(dst, '"')
		for len(raw) > 0 {
			n := 0
			for n < len(raw) && raw[n] != '\\' {
				n++
			}
			dst = appendEscaped(dst, raw[:n])
			if raw = raw[n:]; len(raw) > 0 {
				dst = append(dst, raw[0], raw[1])
				raw = raw[2:]
			}
		}
		dst = append(dst, '"')
	}
	return dst
}

// appendString appends s as a JSON string.
func appendString(dst, s []byte) []byte {
	return append(appendEscaped(append(dst, '"'), s), '"')
}

// bytesOf returns the bytes of s, to be read only.
func bytesOf(s string) []byte { return unsafe.Slice(unsafe.StringData(s), len(s)) }

// unsafeBytes marks the bytes of w that may not stand in our JSON as they are, or
// need a closer look: controls, quote, backslash, DEL and what is not ASCII.
func unsafeBytes(w uint64) uint64 {
	return stringEnds(w) | w&highs | zeros(w^ones*0x7f)
}

// plainByte marks the bytes that stand in our JSON as they are: ASCII without
// controls, quote and backslash.
var plainByte = func() (plain [256]bool) {
	for c := ' '; c < 0x7f; c++ {
		plain[c] = c != '"' && c != '\\'
	}
	return plain
}()

// appendEscaped appends b as the inside of a JSON string: quotes, backslashes,
// all control characters and U+2028 and U+2029 escaped, and bytes that are not
// UTF-8 as U+FFFD. It copies eight bytes at a time and looks at them on the way.
func appendEscaped(dst, b []byte) []byte {
	for len(b) >= 8 {
		n := len(dst)
		if cap(dst)-n < 8 {
			dst = slices.Grow(dst, len(b)+16)
		}
		w := binary.LittleEndian.Uint64(b)
		binary.LittleEndian.PutUint64(dst[n:n+8], w)
		m := unsafeBytes(w)
		if m == 0 {
			dst, b = dst[:n+8], b[8:]
			continue
		}
		k := bits.TrailingZeros64(m) >> 3
		dst, b = appendSpecial(dst[:n+k], b[k:])
	}
	for len(b) > 0 {
		if c := b[0]; plainByte[c] {
			dst, b = append(dst, c), b[1:]
			continue
		}
		dst, b = appendSpecial(dst, b)
	}
	return dst
}

// appendSpecial appends the character b begins with, which is not plain, and
// returns what follows it.
func appendSpecial(dst, b []byte) (_, rest []byte) {
	r, size := rune(b[0]), 1
	if r >= utf8.RuneSelf {
		r, size = utf8.DecodeRune(b)
		if r > 0x9f && r != 0x2028 && r != 0x2029 && r != utf8.RuneError {
			return append(dst, b[:size]...), b[size:]
		}
	}
	return appendEscape(dst, r), b[size:]
}

const hexDigits = "0123456789abcdef"

// appendEscape appends the escape of one character; U+FFFD stands for itself.
func appendEscape(dst []byte, r rune) []byte {
	switch r {
	case '"', '\\':
		return append(dst, '\\', byte(r))
	case '\n':
		return append(dst, '\\', 'n')
	case '\r':
		return append(dst, '\\', 'r')
	case '\t':
		return append(dst, '\\', 't')
	case utf8.RuneError:
		return append(dst, "\ufffd"...)
	}
	return append(dst, '\\', 'u', hexDigits[r>>12&15], hexDigits[r>>8&15], hexDigits[r>>4&15], hexDigits[r&15])
}
