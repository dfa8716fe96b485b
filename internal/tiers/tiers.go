// Package tiers holds what an agent has been told of the agents above and below it in
// a chain of relays: the input `relay` says who is below, the forwarder `relay` who is
// above, and each hands on what the other has heard. It is for people and for finding
// loops; nothing of it may decide what becomes of a record. Who is below is kept over a restart
// by the agent, which asks for what is to be kept.
package tiers

import (
	"cmp"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"
	"unicode/utf8"

	"github.com/runnel-log/runnel/internal/relaywire"
)

const (
	// longestName bounds in bytes what is kept of a name or a version, which a peer may
	// have made up.
	longestName = 255
	// longestNameUp and longestBuildUp bound what is told of them upwards, and what is taken from
	// below, so that a report of relaywire.MaxBelow agents is less than 256 KiB.
	longestNameUp, longestBuildUp = 64, 32
)

// Tiers is safe for concurrent use. A nil one knows nobody and learns nothing.
type Tiers struct {
	own relaywire.Hop

	mu sync.Mutex
	// guarded by mu:
	above   map[string][]relaywire.Hop // by forwarder
	below   map[relaywire.Agent]*Below
	named   map[string]relaywire.Agent   // of names, who was the first to have it
	swept   time.Time                    // when forget has last looked
	of      map[source]int               // agents below, by who says that they are
	crowded time.Time                    // when nobody could make room
	full    uint64                       // agents for whom there was no room, ever
	gone    map[relaywire.Agent]struct{} // forgotten, and kept still
}

// Below is an agent below this one.
type Below struct {
	relaywire.Below               // Via is counted from here
	Input           string        // that it was heard of through
	Through         relaywire.Hop // who is directly below and passed its report on; the zero Hop: it is directly below itself
	Connections     int           // of an agent directly below: open now
	Identity        string        // that its certificate gives it; empty: it shows none, or is not directly below
	Reported        time.Time     // when its lag was so; zero: it has not said yet
	Before          bool          // it was heard of before this agent's start, and not since

	copied time.Time // when two runs of it have last spoken at once
	source source
	kept   kept
}

// copiedFor is how long two runs of an agent count as two once both have spoken.
const copiedFor = time.Minute

// Copies returns how many agents there are that go by this id: 1, unless it was copied with
// its data directory.
func (b *Below) Copies() int {
	if time.Since(b.copied) < copiedFor {
		return max(b.Connections, 1)
	}
	return 1
}

