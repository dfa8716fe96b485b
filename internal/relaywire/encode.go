package relaywire

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/runnel-log/runnel/record"
)

var (
	le         = binary.LittleEndian
	castagnoli = crc32.MakeTable(crc32.Castagnoli)
)

// The first byte of a frame's content.
const (
	kindHello byte = 1 + iota
	kindWelcome
	kindAsk
	kindTell
	kindPart
	kindData
	kindAck
	kindNack
	kindReport
	kindPath
	kindBye
	kindEnded
)

func (*Hello) kind() byte   { return kindHello }
func (*Welcome) kind() byte { return kindWelcome }
func (*Ask) kind() byte     { return kindAsk }
func (*Tell) kind() byte    { return kindTell }
func (*Data) kind() byte    { return kindData }
func (*Ack) kind() byte     { return kindAck }
func (*Nack) kind() byte    { return kindNack }
func (*Report) kind() byte  { return kindReport }
func (*Path) kind() byte    { return kindPath }
func (*Bye) kind() byte     { return kindBye }
func (*Ended) kind() byte   { return kindEnded }

// frameHeader is the length and the checksum.
const frameHeader = 8

// Append appends the frames of m: one, or of a Data of more than 2 MiB several. It panics
// where m is beyond the bounds of this package, which its maker keeps.
func Append(dst []byte, m Message) []byte {
	d, _ := m.(*Data)
	if d != nil {
		if len(d.Payload) > MaxPayload {
			panic(fmt.Sprintf("bug: a payload of %d bytes", len(d.Payload)))
		}
		for at := range d.pieces() {
			start := len(dst)
			dst = append(dst, make([]byte, frameHeader)...)
			dst = le.AppendUint32(append(dst, kindPart), uint32(len(d.Payload)))
			dst = append(dst, d.Payload[at*piece:(at+1)*piece]...)
			seal(dst[start:])
		}
	}
	start := len(dst)
	dst = append(dst, 0, 0, 0, 0, 0, 0, 0, 0, m.kind())
	dst = m.append(dst)
	if d != nil {
		dst = append(dst, d.Payload[d.pieces()*piece:]...)
	}
	seal(dst[start:])
	return dst
}

// pieces returns how many frames come before the Data's own.
func (d *Data) pieces() int { return max(0, len(d.Payload)-1) / piece }

// seal fills in a frame's header.
func seal(frame []byte) {
	content := frame[frameHeader:]
	if len(content) > MaxFrame {
		panic(fmt.Sprintf("bug: a frame of %d bytes", len(content)))
	}
	le.PutUint32(frame, uint32(len(content)))
	le.PutUint32(frame[4:], crc32.Checksum(content, castagnoli))
}

// Sum is the checksum of a record at an offset of its line, as its store hands it out, with its
// origin if it has one: never 0.
func Sum(offset uint64, encoded []byte) uint64 {
	return record.DigestOf(encoded, nil).Sum(offset)
}

func appendUint(dst []byte, v uint64) []byte { return binary.AppendUvarint(dst, v) }

// printable reports whether s can be shown as it is.
func printable(s string) bool {
	return utf8.ValidString(s) && !strings.ContainsFunc(s, func(r rune) bool { return !unicode.IsPrint(r) })
}

// appendName puts ? where a character does not print, and cuts what is too long: names come from people.
func appendName(dst []byte, s string) []byte {
	if len(s) > MaxName || !printable(s) {
		s = strings.Map(func(r rune) rune {
			if r == utf8.RuneError || !unicode.IsPrint(r) {
				return '?'
			}
			return r
		}, s)
		for s = s[:min(len(s), MaxName)]; !utf8.ValidString(s); {
			s = s[:len(s)-1] // which had been cut
		}
	}
	return append(appendUint(dst, uint64(len(s))), s...)
}

// appendText cuts what is too long.
func appendText(dst []byte, s string) []byte {
	s = s[:min(len(s), MaxText)]
	return append(appendUint(dst, uint64(len(s))), s...)
}

func appendDuration(dst []byte, d time.Duration) []byte { return appendUint(dst, uint64(max(0, d))) }

func appendHop(dst []byte, h Hop) []byte { return appendName(append(dst, h.Agent[:]...), h.Name) }

func appendHops(dst []byte, hops []Hop) []byte {
	hops = hops[:min(len(hops), MaxPath)]
	dst = appendUint(dst, uint64(len(hops)))
	for _, h := range hops {
		dst = appendHop(dst, h)
	}
	return dst
}

