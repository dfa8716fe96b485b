package record

import "encoding/binary"

// FlattenOptions say how FlattenJSON names and bounds attributes. The zero
// value is the default.
type FlattenOptions struct {
	Depth  int // parts of a dotted key, at most 64; 0: 8
	Fields int // fields that become attributes; 0: 256
}

// FlattenJSON sets an attribute for each field of the JSON object in msg. Nested
// objects become dotted keys; what is deeper than o.Depth, arrays, null and
// empty objects stay JSON text. A number without fraction and exponent is an Int
// if int64 holds it, otherwise the nearest Float; one beyond float64 stays its
// digits, as a String. Of a key that comes twice, here or in attrs before, the
// last wins. Bytes that are not UTF-8 are kept.
//
// Only the first o.Fields fields are taken, and none whose key is beyond
// MaxField; the rest stay in the message alone. n is how many were taken. An
// object whose dotted name is beyond 512 bytes stays JSON text, or a short
// message could become very long. ok is false, and attrs as it was, if msg is
// not exactly one JSON object that nests at most 64 deep.
func FlattenJSON(msg []byte, attrs *Attrs, o FlattenOptions) (ok bool, n int) {
	f := flattener{scanner: scanner{text: msg}, depth: min(o.Depth, maxDepth), limit: o.Fields}
	if f.depth == 0 {
		f.depth = 8
	}
	if f.limit == 0 {
		f.limit = 256
	}
	if f.space() != '{' || len(msg) > MaxSize {
		return false, 0
	}
	f.begin(attrs)
	if !f.object(1) || !f.end() {
		f.undo(attrs)
		return false, 0
	}
	f.finish(attrs)
	return true, f.n
}

// maxPrefix bounds the name that every field of a nested object repeats.
const maxPrefix = 512

type flattener struct {
	scanner
	writer
	depth  int             // parts a key may have
	limit  int             // fields to take
	left   int             // fields left out
	size   int             // of prefix
	prefix [maxPrefix]byte // the dotted name of the object being read, with its last dot
}

// name is a member's name as str returned it.
type name struct {
	raw     []byte
	escaped bool
}

// object reads an object, at its opening brace, whose fields' keys have depth parts.
func (f *flattener) object(depth int) bool {
	f.at++
	if f.space() == '}' {
		f.at++
		return true
	}
	for {
		if f.space() != '"' {
			return false
		}
		raw, escaped, ok := f.str()
		if !ok || !f.next(':') || !f.field(name{raw, escaped}, depth) {
			return false
		}
		switch f.space() {
		case ',':
			f.at++
		case '}':
			f.at++
			return true
		default:
			return false
		}
	}
}

// field reads the value of a field whose key has depth parts.
func (f *flattener) field(key name, depth int) bool {
	c := f.space()
	if f.n >= f.limit || f.size+len(key.raw) > MaxField {
		f.left++
		return f.value(depth)
	}
	switch {
	case c == '"':
		return f.text(key)
	case c == '-' || c-'0' <= 9:
		num, ok := f.scanner.number()
		if ok {
			f.number(key, num)
		}
		return ok
	case c == 't':
		f.open(key, Bool, 1)
		f.buf = append(f.buf, 1)
		return f.word("true")
	case c == 'f':
		f.open(key, Bool, 1)
		f.buf = append(f.buf, 0)
		return f.word("false")
	case c == '{' && depth < f.depth && f.size+len(key.raw) < maxPrefix && !f.emptyObject():
		outer := f.size
		f.size = len(append(key.appendTo(f.prefix[:outer]), '.'))
		ok := f.object(depth + 1)
		f.size = outer
		return ok
	}
	from := f.at
	if !f.value(depth) {
		return false
	}
	f.open(key, JSON, f.at-from)
	f.buf = append(f.buf, f.scanner.text[from:f.at]...)
	return true
}

// appendTo appends what the name stands for.
func (n name) appendTo(dst []byte) []byte {
	if n.escaped {
		return appendUnescaped(dst, n.raw)
	}
	return append(dst, n.raw...)
}

// open writes the header of an attribute named prefix and key, whose value is
// size bytes.
func (f *flattener) open(key name, kind Kind, size int) {
	f.last = len(f.buf)
	f.buf = append(f.buf, byte(kind), 0, 0, 0, byte(size), byte(size>>8), byte(size>>16), byte(size>>24))
	from := len(f.buf)
	f.buf = append(f.buf, f.prefix[:f.size]...)
	f.buf = key.appendTo(f.buf)
	n := len(f.buf) - from
	f.buf[from-6], f.buf[from-5] = byte(n), byte(n>>8)
	f.added(f.buf[from:])
}

func (f *flattener) number(key name, num number) {
	if num.kind == String {
		f.open(key, String, len(num.text))
		f.buf = append(f.buf, num.text...)
		return
	}
	f.open(key, num.kind, 8)
	f.buf = binary.LittleEndian.AppendUint64(f.buf, num.bits)
}

// text reads a string into a String.
func (f *flattener) text(key name) bool {
	raw, escaped, ok := f.str()
	if !ok {
		return false
	}
	f.open(key, String, len(raw))
	if !escaped {
		f.buf = append(f.buf, raw...)
		return true
	}
	f.buf = appendUnescaped(f.buf, raw)
	f.resize()
	return true
}

// emptyObject reports whether the object that begins here has no fields.
func (f *flattener) emptyObject() bool {
	s := scanner{text: f.scanner.text, at: f.at + 1}
	return s.space() == '}'
}
