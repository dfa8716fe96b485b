package relay

import (
	"context"
	"testing"
	"time"

	"github.com/runnel-log/runnel/agent/inputs"
	"github.com/runnel-log/runnel/agent/inputs/inputtest"
	"github.com/runnel-log/runnel/internal/config"
	"github.com/runnel-log/runnel/internal/relaywire"
	"github.com/runnel-log/runnel/record"
)

// While a disk hangs, an agent that connects anew is told so after a while, again and
// again, and leaves nothing behind.
func TestConnectionsOfAnAgentThatWaitsDoNotPileUp(t *testing.T) {
	came, release := make(chan struct{}), make(chan struct{})
	k := with(func(o *Options) {
		o.patience = patience{hello: time.Second, silent: inputtest.Patience, write: inputtest.Patience, room: inputtest.Patience, stored: inputtest.Patience, favour: inputtest.Patience, linger: time.Second}
	})
	k.New = func(o config.Options, s inputs.Setup) (inputs.Input, error) {
		relay := s.Relay
		s.Relay = func(ctx context.Context, stream string, b *record.Batch, whole *record.Block, marks ...inputs.Mark) (inputs.Receipt, error) {
			select {
			case came <- struct{}{}:
			case <-release:
			}
			<-release // as the store does while its disk hangs
			return relay(ctx, stream, b, whole, marks...)
		}
		return New(o.(*Options), s)
	}
	r := inputtest.Start(t, k, "", plain, inputtest.Setup{})
	c := dial(t, r, host)
	c.ask("app", forever)
	c.send("app", 1, 2)
	<-came
	c.Close()
	for range 20 {
		again := newClient(t, inputtest.Dial(t, r.URL(0), ""), host)
		again.say(&relaywire.Hello{Writer: host, Versions: [2]uint16{1, 1}})
		again.Close()
	}
	patient := newClient(t, inputtest.Dial(t, r.URL(0), ""), host)
	patient.say(&relaywire.Hello{Writer: host, Versions: [2]uint16{1, 1}})
	if n := hears[*relaywire.Nack](patient); n.Code != relaywire.CodeFull || n.After == 0 {
		t.Errorf("got %+v", n)
	}
	patient.Close()
	wait(t, "only the session is left that waits for the disk", func() bool { return r.Input.Status()[0].Connections == 1 })
	close(release)
	c = dial(t, r, host)
	if tell := c.ask("app", forever); len(tell.Missing) != 1 || tell.Missing[0].From != 2 {
		t.Errorf("got %+v", tell)
	}
	want(t, r, 1, 2)
}