// New returns what the agent own knows at its start.
func New(own relaywire.Hop) *Tiers {
	return &Tiers{own: own, above: make(map[string][]relaywire.Hop), below: make(map[relaywire.Agent]*Below), named: make(map[string]relaywire.Agent),
		of: make(map[source]int), gone: make(map[relaywire.Agent]struct{})}
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
	above = slices.Clone(above)
	for i := range above {
		above[i].Name = Short(above[i].Name)
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.above[forwarder] = above; above == nil {
		delete(t.above, forwarder)
	}
}

// Connected notes that an agent directly below has come through an input; the caller
// calls gone when that connection has ended.
func (t *Tiers) Connected(input string, hop relaywire.Hop, build string) (gone func()) {
	if t == nil {
		return func() {}
	}
	hop.Name, build = Short(hop.Name), Short(build)
	t.mu.Lock()
	defer t.mu.Unlock()
	b := t.below[hop.Agent]
	if b == nil {
		t.room(source{})
		b = t.add(hop.Agent, source{})
	} else if b.Via > 1 {
		t.move(b, source{})
	}
	b.see(time.Now())
	b.Before = false
	b.Hop, b.Build, b.Via, b.Through, b.Input = hop, build, 1, relaywire.Hop{}, input
	b.Connections++
	return func() {
		t.mu.Lock()
		defer t.mu.Unlock()
		if b := t.below[hop.Agent]; b != nil && b.Connections > 0 {
			b.Connections--
			b.Seen = time.Now()
		}
	}
}

// Identified notes what the certificate of an agent directly below, which is connected, calls
// it. It reports whether that is news and its own name for itself another, and whether
// another agent that is connected has the same name.
func (t *Tiers) Identified(hop relaywire.Hop, identity string) (differs, shared bool) {
	if t == nil {
		return false, false
	}
	hop.Name, identity = Short(hop.Name), Short(identity)
	t.mu.Lock()
	defer t.mu.Unlock()
	b := t.below[hop.Agent]
	if b == nil {
		return false, false
	}
	differs = b.Identity != identity && Differ(hop.Name, identity)
	b.Identity = identity
	if from := (source{identity: identity}); b.source != from {
		t.share(from)
		t.move(b, from)
	}
	if other := t.below[t.named[hop.Name]]; other != nil && other.Agent != hop.Agent && other.Name == hop.Name && other.Connections > 0 {
		return differs, true
	}
	if len(t.named) >= 2*mostBelow { // of those who are gone, mostly
		clear(t.named)
	}
	t.named[hop.Name] = hop.Agent
	return differs, false
}

// Differ reports whether an agent's name is another than its certificate gives it. A
// host's short name is the same as its long one; without a certificate nothing differs.
func Differ(name, identity string) bool {
	short, _, _ := strings.Cut(identity, ".")
	return identity != "" && name != identity && name != short
}

// Copied notes that two runs of an agent have spoken at once. It reports whether that is
// news.
func (t *Tiers) Copied(agent relaywire.Agent) (news bool) {
	if t == nil {
		return false
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	b := t.below[agent]
	if b == nil {
		return false
	}
	news = time.Since(b.copied) > copiedFor
	b.copied = time.Now()
	return news
}

// Reported notes what an agent directly below says of itself, and of those below it.
func (t *Tiers) Reported(input string, from relaywire.Hop, r *relaywire.Report) {
	if t == nil {
		return
	}
	from.Name = Short(from.Name)
	now := time.Now()
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.below)+len(r.Below) > mostBelow && now.Sub(t.swept) > forgetEvery {
		t.forget(now)
	}
	by := source{agent: from.Agent}
	if b := t.below[from.Agent]; b != nil {
		b.see(now)
		b.Lag, b.Reported, b.Before = r.Lag, now, false
		if b.Identity != "" {
			by = source{identity: b.Identity}
		}
	}
	for i := range r.Below {
		if other := &r.Below[i]; other.Agent != from.Agent && other.Agent != t.own.Agent {
			t.told(input, from, by, other)
		}
	}
}

// told notes what an agent directly below says of one below it; t.mu is held.
func (t *Tiers) told(input string, from relaywire.Hop, by source, other *relaywire.Below) {
	b := t.below[other.Agent]
	switch {
	case b != nil:
	case t.room(by):
		b = t.add(other.Agent, by)
	default:
		t.full++
		return
	}
	b.see(other.Seen)
	if b.Connections > 0 || b.Seen.After(other.Seen) { // it says so itself, or somebody knows better
		return
	}
	seen := b.Seen
	if b.source != by && t.share(by) {
		t.move(b, by)
	}
	b.Below, b.Input, b.Through, b.Identity, b.Reported, b.Before = *other, input, from, "", seen, false
	b.Name, b.Build, b.Seen = short(other.Name, longestNameUp), short(other.Build, longestBuildUp), seen
	if b.Via < 255 {
		b.Via++
	}
}

// see notes that an agent was there at some moment.
func (b *Below) see(at time.Time) {
	if at.After(b.Seen) {
		if now := time.Now(); at.After(now) { // a clock below that is ahead
			at = now
		}
		b.Seen = at
	}
}

// Short returns what is kept and shown of a name or a version that a peer gives: 255
// bytes at most.
func Short(name string) string { return short(name, longestName) }

// short returns at most so many bytes of a name: whole letters, and nothing of the rest.
func short(name string, most int) string {
	if len(name) <= most {
		return name
	}
	for most > 0 && !utf8.RuneStart(name[most]) {
		most--
	}
	return strings.Clone(name[:most])
}

// Below returns the agents below this one: those directly below first, then by name.
func (t *Tiers) Below() []Below {
	if t == nil {
		return nil
	}
	all := t.everyone()
	slices.SortFunc(all, func(a, b Below) int {
		return cmp.Or(cmp.Compare(a.Via, b.Via), cmp.Compare(a.Name, b.Name), slices.Compare(a.Agent[:], b.Agent[:]))
	})
	return all
}

// everyone returns all that are below, in no order.
func (t *Tiers) everyone() []Below {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.forget(time.Now())
	all := make([]Below, 0, len(t.below))
	for _, b := range t.below {
		all = append(all, *b)
	}
	return all
}

// Reports returns what is to be told upwards of the agents below: at most relaywire.MaxBelow,
// the nearest first, in less than 256 KiB.
func (t *Tiers) Reports() []relaywire.Below {
	all := t.Below()
	all = all[:min(len(all), relaywire.MaxBelow)]
	reports := make([]relaywire.Below, len(all))
	for i := range all {
		reports[i] = all[i].Below
		reports[i].Name, reports[i].Build = short(all[i].Name, longestNameUp), short(all[i].Build, longestBuildUp)
	}
	return reports
}
