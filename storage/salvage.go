package storage

import (
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
)

// salvage is how a segment is read that bbolt cannot read, or not all of it: what
// its pages hold was collected once, entry by entry. Maintenance then writes that
// to a replacement, as it does with any segment that is not worth its room; the
// damaged file stays in quarantine.
type salvage struct {
	found atomic.Pointer[remains] // nil: bbolt can read it

	mu       sync.Mutex // guards all below; held while the pages are read
	searched bool       // and nothing more than bbolt finds was there
	kept     bool       // the file is in quarantine too
}

// salvageFile makes a segment of a file that bbolt cannot open. Where the system
// refuses even that, the file is set aside and nil returned.
func (s *Store) salvageFile(path string, why error) *segment {
	base, generation, _ := parseSegmentName(path)
	s.events.segmentDamaged(path, why)
	s.note(path, "%v", why)
	s.metrics.damaged.Inc()
	r, err := scavenge(path, base)
	if err != nil {
		s.events.salvageFailed(path, err)
		if !s.look {
			if err := s.dir.setAside(path); err != nil {
				s.events.salvageFailed(path, err)
			}
		}
		return nil
	}
	g := &segment{base: base, generation: generation, path: path, last: base - 1, sealed: true}
	g.size.Store(r.pages.size)
	s.readFrom(g, r)
	return g
}

// readFrom has the segment read from what was collected.
func (s *Store) readFrom(g *segment, r *remains) {
	g.salvage.found.Store(r)
	g.sealed = true
	if !s.look {
		if err := s.dir.keep(g.path); err != nil {
			s.events.salvageFailed(g.path, err)
		} else {
			g.salvage.kept = true
		}
	}
	s.events.segmentSalvaged(g.path, len(r.entries), r.unsound)
	s.note(g.path, "is read page by page: %d entries are sound, %d are not", len(r.entries), r.unsound)
}

// keep puts a second name for the file into quarantine, so that it outlives the
// removal of the first.
func (d *directory) keep(path string) error {
	if err := os.MkdirAll(d.quarantine(), 0o700); err != nil {
		return err
	}
	to, same := d.inQuarantine(path)
	if same {
		return nil // at an earlier opening
	}
	if err := os.Link(path, to); err != nil {
		return err
	}
	return syncDirectory(d.quarantine())
}

// syncSegments brings to disk what an earlier process left in the page cache,
// before anyone is answered. Where the disk refuses, what the cache has is all
// there is, and is written to a replacement.
func (s *Store) syncSegments() {
	if s.look {
		return
	}
	for _, g := range s.segments {
		if err := g.sync(); err != nil && !g.sealed {
			s.events.segmentDamaged(g.path, err)
			g.sealed = true
			if r, err := scavenge(g.path, g.base); err == nil {
				s.readFrom(g, r)
			}
		}
	}
}

// replay builds the index and applies the state behind the checkpoint. It
// returns whether entries behind the checkpoint are missing, with which history
// may have forked. Where offsets of a stream are missing, the segments that
// should have them are searched.
func (s *Store) replay() (lost bool) {
	contents := make([]*segmentIndex, len(s.segments))
	for i := range s.segments {
		contents[i] = s.contents(i)
	}
	lost = s.adoptAll(contents)
	again := false
	for i := range s.suspects() {
		again = s.searchBehind(i, contents[i]) || again
		if s.segments[i].salvage.found.Load() != nil {
			contents[i] = s.contents(i)
		}
	}
	if again {
		for _, st := range s.streams {
			st.runs, st.records, st.bytes, st.raw = nil, 0, 0, 0
		}
		for _, g := range s.segments {
			g.live, g.blocks, g.held = 0, 0, 0
		}
		lost = s.adoptAll(contents)
	}
	return lost
}

// endOf is the first sequence that segment i does not count for: the base of the
// next one that is not empty.
func (s *Store) endOf(i int) uint64 {
	for _, g := range s.segments[i+1:] {
		if !g.vacant {
			return g.base
		}
	}
	return math.MaxUint64
}

