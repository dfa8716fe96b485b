package relaywire

import (
	"errors"
	"fmt"
)

// Agent is an agent's id: 128 random bits, made with its store.
type Agent [16]byte

// Writer is one run of one agent. A run begins when a store is opened and has an
// epoch of its own, so that what is written under one epoch has one author, also
// where the store was copied, or put back to what it was.
type Writer struct {
	Agent Agent
	Epoch uint32
}

// Line is what offsets count along: a stream of one run. One offset of a line is
// one record, for ever and everywhere.
type Line struct {
	Writer
	Stream string
}

// Part is some offsets of a line.
type Part struct {
	Line
	Range
}

// Session is one connection between a run and a receiver: a random number. The zero
// value is no session.
type Session uint64

// Hello is what a sender says first.
type Hello struct {
	Writer
	// Parts is what the sender can answer for: what this receiver has acknowledged before,
	// which it may have lost since, and what is to come.
	Parts []Part
}

// Welcome is what a receiver answers.
type Welcome struct {
	Session Session
	Missing []Part  // of the parts of Hello, what it does not have
	Ends    []Part  // of each line of Hello that it knows, all: from its first offset to behind its last
	Prints  []Print // of those lines, what it took last
}

// Print tells two records apart that claim one place: a checksum over the encoded
// records of a part.
type Print struct {
	Part
	Sum uint64
}

// Data is a frame of records. Range is dense: what it says is all there is of that
// part of the line. Origins is empty where the line is the records' origin.
type Data struct {
	Part
	Origins []Print // of the records, in their order; covering also what a tier left out
	As      string  // the stream that Origins arrive under, if a tier has given it another name
	Sum     uint64  // its Print
}

// The ways in which a receiver refuses. Each ends the connection.
var (
	// ErrKnown: all or some of the part is known, and not as this frame: another copy of this agent may have
	// written it, or the sender said it twice in other pieces. It finds out at its next hello (Compare).
	ErrKnown = errors.New("offsets are known from another frame")
	// ErrFenced: a newer connection of the same run has taken over.
	ErrFenced = errors.New("a newer connection of this agent has taken over")
	// ErrHole: the frame leaves out offsets that neither this receiver has nor a gap explains.
	ErrHole = errors.New("offsets are left out")
)

// arrival names a line, and the stream in which it arrived: a tier that routes sends
// pieces of one line along several streams, and what one of them covers the others do not.
type arrival struct {
	Line
	as string
}

// prints is how many prints of a line are kept: as many as frames may be under way, so
// that what a sender does not know to be acknowledged can be compared.
const prints = 64

// line is what is known of one.
type line struct {
	ranges Ranges
	last   []Print // the oldest first
}

// Known is what a receiver has, of every line that ever reached it: the one
// authority on what arrived. The agent keeps it on disk in the transaction of the
// records. It is not safe for concurrent use.
type Known struct {
	lines   map[arrival]line
	current map[Writer]*course // of this process
	prints  int
}

// course is a session under way.
type course struct {
	session Session
	plans   map[Line]plan
}

// plan is what a sender has said it will say of a line: parts, and all that comes behind
// them; in order.
type plan struct {
	parts Ranges
	next  uint64 // the first offset that is to come
}

// NewKnown returns the knowledge of a receiver that has taken nothing.
func NewKnown() *Known {
	return &Known{lines: make(map[arrival]line), current: make(map[Writer]*course), prints: prints}
}

// Hello begins a session, which fences the one before. The session's number is random.
func (k *Known) Hello(h *Hello, s Session) *Welcome {
	w := &Welcome{Session: s}
	c := &course{s, make(map[Line]plan)}
	var missing []Range
	for i, p := range h.Parts {
		known := k.lines[arrival{Line: p.Line}]
		missing = known.ranges.Missing(missing[:0], p.Range)
		for _, r := range missing {
			w.Missing = append(w.Missing, Part{p.Line, r})
		}
		if n := len(known.ranges); n > 0 && (i == 0 || h.Parts[i-1].Line != p.Line) {
			w.Ends = append(w.Ends, Part{p.Line, Range{known.ranges[0].From, known.ranges[n-1].To}})
			w.Prints = append(w.Prints, known.last...)
		}
		l, begun := c.plans[p.Line]
		if !begun {
			l.next = p.From
		}
		l.parts = l.parts.Add(p.Range)
		c.plans[p.Line] = l
	}
	k.current[h.Writer] = c
	return w
}

