package record

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"sync"
)

// Version is the version of the encoding, written in every batch header.
const Version = 1

// The header of an encoded batch: "rb", version u16, size u32 (header
// included), count u32, zero u32.
const (
	batchMagic      = "rb"
	BatchHeaderSize = 16
)

// Errors of Append. Each asks the caller to keep the record in another shape.
var (
	// ErrFieldTooLong: a header field or attribute key is beyond MaxField.
	ErrFieldTooLong = errors.New("field longer than 65535 bytes")
	// ErrTooLarge: the encoded record would be beyond MaxSize.
	ErrTooLarge = fmt.Errorf("record larger than %d bytes", MaxSize)
	// ErrAttribute: an attribute was set to bytes that its kind cannot have.
	ErrAttribute = errors.New("attribute value does not fit its kind")
	// ErrBatchFull: the batch would be beyond the 4 GiB its header can state.
	// A caller that looks at Full never sees it.
	ErrBatchFull = errors.New("batch larger than 4 GiB")
)

// Batch is an ordered run of encoded records. The zero value is empty and
// ready to use. A Batch has one owner at a time; it is not safe for concurrent
// use while it is being filled.
type Batch struct {
	buf  []byte   // header and records, once anything was appended
	ends []uint32 // where each record ends in buf
}

var pool = sync.Pool{New: func() any { return new(Batch) }}

// NewBatch takes an empty batch from the pool.
func NewBatch() *Batch { return pool.Get().(*Batch) }

// Release empties b and puts it back; the caller and every View of it must be
// done with it. A batch that had grown far beyond BatchBytes is left to the
// collector.
func (b *Batch) Release() {
	if cap(b.buf) > 4*BatchBytes {
		return
	}
	b.Reset()
	pool.Put(b)
}

// Reset empties b and keeps its memory.
func (b *Batch) Reset() { b.buf, b.ends = b.buf[:0], b.ends[:0] }

// Len returns the number of records.
func (b *Batch) Len() int { return len(b.ends) }

// Size returns the number of encoded bytes, header included; 0 when empty.
func (b *Batch) Size() int { return len(b.buf) }

// Full reports whether b has reached BatchRecords or BatchBytes.
func (b *Batch) Full() bool { return len(b.ends) >= BatchRecords || len(b.buf) >= BatchBytes }

// At returns the ith record, borrowed until b is reset, released or appended to.
func (b *Batch) At(i int) View {
	from := uint32(BatchHeaderSize)
	if i > 0 {
		from = b.ends[i-1]
	}
	return View(b.buf[from:b.ends[i]:b.ends[i]])
}

// Bytes returns the encoded batch, borrowed like At. It is nil for an empty batch.
func (b *Batch) Bytes() []byte {
	if len(b.ends) == 0 {
		return nil
	}
	binary.LittleEndian.PutUint32(b.buf[4:], uint32(len(b.buf)))
	binary.LittleEndian.PutUint32(b.buf[8:], uint32(len(b.ends)))
	return b.buf
}

// start writes the header before the first record.
func (b *Batch) start() {
	if len(b.buf) == 0 {
		b.buf = append(b.buf, batchMagic...)
		b.buf = append(b.buf, Version, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0)
	}
}

// mustFit stops a caller that never looks at Full: offsets are 32 bits wide.
func (b *Batch) mustFit(size int) {
	if !b.fits(size) {
		panic("bug: batch grown beyond 4 GiB; its owner does not look at Full")
	}
}

func (b *Batch) fits(size int) bool {
	return uint64(len(b.buf))+BatchHeaderSize+uint64(size) <= math.MaxUint32
}

// Truncate drops the records from the nth on.
func (b *Batch) Truncate(n int) {
	if n >= len(b.ends) {
		return
	}
	if n <= 0 {
		b.Reset()
		return
	}
	b.buf, b.ends = b.buf[:b.ends[n-1]], b.ends[:n]
}

// AppendView copies one encoded record to the end of b.
func (b *Batch) AppendView(v View) {
	b.mustFit(len(v))
	b.start()
	b.buf = append(b.buf, v...)
	b.ends = append(b.ends, uint32(len(b.buf)))
}

// AppendBatch copies records from to to (exclusive) of other to the end of b.
func (b *Batch) AppendBatch(other *Batch, from, to int) {
	if from >= to {
		return
	}
	at := uint32(BatchHeaderSize)
	if from > 0 {
		at = other.ends[from-1]
	}
	b.mustFit(int(other.ends[to-1] - at))
	b.start()
	shift := uint32(len(b.buf)) - at
	b.buf = append(b.buf, other.buf[at:other.ends[to-1]]...)
	for _, end := range other.ends[from:to] {
		b.ends = append(b.ends, end+shift)
	}
}

