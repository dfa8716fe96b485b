package record

import "encoding/binary"

// AppendFlagged copies one encoded record to the end of b and adds flags to
// those it has.
func (b *Batch) AppendFlagged(v View, flags Flags) {
	b.AppendView(v)
	h := b.buf[len(b.buf)-len(v):]
	binary.LittleEndian.PutUint16(h[atFlags:], uint16(v.Flags()|flags))
}

// AppendRouted copies one encoded record to the end of b and sets its stream;
// an empty one takes the record's stream away. Errors are those of Append.
func (b *Batch) AppendRouted(v View, stream string) error {
	return b.appendPatched(v, bytesOf(stream), nil, 0)
}

// AppendExtended copies v to the end of b with more attributes after its own:
// attrs holds n of them, encoded (docs/format/record.md "Attributes"), and v
// has none of their keys. If stream is not nil it takes the place of v's. It
// returns the errors of Append, and leaves b as it was, when the record would
// not fit; it trusts attrs to be well-formed.
//
// It is Decode, Attrs.Set and Append without taking the record apart: most
// guests change a record in just this way.
func (b *Batch) AppendExtended(v View, stream, attrs []byte, n int) error {
	if stream != nil {
		return b.appendPatched(v, stream, attrs, n)
	}
	size := len(v) + len(attrs)
	if v.short(atAttrCount)+n > MaxField {
		return ErrFieldTooLong
	}
	if size > MaxSize {
		return ErrTooLarge
	}
	if !b.fits(size) {
		return ErrBatchFull
	}
	b.start()
	h := b.grow(size)
	copy(h, v)
	copy(h[len(v):], attrs)
	b.count(h, size, len(attrs), n)
	return nil
}

// HasAttr reports whether the record has an attribute of that name.
func (v View) HasAttr(key []byte) bool {
	for at := len(v) - v.long(atAttrs); at < len(v); {
		h := binary.LittleEndian.Uint64(v[at:])
		value := at + attrHeader + int(uint16(h>>16))
		if int(uint16(h>>16)) == len(key) && string(v[at+attrHeader:value]) == string(key) {
			return true
		}
		at = value + int(h>>32)
	}
	return false
}

// RawAttr returns the attribute of that name as encoded (docs/format/record.md
// "Attributes"), borrowed from v; false if there is none.
func (v View) RawAttr(key []byte) ([]byte, bool) {
	for at := len(v) - v.long(atAttrs); at < len(v); {
		h := binary.LittleEndian.Uint64(v[at:])
		value := at + attrHeader + int(uint16(h>>16))
		end := value + int(h>>32)
		if int(uint16(h>>16)) == len(key) && string(v[at+attrHeader:value]) == string(key) {
			return v[at:end:end], true
		}
		at = end
	}
	return nil, false
}

// count writes the sizes into h, a copied record that n attributes of so many
// bytes were added to, and ends it.
func (b *Batch) count(h []byte, size, bytes, n int) {
	v := View(h)
	binary.LittleEndian.PutUint32(h[atSize:], uint32(size))
	binary.LittleEndian.PutUint16(h[atAttrCount:], uint16(v.short(atAttrCount)+n))
	binary.LittleEndian.PutUint32(h[atAttrs:], uint32(v.long(atAttrs)+bytes))
	b.ends = append(b.ends, uint32(len(b.buf)))
}

// appendPatched copies v with another stream and with n more attributes.
func (b *Batch) appendPatched(v View, stream, attrs []byte, n int) error {
	if len(stream)|(v.short(atAttrCount)+n) > MaxField {
		return ErrFieldTooLong
	}
	was := v.short(atStream)
	size := len(v) + len(stream) - was + len(attrs)
	if size > MaxSize {
		return ErrTooLarge
	}
	if !b.fits(size) {
		return ErrBatchFull
	}
	b.start()
	at := headerSize + v.short(atHost) + v.short(atApp) + v.short(atProcID) + v.short(atMsgID)
	from := len(b.buf)
	b.buf = append(b.buf, v[:at]...)
	b.buf = append(b.buf, stream...)
	b.buf = append(b.buf, v[at+was:]...)
	b.buf = append(b.buf, attrs...)
	h := b.buf[from:]
	binary.LittleEndian.PutUint16(h[atStream:], uint16(len(stream)))
	b.count(h, size, len(attrs), n)
	return nil
}
