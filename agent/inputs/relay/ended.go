package relay

import (
	"time"

	"github.com/runnel-log/runnel/internal/relaywire"
)

// endedEvery is how long a session gathers what the sender was told before it looks whether that has come to its end.
const endedEvery = time.Second

// mostUnended bounds the ranges that a session remembers to have told. Of what is beyond the sender hears in
// its next session, when it asks again.
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

// lineOf names a line of the session's agent.
type lineOf struct {
	stream string
	epoch  uint32
}

// ends is what a sender was told is there, until that has come to its end: first it waits for company, then for all to end that is
// stored on this agent at that moment, which has it. While there is nothing it holds nothing. One goroutine uses it.
type ends struct {
	after func() <-chan struct{} // inputs.Setup.Ended

	waits, under map[lineOf]relaywire.Ranges
	ranges       int
	due          <-chan time.Time // waits goes under; nil: nothing waits, or something is under
	passed       <-chan struct{}  // closed once under has ended; nil: nothing is under
}

// add notes what the sender is told.
func (e *ends) add(s *said) {
	if s == nil || len(s.parts) == 0 || e.ranges+len(s.parts) > mostUnended {
		return
	}
	if e.waits == nil {
		e.waits = make(map[lineOf]relaywire.Ranges)
		e.arm()
	}
	l := lineOf{s.stream, s.epoch}
	parts := e.waits[l]
	e.ranges -= len(parts)
	for _, r := range s.parts {
		parts = parts.Add(r)
	}
	e.ranges += len(parts)
	e.waits[l] = parts
}

func (e *ends) arm() {
	if e.passed == nil {
		e.due = time.After(endedEvery)
	}
}

// begin has what waits be under.
func (e *ends) begin() {
	e.under, e.waits, e.due, e.passed = e.waits, nil, nil, e.after()
}

// over appends to frames what the sender is told of what has ended.
func (e *ends) over(frames []byte) []byte {
	for l, parts := range e.under {
		frames = relaywire.Append(frames, &relaywire.Ended{Stream: l.stream, Epoch: l.epoch, Parts: parts})
		e.ranges -= len(parts)
	}
	e.under, e.passed = nil, nil
	if e.waits != nil {
		e.arm()
	}
	return frames
}
