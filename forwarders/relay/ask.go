package relay

import (
	"errors"
	"fmt"

	"github.com/runnel-log/runnel/forwarders"
	"github.com/runnel-log/runnel/internal/relaywire"
	"github.com/runnel-log/runnel/record"
)

// mostAsks is how many times a line is asked for in a row at most: once more for what the
// receiver has forgotten, and for each stretch that turns out to be in doubt.
const mostAsks = 4

// course returns how far the line of a batch has come on a session, and asks where
// that is not known.
func (f *Forwarder) course(c *conn, b *forwarders.Batch) (*course, error) {
	l := line{b.Stream, b.Epoch}
	if known := c.courses[l]; known == nil || known.from > b.First || !f.asked(c, known, b) {
		q := f.question(c, l, b.First, b.Next)
		if q == nil {
			return &course{line: l}, nil
		}
		tells, err := c.ask(q)
		if err != nil {
			return nil, err
		}
		if err := f.answered(c, l, q, tells[0]); err != nil {
			c.end(err, errors.Is(err, errCopied))
			return nil, err
		}
		if to, lost := c.behind[l.stream]; lost && to < b.First {
			return nil, c.lost(b)
		}
	}
	k := c.courses[l]
	if !k.going {
		if err := f.holes(k, b); err != nil {
			return nil, err
		}
		k.going = true
	}
	return k, nil
}

// errHole has the agent go back to its cursor.
var errHole = errors.New("records before this one were handed over, and the receiver does not have them")

// holes returns an error if the first frame of b would say that there is nothing where something may be. What lies
// before the cursor is settled: it arrived, also elsewhere, was filtered or skipped, or is gone. What lies between the cursor and b was
// handed over before, and is to be again.
func (f *Forwarder) holes(k *course, b *forwarders.Batch) error {
	if b.From != "" || !f.source.Covers(b.Stream) { // dead letters that are sent again have no cursor
		return nil
	}
	if open := within(k.todo, relaywire.Range{From: f.source.Settled(b.Stream), To: b.First}); len(open) > 0 {
		return fmt.Errorf("%w: [%d, %d) of stream %q", errHole, open[0].From, open[0].To, b.Stream)
	}
	return nil
}

// asked reports whether all that a batch says is gone was asked for. What retention takes
// while there is no session is not in the store when the next one asks.
func (f *Forwarder) asked(c *conn, k *course, b *forwarders.Batch) bool {
	for _, g := range b.Gone {
		r := relaywire.Range{From: g.From, To: g.To}
		if len(without(within(f.parts(c, k.line, r), r), k.parts)) > 0 {
			return false
		}
	}
	return true
}

// askAll asks for all lines of which the receiver had something, and the store has.
func (f *Forwarder) askAll(c *conn) error {
	var lines []line
	var questions []*relaywire.Ask
	c.held = make(map[string]map[uint32]holding)
	defer func() { c.held = nil }()
	for _, l := range f.asks(c.url) {
		var q *relaywire.Ask
		if own, here := f.own(c, l); !here {
			q = f.lingering(c.url, l)
		} else if f.source.Covers(l.stream) {
			q = f.question(c, l, own.From, own.To)
		}
		if q != nil {
			lines, questions = append(lines, l), append(questions, q)
		}
	}
	tells, err := c.ask(questions...)
	if err != nil {
		return err
	}
	for i, l := range lines {
		if err := f.answered(c, l, questions[i], tells[i]); err != nil {
			return err
		}
	}
	return nil
}

// question returns what is asked of a line, of which at least from to to is to be sent; nil if
// there is nothing that can be answered for.
func (f *Forwarder) question(c *conn, l line, from, to uint64) *relaywire.Ask {
	whole := relaywire.Range{From: from, To: to}
	if own, here := f.own(c, l); here {
		whole = relaywire.Range{From: min(from, own.From), To: max(to, own.To)}
	}
	if l.epoch == c.writer.Epoch {
		whole.To = endless
	}
	parts := without(f.parts(c, l, whole), c.forgotten[l])
	if len(parts) == 0 {
		return nil
	}
	return &relaywire.Ask{Stream: l.stream, Epoch: l.epoch, Parts: parts}
}

// holding is what of a line is or was in the store.
type holding struct {
	relaywire.Range
	here bool // false: there is nothing of it
}

// own returns what of a line is or was in the store; false: there is nothing of it. While all lines are asked for, of which
// there may be tens of thousands, it looks once for each stream; a line that is not written any more only loses.
func (f *Forwarder) own(c *conn, l line) (own relaywire.Range, here bool) {
	if c.held == nil || l.epoch == c.writer.Epoch {
		h := holdings(f.source.Parts(l.stream))[l.epoch]
		return h.Range, h.here
	}
	if c.held[l.stream] == nil {
		c.held[l.stream] = holdings(f.source.Parts(l.stream))
	}
	h := c.held[l.stream][l.epoch]
	return h.Range, h.here
}

// holdings sorts the parts of a stream by their epochs.
func holdings(parts []forwarders.Part) map[uint32]holding {
	all := make(map[uint32]holding, len(parts))
	for _, p := range parts {
		h := all[p.Epoch]
		if !h.here {
			h.From = p.First
		}
		h.To, h.here = p.Next, true
		all[p.Epoch] = h
	}
	return all
}