// contents reads what segment i has, in the cheapest way that is sound.
func (s *Store) contents(i int) *segmentIndex {
	g, end := s.segments[i], s.endOf(i)
	if r := g.salvage.found.Load(); r != nil {
		return r.index(g, end)
	}
	if g.sealed {
		if x, ok := g.indexed(s.onlyEpoch()); ok && x.last <= s.checkpointed {
			return &x
		}
	}
	x, err := g.rebuild(end)
	x.whole = err == nil
	if err == nil && x.damaged == 0 && s.dense(&x, g, end) && certain(g.path) {
		return &x
	}
	if err != nil || x.damaged > 0 {
		s.metrics.damaged.Add(max(x.damaged, 1))
		s.events.segmentPartlyDamaged(g.path, x.damaged, err)
		s.note(g.path, "%d entries are damaged; %v", x.damaged, err)
		g.sealed = true // nothing more goes into it
	}
	if s.searchBehind(i, &x) {
		return s.contents(i)
	}
	return &x
}

// certain reports whether the file's last commit is surely there.
func certain(path string) bool {
	p, err := openPages(path)
	if err != nil {
		return true // there is nothing to be had from its pages
	}
	defer p.f.Close()
	return p.certain
}

// dense reports whether no sequence is missing among the entries of a segment
// that was not rewritten, nor between it and the next, nor before the checkpoint.
func (s *Store) dense(x *segmentIndex, g *segment, end uint64) bool {
	if g.end != 0 {
		return true
	}
	short := end == math.MaxUint64 && max(x.last, g.base-1) < s.checkpointed && g.base <= s.checkpointed
	return uint64(x.count) == x.last+1-g.base && !short && len(s.behind(nil, x.last, g.base, end)) == 0
}

// fewBehind bounds how many missing sequences are named.
const fewBehind = 16

// behind returns a few of the sequences behind the checkpoint that should be in
// a segment and are not among those found: no segment with those is ever removed.
// last is the last that was found. Of the newest segment nobody knows where it ended.
func (s *Store) behind(found []place, last, base, end uint64) (missing []uint64) {
	next := max(s.checkpointed+1, base)
	for i := range found {
		sequence := found[i].sequence
		for ; next < sequence && len(missing) < fewBehind; next++ {
			missing = append(missing, next)
		}
		next = max(next, sequence+1)
	}
	if end == math.MaxUint64 {
		return missing
	}
	for next = max(next, last+1); next < end && len(missing) < fewBehind; next++ {
		missing = append(missing, next)
	}
	return missing
}

// searchBehind reads the pages of segment i, unless that was done, and has it
// read from there if they hold an entry that bbolt did not find.
func (s *Store) searchBehind(i int, x *segmentIndex) bool {
	g := s.segments[i]
	if g.salvage.searched || g.salvage.found.Load() != nil {
		return false
	}
	g.salvage.searched = true
	r, err := scavenge(g.path, g.base)
	if err != nil {
		s.events.salvageFailed(g.path, err)
		return false
	}
	if x.count == 0 { // so far only its own index was read
		y, err := g.rebuild(s.endOf(i))
		y.whole = err == nil
		x = &y
	}
	r.trim(x, s.endOf(i))
	if !r.more(x) {
		r.pages.f.Close()
		return false
	}
	s.readFrom(g, r)
	return true
}

// suspects returns the segments around the offsets that streams are missing.
func (s *Store) suspects() map[int]bool {
	suspects := map[int]bool{}
	at := map[*segment]int{}
	for i, g := range s.segments {
		at[g] = i
	}
	for _, st := range s.streams {
		for _, h := range s.unknown(st) {
			from, to := 0, len(s.segments)-1
			for _, r := range st.runs {
				if heads := r.heads; heads[0].first < h.From {
					from = at[r.seg]
				}
				if heads := r.heads; heads[len(heads)-1].first >= h.To {
					to = min(to, at[r.seg])
				}
			}
			for i := from; i <= to; i++ {
				suspects[i] = true
			}
		}
	}
	return suspects
}

