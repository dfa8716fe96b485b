package relay

import (
	"slices"
	"testing"
	"time"

	"github.com/runnel-log/runnel/agent/inputs/inputtest"
	"github.com/runnel-log/runnel/internal/relaywire"
)

// moments hands out when all that is stored is asked for to end, for a test to say that it has.
type moments chan chan struct{}

func (m moments) ended() <-chan struct{} {
	c := make(chan struct{})
	m <- c
	return c
}

// next waits for the next that is asked for.
func (m moments) next(t testing.TB) chan struct{} {
	t.Helper()
	select {
	case c := <-m:
		return c
	case <-time.After(inputtest.Patience):
		t.Fatal("nobody asks what has ended")
		return nil
	}
}

// An agent below is told what has ended of what it was told is there, once all has that was stored then; and in its next
// session again.
func TestAgentsBelowAreToldWhatHasEnded(t *testing.T) {
	t.Parallel()
	asked := make(moments, 4)
	r := inputtest.Start(t, Kind, "", plain, inputtest.Setup{Ended: asked.ended})
	want := func(c *client, parts ...relaywire.Range) {
		t.Helper()
		if got := hears[*relaywire.Ended](c); got.Stream != "app" || got.Epoch != host.Epoch || !slices.Equal(got.Parts, parts) {
			t.Errorf("%+v has ended, want %v", got, parts)
		}
	}
	c := dial(t, r, host)
	c.ask("app", forever)
	c.send("app", 1, 11)
	c.acked(1)
	first := asked.next(t)
	c.send("app", 11, 21) // which may lie behind where the streams ended at that moment
	c.acked(2)
	close(first)
	want(c, relaywire.Range{From: 1, To: 11})
	second := asked.next(t)
	c.send("app", 21, 31)
	c.acked(3)
	c.Close() // before it has ended

	c = dial(t, r, host)
	c.ask("app", relaywire.Ranges{{From: 1, To: 26}, {From: 31, To: 41}})
	third := asked.next(t)
	close(second) // nobody waits for it any more
	close(third)
	want(c, relaywire.Range{From: 1, To: 26})
	if len(asked) > 0 {
		t.Error("it is asked what has ended, and nothing has come")
	}
}

// What a session remembers to have told is bounded, and what has ended makes room.
func TestWhatIsToldIsBounded(t *testing.T) {
	over := make(chan struct{})
	e := ends{after: func() <-chan struct{} { return over }}
	shreds := func(epoch uint32) *said {
		s := &said{stream: "app", epoch: epoch}
		for i := range uint64(mostUnended / 4) {
			s.parts = append(s.parts, relaywire.Range{From: 2 * i, To: 2*i + 1})
		}
		return s
	}
	for epoch := range uint32(10) {
		if e.add(shreds(epoch)); e.ranges > mostUnended {
			t.Fatalf("%d ranges are remembered, want %d at most", e.ranges, mostUnended)
		}
	}
	if len(e.waits) != 4 {
		t.Errorf("%d lines are remembered, want 4", len(e.waits))
	}
	e.begin()
	if e.add(shreds(11)); len(e.waits) != 0 {
		t.Error("more is remembered while the first has not ended")
	}
	if e.over(nil); e.ranges != 0 || e.under != nil || e.passed != nil {
		t.Errorf("%d ranges are left", e.ranges)
	}
	if e.add(shreds(11)); len(e.waits) != 1 || e.due == nil {
		t.Error("there is room, and nothing is remembered")
	}
}
