package record

import (
	"bytes"
	"encoding/binary"
	"unicode/utf8"
)

// ParseLogfmt sets an attribute for each key=value pair in msg. Pairs are set
// apart by spaces; a value may be quoted, with the escapes of JSON and of Go. As
// logfmt has no types, a value without quotes becomes an Int or a Float if it is
// written like one, without exponent and in at most 17 characters for a Float, a
// Bool if it is true or false, and a String otherwise. A word without = becomes
// true. Of a key that comes twice the last wins, and only the first 256 words are
// taken.
//
// It returns false, and leaves attrs as it was, if there is no pair at all, if a
// key is empty or holds a quote, or if a quoted value does not end where it should.
func ParseLogfmt(msg []byte, attrs *Attrs) bool {
	if len(msg) > MaxSize {
		return false
	}
	var w writer
	w.begin(attrs)
	pairs := 0
	for msg = trimSpace(msg); len(msg) > 0; msg = trimSpace(msg) {
		n := wordLen(msg)
		word := msg[:n]
		eq := bytes.IndexByte(word, '=')
		if eq == 0 || bytes.IndexByte(word[:max(eq, 0)], '"') >= 0 || eq < 0 && bytes.IndexByte(word, '"') >= 0 {
			w.undo(attrs)
			return false
		}
		key, value := word, []byte(nil)
		if eq > 0 {
			pairs++
			key, value = word[:eq], word[eq+1:]
		}
		if len(value) > 0 && value[0] == '"' {
			size, escaped := quotedLen(msg[eq+1:])
			if size == 0 {
				w.undo(attrs)
				return false
			}
			value, n = msg[eq+1:eq+1+size], eq+1+size
			w.quoted(key, value[1:size-1], escaped)
		} else {
			w.plain(key, value, eq > 0)
		}
		msg = msg[n:]
	}
	if pairs == 0 {
		w.undo(attrs)
		return false
	}
	w.finish(attrs)
	return true
}

func trimSpace(b []byte) []byte {
	for len(b) > 0 && b[0] <= ' ' {
		b = b[1:]
	}
	return b
}

// wordLen returns where the first byte that is a space or a control stands.
func wordLen(b []byte) int {
	for i, c := range b {
		if c <= ' ' {
			return i
		}
	}
	return len(b)
}

// quotedLen returns the length of the quoted value that b begins with, quotes
// included; 0 if it does not end, or if something follows it without a space.
func quotedLen(b []byte) (n int, escaped bool) {
	for i := 1; i < len(b); i++ {
		switch b[i] {
		case '\\':
			escaped = true
			i++
		case '"':
			if i+1 < len(b) && b[i+1] > ' ' {
				return 0, false
			}
			return i + 1, escaped
		}
	}
	return 0, false
}

// room reports whether another attribute of that key may be added.
func (w *writer) room(key []byte) bool { return w.n < 256 && len(key) <= MaxField }

func (w *writer) quoted(key, raw []byte, escaped bool) {
	if !w.room(key) {
		return
	}
	w.open(key, String, len(raw))
	if !escaped {
		w.buf = append(w.buf, raw...)
		return
	}
	for i := 0; i < len(raw); {
		if raw[i] != '\\' {
			w.buf = append(w.buf, raw[i])
			i++
			continue
		}
		n := w.unquote(raw[i:])
		i += n
	}
	w.resize()
}

// unquote appends what the escape at the beginning of b stands for and returns
// its length. What is no escape is kept as it is, backslash and all.
func (w *writer) unquote(b []byte) int {
	if n := escapeLen(b); n > 0 {
		if n == 6 && len(b) >= 12 && escapeLen(b[6:]) == 6 {
			n = 12 // perhaps the two halves of a surrogate pair
		}
		w.buf = appendUnescaped(w.buf, b[:n])
		return n
	}
	if len(b) >= 4 && b[1] == 'x' && hexDigit(b[2]) >= 0 && hexDigit(b[3]) >= 0 {
		w.buf = append(w.buf, byte(hexDigit(b[2])<<4|hexDigit(b[3])))
		return 4
	}
	if len(b) >= 10 && b[1] == 'U' {
		if high, low := hex4(b[2:]), hex4(b[6:]); high >= 0 && low >= 0 {
			w.buf = utf8.AppendRune(w.buf, high<<16|low)
			return 10
		}
	}
	if len(b) >= 2 {
		if at := bytes.IndexByte([]byte("av'"), b[1]); at >= 0 {
			w.buf = append(w.buf, "\a\v'"[at])
			return 2
		}
	}
	w.buf = append(w.buf, '\\')
	return 1
}

// plain adds a value without quotes, or a word alone.
func (w *writer) plain(key, value []byte, pair bool) {
	if !w.room(key) {
		return
	}
	if !pair || string(value) == "true" {
		w.open(key, Bool, 1)
		w.buf = append(w.buf, 1)
		return
	}
	if string(value) == "false" {
		w.open(key, Bool, 1)
		w.buf = append(w.buf, 0)
		return
	}
	if num, ok := plainNumber(value); ok {
		w.open(key, num.kind, 8)
		w.buf = binary.LittleEndian.AppendUint64(w.buf, num.bits)
		return
	}
	w.open(key, String, len(value))
	w.buf = append(w.buf, value...)
}

// plainNumber reads what nobody would take for a hash, a code or a version of
// more digits than a number keeps.
func plainNumber(value []byte) (num number, ok bool) {
	if len(value) == 0 || len(value) > 20 || value[0] != '-' && value[0]-'0' > 9 {
		return num, false
	}
	whole := true
	for _, c := range value {
		if c|0x20 == 'e' {
			return num, false
		}
		whole = whole && c != '.'
	}
	s := scanner{text: value}
	num, ok = s.number()
	if !ok || s.at != len(value) || whole && num.kind != Int || !whole && len(value) > 17 {
		return num, false
	}
	return num, true
}
