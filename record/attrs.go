package record

import (
	"encoding/binary"
	"math"
)

// Kind is the type of an attribute's value. The numbers are part of the format.
type Kind uint8

// The kinds of attribute value.
const (
	String Kind = 1 // UTF-8 text, or bytes that claim to be
	Bytes  Kind = 2 // bytes that are not text
	Int    Kind = 3 // int64, 8 bytes
	Float  Kind = 4 // float64, 8 bytes
	Bool   Kind = 5 // one byte, 0 or 1
	JSON   Kind = 6 // a JSON array, object or null as text
)

// Value is one attribute's value. Data is the encoded payload, borrowed from
// the record it came from.
type Value struct {
	Kind Kind
	Data []byte
}

// Int returns the value of an Int, or 0 for another kind.
func (v Value) Int() int64 {
	if v.Kind != Int || len(v.Data) != 8 {
		return 0
	}
	return int64(binary.LittleEndian.Uint64(v.Data))
}

// Float returns the value of a Float, or 0 for another kind.
func (v Value) Float() float64 {
	if v.Kind != Float || len(v.Data) != 8 {
		return 0
	}
	return math.Float64frombits(binary.LittleEndian.Uint64(v.Data))
}

// Bool returns the value of a Bool, or false for another kind.
func (v Value) Bool() bool { return v.Kind == Bool && len(v.Data) == 1 && v.Data[0] != 0 }

// attrHeader is the fixed part of an encoded attribute:
// kind u8, zero u8, key length u16, value length u32.
const attrHeader = 8

// Attrs is a record's attributes in their encoded form, in the order they were
// last set; keys are unique. The zero value is empty and ready to use.
type Attrs struct {
	buf      []byte
	n        int
	borrowed bool  // buf belongs to a batch; copied before the first change
	fault    error // what was set and cannot be encoded; Batch.Append returns it
}

// Len returns the number of attributes.
func (a *Attrs) Len() int { return a.n }

// Reset empties a and keeps its buffer.
func (a *Attrs) Reset() {
	if a.borrowed {
		a.buf = nil
	}
	a.buf, a.n, a.borrowed, a.fault = a.buf[:0], 0, false, nil
}

// Clone returns a copy that shares nothing with a.
func (a *Attrs) Clone() Attrs {
	return Attrs{buf: append([]byte(nil), a.buf...), n: a.n, fault: a.fault}
}

// Get returns the value of key, borrowed from a.
func (a *Attrs) Get(key string) (Value, bool) {
	at := a.find(key)
	if at < 0 {
		return Value{}, false
	}
	_, value, _ := nextAttr(a.buf[at:])
	return value, true
}

// All yields the attributes in order; key and value are borrowed from a.
func (a *Attrs) All() func(yield func(key []byte, value Value) bool) {
	return func(yield func([]byte, Value) bool) {
		for b := a.buf; len(b) > 0; {
			key, value, n := nextAttr(b)
			if !yield(key, value) {
				return
			}
			b = b[n:]
		}
	}
}

// SetString sets key to a text. The value may be borrowed from a itself, here
// and in Set.
func (a *Attrs) SetString(key string, value string) {
	old := a.begin(key, String, len(value))
	a.buf = append(a.buf, value...)
	a.end(old)
}

// Set sets key to a value of the given kind; payload is the encoded form and is
// copied. A payload that is not of that kind makes Batch.Append refuse the record.
func (a *Attrs) Set(key string, kind Kind, payload []byte) {
	if !validValue(kind, payload) {
		a.fault = ErrAttribute
		return
	}
	old := a.begin(key, kind, len(payload))
	a.buf = append(a.buf, payload...)
	a.end(old)
}

// SetInt sets key to an integer.
func (a *Attrs) SetInt(key string, value int64) {
	old := a.begin(key, Int, 8)
	a.buf = binary.LittleEndian.AppendUint64(a.buf, uint64(value))
	a.end(old)
}

// SetFloat sets key to a number.
func (a *Attrs) SetFloat(key string, value float64) {
	old := a.begin(key, Float, 8)
	a.buf = binary.LittleEndian.AppendUint64(a.buf, math.Float64bits(value))
	a.end(old)
}

// SetBool sets key to true or false.
func (a *Attrs) SetBool(key string, value bool) {
	old := a.begin(key, Bool, 1)
	b := byte(0)
	if value {
		b = 1
	}
	a.buf = append(a.buf, b)
	a.end(old)
}

// Delete removes key and reports whether it was there.
func (a *Attrs) Delete(key string) bool {
	at := a.find(key)
	if at < 0 {
		return false
	}
	a.own()
	a.end(at)
	return true
}

// begin appends the header of key's new value and returns where its old one is,
// or -1. The old one goes only at end, because the new value may be borrowed
// from it or from what stands behind it. A key longer than MaxField is cut, and
// Batch.Append refuses the record.
func (a *Attrs) begin(key string, kind Kind, size int) (old int) {
	if len(key) > MaxField {
		key, a.fault = key[:MaxField], ErrFieldTooLong
	}
	if size > MaxSize {
		a.fault = ErrTooLarge
	}
	old = a.find(key)
	a.own()
	a.n++
	a.buf = append(a.buf, byte(kind), 0)
	a.buf = binary.LittleEndian.AppendUint16(a.buf, uint16(len(key)))
	a.buf = binary.LittleEndian.AppendUint32(a.buf, uint32(size))
	a.buf = append(a.buf, key...)
	return old
}

// end removes the attribute at old, if there is one.
func (a *Attrs) end(old int) {
	if old < 0 {
		return
	}
	_, _, n := nextAttr(a.buf[old:])
	a.buf = append(a.buf[:old], a.buf[old+n:]...)
	a.n--
}

// own makes the buffer a's own before it is written to.
func (a *Attrs) own() {
	if a.borrowed {
		a.buf, a.borrowed = append(make([]byte, 0, len(a.buf)+64), a.buf...), false
	}
}

func (a *Attrs) find(key string) int {
	for at := 0; at < len(a.buf); {
		k, _, n := nextAttr(a.buf[at:])
		if string(k) == key {
			return at
		}
		at += n
	}
	return -1
}

// nextAttr reads the attribute that b begins with; b has been validated.
func nextAttr(b []byte) (key []byte, value Value, size int) {
	keyLen := int(binary.LittleEndian.Uint16(b[2:]))
	size = attrHeader + keyLen + int(binary.LittleEndian.Uint32(b[4:]))
	return b[attrHeader : attrHeader+keyLen], Value{Kind(b[0]), b[attrHeader+keyLen : size : size]}, size
}

// validValue reports whether payload is one that kind can have.
func validValue(kind Kind, payload []byte) bool {
	switch kind {
	case String, Bytes, JSON:
		return true
	case Int, Float:
		return len(payload) == 8
	case Bool:
		return len(payload) == 1 && payload[0] <= 1
	}
	return false
}

// validAttrs reports whether b holds exactly n well-formed attributes whose
// keys differ.
func validAttrs(b []byte, n int) bool {
	all, count, twice := b, n, false
	var keys seen
	for range n {
		if len(b) < attrHeader {
			return false
		}
		keyEnd := attrHeader + uint64(binary.LittleEndian.Uint16(b[2:]))
		end := keyEnd + uint64(binary.LittleEndian.Uint32(b[4:]))
		if end > uint64(len(b)) || b[1] != 0 || !validValue(Kind(b[0]), b[keyEnd:end]) {
			return false
		}
		twice = keys.add(b[attrHeader:keyEnd]) || twice
		b = b[end:]
	}
	return len(b) == 0 && (!twice || lastOfEach(all, count, nil) == count)
}
