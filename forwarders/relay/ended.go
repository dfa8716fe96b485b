package relay

import (
	"fmt"
	"slices"

	"github.com/runnel-log/runnel/forwarders"
	"github.com/runnel-log/runnel/internal/relaywire"
)

// What `trim_on` may say.
const (
	trimOnHop = "hop"
	trimOnEnd = "end"
)

// ends is how far what receivers have acknowledged has come to its end: is on the disk of the
// last agent above, or was dropped on its way there on purpose, or lost and said to be. What nobody has
// acknowledged of what is settled was never sent, and has ended here, unless it is in doubt and to be kept. Its user guards it.
// The zero value knows of nothing.
type ends struct {
	streams map[string]*endsOf
	before  func(stream string) uint64 // where a stream's mark was when the agent last noted it; nil: at 0
}

// endsOf is that of one stream.
type endsOf struct {
	mark  uint64 // all before it has ended
	lines map[uint32]*endsIn
}

// endsIn is that of one line. All of it lies at the stream's mark or behind it.
type endsIn struct {
	open  relaywire.Ranges // acknowledged, and not known to have ended
	early relaywire.Ranges // said to have ended, and not noted as acknowledged yet
	doubt relaywire.Ranges // never to be sent, and to be kept
}

func (e *ends) of(stream string) *endsOf {
	s := e.streams[stream]
	if s == nil {
		s = &endsOf{lines: make(map[uint32]*endsIn)}
		if e.before != nil {
			s.mark = e.before(stream)
		}
		if e.streams == nil {
			e.streams = make(map[string]*endsOf)
		}
		e.streams[stream] = s
	}
	return s
}

func (e *ends) in(l line) (*endsOf, *endsIn) {
	s := e.of(l.stream)
	if s.lines[l.epoch] == nil {
		s.lines[l.epoch] = new(endsIn)
	}
	return s, s.lines[l.epoch]
}

// acked notes that a receiver has parts of a line.
func (e *ends) acked(l line, parts ...relaywire.Range) {
	s, in := e.in(l)
	for _, r := range parts {
		r.From = max(r.From, s.mark)
		for _, open := range in.early.Missing(nil, r) {
			in.open = in.open.Add(open)
		}
		in.early = without(in.early, relaywire.Ranges{r})
	}
}

// doubted notes that parts of a line are in doubt, and to be kept.
func (e *ends) doubted(l line, parts ...relaywire.Range) {
	s, in := e.in(l)
	for _, r := range parts {
		in.doubt = in.doubt.Add(relaywire.Range{From: max(r.From, s.mark), To: r.To})
	}
}

// release has what is in doubt before an offset be kept no longer. It reports whether anything is in doubt behind that.
func (e *ends) release(stream string, before uint64) (more bool) {
	if e.streams[stream] == nil {
		return false
	}
	for _, in := range e.streams[stream].lines {
		in.doubt = within(in.doubt, relaywire.Range{From: before, To: endless})
		more = more || len(in.doubt) > 0
	}
	return more
}

// ended notes that parts of a line have ended. It may be heard of before the acknowledgement is noted.
func (e *ends) ended(l line, parts relaywire.Ranges) {
	s, in := e.in(l)
	for _, r := range parts {
		r.From = max(r.From, s.mark)
		for _, early := range in.open.Missing(nil, r) {
			in.early = in.early.Add(early)
		}
	}
	in.open = without(in.open, parts)
	in.early = in.early[max(0, len(in.early)-mostRanges):] // what is forgotten is said again in the next session
}

// reach moves a stream's mark to where what is settled has ended, and returns it.
func (e *ends) reach(stream string, settled uint64) uint64 {
	s := e.of(stream)
	to := settled
	for _, in := range s.lines {
		if len(in.open) > 0 {
			to = min(to, in.open[0].From)
		}
		if len(in.doubt) > 0 {
			to = min(to, in.doubt[0].From)
		}
	}
	if to <= s.mark {
		return s.mark
	}
	s.mark = to
	behind := relaywire.Range{From: to, To: endless}
	for epoch, in := range s.lines {
		in.open, in.early, in.doubt = within(in.open, behind), within(in.early, behind), within(in.doubt, behind)
		if len(in.open)+len(in.early)+len(in.doubt) == 0 {
			delete(s.lines, epoch)
		}
	}
	return to
}

// openOf returns what of a line was acknowledged and is not known to have ended.
func (e *ends) openOf(l line) relaywire.Ranges {
	if s := e.streams[l.stream]; s != nil && s.lines[l.epoch] != nil {
		return s.lines[l.epoch].open
	}
	return nil
}

// end notes that parts of a line have come to their end.
func (m *memory) end(l line, parts relaywire.Ranges) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if len(parts) > 0 {
		m.ends.ended(l, parts)
	}
}

// open returns what of a line was acknowledged by some receiver, and is not known to have ended.
func (m *memory) open(l line) relaywire.Ranges {
	m.mu.Lock()
	defer m.mu.Unlock()
	return append(relaywire.Ranges(nil), m.ends.openOf(l)...)
}

// openLines returns the lines of which something has not ended.
func (m *memory) openLines() (lines []line) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for stream, s := range m.ends.streams {
		for epoch, in := range s.lines {
			if len(in.open) > 0 {
				lines = append(lines, line{stream, epoch})
			}
		}
	}
	return lines
}

