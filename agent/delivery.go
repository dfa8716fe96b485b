package agent

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/VictoriaMetrics/metrics"

	"github.com/runnel-log/runnel/forwarders"
	"github.com/runnel-log/runnel/storage"
)

// Bounds of one delivery.
const (
	windowBatches = 64                     // handed to the forwarder and not yet acknowledged
	retryFirst    = 500 * time.Millisecond // back-off before the second try, doubled each time
	retryMost     = 5 * time.Minute
	stopGrace     = 2 * time.Second // for open acks when the agent stops
)

// delivery moves the records of some streams to one forwarder: it reads from
// the store, hands over, and moves the cursor when the receiver has them. It is
// one goroutine that sends and one that waits for acks.
type delivery struct {
	name      string
	config    ForwarderConfig
	forwarder forwarders.Forwarder
	batching  forwarders.Batching
	where     *evaluators // nil: every record
	store     *storage.Store
	counts    *deliveryCounts
	events    events

	mu sync.Mutex
	// guarded by mu:
	next     map[string]uint64          // first offset of each stream that the receiver is not known to have
	skip     map[string]map[uint64]bool // offsets in dead letters, until the cursor passes them
	narrow   map[string]narrowing       // streams in which a refused record is being looked for
	restart  context.CancelFunc         // ends the session under way
	moves    int                        // cursors moved by hand; acks of sessions before the last move no longer count
	state    string                     // up, retrying or stopped
	failing  time.Time                  // since when; zero when up
	lastErr  string
	lastFail time.Time
}

// narrowing limits batches to a number of records until an offset is passed.
type narrowing struct {
	limit int
	until uint64
}

// deliveryCounts outlive a reload.
type deliveryCounts struct {
	set       *metrics.Set
	name      string
	delivered atomic.Uint64 // of all streams together
	retries   *metrics.Counter

	mu sync.Mutex
	// streams by name; guarded by mu.
	streams map[string]*streamCounts
}

// streamCounts are one forwarder's part of the ledger for one stream: what was
// stored is delivered, filtered, expired, dead or still pending.
type streamCounts struct{ delivered, filtered, expired, dead *metrics.Counter }

func newDeliveryCounts(set *metrics.Set, name string) *deliveryCounts {
	return &deliveryCounts{set: set, name: name, streams: make(map[string]*streamCounts),
		retries: set.GetOrCreateCounter(fmt.Sprintf(`runnel_forwarder_retries_total{forwarder=%q}`, name))}
}

func (c *deliveryCounts) of(stream string) *streamCounts {
	c.mu.Lock()
	defer c.mu.Unlock()
	counts := c.streams[stream]
	if counts == nil {
		counter := func(what string) *metrics.Counter {
			return c.set.GetOrCreateCounter(fmt.Sprintf(`runnel_forwarder_%s_records_total{forwarder=%q,stream=%q}`, what, c.name, stream))
		}
		counts = &streamCounts{counter("delivered"), counter("filtered"), counter("expired"), counter("dead")}
		c.streams[stream] = counts
	}
	return counts
}

func newDelivery(c ForwarderConfig, f forwarders.Forwarder, store *storage.Store, counts *deliveryCounts, e events) *delivery {
	d := &delivery{name: c.Name, config: c, forwarder: f, store: store, counts: counts, events: e, state: "up",
		next: make(map[string]uint64), skip: make(map[string]map[uint64]bool), narrow: make(map[string]narrowing)}
	if b, ok := f.(forwarders.Batcher); ok {
		d.batching = b.Batching()
	}
	if c.Where != nil {
		d.where = newEvaluators(c.Where)
	}
	return d
}

// Run delivers until ctx ends, then waits stopGrace for the acks still open.
func (d *delivery) Run(ctx context.Context) error {
	defer func() {
		if err := d.forwarder.Close(); err != nil {
			d.events.closeFailed("forwarder "+d.name, err)
		}
	}()
	for attempt := 0; ctx.Err() == nil; {
		before := d.counts.delivered.Load()
		err := d.session(ctx)
		if ctx.Err() != nil {
			break
		}
		if d.counts.delivered.Load() != before {
			attempt = 0
		}
		if err == nil || d.takeRefusal(ctx, err) {
			continue // a cursor was moved, or the refused record is out of the way
		}
		wait := backoff(attempt, err)
		attempt++
		d.fail(err, wait)
		sleep(ctx, wait)
	}
	d.setState("stopped")
	return nil
}