// adoptAll makes the index of what the segments have, and applies the state
// behind the checkpoint, in order. An entry at or beyond the next segment's base
// does not count: the outcome of its commit was unknown, and the next segment has it.
func (s *Store) adoptAll(contents []*segmentIndex) (lost bool) {
	for i, g := range s.segments {
		x, end := contents[i], s.endOf(i)
		for _, sequence := range x.states {
			if sequence > s.checkpointed && sequence < end && s.applyEntry(g, sequence) != nil {
				x.behind = append(x.behind, sequence)
				g.sealed = true
			}
		}
		if g.salvage.found.Load() != nil {
			lost = lost || end == math.MaxUint64 // nobody knows what came last
			if g.end == 0 {
				x.behind = append(x.behind, s.behind(g.salvage.found.Load().entries, x.last, g.base, end)...)
			}
		}
		if len(x.behind) > 0 || (x.damaged > 0 && x.last > s.checkpointed) {
			s.events.stateBehind(g.path, x.behind)
			s.note(g.path, "newest entries are missing: what modules and forwarders keep may be older than the records")
			s.stateBehind, lost = true, true
		}
		g.last = max(g.last, min(x.last, end-1))
		s.adopt(g, x, end)
	}
	for key, c := range s.cursors {
		if key.stream == "" || c.next <= 1 && s.streams[key.stream] == nil {
			continue // it marks something, or waits for a stream that has had nothing yet
		}
		// A cursor beyond the end would wait for offsets that come a second time.
		st := s.stream(key.stream)
		st.next = max(st.next, c.next)
	}
	for _, st := range s.streams { // a later segment may say that retention has taken what an earlier one holds
		st.shed()
	}
	if s.stateLost { // what retention had taken is not known any more
		for _, st := range s.streams {
			if _, h := st.oldest(); h != nil {
				st.first = max(st.first, h.first)
			}
		}
	}
	return lost
}

// applyEntry applies one entry of state.
func (s *Store) applyEntry(g *segment, sequence uint64) error {
	entry, err := g.read(sequence, nil)
	if err != nil {
		return err
	}
	_, body, err := open(entry, sequence)
	if err != nil {
		return err
	}
	return parseChanges(body, s.apply)
}

// index is what the remains have up to the sequence end.
func (r *remains) index(g *segment, end uint64) *segmentIndex {
	x := &segmentIndex{last: g.base - 1, streams: map[string][]*run{}}
	for i := range r.entries {
		if e := &r.entries[i]; e.sequence < end {
			x.add(g, e.sequence, &e.header, e.name, e.size(), nil)
		}
	}
	return x
}

// trim drops entries that surely or probably were never committed: at or beyond
// end; and, where bbolt may have begun one commit too early, what is beyond the
// tree, all but one commit, which is contiguous and of one time.
func (r *remains) trim(x *segmentIndex, end uint64) {
	next, arrival := x.last+1, int64(0)
	for i := range r.entries {
		e := &r.entries[i]
		if e.sequence < end && (r.pages.certain || !x.whole || e.sequence <= x.last) {
			continue
		}
		if e.sequence >= end || e.sequence != next || (arrival != 0 && e.arrival != arrival) {
			r.entries = r.entries[:i]
			return
		}
		next, arrival = next+1, e.arrival
	}
}

// more reports whether the remains have an entry that the index has not.
func (r *remains) more(x *segmentIndex) bool {
	if n := len(r.entries); n > 0 && r.entries[n-1].sequence > x.last {
		return true
	}
	return len(r.entries) > x.count-x.damaged
}

// search looks for a block of a running store that bbolt does not find in its
// segment, or not sound, and reports whether it was found now. If the pages have
// other entries that bbolt does not find, the segment is read from them from now on.
func (s *Store) search(g *segment, sequence uint64) bool {
	m := &g.salvage
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.searched || s.closing.Load() {
		return false
	}
	m.searched = true
	r, err := scavenge(g.path, g.base)
	if err != nil {
		s.events.salvageFailed(g.path, err)
		return false
	}
	_, missing := r.read(sequence, nil)
	if x, err := g.rebuild(math.MaxUint64); missing != nil && err == nil && !r.more(&x) {
		r.pages.f.Close()
		return false
	}
	s.mu.Lock()
	gone, active := g.closed, g == s.active
	if !gone {
		sealed := g.sealed
		s.readFrom(g, r)
		g.sealed = sealed // the committer ends it
	}
	s.mu.Unlock()
	if gone {
		r.pages.f.Close()
		return false
	}
	if active {
		s.rotate.Store(true)
	}
	s.nudge()
	return missing == nil
}

// removeFile removes a file that does not count, unless the store is only looked at.
func (s *Store) removeFile(path string) {
	if !s.look {
		_ = os.Remove(path)
	}
}

// inQuarantine returns a name for the file in DATA/quarantine that is free, and
// whether the file is there already.
func (d *directory) inQuarantine(path string) (to string, same bool) {
	info, _ := os.Stat(path)
	name := filepath.Join(d.quarantine(), filepath.Base(path))
	for i := 0; ; i++ {
		to = name
		if i > 0 {
			to = fmt.Sprintf("%s.%d", name, i)
		}
		there, err := os.Stat(to)
		if errors.Is(err, os.ErrNotExist) {
			return to, false
		}
		if err == nil && info != nil && os.SameFile(info, there) {
			return to, true
		}
	}
}
