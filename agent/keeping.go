package agent

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/runnel-log/runnel/forwarders"
)

// keeping is how a forwarder that keeps its connection up fares with that while nothing may be there to deliver.
type keeping struct {
	next  time.Time // when it tries again to be connected; in the past: it is connected, or tries just now
	alone bool      // nothing else has failed since all was well
}

// runKeeper has the forwarder keep its connection up until ctx ends; stop waits for that.
func (d *delivery) runKeeper(ctx context.Context, k forwarders.Keeper) (stop func()) {
	ctx, cancel := context.WithCancel(ctx)
	var wg sync.WaitGroup
	wg.Go(func() { k.Keep(ctx, func(b *forwarders.Behind) { d.goBack(b) }, d.reached, d.unreachable) })
	return func() {
		cancel()
		wg.Wait()
	}
}

// reached notes that there is a connection. A delivery that waits since there was nobody to connect to
// does not wait any longer.
func (d *delivery) reached() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.keep.next = time.Time{}
	if d.keep.alone {
		d.state, d.failing, d.keep.alone = "up", time.Time{}, false
	}
	if d.reaches.Add(1); d.wake != nil && d.unreached {
		d.wake()
	}
}

// unreachable notes that nobody could be connected to, and when that is tried again. The Keeper says so in the log.
func (d *delivery) unreachable(err error, in time.Duration) {
	d.counts.retries.Inc()
	d.mu.Lock()
	defer d.mu.Unlock()
	d.lastErr, d.lastFail = err.Error(), time.Now()
	d.keep.next = d.lastFail.Add(in)
	if d.state == "up" {
		d.state, d.failing, d.keep.alone = "retrying", d.lastFail, true
	}
}

// soonest returns when the next try is of a delivery that itself waits until own, zero: does not wait. While nobody
// can be connected to, that may be its Keeper's. d.mu is held.
func (d *delivery) soonest(own time.Time) time.Time {
	if !d.keep.next.After(time.Now()) {
		return own
	}
	if d.keep.alone || d.unreached && d.keep.next.Before(own) {
		return d.keep.next
	}
	return own
}

// stateWith returns the state of a forwarder that is connected to using; empty: to nobody. d.mu is held.
func (d *delivery) stateWith(using string) string {
	if _, keeps := d.forwarder.(forwarders.Keeper); keeps && d.state == "up" && using == "" {
		return "connecting"
	}
	return d.state
}

// measureConnections has the metrics say which destination is connected, until stop.
func (d *delivery) measureConnections() (stop func()) {
	c, ok := d.forwarder.(forwarders.Chooser)
	if !ok {
		return func() {}
	}
	var names []string
	for _, to := range c.Destinations() {
		name := fmt.Sprintf(`runnel_forwarder_connected{forwarder=%q,url=%q}`, d.name, to.URL)
		d.counts.set.GetOrCreateGauge(name, func() float64 {
			if c.Using() == to.URL {
				return 1
			}
			return 0
		})
		names = append(names, name)
	}
	return func() { // that of the next agent, or configuration, may have others
		for _, name := range names {
			d.counts.set.UnregisterMetric(name)
		}
	}
}
