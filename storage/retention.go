package storage

import (
	"math"
	"os"
	"path/filepath"
	"slices"
	"time"

	"go.etcd.io/bbolt"
)

// onFull returns the stream's policy for a full disk.
func (st *stream) onFull() OnFull { return OnFull(st.gate.onFull.Load()) }

// delivered returns the offset below which every cursor of the stream has
// everything, and needs it no more after kill -9 either, unless last: then what is in
// units that wait for their commit is not held back. Without cursors nothing waits for
// delivery. s.mu is held.
func (s *Store) delivered(stream string, last bool) uint64 {
	low := uint64(math.MaxUint64)
	for key, c := range s.cursors {
		if key.stream != stream || c.gone || s.unkept[key.name] {
			continue
		}
		if low = min(low, c.next); !last {
			low = min(low, c.needs(s.committed))
		}
	}
	return low
}

// trim takes what the stream's own policy says from its old end. s.mu is held.
func (s *Store) trim(st *stream) {
	p := &st.policy
	if p.MaxAge == 0 && (p.MaxSize == 0 || st.bytes <= p.MaxSize) {
		return
	}
	limit := uint64(math.MaxUint64)
	if p.OnFull == PushBack {
		limit = s.delivered(st.name, false)
	}
	now := s.clock()
	for {
		r, h := st.oldest()
		if h == nil || h.next() > limit || r.seg.busy {
			return
		}
		old := p.MaxAge > 0 && now-h.arrival > int64(p.MaxAge)
		over := p.MaxSize > 0 && st.bytes > p.MaxSize && p.OnFull != DropNew && h.next() < st.next
		if !old && !over {
			return
		}
		s.expire(st)
	}
}

// clock is the time by which ages are told: it never goes back. s.mu is held.
func (s *Store) clock() int64 {
	s.latest = max(s.latest, s.now())
	return s.latest
}

// expire takes the stream's oldest block, and counts what some cursor had not
// delivered; each cursor counts its own when it passes (PassCursor). One that has
// passed the block is on disk as soon as that is gone there. s.mu is held.
func (s *Store) expire(st *stream) {
	_, h := st.oldest()
	worst := uint64(0)
	for key, c := range s.cursors {
		if key.stream != st.name || c.gone {
			continue
		}
		if _, ended := ReaderOf(key.name); c.next < h.next() && !ended {
			worst = max(worst, h.next()-max(c.next, st.first)) // also what damage had taken in front of the block
		}
		if c.durable(s.committed).next < h.next() {
			c.loosen()
		}
	}
	if worst > 0 {
		st.expired += worst
		s.metrics.expired(st.name).Add(int(worst))
	}
	st.pop()
	st.dirty = true
	s.touched()
}

// trimTotal takes the oldest blocks of all streams until the store fits its
// limit, segment by segment, since only a whole segment gives its bytes back.
// s.mu is held.
func (s *Store) trimTotal() {
	s.full = false
	total := int64(0)
	for _, g := range s.segments {
		if g.live > 0 || !g.sealed {
			total += g.size.Load()
		}
	}
	for _, g := range s.segments {
		if total <= s.limit || !g.sealed {
			break
		}
		if g.live > 0 {
			s.drain(g, false)
			if g.live == 0 {
				total -= g.size.Load()
			}
			s.nudge()
		}
	}
	if s.full = total > s.limit; s.full {
		s.rotate.Store(true) // what is in the active segment can go once it is sealed
	}
}

// drain takes from segment g every block that may be taken; last is as in delivered.
// s.mu is held.
func (s *Store) drain(g *segment, last bool) {
	for _, st := range s.streams {
		if st.policy.OnFull == DropNew {
			continue
		}
		limit := uint64(math.MaxUint64)
		if st.policy.OnFull == PushBack {
			limit = s.delivered(st.name, last)
		}
		for {
			r, h := st.oldest()
			if h == nil || r.seg.base > g.base || h.next() > limit || r.seg.busy {
				break
			}
			s.expire(st)
		}
	}
}

