package relay

import (
	"slices"
	"sync/atomic"
	"testing"

	"github.com/runnel-log/runnel/forwarders"
	"github.com/runnel-log/runnel/forwarders/forwardertest"
	"github.com/runnel-log/runnel/internal/relaywire"
)

// counted counts how often it is looked through.
type counted struct {
	*forwardertest.Source
	looks atomic.Int64
}

func (c *counted) Parts(stream string) []forwarders.Part {
	c.looks.Add(1)
	return c.Source.Parts(stream)
}

func (c *counted) Streams() []string {
	c.looks.Add(1)
	return c.Source.Streams()
}

// However many runs have written a stream: a session asks for the lines of all, and looks through the stream a few times.
func TestManyLinesAreAskedForAtOnce(t *testing.T) {
	const runs = 500
	s := startReceiver(t, "tcp", "127.0.0.1:0", nil)
	to := "tcp://" + s.address
	source := &counted{Source: &forwardertest.Source{Of: make(map[string][]forwarders.Part), Kept: make(map[string][]byte)}}
	had := relaywire.Ranges{{From: 1, To: 11}}
	for i := range uint32(runs) {
		l := line{"app", forwardertest.Epoch - i}
		source.Of["app"] = append(source.Of["app"], forwarders.Part{Epoch: l.epoch, First: 1, Next: 11})
		source.Kept[l.key(to)] = had.Append(nil)
	}
	slices.Reverse(source.Of["app"])
	f := newSender(t, options(to, nil), source.Source)
	f.Forwarder.source = source
	if _, err := f.connect(t.Context()); err != nil {
		t.Fatal(err)
	}
	s.set(func() {
		if len(s.asks) != runs {
			t.Errorf("%d lines were asked for, want %d", len(s.asks), runs)
		}
	})
	if got := source.looks.Load(); got > 20 {
		t.Errorf("the store was looked through %d times for %d lines", got, runs)
	}
}
