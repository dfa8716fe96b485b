package relay

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"github.com/runnel-log/runnel/agent/inputs"
	"github.com/runnel-log/runnel/agent/inputs/inputtest"
	"github.com/runnel-log/runnel/internal/relaywire"
	"github.com/runnel-log/runnel/internal/tiers"
)

// Nobody is below an agent that may not pass on the records of others, whatever it says.
func TestOnlyARelayHasAgentsBelowIt(t *testing.T) {
	a, all := newAgents(t), tiers.New(relaywire.Hop{Agent: inputtest.AgentID, Name: "x"})
	r := inputtest.Start(t, Kind, a.dir, a.section, inputtest.Setup{Tiers: all})
	f := func(w relaywire.Writer, below byte, want int, names ...string) {
		t.Helper()
		c := a.dial(r, a.certificate(names...), w)
		hears[*relaywire.Welcome](c)
		c.say(&relaywire.Report{Lag: relaywire.Lag{Lost: 7}, Below: []relaywire.Below{{Hop: relaywire.Hop{Agent: relaywire.Agent{below}, Name: "invented"}, Seen: time.Now()}}})
		hears[*relaywire.Path](c)
		listed := 0
		for _, b := range all.Below() {
			if b.Agent == (relaywire.Agent{below}) {
				listed++
			}
			if b.Agent == w.Agent && b.Lag.Lost != 7 {
				t.Errorf("what it says of itself is lost: %+v", b)
			}
		}
		if listed != want {
			t.Errorf("%v tells of one, and %d are listed, want %d", names, listed, want)
		}
	}
	f(relaywire.Writer{Agent: relaywire.Agent{1}, Epoch: 1}, 101, 0, "runnel://agent/vm")
	f(relaywire.Writer{Agent: relaywire.Agent{2}, Epoch: 1}, 102, 1, "runnel://agent/cluster", "runnel://relay/cluster")
}

// Agents that come and go all the time, with long names, write little of the log, and
// leave what matters in it.
func TestComingAndGoingIsSampled(t *testing.T) {
	all := tiers.New(relaywire.Hop{Agent: inputtest.AgentID, Name: "x"})
	r := inputtest.Start(t, Kind, "", plain, inputtest.Setup{Tiers: all})
	c := newClient(t, inputtest.Dial(t, r.URL(0), ""), host)
	c.name = strings.Repeat("n", relaywire.MaxText)
	c.hello()
	if got := all.Below()[0].Name; got != c.name[:255] {
		t.Errorf("an agent is called %q", got)
	}

	var log bytes.Buffer
	e := newEvents(zerolog.New(&log), new(inputs.LastErrors))
	for range 1000 {
		e.connected("tcp://a:1", "b", relaywire.Hop{}, "")
		e.disconnected("tcp://a:1", "b", relaywire.Hop{}, nil)
	}
	e.notStored("tcp://a:1", nil)
	if lines := strings.Count(log.String(), "\n"); lines > 200 || !strings.Contains(log.String(), "whether records reached the disk") {
		t.Errorf("%d lines are logged:\n%s", lines, log.String())
	}
}