// answered makes of an answer what is to be sent of the line, and notes what the receiver
// has lost of it.
func (f *Forwarder) answered(c *conn, l line, q *relaywire.Ask, t *relaywire.Tell) error {
	for range mostAsks {
		o, err := f.compare(c, l, q, t)
		if err != nil {
			return err
		}
		f.memory.add(c.url, l, o.Delivered...)
		for _, r := range o.Doubt {
			f.events.doubted(l, c.url, r, f.Holds())
		}
		f.memory.add(inDoubt, l, o.Doubt...)
		if o.Other && l.epoch == c.writer.Epoch {
			f.events.copied(l, c.url)
			if _, now := f.source.Identity(); now == l.epoch { // nobody has noticed before
				f.memory.begins(f.source.NewEpoch())
			}
			return errCopied
		}
		for _, r := range o.Forgotten {
			c.forgotten[l] = c.forgotten[l].Add(r)
		}
		f.memory.end(l, o.Forgotten) // nobody will say so
		if len(o.Doubt) == 0 && len(o.Forgotten) == 0 {
			return f.begin(c, l, q, &o)
		}
		if q = f.question(c, l, q.Parts[0].From, min(q.Parts.End(), endless-1)); q == nil {
			c.courses[l] = &course{line: l}
			return nil
		}
		tells, err := c.ask(q)
		if err != nil {
			return err
		}
		t = tells[0]
	}
	return fmt.Errorf("%w: each answer about stream %q puts more in doubt, or out of mind", errProtocol, l.stream)
}

// compare holds an answer against what is here.
func (f *Forwarder) compare(c *conn, l line, q *relaywire.Ask, t *relaywire.Tell) (relaywire.Outcome, error) {
	own := relaywire.Own{Acked: f.claimed(c.url, l), Running: l.epoch == c.writer.Epoch, Unsaid: f.memory.unsaid(c.url, l)}
	here, _ := f.own(c, l) // after the answer: the receiver may have what was written meanwhile
	own.From, own.To = q.Parts[0].From, here.To
	own.To = max(own.To, own.Acked.End())
	if end := q.Parts.End(); end != endless {
		own.To = max(own.To, end)
	}
	if here.From > 0 {
		own.From = min(own.From, here.From)
	}
	printed := f.source.Covers(l.stream) // dead letters that are sent again are not sent as they are stored
	sum := func(offset uint64) (sum uint64, ok bool) {
		ok = printed && f.source.Record(l.stream, offset, func(v record.View) { sum = relaywire.Sum(offset, v) })
		return sum, ok
	}
	o, err := t.Compare(q, own, sum)
	if err != nil {
		return o, fmt.Errorf("%w: %w", errProtocol, err)
	}
	f.turned(c.url, l, &o)
	return o, nil
}

// begin begins to send a line. What the receiver has lost and the store has is offered
// again by the agent; what is gone, too, is said to be.
func (f *Forwarder) begin(c *conn, l line, q *relaywire.Ask, o *relaywire.Outcome) error {
	k := &course{line: l, from: q.Parts[0].From, parts: q.Parts}
	if before := c.courses[l]; before != nil {
		k.last = before.last
	}
	for _, set := range []relaywire.Ranges{o.Again, o.Send} {
		for _, r := range set {
			k.todo = k.todo.Add(r)
		}
	}
	c.courses[l] = k
	if len(o.Again) == 0 {
		return nil
	}
	here, is := f.own(c, l)
	if again := within(o.Again, here); len(again) > 0 && f.source.Covers(l.stream) {
		c.lostOwn[l.stream] = c.lostOwn[l.stream] || meet(again, f.memory.ackedBy(c.url, l))
		if at, ok := c.behind[l.stream]; !ok || again[0].From < at {
			c.behind[l.stream] = again[0].From
		}
	}
	gone := o.Again.End()
	if is {
		gone = min(gone, here.From)
	}
	for _, r := range within(k.todo, relaywire.Range{From: 0, To: gone}) {
		d := &relaywire.Data{Part: relaywire.Part{Line: relaywire.Line{Writer: relaywire.Writer{Agent: c.writer.Agent, Epoch: l.epoch}, Stream: l.stream}, Range: r},
			Gone: []relaywire.Gone{{Range: r, Reason: relaywire.Retention}}}
		f.memory.says(c.url, l)
		if err := c.send(d); err != nil {
			return err
		}
		k.last = d.Number
		k.todo = without(k.todo, relaywire.Ranges{r})
	}
	return nil
}

// lost returns what the agent has to go back for before b may be sent: in the stream of b, or in
// another that it does not know of yet. Nil: nothing.
func (c *conn) lost(b *forwarders.Batch) error {
	if to, ok := c.behind[b.Stream]; ok {
		if b.First > to {
			c.reported[b.Stream] = true
			return c.back(b.Stream, to)
		}
		delete(c.behind, b.Stream)
	}
	for stream, to := range c.behind {
		if !c.reported[stream] {
			c.reported[stream] = true
			return c.back(stream, to)
		}
	}
	return nil
}