// Compare says what to make of what the receiver knows of a line, of which the sender
// has all of own, can sum any part, and does not know of unsure, parts of own,
// whether they arrived. other: the receiver has another copy's records. Nothing of unsure may
// be sent under this line any more, and nobody can tell what of it is where. Else
// doubt is what of unsure the receiver has, and no print can show that it is the
// sender's: it is not to be sent, and said to be in doubt. alive says that this run is
// still writing the line.
func (w *Welcome) Compare(own Part, unsure Ranges, alive bool, sum func(Range) uint64) (doubt Ranges, other bool) {
	for _, e := range w.Ends {
		if e.Line == own.Line && alive && e.To > own.To {
			return nil, true // so much was never written by this run, and no other has the line
		}
	}
	proven := uint64(0) // histories that parted once do not meet again: up to here they are one
	for _, p := range w.Prints {
		if p.Line != own.Line || p.From < own.From || p.To > own.To {
			continue
		}
		if p.Sum != sum(p.Range) {
			return nil, true
		}
		proven = max(proven, p.To)
	}
	for _, u := range unsure {
		doubt = doubt.Add(Range{max(u.From, proven), max(u.To, proven)})
	}
	for _, m := range w.Missing {
		if m.Line == own.Line {
			var rest Ranges
			for _, d := range doubt {
				rest = Ranges{m.Range}.Missing(rest, d)
			}
			doubt = rest
		}
	}
	return doubt, false
}

// Verdict is what is new in a frame.
type Verdict struct {
	Missing []Range   // of the frame's own range; none: all is known, and is to be acknowledged again
	Origins [][]Range // for each of Data.Origins what of it is new
}

// Judge says what of a frame is to be stored. It changes nothing: Take does, once
// the records are where they belong.
func (k *Known) Judge(w Writer, s Session, d *Data) (*Verdict, error) {
	c := k.current[w]
	if c == nil || c.session != s {
		return nil, ErrFenced
	}
	known := k.lines[arrival{Line: d.Line}]
	if l, ok := c.plans[d.Line]; ok {
		if left := l.left(known.ranges, d.From); len(left) > 0 {
			return nil, fmt.Errorf("%w: [%d, %d) of stream %q", ErrHole, left[0].From, left[0].To, d.Stream)
		}
	}
	v := &Verdict{Missing: known.ranges.Missing(nil, d.Range)}
	if (len(v.Missing) != 1 || v.Missing[0] != d.Range) && !known.printed(Print{d.Part, d.Sum}) {
		return nil, ErrKnown // what the welcome said is known is not sent
	}
	for _, o := range d.Origins {
		v.Origins = append(v.Origins, k.lines[arrival{o.Line, d.As}].ranges.Missing(nil, o.Range))
	}
	return v, nil
}

// Take adds a frame that Judge has let pass to what is known. What it changes belongs
// into the transaction of the frame's records.
func (k *Known) Take(w Writer, s Session, d *Data) {
	k.take(arrival{Line: d.Line}, Print{d.Part, d.Sum})
	for _, o := range d.Origins {
		k.take(arrival{o.Line, d.As}, o)
	}
	if c := k.current[w]; c != nil && c.session == s {
		l := c.plans[d.Line]
		l.next = max(l.next, d.To)
		c.plans[d.Line] = l
	}
}

func (k *Known) take(at arrival, p Print) {
	l := k.lines[at]
	if !l.printed(p) {
		l.last = append(l.last[max(0, len(l.last)+1-k.prints):len(l.last):len(l.last)], p)
	}
	l.ranges = l.ranges.Add(p.Range)
	k.lines[at] = l
}

// left returns what is neither known nor passed by the plan: the sender goes on at from.
func (l *plan) left(known Ranges, from uint64) []Range {
	if from <= l.next {
		return nil
	}
	left := known.Missing(nil, Range{l.next, from})
	if end := l.parts.End(); from <= end {
		for _, passed := range l.parts.Missing(nil, Range{l.next, from}) { // others have it
			var rest []Range
			for _, r := range left {
				rest = (Ranges{passed}).Missing(rest, r)
			}
			left = rest
		}
	} else if l.next < end {
		return append(l.left(known, end), known.Missing(nil, Range{end, from})...)
	}
	return left
}

// printed reports whether the line has that print.
func (l *line) printed(p Print) bool {
	for _, have := range l.last {
		if have == p {
			return true
		}
	}
	return false
}
