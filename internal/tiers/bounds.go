package tiers

import (
	"slices"
	"time"

	"github.com/runnel-log/runnel/internal/relaywire"
)

const (
	// mostBelow bounds how many agents below are remembered, and mostOf how many of them because
	// of one certificate: those that it speaks for, and those that they report. Who is connected is
	// always listed; of the others those go first that were not seen for longest.
	mostBelow, mostOf = 20_000, 2048
	// forgetAfter is when an agent that is heard of no more is forgotten.
	forgetAfter = 30 * 24 * time.Hour
	// forgetEvery is how often reports have all looked through for those.
	forgetEvery = time.Minute
)

// source is who says that an agent is below: a certificate, or else the agent directly
// below that reports it, or else, the zero value, itself.
type source struct {
	identity string
	agent    relaywire.Agent
}

// Full returns for how many agents there was no room ever: forgotten for others, or never listed.
func (t *Tiers) Full() uint64 {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.full
}

// add adds an agent of whom nothing is known; t.mu is held.
func (t *Tiers) add(agent relaywire.Agent, from source) *Below {
	b := &Below{Below: relaywire.Below{Hop: relaywire.Hop{Agent: agent}}, source: from}
	t.below[agent] = b
	t.of[from]++
	delete(t.gone, agent)
	return b
}

// remove forgets one; t.mu is held.
func (t *Tiers) remove(b *Below) {
	delete(t.below, b.Agent)
	if t.of[b.source]--; t.of[b.source] == 0 {
		delete(t.of, b.source)
	}
	if !b.kept.at.IsZero() {
		t.gone[b.Agent] = struct{}{}
	}
}

// move notes that another says so; t.mu is held.
func (t *Tiers) move(b *Below, to source) {
	if t.of[b.source]--; t.of[b.source] == 0 {
		delete(t.of, b.source)
	}
	b.source = to
	t.of[to]++
}

// room makes room for one more agent of a source, and reports whether there is any. t.mu is held.
func (t *Tiers) room(from source) bool {
	if !t.share(from) {
		return false
	}
	if len(t.below) < mostBelow {
		return true
	}
	if now := time.Now(); now.Sub(t.crowded) > forgetEvery && !t.evict(t.largest()) {
		t.crowded = now
	}
	return len(t.below) < mostBelow
}

// share makes room among those of a source, if it has as many as it may. t.mu is held.
func (t *Tiers) share(from source) bool {
	return from == (source{}) || t.of[from] < mostOf || t.evict(func(b *Below) bool { return b.source == from })
}

// largest returns who is of the source that has most, or of any where none has many.
func (t *Tiers) largest() func(*Below) bool {
	var most source
	for s, n := range t.of {
		if n > t.of[most] {
			most = s
		}
	}
	if t.of[most] < mostOf/16 {
		return func(*Below) bool { return true }
	}
	return func(b *Below) bool { return b.source == most }
}

// evict drops some who are not connected, those that were not seen for longest, and reports
// whether there were any. t.mu is held.
func (t *Tiers) evict(which func(*Below) bool) bool {
	var away []*Below
	for _, b := range t.below {
		if b.Connections == 0 && which(b) {
			away = append(away, b)
		}
	}
	slices.SortFunc(away, func(a, b *Below) int { return a.Seen.Compare(b.Seen) })
	away = away[:(len(away)+15)/16] // so that it is not done for each
	for _, b := range away {
		t.remove(b)
	}
	t.full += uint64(len(away))
	return len(away) > 0
}

// forget drops who is not heard of any more; t.mu is held.
func (t *Tiers) forget(now time.Time) {
	t.swept = now
	for _, b := range t.below {
		if b.Connections == 0 && now.Sub(b.Seen) > forgetAfter {
			t.remove(b)
		}
	}
}
