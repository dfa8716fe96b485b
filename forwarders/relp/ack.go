package relp

import (
	"context"
	"fmt"
	"math"

	"github.com/runnel-log/runnel/forwarders"
)

// ack waits for the answers to one batch.
type ack struct {
	f       *Forwarder
	conn    *conn
	stream  string
	offsets []uint64 // of all its records
	send    []int    // which of them are to be sent; nil: all

	// Guarded by conn.mu:
	first   uint64 // number of the first message
	sent    int    // messages, or about to be
	dropped bool   // offered again after the refusal of an earlier record
}

// due returns how many messages the batch makes.
func (a *ack) due() int {
	if a.send != nil {
		return len(a.send)
	}
	return len(a.offsets)
}

// record returns which record the ith message is.
func (a *ack) record(i int) int {
	switch {
	case i >= a.due():
		return len(a.offsets)
	case a.send != nil:
		return a.send[i]
	}
	return i
}

// answered returns how many of the messages, from the first, have an answer;
// conn.mu is held.
func (a *ack) answered() int {
	if a.conn.done <= a.first {
		return 0
	}
	return int(min(a.conn.done-a.first, uint64(a.sent)))
}

// refusal returns the first of the messages that was refused; conn.mu is held.
func (a *ack) refusal() (i int, refused bool) {
	if len(a.conn.refused) == 0 {
		return 0, false
	}
	for i := range a.sent {
		if _, ok := a.conn.refused[a.first+uint64(i)]; ok {
			return i, true
		}
	}
	return 0, false
}

// Wait returns when every message has been answered with 200, or one has not, or
// the connection has broken.
func (a *ack) Wait(ctx context.Context) (int, error) {
	stop := context.AfterFunc(ctx, func() {
		// What was under way is forgotten, so its answers must not come any more.
		a.conn.fail(context.Cause(ctx))
	})
	defer stop()
	c := a.conn
	c.mu.Lock()
	for {
		i, refused := a.refusal()
		n := a.answered()
		switch {
		case a.dropped:
			c.mu.Unlock()
			return 0, a.f.explain(errStuck)
		case refused:
			// What else is on its way has to be known first, or it would be sent twice.
			for c.done < c.next && c.err == nil {
				c.changed.Wait()
			}
			c.mu.Unlock()
			return a.f.settle(a, i)
		case n == a.due():
			c.mu.Unlock()
			a.f.forget(a)
			return len(a.offsets), nil
		case c.err != nil:
			err := c.err
			c.mu.Unlock()
			return a.record(n), a.f.explain(err)
		}
		c.changed.Wait()
	}
}

// forget drops an Ack that has been waited for.
func (f *Forwarder) forget(a *ack) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for i, open := range f.open {
		if open == a {
			f.open = append(f.open[:i], f.open[i+1:]...)
			return
		}
	}
}

// settle returns what Wait does after the refusal of a's ith message. Answers have
// a code for success and one for everything else, so whether a record is bad or
// the receiver in trouble is told by what came after: if the receiver took a later one, it
// is the record, and goes to the dead letters. Otherwise all is offered again.
func (f *Forwarder) settle(a *ack, i int) (int, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	c := a.conn
	c.mu.Lock()
	message := a.first + uint64(i)
	text, bad := c.refused[message], c.good > message
	c.mu.Unlock()
	err := fmt.Errorf("receiver answered %q", text)
	at := a.record(i)
	if f.conn == c {
		f.goBack(err)
		f.rewind.Failed(a.stream, max(a.offsets[len(a.offsets)-1], a.offsets[at]+1), err)
	}
	c.mu.Lock()
	clear(c.refused)
	c.mu.Unlock()
	if bad {
		return at, &forwarders.Refused{Index: at, Answer: text[:min(len(text), forwarders.MaxAnswer)]}
	}
	return at, f.explain(err)
}

// taken are records of a stream that the receiver has although the cursor has not
// passed them: one before them failed. They are not sent again.
type taken struct {
	from    uint64 // delivery goes on there or after, and not after the first of offsets
	offsets map[uint64]bool
}

// goBack prepares for all records of the open Acks from the first without a 200
// on to be offered again; f.mu is held. It notes which of them the receiver has,
// and drops the Acks.
func (f *Forwarder) goBack(why error) {
	c := f.conn
	c.mu.Lock()
	defer c.mu.Unlock()
	failed := false
	for _, a := range f.open {
		k := 0 // which message a record is
		for i, offset := range a.offsets {
			good := true // it was not sent because the receiver has it
			if k < a.due() && a.record(k) == i {
				good = k < a.sent && c.took(a.first+uint64(k))
				k++
			}
			if failed = failed || !good; failed {
				f.again(a.stream, offset, good)
			}
		}
		if failed {
			f.rewind.Failed(a.stream, a.offsets[len(a.offsets)-1], why)
			a.dropped = c.err == nil // or else Wait says why
		}
	}
	f.open = nil
	c.changed.Broadcast()
}

// took reports whether a message was answered with 200; c.mu is held.
func (c *conn) took(message uint64) bool {
	_, refused := c.refused[message]
	return !refused && (message < c.done || c.early[message])
}

// again notes that a record will be offered again, and whether the receiver has
// it already; f.mu is held.
func (f *Forwarder) again(stream string, offset uint64, has bool) {
	t := f.taken[stream]
	if t == nil {
		t = &taken{from: offset, offsets: make(map[uint64]bool)}
		f.taken[stream] = t
	}
	if has {
		t.offsets[offset] = true
	}
}

// leaveOut finds what of a's batch need not be sent; f.mu is held.
func (f *Forwarder) leaveOut(a *ack) {
	t := f.taken[a.stream]
	if t == nil {
		return
	}
	start, first := a.offsets[0], uint64(math.MaxUint64)
	for offset := range t.offsets {
		first = min(first, offset)
	}
	if len(t.offsets) == 0 || start < t.from || start > first {
		delete(f.taken, a.stream) // nothing is left of it, or somebody has moved the cursor
		return
	}
	a.send = make([]int, 0, len(a.offsets))
	for i, offset := range a.offsets {
		if t.offsets[offset] {
			delete(t.offsets, offset)
			continue
		}
		a.send = append(a.send, i)
	}
}
