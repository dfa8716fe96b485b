package agent

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"time"

	"github.com/runnel-log/runnel/forwarders"
	"github.com/runnel-log/runnel/record"
	"github.com/runnel-log/runnel/storage"
)

// Bounds of one delivery.
const (
	windowBatches = 64                     // handed to the forwarder and not yet acknowledged
	retryFirst    = 500 * time.Millisecond // back-off before the second try, doubled each time
	retryMost     = 5 * time.Minute
	stopGrace     = 1500 * time.Millisecond // for open acks when the agent stops
	lookAhead     = 64                      // blocks read at most before the cursor moves over what a filter leaves out
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
	edges    edges                      // of batches whose fate is not known
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

func newDelivery(c ForwarderConfig, f forwarders.Forwarder, store *storage.Store, counts *deliveryCounts, e events) *delivery {
	d := &delivery{name: c.Name, config: c, forwarder: f, store: store, counts: counts, events: e, state: "up",
		next: make(map[string]uint64), skip: make(map[string]map[uint64]bool), narrow: make(map[string]narrowing), edges: make(edges)}
	if b, ok := f.(forwarders.Batcher); ok {
		d.batching = b.Batching()
	}
	if d.batching.Wait > 0 && d.batching.Records == 0 {
		d.batching.Records = record.BatchRecords
	}
	if c.Where != nil {
		d.where = newEvaluators(c.Where)
	}
	return d
}

// Run delivers until ctx ends, then waits for the acks still open, at most
// stopGrace and not when hard has ended.
func (d *delivery) Run(ctx, hard context.Context) error {
	d.counts.running.Store(d)
	defer func() {
		d.counts.running.CompareAndSwap(d, nil)
		if err := d.forwarder.Close(); err != nil {
			d.events.closeFailed("forwarder "+d.name, err)
		}
	}()
	for attempt := 0; ctx.Err() == nil; {
		before := d.counts.delivered.Load()
		err := d.session(ctx, hard)
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

// acknowledged notes that the receiver has the first delivered records of s, and
// moves the cursor to next, unless somebody has moved it by hand since the
// session began.
func (d *delivery) acknowledged(moves int, s *sent, delivered int, next uint64) {
	counts := d.counts.of(s.stream)
	counts.delivered.Add(delivered)
	d.counts.delivered.Add(uint64(delivered))
	var failed time.Duration // how long it had not worked
	d.mu.Lock()
	if d.moves != moves {
		d.mu.Unlock()
		return
	}
	l := d.pass(s, next)
	d.next[s.stream] = next
	d.edges.passed(s.stream, next)
	if n, ok := d.narrow[s.stream]; ok && next >= n.until {
		delete(d.narrow, s.stream)
	}
	// Under the lock, or a cursor that is being moved by hand would be moved back.
	d.store.PassCursor(d.name, s.stream, next, storage.Passed{Expired: l.expired})
	if delivered > 0 && d.state != "up" {
		failed = time.Since(d.failing)
		d.state, d.failing = "up", time.Time{}
	}
	d.mu.Unlock()
	counts.expired.Add(int(l.expired))
	counts.damaged.Add(int(l.damaged))
	counts.dead.Add(int(l.dead))
	counts.filtered.Add(int(next-s.from-l.expired-l.damaged-l.dead) - delivered)
	for _, g := range s.gaps {
		if to := min(g.to, next); g.from < to {
			d.events.gone(d.name, s.stream, g.from, to, g.damaged)
		}
	}
	if failed > 0 {
		d.events.forwarderRecovered(d.name, failed)
	}
}

// loss is what became of offsets that were not delivered.
type loss struct{ expired, damaged, dead uint64 }

// pass works out what the cursor passes on its way from s.from to next, and
// forgets the dead letters among it. d.mu is held.
func (d *delivery) pass(s *sent, next uint64) (l loss) {
	skip := d.skip[s.stream]
	for _, g := range s.gaps {
		for offset := range skip {
			if offset >= g.from && offset < min(g.to, next) { // buried, and then taken by retention as well
				l.dead++
				l.add(g.damaged, ^uint64(0)) // one less
				delete(skip, offset)
			}
		}
		if to := min(g.to, next); g.from < to {
			l.add(g.damaged, to-g.from)
		}
	}
	for offset := range skip {
		if offset < next {
			l.dead++
			delete(skip, offset)
		}
	}
	return l
}

func (l *loss) add(damaged bool, n uint64) {
	if damaged {
		l.damaged += n
		return
	}
	l.expired += n
}

func (d *delivery) fail(err error, wait time.Duration) {
	d.counts.retries.Inc()
	d.mu.Lock()
	d.lastFail = time.Now()
	if d.failing.IsZero() {
		d.failing = d.lastFail
	}
	d.state, d.lastErr = "retrying", err.Error()
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
	delete(d.edges, stream)
	d.store.MoveCursor(d.name, stream, to)
}

// durableWithin bounds the wait for a cursor moved by hand to be on disk.
const durableWithin = 5 * time.Second

// moveCursor is setCursor that returns once the move is durable.
func (d *delivery) moveCursor(stream string, to uint64) error {
	d.setCursor(stream, to)
	ctx, cancel := context.WithTimeout(context.Background(), durableWithin)
	defer cancel()
	if err := d.store.WaitCursor(ctx, d.name, stream); err != nil {
		return fmt.Errorf("the cursor was moved, but a restart may undo it: %w", err)
	}
	return nil
}

// pending returns how many records of a stream are still to be delivered.
func (d *delivery) pending(stream string) uint64 {
	at, ok := d.position(stream)
	if !ok {
		return 0
	}
	for _, s := range d.store.Streams() {
		if s.Name == stream {
			return s.Next - min(s.Next, max(at, s.First)) // what retention has taken is not to come
		}
	}
	return 0
}

// covers reports whether the config has this delivery send that stream.
func (d *delivery) covers(stream string) bool { return d.config.covers(stream) }

// covers reports whether the forwarder takes from the stream.
func (c *ForwarderConfig) covers(stream string) bool {
	for _, from := range c.From {
		if from == stream {
			return true
		}
		if from == allStreams && !strings.HasSuffix(stream, deadSuffix) {
			return true
		}
	}
	return false
}