// setGates tells Append which streams take records. s.mu is held.
func (s *Store) setGates() {
	for _, st := range s.streams {
		p := &st.policy
		over := p.MaxSize > 0 && st.bytes > p.MaxSize
		shut := uint32(gateOpen)
		switch {
		case p.OnFull == DropNew && (over || s.full || s.hard):
			shut = gateDrops
		case p.OnFull == PushBack && (over || s.full || s.hard):
			shut = gatePushesBack
		case p.OnFull == DropOldest && s.full:
			shut = gateDrops // there is nothing older left to drop
		}
		if was := st.gate.shut.Swap(shut); was != shut {
			s.events.gateMoved(st.name, shut)
		}
		if n := st.gate.dropped.Swap(0); n > 0 {
			st.dropped += n
			st.dirty = true
			s.metrics.dropped(st.name).Add(int(n))
			s.touched()
		}
	}
}

// makeRoom answers a full disk: the oldest segment's blocks go, where their
// streams allow it. last: nothing else has helped, so what readers have passed on into
// units for which there is no room goes too.
func (s *Store) makeRoom(last bool) {
	s.mu.Lock()
	for _, g := range s.segments {
		if g.live > 0 && g.sealed {
			s.drain(g, last)
			break
		}
	}
	s.mu.Unlock()
	s.nudge()
}

// nudge has maintenance run soon.
func (s *Store) nudge() {
	select {
	case s.work <- struct{}{}:
	default:
	}
}

// runMaintenance seals, checkpoints, trims by age and gives space back, so
// that the committer does nothing but commit.
func (s *Store) runMaintenance() {
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			s.recent.tick()
		case <-s.work:
		case <-s.closed:
			return
		}
		s.maintain()
	}
}

// maintain does one round of maintenance.
func (s *Store) maintain() {
	s.maintenance.Lock()
	defer s.maintenance.Unlock()
	s.measure()
	s.mu.Lock()
	for _, st := range s.streams {
		s.trim(st)
	}
	s.trimTotal()
	s.setGates()
	if g := s.active; g != nil && g.live == 0 && g.size.Load() > s.options.SegmentSize/4 {
		s.rotate.Store(true)
	}
	index := s.toIndex
	s.toIndex = nil
	checkpoint := len(index) > 0 || s.hasDead() || s.hasSalvaged() || s.hard && s.lagging
	s.mu.Unlock()
	for _, g := range index {
		if err := s.writeIndex(g); err != nil {
			s.events.maintenanceFailed("index segment", err)
		}
	}
	if checkpoint {
		if err := s.checkpointOrReserve(); err != nil {
			s.events.maintenanceFailed("checkpoint", err)
			return // no segment goes before the checkpoint covers it
		}
	}
	s.unlinkDead()
	if err := s.rewrite(); err != nil {
		s.events.maintenanceFailed("rewrite segment", err)
	}
	s.holdReserve()
}

// measure works out how many bytes the segments may use: 90 % of MaxSize, and
// 90 % of what the disk would have free without them: whoever else fills it takes from that.
func (s *Store) measure() {
	limit := int64(math.MaxInt64)
	if s.options.MaxSize > 0 {
		limit = s.options.MaxSize / 10 * 9
	}
	free, ok := s.free(s.dir.segments())
	s.mu.Lock()
	defer s.mu.Unlock()
	s.byDisk = false
	if ok {
		own := int64(0)
		for _, g := range s.segments {
			own += g.size.Load()
		}
		share := (own + free) / 10 * 9
		s.byDisk = share < limit
		limit = min(limit, share)
	}
	s.limit = limit
}

// hasDead reports whether a segment could go. s.mu is held.
func (s *Store) hasDead() bool {
	return len(s.dead) > 0 || slices.ContainsFunc(s.segments, func(g *segment) bool { return g.sealed && g.live == 0 })
}

// hasSalvaged reports whether a damaged segment waits for a checkpoint, before it
// can be written to a replacement. s.mu is held.
func (s *Store) hasSalvaged() bool {
	return slices.ContainsFunc(s.segments, func(g *segment) bool {
		return g.sealed && g.salvage.found.Load() != nil && g.last > s.checkpointed
	})
}

