package relay

import (
	"slices"
	"sync"
	"time"

	"github.com/runnel-log/runnel/internal/relaywire"
)

// endedEvery is how long it is gathered what an agent was told before it is looked whether that has come to its end.
const endedEvery = time.Second

// mostUnended bounds the ranges that a session remembers to have told, and those of an account. Of what is beyond
// the agent hears in its next session, when it asks again.
const mostUnended = relaywire.MaxRanges

// said is what a sender was told of a line: these parts are there.
type said struct {
	stream string
	epoch  uint32
	parts  relaywire.Ranges
}

// there is what a Tell says is there of what was asked for.
func there(q *relaywire.Ask, t *relaywire.Tell) *said {
	s := &said{stream: q.Stream, epoch: q.Epoch}
	for _, p := range q.Parts {
		for _, r := range t.Missing.Missing(nil, p) {
			s.parts = s.parts.Add(relaywire.Range{From: max(r.From, t.Ends.From), To: min(r.To, t.Ends.To)})
		}
	}
	return s
}

// account is what of an agent's lines is there, until that has come to its end and afterwards: first it waits for
// company, then for all to end that is stored on this agent at that moment, which has it. It passes from session to
// session: what ends takes longer than one may last.
type account struct {
	waits, under, over portions
	since              time.Time       // something waits
	passed             <-chan struct{} // closed once under has ended; nil: nothing is under
}

// size is about how many bytes the account takes.
func (a *account) size() int { return a.waits.size() + a.under.size() + a.over.size() }

// ends has the account of an agent while a session is its current one, and says of nothing that it has ended but
// what this session has told. One goroutine uses it, and another takes and leaves the account. While there is nothing it holds nothing.
type ends struct {
	after func() <-chan struct{} // inputs.Setup.Ended

	mu sync.Mutex
	// guarded by mu:
	account
	told portions         // in this session, and not that it has ended
	due  <-chan time.Time // what waits goes under; nil: nothing does, or something is under
	gone bool             // a newer session has the account
}

// take begins with what the session before has left.
func (e *ends) take(a account) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.account = a
	e.arm()
}

// leave returns the account for the next session. This one says nothing any more.
func (e *ends) leave() account {
	e.mu.Lock()
	defer e.mu.Unlock()
	a := e.account
	e.account, e.told, e.due, e.gone = account{}, portions{}, nil, true
	return a
}

// next returns what begin and pass are to be called after.
func (e *ends) next() (begin <-chan time.Time, pass <-chan struct{}) {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.due, e.passed
}

func (e *ends) arm() {
	if e.passed == nil && e.waits.ranges > 0 {
		e.due = time.After(time.Until(e.since.Add(endedEvery)))
	}
}

// tell notes what the sender is told, and appends to frames what it is told next: what of it has ended.
func (e *ends) tell(frames []byte, s *said) []byte {
	if s == nil || len(s.parts) == 0 {
		return frames
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.gone {
		return frames
	}
	l := lineOf{s.stream, s.epoch}
	frames = appendEnded(frames, l, common(s.parts, e.over.of[l]))
	open := without(s.parts, e.over.of[l])
	fresh := without(without(open, e.under.of[l]), e.waits.of[l])
	if e.told.ranges+len(open) > mostUnended || e.waits.ranges+e.under.ranges+len(fresh) > mostUnended {
		return frames
	}
	if e.waits.ranges+e.under.ranges+e.over.ranges+len(fresh) > mostUnended {
		e.over = portions{} // it is found out again
	}
	e.told.add(l, open)
	if len(fresh) == 0 {
		return frames
	}
	if e.waits.ranges == 0 {
		e.since = time.Now()
		defer e.arm()
	}
	e.waits.add(l, fresh)
	return frames
}

// begin has what waits be under.
func (e *ends) begin() {
	passed := e.after() // what waits was there before, and nobody else adds to it
	e.mu.Lock()
	defer e.mu.Unlock()
	if !e.gone {
		e.under, e.waits, e.due, e.passed = e.waits, portions{}, nil, passed
	}
}

// pass appends to frames what the sender is told of what was under, and has ended.
func (e *ends) pass(frames []byte) []byte {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.gone {
		return frames
	}
	for l, parts := range e.under.of {
		ended := common(parts, e.told.of[l])
		frames = appendEnded(frames, l, ended)
		e.told.remove(l, ended)
	}
	if e.over.ranges+e.under.ranges+e.waits.ranges > mostUnended {
		e.over = portions{}
	}
	for l, parts := range e.under.of {
		e.over.add(l, parts)
	}
	e.under, e.passed = portions{}, nil
	e.arm()
	return frames
}

// appendEnded says that parts of a line have ended.
func appendEnded(frames []byte, l lineOf, parts relaywire.Ranges) []byte {
	for some := range slices.Chunk(parts, relaywire.MaxRanges) {
		frames = relaywire.Append(frames, &relaywire.Ended{Stream: l.stream, Epoch: l.epoch, Parts: some})
	}
	return frames
}
