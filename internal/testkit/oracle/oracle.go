// Package oracle says what a relay of logs has lost. It numbers what it sends,
// keeps what was acknowledged, takes what arrives, and judges the one against
// the other: lost, sent twice, out of order, altered. It knows protocols and files and
// nothing of runnel, so the same oracle judges any relay; cmd/oracle is its
// command line. It must never call a record acknowledged that no answer, or
// where a protocol has none no kernel, has spoken for.
package oracle

import (
	"bytes"
	"hash/crc32"
	"strconv"
)

// marker begins every message of an oracle:
//
//	oracle/RUN/SENDER/NUMBER/LENGTH/CRC/PADDING
//
// LENGTH is that of PADDING in bytes, CRC the CRC-32C in hexadecimal of all that
// stands between the marker and it, and of PADDING. Nothing in it is changed by any
// syntax that a relay may write it in, so it is found in whatever arrives.
const marker = "oracle/"

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// Mark is what a message says of itself. Its run is borrowed from the text it was
// found in.
type Mark struct {
	Run    []byte
	Sender int
	Number uint64
	Whole  bool // all of it is there, as it was sent
}

// AppendMessage appends a message of about size bytes, or of no padding if that
// is too few. The same numbers give the same message.
func AppendMessage(dst []byte, run string, sender int, number uint64, size int) []byte {
	from := len(dst)
	dst = append(append(dst, marker...), run...)
	dst = strconv.AppendInt(append(dst, '/'), int64(sender), 10)
	dst = strconv.AppendUint(append(dst, '/'), number, 10)
	padding := max(size-(len(dst)-from)-len("/0000/00000000/"), 0)
	dst = strconv.AppendInt(append(dst, '/'), int64(padding), 10)
	head := len(dst)
	dst = append(dst, "/00000000/"...)
	pad := len(dst)
	x := number*0x9e3779b97f4a7c15 + uint64(sender)<<32 | 1
	for range padding { // xorshift: it shall neither repeat nor compress to nothing
		x ^= x << 13
		x ^= x >> 7
		x ^= x << 17
		dst = append(dst, "abcdefghijklmnopqrstuvwxyz012345"[x>>59])
	}
	sum := sumOf(dst[from+len(marker):head], dst[pad:])
	const digits = "0123456789abcdef"
	for i := range 8 {
		dst[head+1+i] = digits[sum>>(28-4*i)&15]
	}
	return dst
}

func sumOf(head, padding []byte) uint32 {
	return crc32.Update(crc32.Checksum(head, castagnoli), castagnoli, padding)
}

// Find calls f with every mark in a text, and returns how many there were.
func Find(text []byte, f func(Mark)) (found int) {
	for {
		_, after, ok := bytes.Cut(text, []byte(marker))
		if !ok {
			return found
		}
		m, rest := parse(after)
		text = rest
		found++
		f(m)
	}
}

// parse reads what stands behind a marker, and returns what follows it.
func parse(text []byte) (m Mark, rest []byte) {
	var fields [5][]byte
	at := 0
	for i := range fields {
		end := bytes.IndexByte(text[at:min(at+maxField, len(text))], '/')
		if end < 0 {
			return m, text
		}
		fields[i] = text[at : at+end]
		at += end + 1
	}
	m.Run = fields[0]
	sender, err1 := strconv.ParseUint(string(fields[1]), 10, 16)
	number, err2 := strconv.ParseUint(string(fields[2]), 10, 40)
	length, err3 := strconv.ParseUint(string(fields[3]), 10, 31)
	sum, err4 := strconv.ParseUint(string(fields[4]), 16, 32)
	if err1 != nil || err2 != nil || err3 != nil || err4 != nil || length > uint64(len(text)-at) {
		return m, text
	}
	m.Sender, m.Number = int(sender), number
	head := at - len(fields[4]) - 2
	padding := text[at : at+int(length)]
	if m.Whole = sumOf(text[:head], padding) == uint32(sum); !m.Whole {
		return m, text // where the next begins is not known
	}
	return m, text[at+int(length):]
}

// maxField bounds a field of a mark.
const maxField = 40
