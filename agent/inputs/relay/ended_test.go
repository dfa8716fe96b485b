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

// An agent below is told what has ended of what it was told is there, once all has that was stored then, whether in the same
// session or in the next; and in that of what has ended before at once.
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
	want(c, relaywire.Range{From: 1, To: 11})
	close(second)
	want(c, relaywire.Range{From: 11, To: 21})
	close(asked.next(t))
	want(c, relaywire.Range{From: 21, To: 26})
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
	most := func() int { return max(e.told.ranges, e.waits.ranges+e.under.ranges+e.over.ranges) }
	for epoch := range uint32(10) {
		if e.tell(nil, shreds(epoch)); most() > mostUnended {
			t.Fatalf("%d ranges are remembered, want %d at most", most(), mostUnended)
		}
	}
	if len(e.waits.of) != 4 {
		t.Errorf("%d lines are remembered, want 4", len(e.waits.of))
	}
	e.begin()
	if e.tell(nil, shreds(11)); len(e.waits.of) != 0 {
		t.Error("more is remembered while the first has not ended")
	}
	if e.pass(nil); e.told.ranges+e.under.ranges+e.waits.ranges != 0 || e.passed != nil {
		t.Errorf("%d ranges are left", most())
	}
	if e.tell(nil, shreds(11)); len(e.waits.of) != 1 || e.due == nil || most() > mostUnended {
		t.Error("there is room, and nothing is remembered, or too much")
	}
	if a := e.leave(); len(a.waits.of) != 1 || e.told.ranges+e.size() != 0 {
		t.Error("a session that has left its account has something, or has not left all")
	}
	if e.tell(nil, shreds(12)); e.told.ranges+e.size() != 0 || e.due != nil {
		t.Error("a session that has left its account begins another")
	}
}
