package relaywire

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"slices"
	"sync"
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

// Print tells two frames apart that claim one place: the checksum (Sum) of the last record of
// a range, which is the one before To.
type Print struct {
	Range
	Sum uint64
}

// The ways in which a receiver refuses. Each ends the connection.
var (
	// ErrKnown: all or some of the part is known, and not as this frame: another copy of this agent may have
	// written it, or the sender said it twice in other pieces. It finds out when it asks again (Compare).
	ErrKnown = errors.New("offsets are known from another frame")
	// ErrFenced: a newer connection of the same run has taken over.
	ErrFenced = errors.New("a newer connection of this agent has taken over")
	// ErrHole: the frame leaves out offsets that neither this receiver has nor a gap explains, or is
	// of a line that was not asked for.
	ErrHole = errors.New("offsets are left out")
)

// Bounds of what is kept for an agent. What is beyond is forgotten, the oldest first, and
// is then as if it had never arrived.
const (
	prints     = 64   // of a line: as many as frames may be under way, so that what a sender does not know to be acknowledged can be compared
	mostRanges = 4096 // of a line
	mostLines  = 4096 // of an agent
)

// arrival names a line of an agent, and the stream in which it arrived, if that is another: a tier that routes
// sends pieces of one line along several streams, and what one of them covers the others
// do not.
type arrival struct {
	epoch      uint32
	stream, as string
}

// line is what is known of one. Its slices are never changed in place.
type line struct {
	ranges Ranges
	last   []Print // the oldest first
	used   uint64  // counts up with every frame of the agent
}

// Known is what a receiver has, of every line that ever reached it: the one authority on what arrived. The
// receiver keeps it on disk, as marks, in the transaction of the records. Its methods may be called at once for
// different agents; for one agent whoever calls them holds Lock.
type Known struct {
	prints int

	mu     sync.Mutex // guards agents
	agents map[Agent]*agent
}

