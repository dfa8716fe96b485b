package agent

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/runnel-log/runnel/forwarders"
	"github.com/runnel-log/runnel/storage"
)

// What has ended is on the disk of the last agent above, or was dropped on its way there on purpose, or lost and
// said to be (forwarders.Ender). Agents below are told what of theirs has, and a forwarder may want its records kept
// until then.
const (
	endedEvery = time.Second            // how often a forwarder's marks are noted
	endedLook  = 100 * time.Millisecond // how often what was stored at some moment is looked at
)

// endings is who waits for what is stored to end.
type endings struct {
	mu   sync.Mutex
	next chan struct{} // guarded by mu: closed when all has ended that is stored some time from now; nil: nobody waits

	wake chan struct{} // capacity 1: somebody waits
}

func newEndings() *endings { return &endings{wake: make(chan struct{}, 1)} }

// ended returns what is closed once all has come to its end that is stored now.
func (e *endings) ended() <-chan struct{} {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.next == nil {
		e.next = make(chan struct{})
		select {
		case e.wake <- struct{}{}:
		default:
		}
	}
	return e.next
}

// take returns what those who have come so far wait for; nil: nobody has.
func (e *endings) take() chan struct{} {
	e.mu.Lock()
	defer e.mu.Unlock()
	waiting := e.next
	e.next = nil
	return waiting
}

// runEndings tells those who wait when what was stored has ended, one such moment after another, until ctx ends.
func (a *Agent) runEndings(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-a.endings.wake:
		}
		waiting := a.endings.take()
		if waiting == nil {
			continue
		}
		for behind, known := a.unended(); !known || len(behind) > 0; {
			if sleep(ctx, endedLook); ctx.Err() != nil {
				return
			}
			if known {
				behind = a.stillUnended(behind)
			} else {
				behind, known = a.unended()
			}
		}
		close(waiting)
		sleep(ctx, endedLook) // those who come meanwhile wait for one moment together
	}
}

// endOf is an offset of a stream that a forwarder takes from.
type endOf struct {
	forwarder, stream string
	next              uint64
}

// enders returns the forwarders, by name, whose receivers say what has ended; known is false while a reload
// replaces some.
func (a *Agent) enders() (all map[string]*delivering, known bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.config == nil {
		return nil, false
	}
	all = make(map[string]*delivering)
	for _, fc := range a.config.Forwarders {
		d := a.deliveries[fc.Name]
		if d == nil {
			return nil, false
		}
		if _, ok := d.forwarder.(forwarders.Ender); ok {
			all[fc.Name] = d
		}
	}
	return all, true
}

// unended returns where the streams end now that are passed on, as far as that has not ended.
func (a *Agent) unended() (behind []endOf, known bool) {
	enders, known := a.enders()
	if !known {
		return nil, false
	}
	streams := a.store.Streams()
	for name, d := range enders {
		for _, s := range streams {
			if d.covers(s.Name) {
				behind = append(behind, endOf{name, s.Name, s.Next})
			}
		}
	}
	return a.stillUnended(behind), true
}

// stillUnended returns those of behind that have not ended yet. What nobody passes on any more has.
func (a *Agent) stillUnended(behind []endOf) []endOf {
	enders, known := a.enders()
	if !known {
		return behind
	}
	for len(behind) > 0 {
		end := &behind[len(behind)-1]
		d := enders[end.forwarder]
		if d != nil && d.covers(end.stream) && d.forwarder.(forwarders.Ender).Ended(end.stream) < end.next {
			break // the others can wait
		}
		behind = behind[:len(behind)-1]
	}
	return behind
}

// followEnds notes what has ended of what the forwarder has delivered, until it is stopped.
func (d *delivery) followEnds(ctx context.Context) (stop func()) {
	e, ok := d.forwarder.(forwarders.Ender)
	if !ok {
		return func() {}
	}
	d.store.KeepEnded(d.name, e.Holds())
	for _, s := range d.store.Streams() { // what went before was said before
		if d.covers(s.Name) {
			counts := d.counts.of(s.Name)
			counts.trimmed = max(counts.trimmed, s.First)
		}
	}
	ctx, cancel := context.WithCancel(ctx)
	var wg sync.WaitGroup
	wg.Go(func() {
		tick := time.NewTicker(endedEvery)
		defer tick.Stop()
		for ctx.Err() == nil {
			select {
			case <-ctx.Done():
			case <-tick.C:
			}
			d.noteEnds(e)
		}
	})
	return func() {
		cancel()
		wg.Wait()
	}
}

// keepEnds has records kept until their end that new forwarders are to have, from before they run.
func (a *Agent) keepEnds(b *build) {
	for name, f := range b.forwarders {
		if e, ok := f.(forwarders.Ender); ok && e.Holds() {
			a.store.KeepEnded(name, true)
		}
	}
}

// noteEnds notes how far each stream has ended, and counts what was not kept until then.
func (d *delivery) noteEnds(e forwarders.Ender) {
	name := storage.EndedName(d.name)
	for _, s := range d.store.Streams() {
		at, ok := d.store.Cursor(name, s.Name)
		if !ok || !d.covers(s.Name) {
			continue
		}
		to := e.Ended(s.Name)
		if to > at {
			d.store.PassCursor(name, s.Name, to, storage.Passed{Delivered: to - at})
		}
		if e.Holds() {
			settled, _ := d.position(s.Name)
			d.counts.of(s.Name).early(d, s.Name, max(to, at), min(s.First, settled))
		}
	}
}

// early counts records that were delivered, and trimmed before they had come to their end: from from on, without to.
func (c *streamCounts) early(d *delivery, stream string, from, to uint64) {
	from = max(from, c.trimmed)
	if from >= to {
		return
	}
	c.trimmed = to
	d.counts.set.GetOrCreateCounter(fmt.Sprintf(`runnel_forwarder_trimmed_early_records_total{forwarder=%q,stream=%q}`, d.name, stream)).AddInt64(int64(to - from))
	d.events.trimmedEarly(d.name, stream, from, to)
}

// expectEnds has records kept from an offset on, where the forwarder wants them kept, before any of them is delivered.
func (d *delivery) expectEnds(stream string, from uint64) {
	if _, ok := d.forwarder.(forwarders.Ender); !ok {
		return
	}
	if _, has := d.store.Cursor(storage.EndedName(d.name), stream); !has {
		d.store.MoveCursor(storage.EndedName(d.name), stream, from)
	}
}

// ended returns before which offset a stream has ended, if its records are kept until then.
func (d *delivery) ended(stream string) (uint64, bool) {
	e, ok := d.forwarder.(forwarders.Ender)
	if !ok || !e.Holds() {
		return 0, false
	}
	return e.Ended(stream), true
}

// unended returns how many records are delivered, and kept until they have ended.
func (d *delivery) unended(stream string) uint64 {
	ended, held := d.ended(stream)
	at, ok := d.position(stream)
	if !held || !ok {
		return 0
	}
	for _, s := range d.store.Streams() {
		if s.Name == stream {
			ended = max(ended, s.First)
			return at - min(at, ended)
		}
	}
	return 0
}

// needs returns from which offset on the stream's records are kept for the forwarder.
func (d *delivery) needs(stream string) (uint64, bool) {
	at, ok := d.position(stream)
	if ended, held := d.ended(stream); ok && held {
		at = min(at, ended)
	}
	return at, ok
}