// backoff returns a time with full jitter that doubles with each attempt, and
// is never less than what the receiver asked for.
func backoff(attempt int, err error) time.Duration {
	most := min(retryMost, retryFirst<<min(attempt, 10))
	wait := rand.N(most) + time.Millisecond
	var retry *forwarders.Retry
	if errors.As(err, &retry) {
		wait = max(wait, min(retry.After, time.Hour))
	}
	return wait
}

// sleep waits for d or until ctx ends.
func sleep(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
	case <-timer.C:
	}
}

// sent is one batch handed over whose ack is open.
type sent struct {
	stream   string
	offsets  []uint64       // of the records handed over
	next     uint64         // where the cursor stands once all of them are acknowledged
	filtered int            // records in the range that were left out
	ack      forwarders.Ack // nil: nothing to wait for
}

// session delivers until something fails, ctx ends or the cursor is moved.
func (d *delivery) session(ctx context.Context) error {
	sending, stopSending := context.WithCancelCause(ctx)
	defer stopSending(nil)
	acking, stopAcking := context.WithCancel(context.WithoutCancel(ctx))
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

	window := make(chan sent, windowBatches) // the sender closes it; full means that the receiver is behind
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
			ready, wait := r.ready(stream)
			if !ready {
				if wait > 0 && (soonest == 0 || wait < soonest) {
					soonest = wait
				}
				continue
			}
			out, err := r.read(stream)
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
			select {
			case window <- out.sent:
			case <-ctx.Done():
				return nil
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
	if out.batch.Records.Len() == 0 {
		return nil // everything was filtered out: only the cursor moves
	}
	ack, err := d.forwarder.Deliver(ctx, &out.batch)
	if err != nil {
		return &batchError{stream: out.stream, offsets: out.offsets, err: err}
	}
	out.ack = ack
	r.moved(out.stream, out.next)
	return nil
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
		if err != nil {
			if n > 0 {
				d.acknowledged(moves, s.stream, s.offsets[n-1]+1, n, 0)
			}
			return &batchError{stream: s.stream, offsets: s.offsets, err: err}
		}
		d.acknowledged(moves, s.stream, s.next, n, s.filtered)
	}
	return nil
}

// acknowledged moves the cursor to next, unless somebody has moved it by hand
// since the session began.
func (d *delivery) acknowledged(moves int, stream string, next uint64, delivered, filtered int) {
	counts := d.counts.of(stream)
	counts.delivered.Add(delivered)
	counts.filtered.Add(filtered)
	d.counts.delivered.Add(uint64(delivered))
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.moves != moves {
		return
	}
	d.store.MoveCursor(d.name, stream, next)
	d.next[stream] = next
	for offset := range d.skip[stream] {
		if offset < next {
			delete(d.skip[stream], offset)
		}
	}
	if n, ok := d.narrow[stream]; ok && next >= n.until {
		delete(d.narrow, stream)
	}
	if delivered > 0 && d.state != "up" {
		d.events.forwarderRecovered(d.name, time.Since(d.failing))
		d.state, d.failing = "up", time.Time{}
	}
}

func (d *delivery) fail(err error, wait time.Duration) {
	d.counts.retries.Inc()
	d.mu.Lock()
	now := time.Now()
	first := d.failing.IsZero()
	if first {
		d.failing = now
	}
	d.state, d.lastErr, d.lastFail = "retrying", err.Error(), now
	d.mu.Unlock()
	d.events.forwarderRetrying(d.name, err, wait)
}

func (d *delivery) setState(state string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.state = state
}

// setCursor makes the next session start stream at offset to.
func (d *delivery) setCursor(stream string, to uint64) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.restart != nil {
		d.restart()
	}
	d.moves++
	d.next[stream] = to
	delete(d.skip, stream)
	delete(d.narrow, stream)
	d.store.MoveCursor(d.name, stream, to)
}

// covers reports whether the config has this delivery send that stream.
func (d *delivery) covers(stream string) bool {
	for _, from := range d.config.From {
		if from == stream {
			return true
		}
		if from == "*" && !strings.HasSuffix(stream, deadSuffix) {
			return true
		}
	}
	return false
}
