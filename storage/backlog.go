package storage

import "time"

// Backlog is what of a stream a reader has still before it, and what that is
// measured against: from there on retention takes records that the reader has not
// had, or the stream takes no more.
type Backlog struct {
	Records uint64        // at the offset and behind it, those that damage took among them
	Bytes   int64         // on disk, of the stream's blocks from there on; part of a block counts in part
	Age     time.Duration // since the first of them was stored, by this store's clock; 0 without any
	Stream  int64         // bytes on disk of the whole stream
	Held    int64         // bytes of all segments from that on which holds the first of them
	Limit   int64         // what all segments may have: by MaxSize, and by the disk
	Policy  Policy        // of the stream
	Oldest  bool          // the first of them is in the stream's oldest block: what cannot go, as this is to come
}

// Backlog returns what stream has from offset at on.
func (s *Store) Backlog(stream string, at uint64) Backlog {
	s.mu.RLock()
	defer s.mu.RUnlock()
	b := Backlog{Limit: s.limit, Policy: s.options.Policy(stream)}
	st := s.streams[stream]
	if st == nil {
		return b
	}
	b.Policy, b.Stream = st.policy, st.bytes
	r, i, ok := st.find(at)
	if !ok {
		return b
	}
	at = max(at, st.first)
	b.Records = st.next - at
	h := &r.heads[i]
	b.Age = max(0, time.Duration(max(s.latest, s.now())-h.arrival))
	b.Bytes, b.Oldest = st.bytesFrom(r, i), i == 0 && r == st.runs[0]
	if at > h.first {
		b.Bytes -= int64(h.size) * int64(at-h.first) / int64(h.count)
	}
	for n := len(s.segments) - 1; n >= 0; n-- {
		g := s.segments[n]
		if g.live > 0 || !g.sealed {
			b.Held += g.size.Load()
		}
		if g == r.seg {
			break
		}
	}
	return b
}

// bytesFrom adds up the blocks of a stream from one on: those, or all others,
// whichever are fewer. Store.mu is held.
func (st *stream) bytesFrom(from *run, i int) int64 {
	before, behind, seen := i, len(from.heads)-i, false
	for _, r := range st.runs {
		switch {
		case r == from:
			seen = true
		case seen:
			behind += len(r.heads)
		default:
			before += len(r.heads)
		}
	}
	sum := func(heads []head) (n int64) {
		for j := range heads {
			n += int64(heads[j].size)
		}
		return n
	}
	low, high := sum(from.heads[:i]), int64(0)
	if behind < before {
		low, high = 0, sum(from.heads[i:])
	}
	seen = false
	for _, r := range st.runs {
		switch {
		case r == from:
			seen = true
		case seen && behind < before:
			high += sum(r.heads)
		case !seen && behind >= before:
			low += sum(r.heads)
		}
	}
	if behind < before {
		return high
	}
	return st.bytes - low
}
