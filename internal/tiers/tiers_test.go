package tiers

import (
	"slices"
	"testing"
	"time"

	"github.com/runnel-log/runnel/internal/relaywire"
)

func hop(n byte) relaywire.Hop {
	return relaywire.Hop{Agent: relaywire.Agent{n}, Name: string(rune('a' + n))}
}

func TestAboveIsEveryoneOnce(t *testing.T) {
	x := New(hop(0))
	x.Told("one", []relaywire.Hop{hop(1), hop(3)})
	x.Told("two", []relaywire.Hop{hop(2), hop(3)})
	if got, want := x.Above(), []relaywire.Hop{hop(0), hop(1), hop(3), hop(2)}; !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
	x.Told("one", nil)
	if got, want := x.Above(), []relaywire.Hop{hop(0), hop(2), hop(3)}; !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}

// Who is connected says itself how it does; of others the newest word counts.
func TestTheNearestWordCounts(t *testing.T) {
	x, now := New(hop(0)), time.Now()
	goneOne, goneTwo := x.Connected("in", hop(1), "v1"), x.Connected("in", hop(2), "v2")
	lost := func(n byte) uint64 {
		for _, b := range x.Below() {
			if b.Agent == hop(n).Agent {
				return b.Lag.Lost
			}
		}
		return 0
	}
	say := func(from, of byte, at time.Time, lost uint64) {
		x.Reported("in", hop(from), &relaywire.Report{Lag: relaywire.Lag{Lost: uint64(from)}, Below: []relaywire.Below{
			{Hop: hop(of), Via: 1, Seen: at, Lag: relaywire.Lag{Lost: lost}}}})
	}
	f := func(of byte, want uint64) {
		t.Helper()
		if got := lost(of); got != want {
			t.Errorf("agent %d has lost %d, want %d", of, got, want)
		}
	}
	say(1, 5, now.Add(-time.Minute), 50)
	say(2, 5, now.Add(-time.Hour), 40) // it has been there before
	f(5, 50)
	say(2, 5, now, 60)
	f(5, 60)
	say(1, 2, now.Add(time.Hour), 70)
	f(2, 2)
	say(1, 0, now, 80) // this agent itself is not below
	say(1, 6, now.Add(time.Hour), 90)
	if got := x.Below(); len(got) != 4 || got[0].Via != 1 || got[2].Via != 2 || got[2].Through != hop(2) || got[3].Seen.After(time.Now()) {
		t.Errorf("got %+v", got)
	}
	if got := x.Reports(); len(got) != 4 || got[3].Via != 2 {
		t.Errorf("got %+v", got)
	}
	goneOne()
	goneTwo()
	for _, b := range x.Below() {
		if b.Connections != 0 {
			t.Errorf("%s has %d connections", b.Name, b.Connections)
		}
	}
}

func TestNobodyIsNoTrouble(t *testing.T) {
	var x *Tiers
	x.Told("f", nil)
	x.Connected("in", hop(1), "")()
	x.Reported("in", hop(1), &relaywire.Report{})
	if x.Above() != nil || x.Below() != nil || len(x.Reports()) != 0 {
		t.Error("a nil Tiers knows somebody")
	}
}
