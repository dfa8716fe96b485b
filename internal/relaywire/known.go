package relaywire

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"maps"
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

	mu     sync.Mutex // guards what follows
	agents map[Agent]*agent
	room   // of all of them
}

// agent is what is known of one.
type agent struct {
	lock    chan struct{} // of one, whoever fills it has it; see Known.Lock
	holders int           // of Lock, and who waits for it; guarded by Known.mu
	lines   map[arrival]line
	current map[uint32]*course // by epoch, of this process
	used    uint64
	proven  int  // lines that have prints
	forgot  bool // some of it, ever
	marked  bool // and a mark of its own says so
	holding      // guarded by Known.mu
}

// course is a session under way.
type course struct {
	session Session
	plans   map[Line]plan
	parts   int // of all plans
	used    uint64
}

// plan is what a sender has said it will say of a line: parts, and all that comes behind
// them; in order.
type plan struct {
	parts Ranges
	next  uint64 // the first offset that is to come
	used  uint64 // counts up with every question and frame of the session
}

// NewKnown returns the knowledge of a receiver that has taken nothing.
func NewKnown() *Known {
	return &Known{agents: make(map[Agent]*agent), prints: prints, room: room{most: MostKnown, owned: make(map[string]int)}}
}

func (k *Known) agent(id Agent) *agent {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.entry(id)
}

// entry returns that of an agent; k.mu is held.
func (k *Known) entry(id Agent) *agent {
	a := k.agents[id]
	if a == nil {
		a = &agent{lock: make(chan struct{}, 1), lines: make(map[arrival]line), current: make(map[uint32]*course), forgot: k.forgot}
		k.agents[id] = a
	}
	return a
}

// Lock keeps others away from what is known of some agents: of the sender of a frame, and of those
// whose records it has. It takes them in an order of its own. Of whom nothing is known then,
// nothing is kept.
func (k *Known) Lock(ids ...Agent) (unlock func()) {
	unlock, _ = k.LockUntil(func() <-chan struct{} { return nil }, ids...)
	return unlock
}

// LockUntil does the same, and gives up once a channel is closed, which it asks for when it
// has to wait. It reports whether it has not given up.
func (k *Known) LockUntil(until func() <-chan struct{}, ids ...Agent) (unlock func(), ok bool) {
	ids = slices.Clone(ids)
	slices.SortFunc(ids, func(a, b Agent) int { return bytes.Compare(a[:], b[:]) })
	ids = slices.Compact(ids)
	var locked []*agent
	unlock = func() {
		for i, a := range locked {
			<-a.lock
			k.release(ids[i], a)
		}
	}
	var over <-chan struct{}
	for _, id := range ids {
		a := k.hold(id)
		select {
		case a.lock <- struct{}{}:
			locked = append(locked, a)
			continue
		default:
		}
		if over == nil {
			over = until()
		}
		select {
		case a.lock <- struct{}{}:
			locked = append(locked, a)
		case <-over:
			k.release(id, a)
			unlock()
			return nil, false
		}
	}
	return unlock, true
}

// hold has an agent's entry stay until release.
func (k *Known) hold(id Agent) *agent {
	k.mu.Lock()
	defer k.mu.Unlock()
	a := k.entry(id)
	a.holders++
	return a
}

// release gives up an agent, and forgets one of whom nothing is known.
func (k *Known) release(id Agent, a *agent) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if a.holders--; a.holders == 0 && len(a.lines) == 0 && len(a.current) == 0 && (!a.marked || k.forgot) {
		delete(k.agents, id)
	}
}

// Agents returns of how many agents something is known, or a session under way.
func (k *Known) Agents() int {
	k.mu.Lock()
	defer k.mu.Unlock()
	return len(k.agents)
}

// Begin begins a session, which fences the one before. The session's number is random.
func (k *Known) Begin(w Writer, s Session) {
	a := k.agent(w.Agent)
	a.current[w.Epoch] = &course{session: s, plans: make(map[Line]plan)}
	k.grow(a, 0)
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
	t := &Tell{Stream: q.Stream, Epoch: q.Epoch, Prints: l.last, Forgot: a.forgot}
	for _, r := range q.Parts {
		t.Missing = l.ranges.Missing(t.Missing, r)
	}
	if len(t.Missing) > MaxRanges {
		return nil, fmt.Errorf("%w: the answer has %d ranges", ErrMalformed, len(t.Missing))
	}
	if n := len(l.ranges); n > 0 {
		t.Ends = Range{l.ranges[0].From, l.ranges[n-1].To}
	}
	c.plan(Line{Writer{w.Agent, q.Epoch}, q.Stream}, q.Parts)
	return t, nil
}