// agent is what is known of one.
type agent struct {
	sync.Mutex // see Known.Lock
	lines      map[arrival]line
	current    map[uint32]*course // by epoch, of this process
	used       uint64
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
func NewKnown() *Known { return &Known{agents: make(map[Agent]*agent), prints: prints} }

func (k *Known) agent(id Agent) *agent {
	k.mu.Lock()
	defer k.mu.Unlock()
	a := k.agents[id]
	if a == nil {
		a = &agent{lines: make(map[arrival]line), current: make(map[uint32]*course)}
		k.agents[id] = a
	}
	return a
}

// Lock keeps others away from what is known of some agents: of the sender of a frame, and of those
// whose records it has. It takes them in an order of its own.
func (k *Known) Lock(ids ...Agent) (unlock func()) {
	ids = slices.Clone(ids)
	slices.SortFunc(ids, func(a, b Agent) int { return bytes.Compare(a[:], b[:]) })
	ids = slices.Compact(ids)
	locked := make([]*agent, len(ids))
	for i, id := range ids {
		locked[i] = k.agent(id)
		locked[i].Lock()
	}
	return func() {
		for _, a := range locked {
			a.Unlock()
		}
	}
}

// Begin begins a session, which fences the one before. The session's number is random.
func (k *Known) Begin(w Writer, s Session) {
	k.agent(w.Agent).current[w.Epoch] = &course{s, make(map[Line]plan)}
}

// End ends a session, if it has not been fenced.
func (k *Known) End(w Writer, s Session) {
	a := k.agent(w.Agent)
	if c := a.current[w.Epoch]; c != nil && c.session == s {
		delete(a.current, w.Epoch)
	}
}

// course returns the session, if it is the current one of its run.
func (k *Known) course(w Writer, s Session) (*agent, *course, error) {
	a := k.agent(w.Agent)
	c := a.current[w.Epoch]
	if c == nil || c.session != s {
		return nil, nil, ErrFenced
	}
	return a, c, nil
}

// Ask answers what of the parts of a line is missing, and holds the sender to say all of that, in order. What was taken must be on
// disk before the answer leaves: the sender takes it for delivered. A line may be asked
// for again, which begins it anew.
func (k *Known) Ask(w Writer, s Session, q *Ask) (*Tell, error) {
	a, c, err := k.course(w, s)
	if err != nil {
		return nil, err
	}
	l := a.lines[arrival{epoch: q.Epoch, stream: q.Stream}]
	t := &Tell{Stream: q.Stream, Epoch: q.Epoch, Prints: l.last}
	for _, r := range q.Parts {
		t.Missing = l.ranges.Missing(t.Missing, r)
	}
	if n := len(l.ranges); n > 0 {
		t.Ends = Range{l.ranges[0].From, l.ranges[n-1].To}
	}
	c.plans[Line{Writer{w.Agent, q.Epoch}, q.Stream}] = plan{slices.Clone(q.Parts), q.Parts[0].From}
	return t, nil
}

// Verdict is what is new in a frame.
type Verdict struct {
	Missing []Range   // of the frame's own range; none: all is known, and is to be acknowledged again
	Origins [][]Range // for each of Data.Origins what of it is new

	data    *Data
	course  *course
	changes []change
	index   map[lineKey]int // of changes
}

// lineKey is a line as it is kept.
type lineKey struct {
	agent Agent
	at    arrival
}

// change is what is known of a line once a frame has been taken.
type change struct {
	lineKey
	line line
	gone bool // it is forgotten
}

// Judge says what of a frame is to be stored. It changes nothing: Take does, once
// the records are where they belong.
func (k *Known) Judge(w Writer, s Session, d *Data) (*Verdict, error) {
	a, c, err := k.course(w, s)
	if err != nil {
		return nil, err
	}
	known := a.lines[arrival{epoch: d.Epoch, stream: d.Stream}]
	l, ok := c.plans[d.Line]
	if !ok {
		return nil, fmt.Errorf("%w: stream %q was not asked for", ErrHole, d.Stream)
	}
	if left := l.left(known.ranges, d.From); len(left) > 0 {
		return nil, fmt.Errorf("%w: [%d, %d) of stream %q", ErrHole, left[0].From, left[0].To, d.Stream)
	}
	v := &Verdict{Missing: known.ranges.Missing(nil, d.Range), data: d, course: c}
	if (len(v.Missing) != 1 || v.Missing[0] != d.Range) && d.Sum != 0 && !known.printed(Print{d.Range, d.Sum}) {
		return nil, ErrKnown // what the answer said is known is not sent
	}
	for _, o := range d.Origins {
		known := k.agent(o.Agent).lines[d.arrival(o.Line)]
		v.Origins = append(v.Origins, known.ranges.Missing(nil, o.Range))
	}
	k.note(v)
	return v, nil
}

// arrival is how a line of origin arrives in d.
func (d *Data) arrival(o Line) arrival {
	at := arrival{epoch: o.Epoch, stream: o.Stream}
	if d.Stream != o.Stream {
		at.as = d.Stream
	}
	return at
}

// note writes into v what is known once its frame is taken.
func (k *Known) note(v *Verdict) {
	d := v.data
	if len(v.Missing) > 0 {
		l := v.changed(k, d.Agent, arrival{epoch: d.Epoch, stream: d.Stream})
		if p := (Print{d.Range, d.Sum}); d.Sum != 0 {
			l.last = append(slices.Clone(l.last[max(0, len(l.last)+1-k.prints):]), p)
		}
		l.add(d.Range)
	}
	for i, o := range d.Origins {
		if len(v.Origins[i]) > 0 {
			v.changed(k, o.Agent, d.arrival(o.Line)).add(o.Range)
		}
	}
	k.forget(v)
}

func (l *line) add(r Range) {
	if l.ranges = l.ranges.Add(r); len(l.ranges) > mostRanges {
		l.ranges = l.ranges[len(l.ranges)-mostRanges:]
	}
}

// changed returns the line that v is going to leave behind.
func (v *Verdict) changed(k *Known, id Agent, at arrival) *line {
	i, had := v.index[lineKey{id, at}]
	if !had {
		a := k.agent(id)
		l := a.lines[at]
		l.ranges, l.used = slices.Clone(l.ranges), a.used+1
		i = len(v.changes)
		v.changes = append(v.changes, change{lineKey: lineKey{id, at}, line: l})
		if v.index == nil {
			v.index = make(map[lineKey]int)
		}
		v.index[lineKey{id, at}] = i
	}
	return &v.changes[i].line
}

// forget has v leave out the lines that are too many, those which were not used for longest.
func (k *Known) forget(v *Verdict) {
	more := make(map[Agent]int)
	for i := range v.changes {
		c := &v.changes[i]
		if _, had := k.agent(c.agent).lines[c.at]; !had {
			more[c.agent]++
		}
	}
	for id, n := range more {
		a := k.agent(id)
		if n += len(a.lines) - mostLines; n <= 0 {
			continue
		}
		var old []change
		for at, l := range a.lines {
			if _, changes := v.index[lineKey{id, at}]; !changes {
				old = append(old, change{lineKey{id, at}, line{used: l.used}, true})
			}
		}
		slices.SortFunc(old, func(x, y change) int { return cmp.Compare(x.line.used, y.line.used) })
		n += mostLines / 16 // so that it is not done for every frame
		v.changes = append(v.changes, old[:min(n, len(old))]...)
	}
}

// Take adds a frame that Judge has let pass to what is known. The marks of the verdict
// belong into the transaction of the frame's records. Between Judge and Take nothing else happens to the agents.
func (k *Known) Take(v *Verdict) {
	for _, c := range v.changes {
		a := k.agent(c.agent)
		if c.gone {
			delete(a.lines, c.at)
			continue
		}
		a.lines[c.at] = c.line
		a.used = max(a.used, c.line.used)
	}
	l := v.course.plans[v.data.Line]
	l.next = max(l.next, v.data.To)
	v.course.plans[v.data.Line] = l
}

// left returns what is neither known nor passed by the plan: the sender goes on at from.
func (l *plan) left(known Ranges, from uint64) (left []Range) {
	if from <= l.next {
		return nil
	}
	for _, r := range append(slices.Clip(l.parts), Range{l.parts.End(), never}) {
		if r = (Range{max(r.From, l.next), min(r.To, from)}); r.From < r.To {
			left = known.Missing(left, r)
		}
	}
	return left
}

// printed reports whether the line has that print.
func (l *line) printed(p Print) bool { return slices.Contains(l.last, p) }
