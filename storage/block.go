package storage

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"math"

	"github.com/klauspost/compress/s2"

	"github.com/runnel-log/runnel/record"
)

// entryVersion is the version of an entry's header (docs/format/storage.md "Entry").
const entryVersion = 1

// What an entry of a segment holds.
const (
	kindRecords = 1 // a compressed record batch
	kindState   = 2 // the state that moved with this commit
)

// How an entry's body is encoded.
const (
	codecNone = 0
	codecS2   = 1
	codecZstd = 2 // reserved: written by no build yet
)

// Where the fields of an entry's header are; docs/format/storage.md draws them.
const (
	atHeaderCRC   = 0
	atVersion     = 4
	atKind        = 5
	atHeaderLen   = 6
	atSequence    = 8
	atFirst       = 16
	atCount       = 24
	atRawLen      = 28
	atBodyLen     = 32
	atBodyCRC     = 36
	atMinTime     = 40
	atMaxTime     = 48
	atMinReceived = 56
	atMaxReceived = 64
	atArrival     = 72
	atEpoch       = 80
	atCodec       = 84
	atFlags       = 85
	atNameLen     = 86
	headerFixed   = 88
)

// What the later fields of a header are: each a kind, a length u16 and as many bytes.
const (
	fieldSum    = 1 // u64: of the block's last record at its offset
	fieldOrigin = 2 // agent [16], epoch u32, sequence u64, stream: of the block's first record

	fieldHeader    = 3
	fieldSumLen    = 8
	fieldOriginLen = 28 // and the stream
)

