package agent

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/runnel-log/runnel/forwarders"
	"github.com/runnel-log/runnel/record"
	"github.com/runnel-log/runnel/storage"
)

// Bounds of one delivery.
const (
	windowBatches = 64                     // handed to the forwarder and not yet acknowledged
	windowBlocks  = 256                    // likewise, to one that takes blocks: those are no larger over a long way
	retryFirst    = 500 * time.Millisecond // back-off before the second try, doubled each time
	retryMost     = 5 * time.Minute
	soonWithin    = 2 * time.Second         // of a receiver that others, too, have lost: it is to take them all
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
	batching  forwarders.Batching // the sending goroutine's, once it runs
	where     *evaluators         // nil: every record
	store     *storage.Store
	counts    *deliveryCounts
	events    events
	book      *book     // of what forwarders give up and are given again
	redrives  *redrives // of dead letters
	maxSize   int64     // agent.max_size

	reaches atomic.Uint64 // how often the forwarder has said that it is connected

	moving  sync.Mutex // held while a cursor moves; of several, in the order of their names; taken before mu
	retired bool       // guarded by moving: it has ended, and another moves the cursors from here on

	mu sync.Mutex
	// guarded by mu:
	next      map[string]uint64            // first offset of each stream that the receiver is not known to have
	skip      map[string]map[uint64]*grave // records refused for good, until the cursor passes them
	seen      map[string]uint64            // behind the last offset of each stream that was ever handed over
	narrow    map[string]narrowing         // streams in which a refused record is being looked for
	over      map[string]stretch           // what cursors have been moved over and no receiver was told of
	edges     edges                        // of batches whose fate is not known
	restart   context.CancelFunc           // ends the session under way
	moves     int                          // cursors moved by hand; acks of sessions before the last move no longer count
	state     string                       // up, retrying or stopped
	failing   time.Time                    // since when; zero when up
	lastErr   string
	lastFail  time.Time
	unreached bool               // that was since there was nobody to connect to
	keep      keeping            // how its Keeper fares
	nextTry   time.Time          // zero unless it waits for that
	wake      context.CancelFunc // ends that wait; nil likewise
}

// narrowing limits batches to a number of records until an offset is passed.
type narrowing struct {
	limit int
	until uint64
}

func newDelivery(c ForwarderConfig, f forwarders.Forwarder, store *storage.Store, counts *deliveryCounts, e events) *delivery {
	d := &delivery{name: c.Name, config: c, forwarder: f, store: store, counts: counts, events: e, state: "up", redrives: newRedrives(c.Name),
		next: make(map[string]uint64), skip: make(map[string]map[uint64]*grave), seen: make(map[string]uint64), narrow: make(map[string]narrowing), over: make(map[string]stretch), edges: make(edges)}
	d.ask()
	if c.Where != nil {
		d.where = newEvaluators(c.Where)
	}
	return d
}

// ask asks the forwarder how it wants its batches now.
func (d *delivery) ask() {
	if b, ok := d.forwarder.(forwarders.Batcher); ok {
		d.batching = b.Batching()
	}
	if d.batching.Wait > 0 && d.batching.Records == 0 {
		d.batching.Records = record.BatchRecords
	}
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
	if k, ok := d.forwarder.(forwarders.Keeper); ok {
		defer d.runKeeper(ctx, k)()
	}
	defer d.measureConnections()()
	defer d.followEnds(ctx)()
	for attempt := 0; ctx.Err() == nil; {
		before, reaches := d.counts.delivered.Load(), d.reaches.Load()
		err := d.session(ctx, hard)
		if ctx.Err() != nil {
			break
		}
		if d.counts.delivered.Load() != before {
			attempt = 0
		}
		var behind *forwarders.Behind
		if err == nil || d.takeRefusal(err) || errors.As(err, &behind) && d.goBack(behind) {
			continue // a cursor was moved, or the refused record is out of the way
		}
		wait := backoff(attempt, err)
		attempt++
		d.fail(err, wait)
		if d.rest(ctx, wait, reaches) {
			attempt = 0
		}
	}
	d.setState("stopped")
	return nil
}

