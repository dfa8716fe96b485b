package agent

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/runnel-log/runnel/forwarders"
)

// sent is a stretch of a stream whose records have been handed over and whose
// ack is open.
type sent struct {
	stream  string
	from    uint64         // where the stretch begins
	next    uint64         // where the cursor stands once all of it is acknowledged
	offsets []uint64       // of the records handed over; the filter left out the others
	gaps    []gap          // that the store had no more
	epoch   uint32         // under which what was looked at was written; 0: nobody knows
	again   int            // how many of those had been handed over before
	ack     forwarders.Ack // nil: nothing to wait for
	done    chan struct{}  // nil, or closed once the cursor has passed it
}

// gap is offsets from to to, without to, that cannot be delivered any more.
type gap struct {
	from, to uint64
	damaged  bool // or else retention took them
}

// session delivers until something fails, ctx ends or the cursor is moved.
func (d *delivery) session(ctx, hard context.Context) error {
	sending, stopSending := context.WithCancelCause(ctx)
	defer stopSending(nil)
	acking, stopAcking := context.WithCancel(hard)
	defer stopAcking()
	defer context.AfterFunc(sending, func() { // what is open gets a little time, then no more
		if errors.Is(context.Cause(sending), errCursorMoved) {
			stopAcking()
		} else {
			time.AfterFunc(stopGrace, stopAcking)
		}
	})()
	d.mu.Lock()
	d.restart = func() { stopSending(errCursorMoved) }
	moves := d.moves
	d.mu.Unlock()

	size := windowBatches
	if d.takesBlocks() {
		size = windowBlocks
	}
	window := make(chan sent, size) // the sender closes it; full means that the receiver is behind
	var wg sync.WaitGroup
	var ackErr error
	wg.Go(func() {
		if ackErr = d.runAcks(acking, window, moves); ackErr != nil {
			stopSending(ackErr)
			for range window { //nolint:revive // what follows a failure is offered again
			}
		}
	})
	sendErr := d.runSend(sending, acking, window)
	close(window)
	if sendErr != nil {
		time.AfterFunc(stopGrace, stopAcking)
	}
	wg.Wait()
	if errors.Is(context.Cause(sending), errCursorMoved) {
		return nil
	}
	var refused *forwarders.Refused
	if ackErr != nil && !errors.As(sendErr, &refused) {
		return ackErr
	}
	return sendErr
}

var errCursorMoved = errors.New("cursor moved")

// runSend hands batches over until ctx ends or one fails. Deliver itself runs
// under acking, so that a stop does not cut a request in two.
func (d *delivery) runSend(ctx, acking context.Context, window chan<- sent) error {
	r := newReader(d)
	defer r.release()
	for {
		changed := d.store.Changed()
		idle := true
		var soonest time.Duration // until a batch that waits for more records goes out
		for _, stream := range r.streams() {
			d.ask()
			ready, wait := r.ready(stream)
			if !ready {
				if wait > 0 && (soonest == 0 || wait < soonest) {
					soonest = wait
				}
				continue
			}
			out, err := r.read(ctx, stream)
			if err != nil {
				return err
			}
			if out == nil {
				continue
			}
			idle = false
			if err := d.handOver(acking, r, out); err != nil {
				return err
			}
			// Also when ctx has ended: what was handed over has an ack to wait for, or
			// it would be sent again. The other side takes until the channel is closed.
			window <- out.sent
			if out.done != nil { // what lies behind a dead letter goes out once that is stored, or it might again and again
				select {
				case <-out.done:
				case <-ctx.Done():
				}
			}
		}
		if ctx.Err() != nil {
			return nil
		}
		if idle {
			waitFor(ctx, changed, soonest)
		}
	}
}

// waitFor returns when changed is closed, ctx ends, or after d if d is not zero.
func waitFor(ctx context.Context, changed <-chan struct{}, d time.Duration) {
	var timeout <-chan time.Time
	if d > 0 {
		timer := time.NewTimer(d)
		defer timer.Stop()
		timeout = timer.C
	}
	select {
	case <-ctx.Done():
	case <-changed:
	case <-timeout:
	}
}

func (d *delivery) handOver(ctx context.Context, r *reader, out *outgoing) error {
	if len(out.offsets) == 0 { // nothing left to send: only the cursor moves
		r.moved(out.stream, out.next)
		return nil
	}
	d.mu.Lock()
	d.edges.handed(out.stream, out.next)
	d.mu.Unlock()
	ack, err := d.forwarder.Deliver(ctx, &out.batch)
	var refused *forwarders.Refused
	if !errors.As(err, &refused) { // or else the receiver has looked at it, and took nothing
		out.again = d.handed(out.stream, out.offsets)
	}
	if err != nil {
		return &batchError{stream: out.stream, offsets: out.offsets, err: err}
	}
	out.ack = ack
	r.moved(out.stream, out.next)
	return nil
}

// handed notes what was handed over, and returns how much of it had been before:
// the receiver may have it twice.
func (d *delivery) handed(stream string, offsets []uint64) (again int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	again, _ = slices.BinarySearch(offsets, d.seen[stream])
	d.seen[stream] = max(d.seen[stream], offsets[len(offsets)-1]+1)
	return again
}

// batchError says which records a forwarder's error is about.
type batchError struct {
	stream  string
	offsets []uint64
	err     error
}

func (e *batchError) Error() string {
	return fmt.Sprintf("stream %q, offsets %d to %d: %v", e.stream, e.offsets[0], e.offsets[len(e.offsets)-1], e.err)
}

func (e *batchError) Unwrap() error { return e.err }

// runAcks waits for the acks in order and moves the cursor as they come.
func (d *delivery) runAcks(ctx context.Context, window <-chan sent, moves int) error {
	for s := range window {
		n := len(s.offsets)
		var err error
		if s.ack != nil {
			n, err = s.ack.Wait(ctx)
		}
		if err == nil {
			if err = d.acknowledged(ctx, moves, &s, len(s.offsets), s.next); err != nil {
				return err
			}
			if s.done != nil {
				close(s.done)
			}
			continue
		}
		if n > 0 {
			if err := d.acknowledged(ctx, moves, &s, n, s.offsets[n-1]+1); err != nil {
				return err
			}
		}
		return &batchError{stream: s.stream, offsets: s.offsets, err: err}
	}
	return nil
}