// Ended returns the offset of a stream before which all has come to its end.
func (f *Forwarder) Ended(stream string) uint64 {
	settled := f.source.Settled(stream) // first: what it passes has been noted as acknowledged
	m := f.remembered.Load()
	if m == nil {
		return f.source.Ended(stream)
	}
	if m.release(stream, 0) { // what retention took nobody reads here
		first := settled
		if parts := f.source.Parts(stream); len(parts) > 0 {
			first = parts[0].First
		}
		m.release(stream, first)
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.ends.reach(stream, settled)
}

// release is ends.release.
func (m *memory) release(stream string, before uint64) (more bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.ends.release(stream, before)
}

// Release has what is in doubt before an offset be kept no longer.
func (f *Forwarder) Release(stream string, before uint64) {
	if m := f.remembered.Load(); m != nil {
		m.release(stream, before)
	}
}

// Holds reports whether the store is to keep records until they have ended.
func (f *Forwarder) Holds() bool { return f.options.TrimOn == trimOnEnd }

// asks returns the lines of a receiver that are asked for when a session begins: of which it had something, and where
// records are kept until they have ended, those of which anybody has something that has not.
func (f *Forwarder) asks(url string) []line {
	lines := f.memory.lines(url)
	if !f.Holds() {
		return lines
	}
	had := make(map[line]bool, len(lines))
	for _, l := range lines {
		had[l] = true
	}
	for _, l := range f.memory.openLines() {
		if !had[l] {
			lines = append(lines, l)
		}
	}
	return lines
}

// lingering asks for what a receiver has of a line of which the store has nothing any more, and which has not
// ended; nil: there is nothing.
func (f *Forwarder) lingering(url string, l line) *relaywire.Ask {
	parts := relaywire.Ranges{}
	for _, r := range f.memory.open(l) {
		for _, mine := range within(f.memory.ackedBy(url, l), r) {
			parts = parts.Add(mine)
		}
	}
	if len(parts) == 0 {
		return nil
	}
	return &relaywire.Ask{Stream: l.stream, Epoch: l.epoch, Parts: parts[:min(len(parts), relaywire.MaxParts)]}
}

// parts returns what of a line can be answered for to a receiver (memory.parts). What another has, and the store has no
// more, is for that one to pass on.
func (f *Forwarder) parts(c *conn, l line, whole relaywire.Range) relaywire.Ranges {
	parts := f.memory.parts(c.url, l, whole)
	if !f.Holds() {
		return parts
	}
	here, is := f.own(c, l)
	if !is {
		here.From = endless
	}
	others := without(f.memory.open(l), f.memory.ackedBy(c.url, l))
	if here := without(parts, within(others, relaywire.Range{From: 0, To: here.From})); len(here) <= relaywire.MaxParts {
		return here
	}
	return parts // in shreds: it is said to be gone
}

// claimed returns what of a line a receiver is to have: what it has acknowledged, and where records are kept until they
// have ended, what others have and has not.
func (f *Forwarder) claimed(url string, l line) relaywire.Ranges {
	claimed := f.memory.ackedBy(url, l)
	if f.Holds() {
		for _, r := range f.memory.open(l) {
			claimed = claimed.Add(r)
		}
	}
	return claimed
}

// turned makes what a receiver has forgotten, and only others ever had, something to be sent again.
func (f *Forwarder) turned(url string, l line, o *relaywire.Outcome) {
	if !f.Holds() || len(o.Forgotten) == 0 {
		return
	}
	others := without(o.Forgotten, f.memory.ackedBy(url, l))
	o.Forgotten = without(o.Forgotten, others)
	for _, r := range others {
		o.Again = o.Again.Add(r)
	}
}

// back is where the agent has to go back to.
func (c *conn) back(stream string, to uint64) *forwarders.Behind {
	return &forwarders.Behind{Stream: stream, To: to, Turned: !c.lostOwn[stream]}
}

// meet reports whether two sets have something in common.
func meet(a, b relaywire.Ranges) bool {
	return slices.ContainsFunc(a, func(r relaywire.Range) bool { return len(within(b, r)) > 0 })
}

// inFlight is a frame that is not acknowledged.
type inFlight struct {
	cost int
	line line
	relaywire.Range
}

// there notes what the receiver says is there of what it was asked for; c.mu is held.
func (c *conn) there(q *relaywire.Ask, t *relaywire.Tell) {
	l := line{q.Stream, q.Epoch}
	for _, p := range q.Parts {
		for _, r := range within(t.Missing.Missing(nil, p), t.Ends) {
			c.has[l] = c.has[l].Add(r)
		}
	}
}

// over takes what has come to its end: only what the receiver has said is there, or has acknowledged, can
// have. c.mu is held.
func (c *conn) over(m *relaywire.Ended) error {
	l := line{m.Stream, m.Epoch}
	for _, r := range m.Parts {
		if !c.has[l].Has(r) {
			return fmt.Errorf("%w: [%d, %d) of stream %q is said to have come to its end, and not all of it was acknowledged", errProtocol, r.From, r.To, m.Stream)
		}
	}
	c.ending(l, m.Parts)
	return nil
}