// backoff returns a time with full jitter that doubles with each attempt, and
// is never less than what the receiver asked for, unless the next try may do better.
func backoff(attempt int, err error) time.Duration {
	var soon *forwarders.Soon
	if errors.As(err, &soon) {
		return rand.N(soonWithin) + time.Millisecond
	}
	most := min(retryMost, retryFirst<<min(attempt, 10))
	wait := rand.N(most) + time.Millisecond
	var retry *forwarders.Retry
	if errors.As(err, &retry) {
		wait = max(wait, min(retry.After, time.Hour))
	}
	return wait
}

// rest waits for the next try. It reports whether retryNow or reached ended it, or the latter has since reaches was read.
func (d *delivery) rest(ctx context.Context, wait time.Duration, reaches uint64) (woken bool) {
	waiting, wake := context.WithTimeout(ctx, wait)
	defer wake()
	d.mu.Lock()
	d.nextTry, d.wake = time.Now().Add(wait), wake
	if d.unreached && d.reaches.Load() != reaches {
		wake()
	}
	d.mu.Unlock()
	<-waiting.Done()
	d.mu.Lock()
	defer d.mu.Unlock()
	d.nextTry, d.wake = time.Time{}, nil
	return ctx.Err() == nil && errors.Is(waiting.Err(), context.Canceled)
}

