package storage

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/runnel-log/runnel/record"
)

// Problem is something that Check found.
type Problem struct {
	File string // or directory
	Text string
}

// Report is what Check or Repair found.
type Report struct {
	Segments, Blocks, States int
	Records                  uint64
	Bytes                    int64 // of the entries that were read
	Took                     time.Duration

	Problems    []Problem // files that are damaged
	Lost        []Gap     // records that cannot be read, and of which no gap says so yet
	Gaps        []Gap     // that are known and stated
	StateLost   bool      // the checkpoint could not be read; state was rebuilt from what the segments have
	StateBehind bool      // the newest entries are missing: state may be older than the records
}

// Good reports whether nothing is wrong that was not known before.
func (r *Report) Good() bool { return len(r.Problems) == 0 && len(r.Lost) == 0 }

// note keeps what Open found for Check.
func (s *Store) note(file, format string, args ...any) {
	s.wrong = append(s.wrong, Problem{file, fmt.Sprintf(format, args...)})
}

// Check reads every entry of a View and checks everything, sum by sum. It calls
// progress, unless nil, with the bytes that it has read and those there are.
func (s *Store) Check(progress func(done, total int64)) *Report {
	begun := time.Now()
	r := &Report{Segments: len(s.segments), StateLost: s.stateLost, StateBehind: s.stateBehind}
	r.Problems = append(r.Problems, s.wrong...)
	for _, st := range s.streams {
		r.Lost = append(r.Lost, s.unknown(st)...)
	}
	total := int64(0)
	for _, g := range s.segments {
		total += g.size.Load()
	}
	c := checker{s: s, r: r, batch: record.NewBatch(), progress: func(done int64) {
		if progress != nil {
			progress(min(done, total), total)
		}
	}}
	defer c.batch.Release()
	before := int64(0)
	for _, g := range s.segments {
		c.segment(g, before)
		before += g.size.Load()
		c.progress(before)
	}
	r.Gaps = s.Gaps()
	r.Lost = slices.DeleteFunc(r.Lost, func(lost Gap) bool {
		return slices.ContainsFunc(r.Gaps, func(g Gap) bool {
			return g.Stream == lost.Stream && g.From <= lost.From && lost.To <= g.To
		})
	})
	r.Took = time.Since(begun)
	return r
}

// checker is one run of Check.
type checker struct {
	s        *Store
	r        *Report
	batch    *record.Batch
	progress func(done int64)
}

// expected is a block that the index has.
type expected struct {
	stream string
	head   head
}

// segment checks one segment: its entries, and that it has what the index says.
func (c *checker) segment(g *segment, before int64) {
	blocks := map[uint64]expected{}
	for _, st := range c.s.streams {
		for _, r := range st.runs {
			if r.seg != g {
				continue
			}
			for _, h := range r.heads {
				blocks[g.base+uint64(h.sequence)] = expected{st.name, h}
			}
		}
	}
	done := int64(0)
	check := func(sequence uint64, entry []byte) error {
		if done += int64(len(entry)); done>>22 != (done-int64(len(entry)))>>22 {
			c.progress(before + done)
		}
		if _, live := blocks[sequence]; c.entry(sequence, entry, live) == nil {
			delete(blocks, sequence)
		} else if !live {
			c.unsound(g, sequence)
		}
		return nil
	}
	if r := g.salvage.found.Load(); r != nil {
		for i := range r.entries {
			if entry, err := r.read(r.entries[i].sequence, nil); err == nil {
				_ = check(r.entries[i].sequence, entry)
			}
		}
	} else if err := g.scan(check); err != nil {
		c.r.Problems = append(c.r.Problems, Problem{g.path, fmt.Sprintf("cannot be walked to its end: %v", err)})
	}
	// What bbolt leads to nowhere may still be on a page.
	for _, sequence := range sequences(blocks) {
		b := blocks[sequence]
		if c.s.search(g, sequence) || g.salvage.found.Load() != nil {
			if entry, err := g.read(sequence, nil); err == nil && c.entry(sequence, entry, true) == nil {
				continue
			}
		}
		c.r.Lost = append(c.r.Lost, Gap{b.stream, b.head.first, b.head.next(), time.Now()})
	}
	if g.salvage.found.Load() != nil && !slices.ContainsFunc(c.r.Problems, func(p Problem) bool { return p.File == g.path }) {
		c.r.Problems = append(c.r.Problems, Problem{g.path, "bbolt does not find all that is in it"})
	}
}

