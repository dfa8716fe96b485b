package record

import "encoding/binary"

// AppendRelayed copies v to the end of b, routed nowhere, and gives it the origin o if
// it has none: as it is kept by an agent that has it from another. It returns the errors of
// Append, and leaves b as it was, when the record would not fit.
func (b *Batch) AppendRelayed(v View, o *Origin) error {
	stream, origin := v.short(atStream), 0
	if v.short(atOrigin) == 0 && !o.IsZero() {
		origin = originHeader + len(o.Stream)
	}
	size := len(v) - stream + origin
	switch {
	case origin > MaxField:
		return ErrFieldTooLong
	case size > MaxSize:
		return ErrTooLarge
	case !b.fits(size):
		return ErrBatchFull
	}
	b.start()
	h := b.grow(size)
	at := headerSize + v.short(atHost) + v.short(atApp) + v.short(atProcID) + v.short(atMsgID)
	to := copy(h, v[:at])
	at += stream
	if origin > 0 {
		end := at + v.short(atInput) + v.short(atPeer) + v.short(atAgent)
		to += copy(h[to:], v[at:end])
		to += o.put(h[to:])
		at = end
		binary.LittleEndian.PutUint16(h[atOrigin:], uint16(origin))
	}
	copy(h[to:], v[at:])
	binary.LittleEndian.PutUint16(h[atStream:], 0)
	binary.LittleEndian.PutUint32(h[atSize:], uint32(size))
	b.ends = append(b.ends, uint32(len(b.buf)))
	return nil
}
