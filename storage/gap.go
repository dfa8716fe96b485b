package storage

import (
	"encoding/binary"
	"slices"
	"strings"
	"time"
)

// Gap is a range of offsets whose records damage took. It stands until retention
// has passed it.
type Gap struct {
	Stream   string
	From, To uint64    // the offsets, without To
	Found    time.Time // when that was noticed
}

// stateGap is the kind of state that notes a gap. Key: stream, NUL, from u64 (big
// endian); value: to u64, when it was found i64, reason u64 (1: damage).
const (
	stateGap  = "g"
	gapDamage = 1
)

func (g *Gap) change() Change {
	key := append([]byte(stateGap+g.Stream), 0)
	return Change{string(binary.BigEndian.AppendUint64(key, g.From)), numbers(g.To, uint64(g.Found.UnixNano()), gapDamage)}
}

// parseGap is the inverse of change; ok is false for what no build of this format wrote.
func parseGap(key string, value []byte) (g Gap, ok bool) {
	end := len(key) - 9
	if end < 1 || key[end] != 0 || len(value) < 16 {
		return g, false
	}
	g = Gap{key[1:end], binary.BigEndian.Uint64([]byte(key[end+1:])), number(value, 0), time.Unix(0, int64(number(value, 1)))}
	return g, g.From < g.To
}

// Gaps returns the gaps that damage left in the streams, by stream and offset.
// A record of a gap was stored and cannot be read any more; Read skips it.
func (s *Store) Gaps() []Gap {
	s.mu.RLock()
	first := make(map[string]uint64, len(s.streams))
	for _, st := range s.streams {
		first[st.name] = st.first
	}
	s.mu.RUnlock()
	var gaps []Gap
	for key, value := range s.staged(stateGap) {
		if g, ok := parseGap(key, value); ok && g.To > first[g.Stream] {
			g.From = max(g.From, first[g.Stream])
			gaps = append(gaps, g)
		}
	}
	slices.SortFunc(gaps, func(a, b Gap) int {
		if a.Stream != b.Stream {
			return strings.Compare(a.Stream, b.Stream)
		}
		if a.From < b.From {
			return -1
		}
		return 1
	})
	return gaps
}

// holes calls f with every range of offsets between the floor and the end of the
// stream that no block has, in order. Store.mu is held.
func (st *stream) holes(f func(from, to uint64)) {
	next := st.first
	for _, r := range st.runs {
		for i := range r.heads {
			if h := &r.heads[i]; h.first > next {
				f(next, h.first)
			}
			next = r.heads[i].next()
		}
	}
	if st.next > next {
		f(next, st.next)
	}
}

// hole returns the hole that offset at lies in. Store.mu is held.
func (st *stream) hole(at uint64) (from, to uint64, ok bool) {
	if at < st.first || at >= st.next {
		return 0, 0, false
	}
	from, to = st.first, st.next
	r, i, found := st.find(at)
	if found {
		if to = r.heads[i].first; to <= at {
			return 0, 0, false
		}
	}
	if before, ok := st.before(at); ok {
		from = before.next()
	}
	return from, to, true
}

// before returns the last block that ends at or before offset at.
func (st *stream) before(at uint64) (*head, bool) {
	for _, r := range slices.Backward(st.runs) {
		if r.heads[0].next() > at {
			continue
		}
		i, _ := slices.BinarySearchFunc(r.heads, at, func(h head, at uint64) int {
			if h.next() <= at {
				return -1
			}
			return 1
		})
		return &r.heads[i-1], true
	}
	return nil, false
}

// unknown returns the holes of a stream of which no gap is known.
func (s *Store) unknown(st *stream) (gaps []Gap) {
	known := s.kept.with(stateGap + st.name + "\x00")
	st.holes(func(from, to uint64) {
		for from < to {
			next := to
			covered := false
			for key, value := range known {
				g, ok := parseGap(key, value)
				if !ok || g.Stream != st.name {
					continue
				}
				if g.From <= from && from < g.To {
					from, covered = min(to, g.To), true
					break
				}
				if g.From > from {
					next = min(next, g.From)
				}
			}
			if !covered {
				gaps = append(gaps, Gap{st.name, from, next, s.options.Now()})
				from = next
			}
		}
	})
	return gaps
}

// noteGaps has what Open found missing written down with the first commit, and
// forgets gaps that retention has passed.
func (s *Store) noteGaps() {
	var changes []Change
	for _, st := range s.streams {
		for _, g := range s.unknown(st) {
			s.lose(g)
			changes = append(changes, g.change())
		}
	}
	for key, value := range s.kept.with(stateGap) {
		g, ok := parseGap(key, value)
		if st := s.streams[g.Stream]; ok && st != nil && st.first >= g.To {
			changes = append(changes, Change{key, nil})
		}
	}
	s.stageState(changes)
}

// noteGap writes down one gap that a reader found.
func (s *Store) noteGap(g Gap) {
	s.lose(g)
	s.stageState([]Change{g.change()})
}

func (s *Store) lose(g Gap) {
	s.events.recordsLost(g)
	s.metrics.lost(g.Stream).Add(int(g.To - g.From))
}

// stageState puts the store's own changes into the next commit.
func (s *Store) stageState(changes []Change) {
	if len(changes) == 0 {
		return
	}
	in := &s.intake
	in.mu.Lock()
	defer in.mu.Unlock()
	if in.closed {
		return
	}
	g := in.group
	bytes := g.bytes
	s.setState(g, changes)
	in.bytes += g.bytes - bytes
	if g.since.IsZero() {
		g.since = time.Now()
	}
	in.signal()
}
