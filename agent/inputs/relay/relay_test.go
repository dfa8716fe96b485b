package relay

import (
	"slices"
	"strconv"
	"testing"

	"github.com/runnel-log/runnel/agent/inputs/inputtest"
	"github.com/runnel-log/runnel/internal/relaywire"
)

const plain = "listen: tcp://127.0.0.1:0"

func TestRelay(t *testing.T) {
	inputtest.Lifecycle(t, Kind, speaker(), "tcp://127.0.0.1:0", "unix://$DIR/s")
	t.Run("strangers", func(t *testing.T) { inputtest.Strangers(t, Kind, speaker()) })
}

// got returns the numbers that have come.
func got(t *testing.T, r *inputtest.Running) (all []uint64) {
	t.Helper()
	for _, v := range r.Sink.Records() {
		n, err := strconv.ParseUint(string(v.Message()), 10, 64)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, n)
	}
	return all
}

// want checks that the numbers from one to another, exclusive, have come, in order and once.
func want(t *testing.T, r *inputtest.Running, from, to uint64) {
	t.Helper()
	var all []uint64
	for i := from; i < to; i++ {
		all = append(all, i)
	}
	if got := got(t, r); !slices.Equal(got, all) {
		t.Errorf("got %v, want %d to %d", got, from, to-1)
	}
}

// Each record that comes first from its sender has its origin: the line that it came along.
func TestRecordsHaveTheirOrigin(t *testing.T) {
	r := inputtest.Start(t, Kind, "", plain, inputtest.Setup{})
	c := dial(t, r, host)
	c.ask("app", forever)
	c.send("app", 1, 4)
	c.send("app", 4, 6)
	c.acked(2)
	want(t, r, 1, 6)
	for i, v := range r.Sink.Records() {
		o := v.Origin()
		if relaywire.Agent(o.Agent) != host.Agent || o.Epoch != host.Epoch || string(o.Stream) != "app" || o.Sequence != uint64(i+1) || o.Child != 0 {
			t.Errorf("record %d is from %+v", i, o)
		}
	}
}
