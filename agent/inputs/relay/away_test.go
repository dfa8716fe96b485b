package relay

import (
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/runnel-log/runnel/agent/inputs"
	"github.com/runnel-log/runnel/agent/inputs/inputtest"
	"github.com/runnel-log/runnel/internal/relaywire"
)

// moment is when all that is stored was asked for to end.
type moment struct {
	end    chan struct{}
	stored uint64 // records, then
}

// Sessions that break every few frames, however they do, hear what has ended of what sessions before were told: in
// order, all of it, and never what was not stored when it was asked what has ended.
func TestSessionsThatBreakHearWhatHasEnded(t *testing.T) {
	t.Parallel()
	sink, asked := inputtest.NewSink(), make(chan moment, 1)
	setup := inputtest.Setup{Sink: sink, Memory: new(inputs.Memory), Ended: func() <-chan struct{} {
		m := moment{make(chan struct{}), uint64(sink.Len())}
		asked <- m
		return m.end
	}}
	r := inputtest.Start(t, Kind, "", plain, setup)
	c, next, ended := (*client)(nil), uint64(1), uint64(0)
	breaks := []func(){
		func() { c.Close() },
		func() {}, // the next fences it
		func() {
			sink.Refuse(errors.New("store is full"))
			c.send("app", next, next+3)
			c.refused(relaywire.CodeFull)
			sink.Refuse(nil)
		},
		func() { // a reload
			r.Stop(t)
			r = inputtest.Start(t, Kind, "", plain, setup)
		},
		func() { c.say(&relaywire.Bye{}); c.ends() },
	}
	tries := 0
	check := func(c *client) (heard relaywire.Ranges) {
		t.Helper()
		for _, o := range c.over {
			if o.Stream != "app" || o.Epoch != host.Epoch || len(o.Parts) != 1 || o.Parts[0].From != max(1, heard.End()) || o.Parts.End() > ended+1 {
				t.Fatalf("%+v is said to have ended after %v, want all to %d in order", o, heard, ended)
			}
			heard = heard.Add(o.Parts[0])
		}
		return heard
	}
	session := func() {
		t.Helper()
		before := c
		if c = dial(t, r, host); c.over != nil {
			t.Fatal("something has ended that was not asked for")
		}
		if tell := c.ask("app", forever); tell.Missing[0].From != next {
			t.Fatalf("it is asked for %v, want all from %d on", tell.Missing, next)
		}
		for range 3 {
			c.send("app", next, next+3)
			c.acked(c.number)
			next += 3
		}
		breaks[tries%len(breaks)]()
		tries++
		check(c)
		if before != nil {
			before.Close()
		}
	}
	for range 3 {
		var m moment
		for session(); m.end == nil; {
			select {
			case m = <-asked:
			default:
				session()
			}
		}
		for range 2 * len(breaks) {
			session()
		}
		ended = m.stored // from here on it may be said
		close(m.end)
		for _, epoch := range []uint32{host.Epoch, host.Epoch + 1} { // and again, also after a restart: nobody knows whether the first was heard
			before := c
			c = dial(t, r, relaywire.Writer{Agent: host.Agent, Epoch: epoch})
			c.say(&relaywire.Ask{Stream: "app", Epoch: host.Epoch, Parts: forever})
			hears[*relaywire.Tell](c)
			for check(c).End() <= ended {
				c.over = append(c.over, hears[*relaywire.Ended](c))
			}
			before.Close()
			c.say(&relaywire.Bye{})
			c.ends()
			check(c)
		}
	}
}

// A session that is fenced while it answers says nothing any more, whatever it is at, and loses nothing.
func TestAnAccountHasOneSession(t *testing.T) {
	over := make(chan struct{})
	close(over)
	var e ends
	e.after = func() <-chan struct{} { return over }
	for round := range 200 {
		var done sync.WaitGroup
		began := make(chan struct{})
		old := &ends{after: e.after}
		old.take(e.leave())
		done.Go(func() {
			close(began)
			for i := range uint64(50) {
				old.tell(nil, &said{"app", 1, relaywire.Ranges{{From: 1, To: 2 + i}}})
				if _, passed := old.next(); passed != nil {
					old.pass(nil)
				} else {
					old.begin()
				}
			}
		})
		<-began
		e = ends{after: e.after}
		e.take(old.leave())
		done.Wait()
		if old.size()+old.told.ranges != 0 || old.passed != nil {
			t.Fatalf("round %d: the older has something", round)
		}
		if e.told.ranges != 0 || e.waits.ranges+e.under.ranges+e.over.ranges > 3 {
			t.Fatalf("round %d: the newer has %d ranges", round, e.waits.ranges+e.under.ranges+e.over.ranges)
		}
	}
}

// What agents leave that do not come back is bounded: who went first is forgotten first, and one of each is kept.
func TestWhatAgentsLeaveIsBounded(t *testing.T) {
	agent := func(i int) relaywire.Agent { return relaywire.Agent{1, byte(i), byte(i >> 8)} }
	told := func(ranges int) (a account) {
		parts := make(relaywire.Ranges, ranges)
		for i := range parts {
			parts[i] = relaywire.Range{From: uint64(2 * i), To: uint64(2*i + 1)}
		}
		a.since = time.Now()
		a.waits.add(lineOf{"app", 1}, parts)
		return a
	}
	var l away
	l.put(agent(0), account{})
	if len(l.of) != 0 {
		t.Error("nothing is kept as something")
	}
	for i := range 40 {
		l.put(agent(i), told(mostUnended))
		l.put(agent(i), told(mostUnended))
		if l.size > mostAway || len(l.of) != l.order.Len() {
			t.Fatalf("%d bytes and %d agents are kept, of %d", l.size, l.order.Len(), len(l.of))
		}
	}
	has := func(i int) bool { a := l.take(agent(i)); return a.size() > 0 }
	if l.order.Len() < 10 || !has(39) || has(0) || has(39) {
		t.Errorf("of %d agents not the last are kept", l.order.Len())
	}
	for i := range 40 {
		l.take(agent(i))
	}
	if l.size != 0 || l.order.Len() != 0 {
		t.Errorf("%d bytes are kept of nobody", l.size)
	}
}
