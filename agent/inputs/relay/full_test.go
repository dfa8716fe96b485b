package relay

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/runnel-log/runnel/agent/inputs"
	"github.com/runnel-log/runnel/agent/inputs/inputtest"
	"github.com/runnel-log/runnel/internal/config"
	"github.com/runnel-log/runnel/internal/relaywire"
	"github.com/runnel-log/runnel/record"
)

// A question and a frame that wait for a disk which takes nothing are answered, with why and
// when to come back; once the disk takes what came, it is there once, and known.
func TestWhoWaitsForADiskIsTold(t *testing.T) {
	f := func(patience patience, trouble error, says string) {
		t.Helper()
		r := inputtest.Start(t, with(func(o *Options) { o.patience = patience }), "", plain, inputtest.Setup{Trouble: func() error { return trouble }})
		release := r.Sink.Hold()
		told := func(c *client) {
			t.Helper()
			n := hears[*relaywire.Nack](c)
			if n.Code != relaywire.CodeFull || n.After == 0 || !strings.Contains(n.Text, says) {
				t.Errorf("it is told %+v, want %q", n, says)
			}
			c.ends()
		}
		c := dial(t, r, host)
		c.ask("app", forever)
		c.send("app", 1, 4)
		told(c)
		for range 2 {
			c = dial(t, r, host)
			c.say(&relaywire.Ask{Stream: "app", Epoch: host.Epoch, Parts: forever})
			told(c)
		}
		counted(t, r, `errors_total{reason="not_taken"}`, 3)
		counted(t, r, `errors_total{reason="outcome_unknown"}`, 0)
		if said := r.Input.Status()[0].LastError; !strings.Contains(said, says) {
			t.Errorf("the status says %q", said)
		}
		release()
		c = dial(t, r, host)
		if tell := c.ask("app", forever); tell.Missing[0].From != 4 {
			t.Errorf("got %+v", tell)
		}
		c.send("app", 4, 6)
		c.acked(1)
		want(t, r, 1, 6)
	}
	slow := usualPatience
	slow.stored = inputtest.Patience
	f(slow, errors.New("the disk takes nothing: no space left on device"), "nothing is taken: the disk takes nothing: no space left")
	hangs := usualPatience
	hangs.stored = 100 * time.Millisecond
	f(hangs, nil, "not on disk after 100ms")
}

// Where the store holds up the one who hands a frame over, the agent is told all the same.
func TestWhoIsHeldUpByTheStoreIsTold(t *testing.T) {
	release := make(chan struct{})
	k := with(func(o *Options) { o.patience = usualPatience; o.patience.stored = 100 * time.Millisecond })
	k.New = func(o config.Options, s inputs.Setup) (inputs.Input, error) {
		relay := s.Relay
		s.Relay = func(ctx context.Context, stream string, b *record.Batch, whole *record.Block, marks ...inputs.Mark) (inputs.Receipt, error) {
			<-release
			return relay(ctx, stream, b, whole, marks...)
		}
		return New(o.(*Options), s)
	}
	r := inputtest.Start(t, k, "", plain, inputtest.Setup{})
	c := dial(t, r, host)
	c.ask("app", forever)
	c.send("app", 1, 4)
	if n := hears[*relaywire.Nack](c); n.Code != relaywire.CodeFull || n.After == 0 {
		t.Errorf("got %+v", n)
	}
	close(release)
	c.ends()
	r.Sink.Wait(t, 3)
	c = dial(t, r, host)
	if tell := c.ask("app", forever); tell.Missing[0].From != 4 {
		t.Errorf("what was taken in the end is asked for: %+v", tell)
	}
	want(t, r, 1, 4)
}

// What the pipeline did not take is not known, nor is it on the disk that it was: it is asked
// for on the next connection, and stored once. That holds for the frames behind it too.
func TestWhatWasNotTakenIsNotKnown(t *testing.T) {
	a, sink := newAgents(t), inputtest.NewSink()
	r := inputtest.Start(t, Kind, a.dir, a.section, inputtest.Setup{Sink: sink})
	pair := a.certificate("runnel://agent/vm")
	session := func(from uint64) *client {
		t.Helper()
		c := a.dial(r, pair, host)
		hears[*relaywire.Welcome](c)
		if tell := c.ask("app", forever); len(tell.Missing) != 1 || tell.Missing[0].From != from {
			t.Fatalf("got %+v, want all from %d on", tell, from)
		}
		return c
	}
	marks := func() (n int) {
		sink.Marks(func(string, []byte) { n++ })
		return n
	}
	next := uint64(1)
	for range 3 {
		sink.Refuse(errors.New("store is full"))
		before := marks()
		c := session(next)
		c.send("app", next, next+3)
		if text := c.refused(relaywire.CodeFull); !strings.Contains(text, "store is full") {
			t.Errorf("it is told %q", text)
		}
		if got := marks(); got != before {
			t.Errorf("%d marks are kept of what was not taken, were %d", got, before)
		}
		r.Stop(t)
		r = inputtest.Start(t, Kind, a.dir, a.section, inputtest.Setup{Sink: sink}) // it knows what is on disk
		sink.Refuse(nil)
		c = session(next)
		c.send("app", next, next+2) // in other pieces
		c.acked(1)
		c.send("app", next+2, next+5)
		c.acked(2)
		next += 5
		sink.Refuse(errors.New("store is full")) // in the middle of a session
		c.send("app", next, next+2)
		c.refused(relaywire.CodeFull)
		sink.Refuse(nil)
	}
	want(t, r, 1, next)
	other := a.dial(r, a.certificate("runnel://agent/other"), host)
	other.refused(relaywire.CodeIdentity)
}