// retryNow has a delivery that waits for its next try not wait any longer, whatever its
// receiver asked for: somebody has mended something.
func (d *delivery) retryNow() {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.wake != nil {
		d.wake()
	}
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
// session began. Where it passes dead letters, those are stored with the move; on an
// error the cursor has not moved.
func (d *delivery) acknowledged(ctx context.Context, moves int, s *sent, delivered int, next uint64) error {
	d.moving.Lock()
	defer d.moving.Unlock()
	d.mu.Lock()
	moved := d.moves != moves
	passed, graves := d.pass(s, delivered, next)
	d.mu.Unlock()
	if moved {
		return nil
	}
	var marks []storage.Change
	if delivered > 0 {
		marks = d.storeMarks(s.ack)
	}
	// While moving is held, or a cursor that is being moved by hand would be moved back.
	if d.sendsAgain(s.stream) {
		if err := d.passAgain(ctx, s, next, passed, graves, marks); err != nil {
			return fmt.Errorf("move on in stream %q: %w", s.stream, err)
		}
	} else if len(graves) == 0 && len(marks) == 0 {
		d.store.PassCursor(d.name, s.stream, next, passed)
	} else if len(graves) == 0 {
		// Marks are hints, but of records in doubt: that those are never to be sent must be known behind them.
		u := storage.Unit{State: marks, Cursors: []storage.CursorPass{{Name: d.name, Stream: s.stream, Next: next, Passed: passed, Loose: doubtful(s.ack) == 0}}}
		if _, err := d.store.Append(ctx, u); err != nil {
			return fmt.Errorf("move on in stream %q: %w", s.stream, err)
		}
	} else if err := d.buryAll(ctx, s.stream, next, passed, graves, marks); err != nil {
		return fmt.Errorf("store dead letters of stream %q: %w", s.stream, err)
	}
	var failed time.Duration // how long it had not worked
	d.mu.Lock()
	d.next[s.stream] = next
	d.account(s, delivered)
	d.edges.passed(s.stream, next)
	for _, g := range graves {
		delete(d.skip[s.stream], g.offset)
	}
	if n, ok := d.narrow[s.stream]; ok && next >= n.until {
		delete(d.narrow, s.stream)
	}
	if delivered > 0 && d.state != "up" {
		failed = time.Since(d.failing)
		d.state, d.failing, d.keep.alone = "up", time.Time{}, false
	}
	d.mu.Unlock()
	if !d.sendsAgain(s.stream) {
		d.counts.pass(s.stream, passed)
	}
	for _, g := range s.gaps {
		if to := min(g.to, next); g.from < to {
			d.events.gone(d.name, s.stream, g.from, to, g.damaged)
		}
	}
	if failed > 0 {
		d.events.forwarderRecovered(d.name, failed)
	}
	return nil
}

// pass works out what becomes of the records that the cursor passes on its way
// from s.from to next, and which dead letters are among them. d.mu is held.
func (d *delivery) pass(s *sent, delivered int, next uint64) (p storage.Passed, graves []*grave) {
	p.Filtered = uint64(doubtful(s.ack)) // not sent, and not known to have arrived: the forwarder counts and says so
	p.Filtered += uint64(unsent(s.ack, d.counts.of(s.stream).top.Load()))
	p.Delivered = uint64(delivered) - p.Filtered
	p.Repeated = min(p.Delivered, uint64(s.again))
	for _, g := range d.skip[s.stream] {
		if g.offset >= s.from && g.offset < next {
			graves = append(graves, g)
		}
	}
	p.Dead = uint64(len(graves))
	for _, g := range s.gaps {
		to := min(g.to, next)
		if g.from >= to {
			continue
		}
		n := to - g.from
		for _, dead := range graves { // refused, and then taken by retention as well
			if dead.offset >= g.from && dead.offset < to {
				n--
			}
		}
		if g.damaged {
			p.Damaged += n
		} else {
			p.Expired += n
		}
	}
	if d.where != nil || d.sendsAgain(s.stream) { // or else there is no other fate
		p.Filtered = next - s.from - p.Delivered - p.Expired - p.Damaged - p.Dead
	}
	slices.SortFunc(graves, func(a, b *grave) int { return cmp.Compare(a.offset, b.offset) })
	return p, graves
}

// doubtful returns how many of the records that an ack is of are in doubt.
func doubtful(ack forwarders.Ack) int {
	if d, ok := ack.(forwarders.Doubter); ok {
		return d.Doubtful()
	}
	return 0
}

// unsent returns how many of the records that an ack is of, below an offset, were not sent as the receiver had
// settled them: of a cursor that was set back they have been counted for what they are.
func unsent(ack forwarders.Ack, below uint64) int {
	if u, ok := ack.(forwarders.Unsender); ok && below > 0 {
		return u.Unsent(below)
	}
	return 0
}

func (d *delivery) fail(err error, wait time.Duration) {
	d.counts.retries.Inc()
	d.mu.Lock()
	d.lastFail = time.Now()
	if d.failing.IsZero() {
		d.failing = d.lastFail
	}
	d.state, d.lastErr = "retrying", err.Error()
	var none *forwarders.Unreached
	d.unreached, d.keep.alone = errors.As(err, &none), false
	next := d.soonest(d.lastFail.Add(wait))
	d.mu.Unlock()
	d.events.forwarderRetrying(d.name, err, next.Sub(d.lastFail))
}

func (d *delivery) setState(state string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.state = state
}

// errReplaced: a reload has put another delivery in the place of this one, which has
// done nothing. Ask that.
var errReplaced = errors.New("replaced by a reload")

// retire has it move no cursor any more. It has ended, and its successor has not begun:
// that one begins where this one's cursors are.
func (d *delivery) retire() {
	d.moving.Lock()
	defer d.moving.Unlock()
	d.retired = true
}

// setCursor makes the next session start stream at offset to, by hand or not; or returns errReplaced.
func (d *delivery) setCursor(stream string, to uint64, byHand bool) error {
	d.mu.Lock()
	d.endSession()
	d.mu.Unlock()
	d.moving.Lock() // what is being moved has been, or is given up with its session
	defer d.moving.Unlock()
	if d.retired {
		return errReplaced
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.endSession() // the next may have begun
	d.moves++
	if top := &d.counts.of(stream).top; byHand && to < d.next[stream] {
		top.Store(max(top.Load(), d.next[stream]))
	}
	d.next[stream] = to
	delete(d.skip, stream)
	delete(d.narrow, stream)
	delete(d.over, stream)
	delete(d.edges, stream)
	d.store.MoveCursor(d.name, stream, to)
	return nil
}

// endSession has the session under way end, if there is one. d.mu is held.
func (d *delivery) endSession() {
	if d.restart != nil {
		d.restart()
	}
}

// durableWithin bounds the wait for a cursor moved by hand to be on disk.
const durableWithin = 5 * time.Second

// moveCursor is setCursor that returns once the move is durable.
func (d *delivery) moveCursor(stream string, to uint64) error {
	if err := d.setCursor(stream, to, true); err != nil {
		return err
	}
	if e, ok := d.forwarder.(forwarders.Ender); ok {
		e.Release(stream, to)
	}
	d.retryNow() // it may be the record that was in the way
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
		if from == allStreams && !isDead(stream) {
			return true
		}
	}
	return false
}
