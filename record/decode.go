package record

import (
	"encoding/binary"
	"errors"
	"fmt"
)

// Decode makes b the batch that p encodes. It checks every length, count and
// attribute before anything can be read, and keeps p: the caller gives p away.
// It returns an error, and leaves b empty, if p is not exactly one well-formed
// batch of a known version.
func (b *Batch) Decode(p []byte) error {
	b.buf, b.ends = b.buf[:0], b.ends[:0]
	if len(p) < BatchHeaderSize || string(p[:2]) != batchMagic {
		return errors.New("not a record batch")
	}
	le := binary.LittleEndian
	if version := le.Uint16(p[2:]); version != Version {
		return fmt.Errorf("batch version %d, this build reads %d", version, Version)
	}
	count := uint64(le.Uint32(p[8:]))
	if uint64(le.Uint32(p[4:])) != uint64(len(p)) || le.Uint32(p[12:]) != 0 || count*headerSize > uint64(len(p)) || count == 0 {
		return fmt.Errorf("batch header of %d records does not fit %d bytes", count, len(p))
	}
	at := uint64(BatchHeaderSize)
	for i := range count {
		size, err := validRecord(p[at:])
		if err != nil {
			b.ends = b.ends[:0]
			return fmt.Errorf("record %d: %w", i, err)
		}
		at += uint64(size)
		b.ends = append(b.ends, uint32(at))
	}
	if at != uint64(len(p)) {
		b.ends = b.ends[:0]
		return fmt.Errorf("%d bytes after the last record", uint64(len(p))-at)
	}
	b.buf = p
	return nil
}

// ErrRecord: the bytes of a record contradict its own lengths.
var ErrRecord = errors.New("malformed record encoding")

// validRecord checks the record that p begins with and returns its size.
func validRecord(p []byte) (int, error) {
	if len(p) < headerSize {
		return 0, ErrRecord
	}
	le := binary.LittleEndian
	size := uint64(le.Uint32(p[atSize:]))
	if size < headerSize || size > uint64(len(p)) || size > MaxSize {
		return 0, ErrRecord
	}
	sum := uint64(headerSize)
	for at := atHost; at <= atOrigin; at += 2 {
		sum += uint64(le.Uint16(p[at:]))
	}
	attrs := uint64(le.Uint32(p[atAttrs:]))
	sum += uint64(le.Uint32(p[atSD:])) + uint64(le.Uint32(p[atMessage:])) + attrs
	if sum != size || !validOrigin(View(p[:size])) {
		return 0, ErrRecord
	}
	if (p[atSeverity] > 7 && p[atSeverity] != Absent) || (p[atFacility] > 23 && p[atFacility] != Absent) {
		return 0, ErrRecord
	}
	if !validAttrs(p[size-attrs:size], int(le.Uint16(p[atAttrCount:]))) {
		return 0, ErrRecord
	}
	return int(size), nil
}

// validOrigin reports whether v's origin is absent, or whole and not zero: a
// zero origin has one form, the absent one.
func validOrigin(v View) bool {
	n := v.short(atOrigin)
	if n == 0 {
		return true
	}
	if n < originHeader {
		return false
	}
	o := v.Origin()
	return !o.IsZero()
}
