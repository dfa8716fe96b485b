package record

import "encoding/binary"

// AppendEdited copies v to the end of b without its attributes of the keys
// given, and with others after those that are left: attrs holds them encoded
// (docs/format/record.md "Attributes"), and v has none of their keys but such
// as are left out. If stream is not nil it takes the place of v's. It returns the
// errors of Append, and leaves b as it was, when the record would not fit; it
// trusts attrs to be well-formed.
//
// It is Decode, Attrs.Delete, Attrs.Set and Append without taking the record
// apart, for changes that AppendExtended cannot make: a new name for an
// attribute, or a new value.
func (b *Batch) AppendEdited(v View, stream []byte, without, attrs [][]byte) error {
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
	list := len(v) - v.long(atAttrs)
	if stream == nil {
		b.buf = append(b.buf, v[:list]...)
	} else {
		at := headerSize + v.short(atHost) + v.short(atApp) + v.short(atProcID) + v.short(atMsgID)
		b.buf = append(b.buf, v[:at]...)
		b.buf = append(b.buf, stream...)
		b.buf = append(b.buf, v[at+v.short(atStream):list]...)
		binary.LittleEndian.PutUint16(b.buf[from+atStream:], uint16(len(stream)))
	}
	begin := len(b.buf)
	n := v.short(atAttrCount) - b.appendOthers(v, list, without) + len(attrs)
	for _, a := range attrs {
		b.buf = append(b.buf, a...)
	}
	size, err := len(b.buf)-from, error(nil)
	switch {
	case size > MaxSize:
		err = ErrTooLarge
	case n > MaxField:
		err = ErrFieldTooLong
	}
	if err != nil {
		b.buf = b.buf[:was]
		return err
	}
	h := b.buf[from:]
	binary.LittleEndian.PutUint32(h[atSize:], uint32(size))
	binary.LittleEndian.PutUint16(h[atAttrCount:], uint16(n))
	binary.LittleEndian.PutUint32(h[atAttrs:], uint32(len(b.buf)-begin))
	b.ends = append(b.ends, uint32(len(b.buf)))
	return nil
}

// appendOthers copies the attributes of v, which begin at list, that have none of
// the keys, in runs as long as they come; it returns how many it left out.
func (b *Batch) appendOthers(v View, list int, without [][]byte) (left int) {
	run := list
	for at := list; at < len(v); {
		h := binary.LittleEndian.Uint64(v[at:])
		value := at + attrHeader + int(uint16(h>>16))
		end := value + int(h>>32)
		for _, key := range without {
			if len(key) == int(uint16(h>>16)) && string(v[at+attrHeader:value]) == string(key) {
				b.buf = append(b.buf, v[run:at]...)
				run = end
				left++
				break
			}
		}
		at = end
	}
	b.buf = append(b.buf, v[run:]...)
	return left
}
