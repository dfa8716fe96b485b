package record

import "encoding/binary"

// AppendEdited copies v to the end of b without its attributes of the keys
// given, and with n others after those that are left: attrs holds them encoded,
// one or several in each (docs/format/record.md "Attributes"), and v has none of
// their keys but such as are left out. If stream is not nil it takes the place of v's. It returns the
// errors of Append, and leaves b as it was, when the record would not fit; it
// trusts attrs to be well-formed.
//
// It is Decode, Attrs.Delete, Attrs.Set and Append without taking the record
// apart, for changes that AppendExtended cannot make: a new name for an
// attribute, or a new value.
func (b *Batch) AppendEdited(v View, stream []byte, without, attrs [][]byte, n int) error {
	most := len(v) + len(stream)
	for _, a := range attrs {
		most += len(a)
	}
	if len(stream) > MaxField {
		return ErrFieldTooLong
	}
	if !b.fits(most) {
		return ErrBatchFull
	}
	was := len(b.buf)
	b.start()
	from := len(b.buf)
	h := b.grow(most)
	at, done := 0, 0 // as far as it is written, and as v is copied
	if stream != nil {
		before := headerSize + v.short(atHost) + v.short(atApp) + v.short(atProcID) + v.short(atMsgID)
		at = copy(h, v[:before])
		at += copy(h[at:], stream)
		done = before + v.short(atStream)
		binary.LittleEndian.PutUint16(h[atStream:], uint16(len(stream)))
	}
	list := at + len(v) - v.long(atAttrs) - done // where the attributes will begin
	size, left := others(h, at, v, done, without)
	for _, a := range attrs {
		size += copy(h[size:], a)
	}
	n += v.short(atAttrCount) - left
	if size > MaxSize || n > MaxField {
		b.buf = b.buf[:was]
		if n > MaxField {
			return ErrFieldTooLong
		}
		return ErrTooLarge
	}
	binary.LittleEndian.PutUint32(h[atSize:], uint32(size))
	binary.LittleEndian.PutUint16(h[atAttrCount:], uint16(n))
	binary.LittleEndian.PutUint32(h[atAttrs:], uint32(size-list))
	b.buf = b.buf[:from+size]
	b.ends = append(b.ends, uint32(from+size))
	return nil
}

// others copies to h, from to on, what there is of v from run on, but no attribute
// of one of the keys, in pieces as long as they come. It returns where that ends and
// how many attributes it left out.
func others(h []byte, to int, v View, run int, without [][]byte) (end, left int) {
	for at := len(v) - v.long(atAttrs); at < len(v); {
		head := binary.LittleEndian.Uint64(v[at:])
		value := at + attrHeader + int(uint16(head>>16))
		next := value + int(head>>32)
		for _, key := range without {
			if len(key) == int(uint16(head>>16)) && string(v[at+attrHeader:value]) == string(key) {
				to += copy(h[to:], v[run:at])
				run = next
				left++
				break
			}
		}
		at = next
	}
	return to + copy(h[to:], v[run:]), left
}
