package storage

import "slices"

// Passed says what became of the records that a cursor passes. All of it is on
// disk with the place of the cursor itself.
type Passed struct {
	Delivered uint64 // acknowledged by the receiver
	Filtered  uint64 // left out by the reader's own choice
	Expired   uint64 // taken by retention before the reader had them
	Damaged   uint64 // could not be read any more
	Dead      uint64 // refused for good
	Repeated  uint64 // of those delivered: had been offered before, so the receiver may have them twice
}

// journey is where a cursor is and how it came there:
//
//	next - start = delivered + filtered + expired + damaged + dead + skipped - rewound
//
// as long as its reader says of every record what became of it.
type journey struct {
	next, start uint64 // start: where it began
	passed      Passed
	skipped     uint64 // records that MoveCursor left out
	rewound     uint64 // records that MoveCursor went back over
}

// cursor is how far one reader has got in one stream.
type cursor struct {
	journey
	ties  []tie // at most two for each group that is not on disk
	dirty bool
	gone  bool
}

// tie holds a cursor back: a unit of a group holds what the cursor passes, such as
// its dead letter, so that until the group is on disk the cursor may be there
// as it was before, and no further. A loose one gives way to retention (CursorPass.Loose).
type tie struct {
	group  uint64
	before journey
	loose  bool
}

// begin makes the cursor a new one, at next.
func (c *cursor) begin(next uint64) {
	c.journey, c.ties, c.gone, c.dirty = journey{next: next, start: max(next, 1)}, nil, false, true
}

// pass moves the cursor over records of which passed says what became.
func (c *cursor) pass(next uint64, p Passed) {
	if c.gone || c.start == 0 {
		c.begin(next)
		return
	}
	if c.next == next && p == (Passed{}) {
		return
	}
	c.next, c.dirty = next, true
	c.passed.Delivered += p.Delivered
	c.passed.Filtered += p.Filtered
	c.passed.Expired += p.Expired
	c.passed.Damaged += p.Damaged
	c.passed.Dead += p.Dead
	c.passed.Repeated += p.Repeated
}

// move moves the cursor by hand.
func (c *cursor) move(next uint64) {
	if c.gone || c.start == 0 {
		c.begin(next)
		return
	}
	if next == c.next {
		return
	}
	if next > c.next {
		c.skipped += next - c.next
	} else {
		c.rewound += c.next - next
	}
	c.next, c.dirty = next, true
}

// durable is what may be on disk once the groups up to number committed are.
func (c *cursor) durable(committed uint64) *journey {
	for i := range c.ties {
		if c.ties[i].group > committed {
			return &c.ties[i].before
		}
	}
	return &c.journey
}

// tie ties the cursor, as it is to be from here on, to a group.
func (c *cursor) tie(group, committed uint64, loose bool) {
	c.ties = slices.DeleteFunc(c.ties, func(t tie) bool { return t.group <= committed })
	if n := len(c.ties); n == 0 || c.ties[n-1].group < group || c.ties[n-1].loose && !loose {
		c.ties = append(c.ties, tie{group, c.journey, loose})
	}
}

// loosen has the cursor be on disk where it is, as far as units allow that are not there yet.
func (c *cursor) loosen() {
	c.ties = slices.DeleteFunc(c.ties, func(t tie) bool { return t.loose })
}

// needs is the offset from which the reader may want records again: it has passed them,
// but what became of them is in units that are not on disk.
func (c *cursor) needs(committed uint64) uint64 {
	for i := range c.ties {
		if t := &c.ties[i]; t.group > committed && !t.loose {
			return min(c.next, t.before.next)
		}
	}
	return c.next
}

func (p *journey) encode() []byte {
	d := &p.passed
	return numbers(p.next, d.Expired, p.start, d.Delivered, d.Filtered, d.Damaged, d.Dead, d.Repeated, p.skipped, p.rewound)
}

// parseJourney reads what encode wrote. One of a build that did not count begins
// where it is.
func parseJourney(v []byte) (p journey) {
	p.next, p.start = number(v, 0), number(v, 2)
	p.passed = Passed{Expired: number(v, 1), Delivered: number(v, 3), Filtered: number(v, 4), Damaged: number(v, 5), Dead: number(v, 6), Repeated: number(v, 7)}
	p.skipped, p.rewound = number(v, 8), number(v, 9)
	if p.start == 0 {
		p.start = max(p.next-min(p.passed.Expired, p.next), 1)
	}
	return p
}

// lags reports whether a cursor that is about to move lies before what retention has left,
// since its reader has had that in memory. Where it is on disk it seems to have missed
// that, so a disk that takes no commit is to have it with a checkpoint. s.mu is held.
func (s *Store) lags(c *cursor, stream string) bool {
	st := s.streams[stream]
	if st == nil || c.start == 0 || c.durable(s.committed).next >= st.first {
		return false
	}
	if s.lagging = true; s.hard {
		s.nudge()
	}
	return true
}

// cursor returns the cursor of that name, made when it is new. s.mu is held.
func (s *Store) cursor(name, stream string) *cursor {
	key := cursorKey{name, stream}
	c := s.cursors[key]
	if c == nil {
		c = &cursor{}
		s.cursors[key] = c
	}
	return c
}
