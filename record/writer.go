package record

import "encoding/binary"

// writer adds attributes behind those of an Attrs without looking for
// duplicates until finish, so that giving up is cutting the buffer.
type writer struct {
	buf   []byte
	n     int  // attributes added
	last  int  // where the last of them begins
	twice bool // a key may have come twice
	keys  seen
}

func (w *writer) begin(attrs *Attrs) {
	attrs.own()
	w.buf = attrs.buf
	for b := attrs.buf; len(b) > 0; {
		key, _, n := nextAttr(b)
		w.keys.add(key)
		b = b[n:]
	}
}

// open writes the header of an attribute whose value is size bytes; the caller
// appends the value.
func (w *writer) open(key []byte, kind Kind, size int) {
	w.last = len(w.buf)
	w.buf = append(w.buf, byte(kind), 0, byte(len(key)), byte(len(key)>>8),
		byte(size), byte(size>>8), byte(size>>16), byte(size>>24))
	w.buf = append(w.buf, key...)
	w.added(key)
}

// resize makes the value of the last attribute end where the buffer ends.
func (w *writer) resize() {
	value := w.last + attrHeader + int(binary.LittleEndian.Uint16(w.buf[w.last+2:]))
	binary.LittleEndian.PutUint32(w.buf[w.last+4:], uint32(len(w.buf)-value))
}

// added counts an attribute and remembers its key.
func (w *writer) added(key []byte) {
	w.n++
	w.twice = w.keys.add(key) || w.twice
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

// undo leaves attrs as it was, with the room that was made.
func (w *writer) undo(attrs *Attrs) { attrs.buf = w.buf[:len(attrs.buf)] }
