package query

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"hash/fnv"
)

// maxLanes bounds the streams that one question may read.
const maxLanes = 256

// page is where a question goes on: what Runnel-Next carries, and the client
// gives back as the parameter cursor. It fixes what was relative or still growing when
// the first page was asked for: the times, and the end of each stream. So the pages together
// are exactly what the first one could have seen, whatever has been stored since.
type page struct {
	desc     bool
	from, to int64
	question [8]byte // what was asked, and of which store; see fingerprint
	lanes    []mark
}

// mark is what is left of one stream. Its name stands as a hash, so that many
// streams fit a header.
type mark struct {
	stream uint64
	lo, hi uint64
}

// pageVersion begins an encoded page.
const pageVersion = 1

// errPage: a cursor that no Runnel-Next has ever carried.
var errPage = errors.New("cursor is not one that Runnel-Next gave")

// encode returns p as text that needs no escaping in a URL:
// base64url(version u8, desc u8, question [8], from i64, to i64, count uvarint,
// count × (stream u64, lo uvarint, hi-lo uvarint)).
func (p page) encode() string {
	b := make([]byte, 0, 32+24*len(p.lanes))
	b = append(b, pageVersion, 0)
	if p.desc {
		b[1] = 1
	}
	b = append(b, p.question[:]...)
	b = binary.LittleEndian.AppendUint64(b, uint64(p.from))
	b = binary.LittleEndian.AppendUint64(b, uint64(p.to))
	b = binary.AppendUvarint(b, uint64(len(p.lanes)))
	for _, m := range p.lanes {
		b = binary.LittleEndian.AppendUint64(b, m.stream)
		b = binary.AppendUvarint(b, m.lo)
		b = binary.AppendUvarint(b, m.hi-m.lo)
	}
	return base64.RawURLEncoding.EncodeToString(b)
}

// decodePage reads what encode wrote, and nothing else.
func decodePage(text string) (page, error) {
	b, err := base64.RawURLEncoding.Strict().DecodeString(text)
	if err != nil || len(b) < 27 || b[0] != pageVersion || b[1] > 1 {
		return page{}, errPage
	}
	p := page{desc: b[1] == 1, question: [8]byte(b[2:10]),
		from: int64(binary.LittleEndian.Uint64(b[10:])), to: int64(binary.LittleEndian.Uint64(b[18:]))}
	b = b[26:]
	count, n := binary.Uvarint(b)
	if n <= 0 || count > maxLanes {
		return page{}, errPage
	}
	b = b[n:]
	for range count {
		if len(b) < 10 {
			return page{}, errPage
		}
		m := mark{stream: binary.LittleEndian.Uint64(b)}
		b = b[8:]
		var size uint64
		if m.lo, b, err = uvarint(b); err != nil {
			return page{}, err
		}
		if size, b, err = uvarint(b); err != nil || m.lo+size < m.lo {
			return page{}, errPage
		}
		m.hi = m.lo + size
		p.lanes = append(p.lanes, m)
	}
	if len(b) > 0 || p.from >= p.to {
		return page{}, errPage
	}
	return p, nil
}

func uvarint(b []byte) (uint64, []byte, error) {
	v, n := binary.Uvarint(b)
	if n <= 0 {
		return 0, nil, errPage
	}
	return v, b[n:], nil
}

// streamHash is what a mark knows of a stream's name.
func streamHash(name string) uint64 {
	h := fnv.New64a()
	h.Write([]byte(name)) //nolint:errcheck // never fails
	return h.Sum64()
}

// fingerprint tells questions apart: a cursor belongs to the one it was given
// for, asked of the same store, and of the same branch of its history.
func fingerprint(agent [16]byte, fork uint32, parts ...string) (f [8]byte) {
	h := sha256.New()
	h.Write(agent[:])                                    //nolint:errcheck // never fails
	h.Write(binary.LittleEndian.AppendUint32(nil, fork)) //nolint:errcheck // never fails
	for _, p := range parts {
		h.Write(binary.LittleEndian.AppendUint64(nil, uint64(len(p)))) //nolint:errcheck // never fails
		h.Write([]byte(p))                                             //nolint:errcheck // never fails
	}
	copy(f[:], h.Sum(nil))
	return f
}
