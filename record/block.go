package record

import (
	"encoding/binary"
	"hash/crc32"
)

// Block is an encoded batch as it lies in a store, and goes from agent to agent: compressed,
// and not looked into on its way.
type Block struct {
	Body  []byte // an s2 block; who has it decompressed has what Batch.Bytes returned
	Count int    // records
	Raw   int    // bytes of the encoded batch
	Sum   uint64 // of its last record at its offset (Digest.Sum), with its origin; 0: nobody has said
	// Origin is that of the first record; the ith has Sequence+i. A record whose encoding has
	// an origin keeps that. Zero: those that have none in their encoding are from here.
	Origin Origin
}

// Digest is what a checksum says of a record wherever it lies.
type Digest uint64

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// DigestOf is of the record as its store hands it out. If o is neither nil nor zero, and v has no
// origin, it is of v with the origin o: what Stamp makes of it.
func DigestOf(v View, o *Origin) Digest {
	if o == nil || !v.takes(o) {
		return Digest(crc32.Update(0, castagnoli, v))<<32 | Digest(crc32.Update(0, crc32.IEEETable, v))
	}
	var head [headerSize]byte
	copy(head[:], v)
	size := originHeader + len(o.Stream)
	binary.LittleEndian.PutUint32(head[atSize:], uint32(len(v)+size))
	binary.LittleEndian.PutUint16(head[atOrigin:], uint16(size))
	var origin [originHeader]byte
	o.header(origin[:])
	at := v.beforeOrigin()
	c, i := uint32(0), uint32(0)
	for _, part := range [...][]byte{head[:], v[headerSize:at], origin[:], o.Stream, v[at:]} {
		c, i = crc32.Update(c, castagnoli, part), crc32.Update(i, crc32.IEEETable, part)
	}
	return Digest(c)<<32 | Digest(i)
}

// Sum is the checksum of the record at an offset of its line: never 0.
func (d Digest) Sum(offset uint64) uint64 {
	var at [8]byte
	binary.LittleEndian.PutUint64(at[:], offset)
	c := crc32.Update(uint32(d>>32), castagnoli, at[:])
	return max(1, uint64(c)<<32|uint64(crc32.Update(uint32(d), crc32.IEEETable, at[:])))
}

// Stamp puts the origin o into the first record, and into the ith the one at Sequence+i, where
// a record has none. At the size limit of a record it is left without.
func (b *Batch) Stamp(o *Origin) error {
	if o.IsZero() || len(b.ends) == 0 {
		return nil
	}
	size := originHeader + len(o.Stream)
	if size > MaxField {
		return ErrFieldTooLong
	}
	more := 0
	for i := range b.ends {
		if b.At(i).takes(o) {
			more += size
		}
	}
	if !b.fits(more) {
		return ErrBatchFull
	}
	old := len(b.buf)
	b.grow(more)
	one := *o
	// From the end, so that nothing is written over that is to be moved yet.
	for i := len(b.ends) - 1; more > 0; i-- {
		v := View(b.buf[:old:old])
		from := BatchHeaderSize
		if i > 0 {
			from = int(b.ends[i-1])
		}
		v = v[from:]
		b.ends[i] = uint32(old + more)
		if !v.takes(o) {
			copy(b.buf[from+more:], v)
			old = from
			continue
		}
		at := v.beforeOrigin()
		to := b.buf[from+more-size : old+more]
		copy(to[at+size:], v[at:])
		copy(to, v[:at])
		one.Sequence = o.Sequence + uint64(i)
		one.put(to[at:])
		binary.LittleEndian.PutUint32(to[atSize:], uint32(len(to)))
		binary.LittleEndian.PutUint16(to[atOrigin:], uint16(size))
		old, more = from, more-size
	}
	return nil
}

// takes reports whether v has no origin, and room for o.
func (v View) takes(o *Origin) bool {
	return v.short(atOrigin) == 0 && !o.IsZero() && len(v)+originHeader+len(o.Stream) <= MaxSize
}

// Bare reports whether no record has an origin or a stream in its encoding.
func (b *Batch) Bare() bool {
	any := 0
	for i := range b.ends {
		v := b.At(i)
		any |= v.short(atOrigin) | v.short(atStream)
	}
	return any == 0
}