// Append encodes r at the end of b. A severity or facility that RFC 5424 does
// not have is stored as Absent. It returns one of the errors above, and leaves b
// as it was, when r cannot be encoded.
func (b *Batch) Append(r *Record) error {
	originLen := 0
	if !r.Origin.IsZero() {
		originLen = originHeader + len(r.Origin.Stream)
	}
	// One comparison for all: lengths are never negative, so OR shows any that is too long.
	if longest := len(r.Host) | len(r.App) | len(r.ProcID) | len(r.MsgID) | len(r.Stream) | len(r.Input) |
		len(r.Peer) | len(r.Agent) | originLen | r.Attrs.n; longest > MaxField {
		return ErrFieldTooLong
	}
	size := headerSize + len(r.Host) + len(r.App) + len(r.ProcID) + len(r.MsgID) + len(r.Stream) + len(r.Input) +
		len(r.Peer) + len(r.Agent) + originLen + len(r.SD) + len(r.Message) + len(r.Attrs.buf)
	if size > MaxSize {
		return ErrTooLarge
	}
	if r.Attrs.fault != nil {
		return r.Attrs.fault
	}
	if !b.fits(size) {
		return ErrBatchFull
	}
	b.start()
	h := b.grow(size)
	le := binary.LittleEndian
	le.PutUint32(h[atSize:], uint32(size))
	h[atSeverity], h[atFacility] = Absent, Absent
	if r.Severity <= 7 {
		h[atSeverity] = r.Severity
	}
	if r.Facility <= 23 {
		h[atFacility] = r.Facility
	}
	le.PutUint16(h[atFlags:], uint16(r.Flags))
	le.PutUint64(h[atTime:], uint64(r.Time))
	le.PutUint64(h[atReceived:], uint64(r.Received))
	le.PutUint16(h[atHost:], uint16(len(r.Host)))
	le.PutUint16(h[atApp:], uint16(len(r.App)))
	le.PutUint16(h[atProcID:], uint16(len(r.ProcID)))
	le.PutUint16(h[atMsgID:], uint16(len(r.MsgID)))
	le.PutUint16(h[atStream:], uint16(len(r.Stream)))
	le.PutUint16(h[atInput:], uint16(len(r.Input)))
	le.PutUint16(h[atPeer:], uint16(len(r.Peer)))
	le.PutUint16(h[atAgent:], uint16(len(r.Agent)))
	le.PutUint16(h[atOrigin:], uint16(originLen))
	le.PutUint16(h[atAttrCount:], uint16(r.Attrs.n))
	le.PutUint32(h[atSD:], uint32(len(r.SD)))
	le.PutUint32(h[atMessage:], uint32(len(r.Message)))
	le.PutUint32(h[atAttrs:], uint32(len(r.Attrs.buf)))
	at := headerSize
	at += copy(h[at:], r.Host)
	at += copy(h[at:], r.App)
	at += copy(h[at:], r.ProcID)
	at += copy(h[at:], r.MsgID)
	at += copy(h[at:], r.Stream)
	at += copy(h[at:], r.Input)
	at += copy(h[at:], r.Peer)
	at += copy(h[at:], r.Agent)
	if originLen > 0 {
		at += r.Origin.put(h[at:])
	}
	at += copy(h[at:], r.SD)
	at += copy(h[at:], r.Message)
	copy(h[at:], r.Attrs.buf)
	b.ends = append(b.ends, uint32(len(b.buf)))
	return nil
}

// grow lengthens buf by size bytes and returns them.
func (b *Batch) grow(size int) []byte {
	at := len(b.buf)
	if at+size > cap(b.buf) {
		b.buf = append(b.buf, make([]byte, size)...)
	} else {
		b.buf = b.buf[:at+size]
	}
	return b.buf[at:]
}

func (o *Origin) put(h []byte) int {
	o.header(h)
	return originHeader + copy(h[originHeader:], o.Stream)
}

// header writes all but the stream.
func (o *Origin) header(h []byte) {
	copy(h, o.Agent[:])
	binary.LittleEndian.PutUint32(h[16:], o.Epoch)
	binary.LittleEndian.PutUint32(h[20:], o.Child)
	binary.LittleEndian.PutUint64(h[24:], o.Sequence)
}

// Room empties b and returns size bytes of its own memory, to be filled and
// given to Decode: a batch that is decoded into again and again then allocates
// nothing.
func (b *Batch) Room(size int) []byte {
	b.Reset()
	return b.grow(size)[:size:size]
}