// appendRanges puts the number of ranges first.
func appendRanges(dst []byte, s Ranges) []byte {
	if len(s) > MaxRanges {
		panic(fmt.Sprintf("bug: %d ranges", len(s)))
	}
	return s.Append(appendUint(dst, uint64(len(s))))
}

func appendRange(dst []byte, r Range) []byte { return appendUint(appendUint(dst, r.From), r.Len()) }

func appendPrints(dst []byte, prints []Print) []byte {
	dst = appendUint(dst, uint64(len(prints)))
	for _, p := range prints {
		dst = le.AppendUint64(appendRange(dst, p.Range), p.Sum)
	}
	return dst
}

func (l *Lag) append(dst []byte) []byte {
	dst = appendUint(appendUint(dst, l.Records), l.Bytes)
	return appendUint(appendDuration(dst, l.Oldest), l.Lost)
}

func (m *Hello) append(dst []byte) []byte {
	dst = append(dst, magic...)
	dst = appendUint(appendUint(dst, uint64(m.Versions[0])), uint64(m.Versions[1]))
	dst = le.AppendUint32(append(dst, m.Agent[:]...), m.Epoch)
	return appendName(appendName(dst, m.Name), m.Build)
}

func (m *Welcome) append(dst []byte) []byte {
	dst = append(appendUint(dst, uint64(m.Version)), m.Agent[:]...)
	dst = appendName(appendName(dst, m.Name), m.Build)
	dst = appendUint(le.AppendUint64(dst, uint64(m.Session)), m.Credit)
	return appendHops(dst, m.Above)
}

func (m *Ask) append(dst []byte) []byte {
	return appendRanges(le.AppendUint32(appendText(dst, m.Stream), m.Epoch), m.Parts)
}

func (m *Tell) append(dst []byte) []byte {
	dst = appendRanges(le.AppendUint32(appendText(dst, m.Stream), m.Epoch), m.Missing)
	dst = appendPrints(appendRange(dst, m.Ends), m.Prints)
	if m.Forgot {
		return append(dst, 1)
	}
	return append(dst, 0)
}

func (m *Data) append(dst []byte) []byte {
	dst = le.AppendUint32(appendText(appendUint(dst, m.Number), m.Stream), m.Epoch)
	dst = appendUint(appendRange(dst, m.Range), uint64(len(m.Gone)))
	for _, g := range m.Gone {
		dst = append(appendRange(dst, g.Range), byte(g.Reason))
	}
	dst = appendRanges(dst, m.Offsets)
	if len(m.Offsets) > 0 {
		dst = appendOrigin(le.AppendUint32(le.AppendUint64(dst, m.Sum), m.Raw), &m.Origin)
	}
	return dst // the payload is the rest
}

// appendOrigin puts a 1 before one, and a 0 in place of none.
func appendOrigin(dst []byte, o *record.Origin) []byte {
	switch {
	case o.IsZero():
		return append(dst, 0)
	case o.Child != 0, len(o.Stream) > MaxText:
		panic(fmt.Sprintf("bug: an origin of child %d, with a stream of %d bytes", o.Child, len(o.Stream)))
	}
	dst = le.AppendUint32(append(append(dst, 1), o.Agent[:]...), o.Epoch)
	return append(appendUint(appendUint(dst, o.Sequence), uint64(len(o.Stream))), o.Stream...)
}

func (m *Ack) append(dst []byte) []byte { return appendUint(dst, m.Number) }

func (m *Nack) append(dst []byte) []byte {
	return appendDuration(appendText(append(dst, byte(m.Code)), m.Text), m.After)
}

func (m *Report) append(dst []byte) []byte {
	below := m.Below[:min(len(m.Below), MaxBelow)]
	dst = appendUint(m.Lag.append(dst), uint64(len(below)))
	for i := range below {
		b := &below[i]
		dst = append(appendName(appendHop(dst, b.Hop), b.Build), b.Via)
		seen := int64(0)
		if !b.Seen.IsZero() {
			seen = b.Seen.UnixNano()
		}
		dst = b.Lag.append(le.AppendUint64(dst, uint64(seen)))
	}
	return dst
}

func (m *Path) append(dst []byte) []byte { return appendHops(dst, m.Above) }

func (*Bye) append(dst []byte) []byte { return dst }
