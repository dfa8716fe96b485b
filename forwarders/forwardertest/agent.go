package forwardertest

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"github.com/runnel-log/runnel/forwarders"
)

// agent is the agent's delivery in small: it offers batches in order, lets Acks
// pile up, and after an error starts again from the first record that was not
// acknowledged. It waits between tries for nothing but its context.
type agent struct {
	f      forwarders.Forwarder
	stream string
	from   uint64 // first offset to deliver
	to     uint64 // exclusive
	size   uint64 // records in a batch
	window int    // batches that may be open
	text   func(offset uint64) string

	dead   []uint64 // refused for good
	errors []error
}

type open struct {
	ack   forwarders.Ack
	first uint64 // offset
	n     int
}

// run delivers everything. It stops at the error that gaveUp accepts; nil
// accepts none.
func (a *agent) run(ctx context.Context, t testing.TB, giveUp func(error) bool) error {
	for limit := a.size; a.from < a.to; {
		if ctx.Err() != nil {
			return fmt.Errorf("%w at record %d; first errors: %v", ctx.Err(), a.from, a.errors)
		}
		err := a.session(ctx, t, limit)
		if err == nil {
			continue
		}
		if giveUp != nil && giveUp(err) {
			return err
		}
		if len(a.errors) < 5 {
			a.errors = append(a.errors, err)
		}
		var refused *refusal
		limit = a.size
		switch {
		case !errors.As(err, &refused):
		case refused.offset != 0:
			a.dead = append(a.dead, refused.offset)
		default:
			limit = max(1, refused.n/2)
		}
	}
	return nil
}

// refusal says which records a *forwarders.Refused is about.
type refusal struct {
	offset uint64 // of the record; 0: one of n
	n      uint64
}

func (*refusal) Error() string { return "refused" }

// session delivers from the first open record until something fails.
func (a *agent) session(ctx context.Context, t testing.TB, limit uint64) error {
	next := a.from
	var window []open
	for a.from < a.to {
		if a.isDead(next) {
			if next++; len(window) == 0 {
				a.from = next
			}
			continue
		}
		if next < a.to && len(window) < a.window {
			b := Batch(t, a.stream, next, a.end(next, limit), a.text)
			o := open{first: next, n: b.Records.Len()}
			var err error
			if o.ack, err = a.f.Deliver(ctx, b); err != nil {
				for _, o := range window { // what the receiver has shall not be offered again
					if a.settle(ctx, t, o) != nil {
						break
					}
				}
				return a.about(err, o)
			}
			scribble(b)
			window = append(window, o)
			next += uint64(o.n)
			continue
		}
		if err := a.settle(ctx, t, window[0]); err != nil {
			return err
		}
		window = window[1:]
	}
	return nil
}

// end returns where a batch from next ends.
func (a *agent) end(next, limit uint64) uint64 {
	end := min(a.to, next+limit)
	for _, dead := range a.dead {
		if dead > next {
			end = min(end, dead)
		}
	}
	return end
}

func (a *agent) isDead(offset uint64) bool {
	for _, dead := range a.dead {
		if dead == offset {
			return true
		}
	}
	return false
}

// settle waits for one batch.
func (a *agent) settle(ctx context.Context, t testing.TB, o open) error {
	n := o.n
	var err error
	if o.ack != nil {
		n, err = o.ack.Wait(ctx)
	}
	if n < 0 || n > o.n || n < o.n && err == nil {
		t.Errorf("Wait = %d, %v for %d records; want all of them, or an error", n, err, o.n)
	}
	a.from = o.first + uint64(n)
	return a.about(err, o)
}

func (a *agent) about(err error, o open) error {
	var refused *forwarders.Refused
	switch {
	case !errors.As(err, &refused):
		return err
	case refused.Index >= 0:
		return &refusal{offset: o.first + uint64(refused.Index)}
	case o.n == 1:
		return &refusal{offset: o.first}
	}
	return &refusal{n: uint64(o.n)}
}