// Bounds on what a header may claim, so that a damaged or hostile file cannot
// make a reader reserve more than one record can need.
const (
	maxRaw  = record.MaxSize + record.BatchBytes
	maxName = 255
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

func checksum(b []byte) uint32 { return crc32.Checksum(b, castagnoli) }

// errDamaged: the bytes of an entry contradict their checksum or themselves.
var errDamaged = errors.New("damaged entry")

// times are the ranges that let a reader skip a block without opening it, all
// in nanoseconds since 1970 UTC.
type times struct {
	minTime, maxTime         int64 // of the events, or of receipt where none was stated
	minReceived, maxReceived int64
}

// timesOf reads the ranges of a batch that holds at least one record.
func timesOf(b *record.Batch) times {
	t := times{math.MaxInt64, math.MinInt64, math.MaxInt64, math.MinInt64}
	for i := range b.Len() {
		v := b.At(i)
		received := v.Received()
		when := v.Time()
		if when == record.NoTime {
			when = received
		}
		t.minTime, t.maxTime = min(t.minTime, when), max(t.maxTime, when)
		t.minReceived, t.maxReceived = min(t.minReceived, received), max(t.maxReceived, received)
	}
	return t
}

// header is the decoded header of an entry. stream is borrowed from the entry.
type header struct {
	kind, codec uint8
	size        int // of the header itself
	sequence    uint64
	first       uint64
	count       uint32
	rawLen      uint32
	bodyLen     uint32
	bodyCRC     uint32
	epoch       uint32
	times
	arrival int64
	stream  []byte
	later
}

// later are a header's later fields.
type later struct {
	sum    uint64        // of the last record at its offset (record.Digest); 0: not known
	origin record.Origin // of the first record whose encoding has none; zero: here. Its stream is borrowed from the entry
}

// headerSize is the length of the header that seal writes for a stream.
func headerSize(stream string, f *later) int {
	size := headerFixed + len(stream)
	if f.sum != 0 {
		size += fieldHeader + fieldSumLen
	}
	if !f.origin.IsZero() {
		size += fieldHeader + fieldOriginLen + len(f.origin.Stream)
	}
	return size
}

// append writes the fields behind what is there.
func (f *later) append(b []byte) []byte {
	le := binary.LittleEndian
	if f.sum != 0 {
		b = le.AppendUint64(le.AppendUint16(append(b, fieldSum), fieldSumLen), f.sum)
	}
	if o := &f.origin; !o.IsZero() {
		b = le.AppendUint16(append(b, fieldOrigin), uint16(fieldOriginLen+len(o.Stream)))
		b = le.AppendUint64(le.AppendUint32(append(b, o.Agent[:]...), o.Epoch), o.Sequence)
		b = append(b, o.Stream...)
	}
	return b
}

// parse reads the fields of a block of count records, and skips those it does not know.
func (f *later) parse(b []byte, count uint32) bool {
	le := binary.LittleEndian
	for len(b) > 0 {
		if len(b) < fieldHeader || len(b) < fieldHeader+int(le.Uint16(b[1:])) {
			return false
		}
		kind, value := b[0], b[fieldHeader:fieldHeader+int(le.Uint16(b[1:]))]
		b = b[fieldHeader+len(value):]
		switch kind {
		case fieldSum:
			if len(value) != fieldSumLen {
				return false
			}
			f.sum = le.Uint64(value)
		case fieldOrigin:
			if len(value) < fieldOriginLen || len(value) > fieldOriginLen+maxName {
				return false
			}
			f.origin = record.Origin{Agent: [16]byte(value), Epoch: le.Uint32(value[16:]), Sequence: le.Uint64(value[20:]), Stream: value[fieldOriginLen:]}
			if f.origin.IsZero() || f.origin.Sequence+uint64(count) < f.origin.Sequence {
				return false
			}
		}
	}
	return true
}

// seal writes h in front of the body that already lies in entry at
// headerSize(stream, &h.later), and both checksums.
func seal(entry []byte, h *header, stream string) {
	le := binary.LittleEndian
	size := headerSize(stream, &h.later)
	entry[atVersion], entry[atKind] = entryVersion, h.kind
	le.PutUint16(entry[atHeaderLen:], uint16(size))
	le.PutUint64(entry[atSequence:], h.sequence)
	le.PutUint64(entry[atFirst:], h.first)
	le.PutUint32(entry[atCount:], h.count)
	le.PutUint32(entry[atRawLen:], h.rawLen)
	le.PutUint32(entry[atBodyLen:], uint32(len(entry)-size))
	le.PutUint32(entry[atBodyCRC:], checksum(entry[size:]))
	le.PutUint64(entry[atMinTime:], uint64(h.minTime))
	le.PutUint64(entry[atMaxTime:], uint64(h.maxTime))
	le.PutUint64(entry[atMinReceived:], uint64(h.minReceived))
	le.PutUint64(entry[atMaxReceived:], uint64(h.maxReceived))
	le.PutUint64(entry[atArrival:], uint64(h.arrival))
	le.PutUint32(entry[atEpoch:], h.epoch)
	entry[atCodec], entry[atFlags] = h.codec, 0
	le.PutUint16(entry[atNameLen:], uint16(len(stream)))
	h.later.append(append(entry[:headerFixed], stream...))
	le.PutUint32(entry[atHeaderCRC:], checksum(entry[4:size]))
}

// parseHeader reads and checks the header that entry begins with. It does not
// look at the body: an index is rebuilt from headers alone.
func parseHeader(entry []byte, sequence uint64) (h header, err error) {
	if len(entry) < headerFixed {
		return h, errDamaged
	}
	le := binary.LittleEndian
	h.size = int(le.Uint16(entry[atHeaderLen:]))
	name := int(le.Uint16(entry[atNameLen:]))
	if h.size > len(entry) || headerFixed+name > h.size || name > maxName {
		return h, errDamaged
	}
	if checksum(entry[4:h.size]) != le.Uint32(entry[atHeaderCRC:]) {
		return h, errDamaged
	}
	if entry[atVersion] != entryVersion {
		return h, fmt.Errorf("entry version %d, this build reads %d", entry[atVersion], entryVersion)
	}
	h.kind, h.codec = entry[atKind], entry[atCodec]
	h.sequence, h.first = le.Uint64(entry[atSequence:]), le.Uint64(entry[atFirst:])
	h.count, h.rawLen = le.Uint32(entry[atCount:]), le.Uint32(entry[atRawLen:])
	h.bodyLen, h.bodyCRC = le.Uint32(entry[atBodyLen:]), le.Uint32(entry[atBodyCRC:])
	h.minTime, h.maxTime = int64(le.Uint64(entry[atMinTime:])), int64(le.Uint64(entry[atMaxTime:]))
	h.minReceived, h.maxReceived = int64(le.Uint64(entry[atMinReceived:])), int64(le.Uint64(entry[atMaxReceived:]))
	h.arrival, h.epoch = int64(le.Uint64(entry[atArrival:])), le.Uint32(entry[atEpoch:])
	h.stream = entry[headerFixed : headerFixed+name]
	// A page copied over another carries a good checksum and the wrong sequence.
	if h.sequence != sequence || h.rawLen > maxRaw || uint64(h.size)+uint64(h.bodyLen) != uint64(len(entry)) {
		return h, errDamaged
	}
	if h.kind == kindRecords && (h.count == 0 || h.first == 0 || h.first+uint64(h.count) < h.first || name == 0) {
		return h, errDamaged
	}
	if !h.later.parse(entry[headerFixed+name:h.size], h.count) {
		return h, errDamaged
	}
	return h, nil
}

// open checks the whole entry and returns its header and its encoded body.
func open(entry []byte, sequence uint64) (header, []byte, error) {
	h, err := parseHeader(entry, sequence)
	if err != nil {
		return h, nil, err
	}
	body := entry[h.size:]
	if checksum(body) != h.bodyCRC {
		return h, nil, errDamaged
	}
	return h, body, nil
}

// decodeRecords makes b the batch that an entry's body encodes, in b's own memory.
func decodeRecords(h *header, body []byte, b *record.Batch) error {
	switch h.codec {
	case codecNone:
		if len(body) != int(h.rawLen) {
			return errDamaged
		}
	case codecS2:
		if n, err := s2.DecodedLen(body); err != nil || n != int(h.rawLen) {
			return errDamaged
		}
	default:
		return fmt.Errorf("block codec %d is unknown to this build", h.codec)
	}
	raw := b.Room(int(h.rawLen))
	if h.codec == codecNone {
		copy(raw, body)
	} else if _, err := s2.Decode(raw, body); err != nil {
		b.Reset()
		return errDamaged
	}
	if err := b.Decode(raw); err != nil {
		return fmt.Errorf("%w: %w", errDamaged, err)
	}
	if b.Len() != int(h.count) {
		b.Reset()
		return errDamaged
	}
	if err := b.Stamp(&h.origin); err != nil {
		b.Reset()
		return fmt.Errorf("%w: %w", errDamaged, err)
	}
	return nil
}
