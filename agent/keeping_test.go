package agent

import (
	"fmt"
	"net"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// connected returns what the metrics say of a destination; -1: nothing.
func connected(a *testAgent, url string) int {
	var b strings.Builder
	a.metrics.WritePrometheus(&b)
	_, value, found := strings.Cut(b.String(), fmt.Sprintf("runnel_forwarder_connected{forwarder=%q,url=%q} ", "up", url))
	if !found {
		return -1
	}
	return int(value[0] - '0')
}

// A relay that has nothing to send does not say that all is well while it reaches nobody.
func TestAnIdleRelaySaysThatItReachesNobody(t *testing.T) {
	dir := shortDir(t)
	socket := filepath.Join(dir, "relay.sock")
	url := "unix://" + socket
	mute, err := net.Listen("unix", socket) // says nothing, so that nothing has failed yet
	if err != nil {
		t.Fatal(err)
	}
	below := startAgent(t, shortDir(t), fmt.Sprintf(hostConfig, "'"+url+"'", ""), nil)
	taken, err := mute.Accept()
	if err != nil {
		t.Fatal(err)
	}
	if f := below.status().Forwarders[0]; f.State != "connecting" || f.LastError != "" || connected(below, url) != 0 {
		t.Errorf("before it is connected, the status has %+v", f)
	}
	mute.Close()
	taken.Close()
	waitUntil(t, "the status to say so", func() bool {
		f := below.status().Forwarders[0]
		return f.State == "retrying" && strings.Contains(f.LastError, url+": connect: ") && !f.LastErrorAt.IsZero() && time.Until(f.NextTry) < time.Minute && !f.NextTry.IsZero()
	})
	retries := below.metric("runnel_forwarder_retries_total")
	if retries == 0 {
		t.Error("no try is counted")
	}
	waitUntil(t, "another try to fail", func() bool { return below.metric("runnel_forwarder_retries_total") > retries })
	if got := below.logs.String(); strings.Count(got, "nothing waits for it yet") != 1 || !strings.Contains(got, `"level":"warn"`) || !strings.Contains(got, url+": connect: ") {
		t.Errorf("the log says\n%s", got)
	}
	text := fmt.Sprintf(centralConfig, socket)
	above := startAgent(t, dir, text, nil)
	waitUntil(t, "it to be connected", func() bool {
		f := below.status().Forwarders[0]
		return f.State == "up" && f.NextTry.IsZero() && connected(below, url) == 1
	})
	above.stop(t)
	waitUntil(t, "the loss to be seen", func() bool {
		return below.status().Forwarders[0].State == "retrying" && connected(below, url) == 0
	})
	above = startAgent(t, dir, text, nil)
	feed(t, below, 1, 11)
	arrives(t, above, 10)
	waitUntil(t, "it to be up", func() bool { return below.status().Forwarders[0].State == "up" })
}

// One of two that is dead is seen while the other works, and no more once it is back or named no more.
func TestADeadUpstreamIsSeenWhileAnotherWorks(t *testing.T) {
	above := startAgent(t, shortDir(t), "inputs: {chain: {type: relay, listen: ['unix://DIR/relay.sock']}}\n", nil)
	dead, works := "unix://"+filepath.Join(shortDir(t), "dead.sock"), "unix://"+above.dir+"/relay.sock"
	below := startAgent(t, shortDir(t), fmt.Sprintf(hostConfig, "'"+dead+"','"+works+"'", ""), nil)
	feed(t, below, 1, 11)
	arrives(t, above, 10)
	waitUntil(t, "the forwarder to be up", func() bool { return below.status().Forwarders[0].State == "up" })
	f := below.status().Forwarders[0]
	if len(f.Destinations) != 2 {
		t.Fatalf("got %+v, want two destinations", f.Destinations)
	}
	if d := f.Destinations[0]; d.URL != dead || d.Connected || !strings.HasPrefix(d.LastError, "connect: ") || d.LastErrorAt.IsZero() {
		t.Errorf("of the dead one the status says %+v", d)
	}
	if d := f.Destinations[1]; d.URL != works || !d.Connected || d.LastError != "" {
		t.Errorf("of the one that works the status says %+v", d)
	}
	if connected(below, dead) != 0 || connected(below, works) != 1 {
		t.Errorf("the metrics say %d and %d", connected(below, dead), connected(below, works))
	}
	if want := fmt.Sprintf(`"from":%q,"to":%q,"cause":"connect: `, dead, works); !strings.Contains(below.logs.String(), want) {
		t.Errorf("no %s in the log\n%s", want, below.logs.String())
	}
	if err := below.reload(fmt.Sprintf(hostConfig, "'"+works+"'", "")); err != nil {
		t.Fatal(err)
	}
	waitUntil(t, "the other to be forgotten", func() bool { return connected(below, dead) == -1 && connected(below, works) == 1 })
}

// The next try that is shown is the Keeper's where that comes first.
func TestTheEarlierTryIsShown(t *testing.T) {
	f := func(alone, unreached bool, keeper, own, want time.Duration) {
		t.Helper()
		d := &delivery{unreached: unreached}
		now := time.Now()
		at := func(in time.Duration) time.Time {
			if in == 0 {
				return time.Time{}
			}
			return now.Add(in)
		}
		d.keep = keeping{next: at(keeper), alone: alone}
		if got := d.soonest(at(own)); !got.Equal(at(want)) {
			t.Errorf("got %s, want %s", got.Sub(now), want)
		}
	}
	f(true, false, time.Minute, 0, time.Minute)
	f(false, true, time.Minute, 5*time.Minute, time.Minute)
	f(false, true, time.Hour, 5*time.Minute, 5*time.Minute)
	f(false, true, time.Minute, 0, 0)                          // it tries just now
	f(false, false, time.Minute, 5*time.Minute, 5*time.Minute) // no connection makes that better
	f(false, true, -time.Minute, 5*time.Minute, 5*time.Minute)
}