// plan holds the sender to parts of a line. Of too many plans those go that were not used for longest; their
// lines are then to be asked for again.
func (c *course) plan(l Line, parts Ranges) {
	c.drop(l)
	c.used++
	c.plans[l] = plan{slices.Clone(parts), parts[0].From, c.used}
	if c.parts += len(parts); c.parts <= MaxRanges && len(c.plans) <= mostPlans {
		return
	}
	old := slices.SortedFunc(maps.Keys(c.plans), func(a, b Line) int { return cmp.Compare(c.plans[a].used, c.plans[b].used) })
	for _, l := range old[:len(old)-1] { // some more, so that it is not done for every question
		if c.parts <= MaxRanges/16*15 && len(c.plans) <= mostPlans/16*15 {
			break
		}
		c.drop(l)
	}
}

func (c *course) drop(l Line) {
	c.parts -= len(c.plans[l].parts)
	delete(c.plans, l)
}

// Verdict is what is new in a frame.
type Verdict struct {
	Missing []Range   // of the frame's own range; none: all is known, and is to be acknowledged again
	Origins [][]Range // for each of Data.Origins what of it is new

	data    *Data
	course  *course
	changes []change
	index   map[lineKey]int    // of changes
	forgets map[Agent]struct{} // those of whom something goes for the first time
	evicts  []Agent            // those of whom all goes
	whole   bool               // that has to be said, as nothing says it yet
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
// the records are where they belong. Idle has named the others of whom it may forget all, and who
// are locked too.
func (k *Known) Judge(w Writer, s Session, d *Data, idle ...Agent) (*Verdict, error) {
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
	if len(v.Missing) > 0 { // or else nothing is taken
		k.forget(v)
		k.makeRoom(v, idle)
	}
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
		v.add(k, d.Agent, l, d.Range)
	}
	for i, o := range d.Origins {
		if len(v.Origins[i]) > 0 {
			v.add(k, o.Agent, v.changed(k, o.Agent, d.arrival(o.Line)), o.Range)
		}
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
		v.change(change{lineKey: lineKey{id, at}, line: l})
	}
	return &v.changes[i].line
}

// change adds one to those that v makes.
func (v *Verdict) change(c change) {
	if v.index == nil {
		v.index = make(map[lineKey]int)
	}
	v.index[c.lineKey] = len(v.changes)
	v.changes = append(v.changes, c)
}

// Take adds a frame that Judge has let pass to what is known. The marks of the verdict
// belong into the transaction of the frame's records. Between Judge and Take nothing else happens to the agents.
func (k *Known) Take(v *Verdict) {
	for i := range v.changes {
		c := &v.changes[i]
		k.put(k.agent(c.agent), c)
	}
	for id := range v.forgets {
		a := k.agent(id)
		a.forgot, a.marked = true, true
	}
	k.evicted(v)
	l := v.course.plans[v.data.Line]
	v.course.used++
	l.next, l.used = max(l.next, v.data.To), v.course.used
	v.course.plans[v.data.Line] = l
}

// put makes a change.
func (k *Known) put(a *agent, c *change) {
	before, had := a.lines[c.at]
	grown := 0
	if had {
		grown -= before.cost(c.at)
	}
	if len(before.last) > 0 {
		a.proven--
	}
	if c.gone {
		delete(a.lines, c.at)
		k.grow(a, grown)
		return
	}
	if len(c.line.last) > 0 {
		a.proven++
	}
	a.lines[c.at] = c.line
	a.used = max(a.used, c.line.used)
	k.grow(a, grown+c.line.cost(c.at))
}

// left returns what is neither known nor passed by the plan: the sender goes on at from.
func (l *plan) left(known Ranges, from uint64) (left []Range) {
	if from <= l.next {
		return nil
	}
	for _, r := range l.parts[l.parts.behind(l.next):] {
		if r.From >= from {
			return left
		}
		left = known.Missing(left, Range{max(r.From, l.next), min(r.To, from)})
	}
	return known.Missing(left, Range{max(l.parts.End(), l.next), from})
}

// printed reports whether the line has that print.
func (l *line) printed(p Print) bool { return slices.Contains(l.last, p) }
