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
// added; keys are unique. The zero value is empty and ready to use.
type Attrs struct {
	buf []byte
	n   int
}

// Len returns the number of attributes.
func (a *Attrs) Len() int { return a.n }

// Reset empties a and keeps its buffer.
func (a *Attrs) Reset() { a.buf, a.n = a.buf[:0], 0 }

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

// SetString sets key to a text.
func (a *Attrs) SetString(key string, value string) {
	a.put(key, String, len(value))
	a.buf = append(a.buf, value...)
}

// Set sets key to a value of the given kind; payload is the encoded form and is copied.
func (a *Attrs) Set(key string, kind Kind, payload []byte) {
	a.put(key, kind, len(payload))
	a.buf = append(a.buf, payload...)
}

// SetInt sets key to an integer.
func (a *Attrs) SetInt(key string, value int64) {
	a.put(key, Int, 8)
	a.buf = binary.LittleEndian.AppendUint64(a.buf, uint64(value))
}

// SetFloat sets key to a number.
func (a *Attrs) SetFloat(key string, value float64) {
	a.put(key, Float, 8)
	a.buf = binary.LittleEndian.AppendUint64(a.buf, math.Float64bits(value))
}

// SetBool sets key to true or false.
func (a *Attrs) SetBool(key string, value bool) {
	a.put(key, Bool, 1)
	b := byte(0)
	if value {
		b = 1
	}
	a.buf = append(a.buf, b)
}

// Delete removes key and reports whether it was there.
func (a *Attrs) Delete(key string) bool {
	at := a.find(key)
	if at < 0 {
		return false
	}
	_, _, n := nextAttr(a.buf[at:])
	a.buf = append(a.buf[:at], a.buf[at+n:]...)
	a.n--
	return true
}

// put removes key and appends the header of its new value. A key longer than
// MaxField or an attribute beyond MaxAttrs makes Batch.Append refuse the record.
func (a *Attrs) put(key string, kind Kind, size int) {
	a.Delete(key)
	a.n++
	a.buf = append(a.buf, byte(kind), 0)
	a.buf = binary.LittleEndian.AppendUint16(a.buf, uint16(min(len(key), MaxField)))
	a.buf = binary.LittleEndian.AppendUint32(a.buf, uint32(size))
	a.buf = append(a.buf, key[:min(len(key), MaxField)]...)
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

// validAttrs reports whether b holds exactly n well-formed attributes.
func validAttrs(b []byte, n int) bool {
	for range n {
		if len(b) < attrHeader {
			return false
		}
		keyLen := uint64(binary.LittleEndian.Uint16(b[2:]))
		valueLen := uint64(binary.LittleEndian.Uint32(b[4:]))
		if attrHeader+keyLen+valueLen > uint64(len(b)) || b[1] != 0 {
			return false
		}
		switch Kind(b[0]) {
		case String, Bytes, JSON:
		case Int, Float:
			if valueLen != 8 {
				return false
			}
		case Bool:
			if valueLen != 1 || b[attrHeader+keyLen] > 1 {
				return false
			}
		default:
			return false
		}
		b = b[attrHeader+keyLen+valueLen:]
	}
	return len(b) == 0
}
