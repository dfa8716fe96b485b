package storage

import (
	"slices"

	"github.com/klauspost/compress/s2"

	"github.com/runnel-log/runnel/record"
)

// wholeLeast is the number of records, and wholeBytes that of bytes, from which a block that came
// whole is kept so; a smaller one is put together with others.
const (
	wholeLeast = 64
	wholeBytes = 64 << 10
)

// settle decides whether the unit's batch is kept as the block that it came in; otherwise its
// records get their origins, and there is no block any more.
func (u *Unit) settle() error {
	k := u.Block
	if k == nil {
		return nil
	}
	if len(u.Batches) != 1 {
		panic("bug: a block and more than its batch in one unit")
	}
	b := u.Batches[0].Records
	if !keeps(k, b) {
		u.Block = nil
		return b.Stamp(&k.Origin)
	}
	own := *k
	own.Origin.Stream = slices.Clone(k.Origin.Stream)
	u.Block = &own
	return nil
}

// keeps reports whether the block that is b compressed is worth keeping, and can be.
func keeps(k *record.Block, b *record.Batch) bool {
	large := b.Len() >= wholeLeast || b.Size() >= wholeBytes
	fits := b.Len() == 1 || b.Len() <= 2*record.BatchRecords && b.Size() <= 2*record.BatchBytes // or it would be cut
	if !large || !fits || len(k.Body) >= b.Size() || len(k.Origin.Stream) > maxName || k.Origin.Child != 0 {
		return false
	}
	if last := k.Origin.Sequence + uint64(b.Len()); last < k.Origin.Sequence {
		return false
	}
	n, err := s2.DecodedLen(k.Body)
	return err == nil && n == b.Size()
}

// Block fills k with the block that holds offset at, or the next one behind it, as it lies on disk, and
// returns the offset of its first record and the epoch under which it was written. ok is false where there
// is none, or it is not to be had like that: it is damaged, older than sums, or no s2 block. Read says more
// of that. k owns what it is filled with: the memory of k.Body and k.Origin.Stream is used again.
func (s *Store) Block(stream string, at uint64, k *record.Block) (first uint64, epoch uint32, ok bool) {
	s.mu.RLock()
	st := s.streams[stream]
	if st == nil {
		s.mu.RUnlock()
		return 0, 0, false
	}
	r, i, found := st.find(at)
	if !found {
		s.mu.RUnlock()
		return 0, 0, false
	}
	first, epoch = r.heads[i].first, r.epoch
	seg, sequence := r.seg, r.seg.base+uint64(r.heads[i].sequence)
	s.mu.RUnlock()
	buf := blocks.Get().(*[]byte)
	defer func() {
		if cap(*buf) <= 1<<20 {
			blocks.Put(buf)
		}
	}()
	entry, err := seg.read(sequence, (*buf)[:0])
	if err != nil {
		return 0, 0, false
	}
	*buf = entry
	h, body, err := open(entry, sequence)
	if err != nil || h.kind != kindRecords || h.codec != codecS2 || h.sum == 0 || h.first != first || h.epoch != epoch || string(h.stream) != stream {
		return 0, 0, false
	}
	name := append(k.Origin.Stream[:0], h.origin.Stream...)
	k.Body, k.Count, k.Raw, k.Sum, k.Origin = append(k.Body[:0], body...), int(h.count), int(h.rawLen), h.sum, h.origin
	k.Origin.Stream = name
	return first, epoch, true
}

// Unpack makes b what Read would give of the block: checked, and each record with its origin.
func Unpack(k *record.Block, b *record.Batch) error {
	h := header{codec: codecS2, count: uint32(k.Count), rawLen: uint32(k.Raw), later: later{origin: k.Origin}}
	return decodeRecords(&h, k.Body, b)
}
