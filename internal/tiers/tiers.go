// Package tiers holds what an agent has been told of the agents above and below it in
// a chain of relays: the input `relay` says who is below, the forwarder `relay` who is
// above, and each hands on what the other has heard. It is all in memory and for
// people and for finding loops; nothing of it may decide what becomes of a record.
package tiers

import (
	"cmp"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/runnel-log/runnel/internal/relaywire"
)

const (
	// mostBelow bounds how many agents below are remembered. Who comes after is served,
	// and not listed.
	mostBelow = 20_000
	// forgetAfter is when an agent that is heard of no more is forgotten.
	forgetAfter = 7 * 24 * time.Hour
)

// Tiers is safe for concurrent use. A nil one knows nobody and learns nothing.
type Tiers struct {
	own relaywire.Hop

	mu sync.Mutex
	// guarded by mu:
	above map[string][]relaywire.Hop // by forwarder
	below map[relaywire.Agent]*Below
}

// Below is an agent below this one.
type Below struct {
	relaywire.Below               // Via is counted from here
	Input           string        // that it was heard of through
	Through         relaywire.Hop // who is directly below and passed its report on; the zero Hop: it is directly below itself
	Connections     int           // of an agent directly below: open now
}

// New returns what the agent own knows at its start.
func New(own relaywire.Hop) *Tiers {
	return &Tiers{own: own, above: make(map[string][]relaywire.Hop), below: make(map[relaywire.Agent]*Below)}
}

// Above returns this agent itself, and then all above it that its forwarders have
// been told of, each once.
func (t *Tiers) Above() []relaywire.Hop {
	if t == nil {
		return nil
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	all := []relaywire.Hop{t.own}
	for _, forwarder := range slices.Sorted(maps.Keys(t.above)) {
		for _, hop := range t.above[forwarder] {
			if !slices.ContainsFunc(all, func(h relaywire.Hop) bool { return h.Agent == hop.Agent }) {
				all = append(all, hop)
			}
		}
	}
	return all
}

// Told notes who is above a forwarder's upstream, that one first; nil: it has none any more.
func (t *Tiers) Told(forwarder string, above []relaywire.Hop) {
	if t == nil {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.above[forwarder] = slices.Clone(above); above == nil {
		delete(t.above, forwarder)
	}
}

// Connected notes that an agent directly below has come through an input; the caller
// calls gone when that connection has ended.
func (t *Tiers) Connected(input string, hop relaywire.Hop, build string) (gone func()) {
	if t == nil {
		return func() {}
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if b := t.of(hop.Agent, time.Now()); b != nil {
		b.Hop, b.Build, b.Via, b.Through, b.Input = hop, build, 1, relaywire.Hop{}, input
		b.Connections++
	}
	return func() {
		t.mu.Lock()
		defer t.mu.Unlock()
		if b := t.below[hop.Agent]; b != nil && b.Connections > 0 {
			b.Connections--
			b.Seen = time.Now()
		}
	}
}

// Reported notes what an agent directly below says of itself, and of those below it.
func (t *Tiers) Reported(input string, from relaywire.Hop, r *relaywire.Report) {
	if t == nil {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if b := t.of(from.Agent, time.Now()); b != nil {
		b.Lag = r.Lag
	}
	for _, other := range r.Below {
		if other.Agent == from.Agent || other.Agent == t.own.Agent {
			continue
		}
		b := t.of(other.Agent, other.Seen)
		if b == nil || b.Connections > 0 || b.Seen.After(other.Seen) { // it says so itself, or somebody knows better
			continue
		}
		seen := b.Seen
		b.Below, b.Input, b.Through, b.Seen = other, input, from, seen
		if b.Via < 255 {
			b.Via++
		}
	}
}

// of returns what is known of an agent, seen at some moment; nil: there is no room for
// more. t.mu is held.
func (t *Tiers) of(agent relaywire.Agent, seen time.Time) *Below {
	b := t.below[agent]
	if b == nil {
		if len(t.below) >= mostBelow {
			t.forget(time.Now())
		}
		if len(t.below) >= mostBelow {
			return nil
		}
		b = &Below{Below: relaywire.Below{Hop: relaywire.Hop{Agent: agent}}}
		t.below[agent] = b
	}
	if seen.After(b.Seen) {
		if now := time.Now(); seen.After(now) { // a clock below that is ahead
			seen = now
		}
		b.Seen = seen
	}
	return b
}

// forget drops who is not heard of any more; t.mu is held.
func (t *Tiers) forget(now time.Time) {
	maps.DeleteFunc(t.below, func(_ relaywire.Agent, b *Below) bool {
		return b.Connections == 0 && now.Sub(b.Seen) > forgetAfter
	})
}

// Below returns the agents below this one: those directly below first, then by name.
func (t *Tiers) Below() []Below {
	if t == nil {
		return nil
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.forget(time.Now())
	all := make([]Below, 0, len(t.below))
	for _, b := range t.below {
		all = append(all, *b)
	}
	slices.SortFunc(all, func(a, b Below) int {
		return cmp.Or(cmp.Compare(a.Via, b.Via), cmp.Compare(a.Name, b.Name), slices.Compare(a.Agent[:], b.Agent[:]))
	})
	return all
}

// Reports returns what is to be told upwards of the agents below: at most relaywire.MaxBelow,
// the nearest first.
func (t *Tiers) Reports() []relaywire.Below {
	all := t.Below()
	all = all[:min(len(all), relaywire.MaxBelow)]
	reports := make([]relaywire.Below, len(all))
	for i := range all {
		reports[i] = all[i].Below
	}
	return reports
}