func sequences(blocks map[uint64]expected) []uint64 {
	all := make([]uint64, 0, len(blocks))
	for sequence := range blocks {
		all = append(all, sequence)
	}
	slices.Sort(all)
	return all
}

// unsound notes a damaged entry that stands for no block: state, or a block that
// retention has taken.
func (c *checker) unsound(g *segment, sequence uint64) {
	text := "entry %d is damaged; nothing wants it any more"
	if sequence > c.s.checkpointed {
		text = "entry %d is damaged; it is not in state.db yet"
	}
	c.r.Problems = append(c.r.Problems, Problem{g.path, fmt.Sprintf(text, sequence)})
}

// entry checks one entry. The bytes may be mapped and fault, which its caller
// guards against.
func (c *checker) entry(sequence uint64, entry []byte, live bool) error {
	h, body, err := open(entry, sequence)
	if err != nil {
		return err
	}
	switch h.kind {
	case kindState:
		err = parseChanges(body, func(change) {})
		c.r.States++
	case kindRecords:
		if err = decodeRecords(&h, body, c.batch); err == nil && live {
			c.r.Blocks++
			c.r.Records += uint64(h.count)
		}
	}
	c.r.Bytes += int64(len(entry))
	return err
}

// Repair does what a start would do with a damaged directory, and at once: what
// can be read of damaged segments is written to replacements, the damaged files
// go to quarantine, and gaps state what is lost. The report is of before.
func Repair(o Options, progress func(done, total int64)) (*Report, error) {
	v, err := View(o)
	if err != nil {
		return nil, err
	}
	r := v.Check(progress)
	var bad []string
	for _, p := range r.Problems {
		bad = append(bad, p.File)
	}
	for _, g := range v.segments {
		if slices.ContainsFunc(r.Lost, func(lost Gap) bool { return v.holds(g, lost) }) {
			bad = append(bad, g.path)
		}
	}
	if err := v.Close(); err != nil || r.Good() {
		return r, err
	}
	o.begin = true
	s, err := Open(o)
	if err != nil {
		return r, err
	}
	for _, g := range r.Lost {
		s.noteOnce(g)
	}
	s.salvageAll(bad)
	return r, errors.Join(s.writeSalvaged(), s.Close())
}

// holds reports whether a lost range lies in a block of the segment.
func (s *Store) holds(g *segment, lost Gap) bool {
	st := s.streams[lost.Stream]
	if st == nil {
		return false
	}
	r, _, ok := st.find(lost.From)
	return ok && r.seg == g
}

// noteOnce notes a gap unless it is known.
func (s *Store) noteOnce(lost Gap) {
	for _, g := range s.Gaps() {
		if g.Stream == lost.Stream && g.From <= lost.From && lost.To <= g.To {
			return
		}
	}
	s.noteGap(lost)
}

// salvageAll has the segments of those files read page by page.
func (s *Store) salvageAll(paths []string) {
	s.maintenance.Lock()
	defer s.maintenance.Unlock()
	s.mu.Lock()
	segments := slices.Clone(s.segments)
	s.mu.Unlock()
	for _, g := range segments {
		if slices.Contains(paths, g.path) {
			s.salvageNow(g)
		}
	}
}

// salvageNow has a segment read page by page, whatever bbolt finds in it.
func (s *Store) salvageNow(g *segment) {
	g.salvage.mu.Lock()
	defer g.salvage.mu.Unlock()
	if g.salvage.found.Load() != nil {
		return
	}
	g.salvage.searched = true
	r, err := scavenge(g.path, g.base)
	if err != nil {
		s.events.salvageFailed(g.path, err)
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if g.closed {
		r.pages.f.Close()
		return
	}
	s.readFrom(g, r)
}

// writeSalvaged has maintenance write replacements until none is missing.
func (s *Store) writeSalvaged() error {
	s.mu.RLock()
	most := 2 * (len(s.segments) + 1)
	s.mu.RUnlock()
	for range most {
		s.maintain()
		s.mu.RLock()
		left := slices.ContainsFunc(s.segments, func(g *segment) bool { return g.salvage.found.Load() != nil })
		s.mu.RUnlock()
		if !left {
			return nil
		}
	}
	return errors.New("damaged segments could not be written anew; the log says why")
}
