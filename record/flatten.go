package record

import "encoding/binary"

// FlattenOptions say how FlattenJSON names and bounds attributes. The zero
// value is the default.
type FlattenOptions struct {
	Prefix string // put before every key, "app." for instance
	Depth  int    // parts of a dotted key; 0: 8
	Fields int    // fields that become attributes; 0: 256
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
	f := flattener{scanner: scanner{text: msg}, depth: o.Depth, limit: o.Fields}
	if f.depth == 0 {
		f.depth = 8
	}
	f.depth = min(f.depth, maxDepth)
	if f.limit == 0 {
		f.limit = 256
	}
	if f.space() != '{' || len(msg) > MaxSize {
		return false, 0
	}
	var room [128]byte
	f.prefix = append(room[:0], o.Prefix...)
	f.begin(attrs)
	if !f.object(1) || !f.scanner.end() {
		attrs.buf = f.buf[:len(attrs.buf)]
		return false, 0
	}
	f.finish(attrs)
	return true, f.n
}

// maxPrefix bounds the name that every field of a nested object repeats.
const maxPrefix = 512

// writer adds attributes behind those of an Attrs without looking for
// duplicates until finish, so that giving up is cutting the buffer.
type writer struct {
	buf   []byte
	n     int  // added
	twice bool // a key may have come twice
	keys  seen
}

func (w *writer) begin(attrs *Attrs) {
	attrs.own()
	w.buf = attrs.buf
	for key := range attrs.All() {
		w.keys.add(key)
	}
}

// header writes the header of an attribute whose value is size bytes.
func (w *writer) header(key []byte, kind Kind, size int) {
	w.buf = append(w.buf, byte(kind), 0, byte(len(key)), byte(len(key)>>8),
		byte(size), byte(size>>8), byte(size>>16), byte(size>>24))
	w.buf = append(w.buf, key...)
	w.twice = w.keys.add(key) || w.twice
	w.n++
}

func (w *writer) bytes(key []byte, kind Kind, value []byte) {
	w.header(key, kind, len(value))
	w.buf = append(w.buf, value...)
}

// open begins a String of unknown length and returns where it begins; close
// ends it.
func (w *writer) open(key []byte) (from int) {
	w.header(key, String, 0)
	return len(w.buf)
}

func (w *writer) close(key []byte, from int) {
	binary.LittleEndian.PutUint32(w.buf[from-len(key)-4:], uint32(len(w.buf)-from))
}

func (w *writer) number(key []byte, num number) {
	if num.kind == String {
		w.bytes(key, String, num.text)
		return
	}
	w.header(key, num.kind, 8)
	w.buf = binary.LittleEndian.AppendUint64(w.buf, num.bits)
}

func (w *writer) bool(key []byte, value byte) {
	w.header(key, Bool, 1)
	w.buf = append(w.buf, value)
}

// finish makes attrs what was there and what was added, the last of each key.
func (w *writer) finish(attrs *Attrs) {
	n := attrs.n + w.n
	if w.twice {
		kept := make([]byte, 0, len(w.buf))
		n = lastOfEach(w.buf, n, func(attr []byte) { kept = append(kept, attr...) })
		w.buf = kept
	}
	attrs.buf, attrs.n = w.buf, n
}

type flattener struct {
	scanner
	writer
	prefix []byte // of the object being read, with its dot; behind it the key at hand
	depth  int    // parts a key may have
	limit  int
	left   int // fields left out
}

// object reads an object, at its opening brace, whose fields' keys have depth parts.
func (f *flattener) object(depth int) bool {
	f.at++
	if f.space() == '}' {
		f.at++
		return true
	}
	outer := len(f.prefix)
	for {
		if f.space() != '"' {
			return false
		}
		key, escaped, ok := f.str()
		if !ok || !f.scanner.next(':') {
			return false
		}
		if escaped {
			f.prefix = appendUnescaped(f.prefix, key)
		} else {
			f.prefix = append(f.prefix, key...)
		}
		if !f.field(depth) {
			return false
		}
		f.prefix = f.prefix[:outer]
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

// field reads the value of the field whose key is f.prefix.
func (f *flattener) field(depth int) bool {
	c := f.space()
	if f.n >= f.limit || len(f.prefix) > MaxField {
		f.left++
		return f.value(depth)
	}
	switch {
	case c == '"':
		return f.text()
	case c == '-' || c-'0' <= 9:
		num, ok := f.scanner.number()
		if ok {
			f.writer.number(f.prefix, num)
		}
		return ok
	case c == 't':
		f.bool(f.prefix, 1)
		return f.word("true")
	case c == 'f':
		f.bool(f.prefix, 0)
		return f.word("false")
	case c == '{' && depth < f.depth && len(f.prefix) < maxPrefix && !f.emptyObject():
		f.prefix = append(f.prefix, '.')
		return f.object(depth + 1)
	}
	from := f.at
	if !f.value(depth) {
		return false
	}
	f.bytes(f.prefix, JSON, f.scanner.text[from:f.at])
	return true
}

// text reads a string into a String.
func (f *flattener) text() bool {
	raw, escaped, ok := f.str()
	if !ok {
		return false
	}
	if !escaped {
		f.bytes(f.prefix, String, raw)
		return true
	}
	from := f.open(f.prefix)
	f.buf = appendUnescaped(f.buf, raw)
	f.close(f.prefix, from)
	return true
}

// emptyObject reports whether the object that begins here has no fields.
func (f *flattener) emptyObject() bool {
	s := scanner{text: f.scanner.text, at: f.at + 1}
	return s.space() == '}'
}