// unlinkDead removes the segments in which nothing is live and whose state the
// checkpoint includes.
func (s *Store) unlinkDead() {
	s.mu.Lock()
	dead := s.dead
	s.dead = nil
	s.segments = slices.DeleteFunc(s.segments, func(g *segment) bool {
		gone := g.covered && g.sealed && g.live == 0 && g.last <= s.checkpointed
		if gone {
			g.closed = true
			dead = append(dead, g)
		}
		return gone
	})
	s.mu.Unlock()
	for _, g := range dead {
		s.point("trim")
		err := s.unlink(g)
		if err == nil {
			err = syncDirectory(s.dir.segments())
		}
		s.events.segmentGone(g.path, err)
	}
}

// unlink removes a segment's file; one that is damaged has its place in
// quarantine first.
func (s *Store) unlink(g *segment) error {
	g.close()
	if g.salvage.found.Load() != nil && !g.salvage.kept {
		return s.dir.setAside(g.path)
	}
	return os.Remove(g.path)
}

// writeIndex gives a sealed segment its own index.
func (s *Store) writeIndex(g *segment) error {
	s.mu.RLock()
	if g.closed || g.salvage.found.Load() != nil {
		s.mu.RUnlock()
		return nil
	}
	x := s.indexOf(g)
	s.mu.RUnlock()
	return g.update(func(tx *bbolt.Tx) error {
		b, err := tx.CreateBucketIfNotExists(bucketIndex)
		if err != nil {
			return err
		}
		g.size.Store(tx.Size())
		return b.Put(keyHeads, x.encode())
	})
}

// indexOf collects the heads of one segment. s.mu is held.
func (s *Store) indexOf(g *segment) *segmentIndex {
	x := &segmentIndex{last: g.last, streams: map[string][]*run{}}
	for _, st := range s.streams {
		for _, r := range st.runs {
			if r.seg == g {
				x.streams[st.name] = appendRun(x.streams[st.name], g, r.epoch, r.heads...)
			}
		}
	}
	return x
}

// reserveBytes is room kept on the disk so that a checkpoint, and with it the
// deletion of old segments, is possible when nothing else is. State that is kept
// for modules wants more of it (reserveWanted).
const reserveBytes = 256 << 10

func (s *Store) reservePath() string { return filepath.Join(s.dir.segments(), "reserve") }

// checkpointOrReserve checkpoints, spending the reserve if the disk is full.
func (s *Store) checkpointOrReserve() error { return s.orReserve(s.saveCheckpoint) }

// orReserve writes, and once more without the reserve if the disk is full.
func (s *Store) orReserve(write func() error) error {
	err := write()
	if err != nil && isFull(err) && os.Remove(s.reservePath()) == nil {
		err = write()
	}
	return err
}

// reserveWanted is what a checkpoint of all state could add to state.db. bbolt
// writes changed pages to free ones, about twice the bytes of the state in them,
// so a file of four times the state has them inside.
func (s *Store) reserveWanted() int64 {
	const step = 1 << 20
	missing := 4*s.kept.size() - sizeOf(s.dir.checkpoint())
	if missing <= 0 || s.kept.size() < reserveBytes/4 {
		return reserveBytes
	}
	return reserveBytes + (missing+step-1)/step*step
}

// holdReserve fills the reserve up again, and gives back what it has too much.
func (s *Store) holdReserve() {
	have, want := sizeOf(s.reservePath()), s.reserveWanted()
	if have >= want && have <= max(2*want, reserveBytes) {
		return
	}
	f, err := os.OpenFile(s.reservePath(), os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		return
	}
	defer f.Close()
	if have > want {
		_ = f.Truncate(want)
		return
	}
	nothing := make([]byte, reserveBytes)
	for at := have; at < want && err == nil; at += reserveBytes {
		_, err = f.WriteAt(nothing[:min(reserveBytes, want-at)], at)
	}
	if err != nil {
		_ = f.Truncate(have)
	}
}
