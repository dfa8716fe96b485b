package agent

import (
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"strings"
	"testing"
)

// A tier whose stream is full and pushes back takes nothing, says so to the one below, and over a
// restart of either nothing is lost or stored twice: all is there once there is room.
func TestAFullStreamAboveLosesAndRepeatsNothing(t *testing.T) {
	out := newTaker()
	out.stuck = true
	dirs := [2]string{shortDir(t), shortDir(t)}
	configs := [2]string{fmt.Sprintf(hostConfig, "'unix://"+filepath.Join(dirs[1], "relay.sock")+"'", ""), `
inputs: {chain: {type: relay, listen: ['unix://DIR/relay.sock']}}
streams: {app: {max_size: 1MiB, on_full: push_back}}
forwarders: {out: {type: test, from: [app]}}
`}
	above, below := startAgent(t, dirs[1], configs[1], out), startAgent(t, dirs[0], configs[0], nil)
	const n = 6000
	random := rand.NewChaCha8([32]byte{1}) // does not compress
	noise := make([]byte, 700)
	c := below.dial(t, "in", 0)
	for i := range n {
		_, _ = random.Read(noise)
		write(t, c, line("%d %x", i, noise))
	}
	below.stored(t, "app", n)
	c.Close()
	full := func() {
		t.Helper()
		waitUntil(t, "the agent below to say that nothing is taken above", func() bool {
			f := below.status().Forwarders[0]
			return f.State == "retrying" && strings.Contains(f.LastError, "nothing is taken: store is full")
		})
	}
	full()
	above.stop(t)
	above = startAgent(t, dirs[1], configs[1], out)
	full()
	below.stop(t)
	below = startAgent(t, dirs[0], configs[0], nil)
	full()
	out.mu.Lock()
	out.stuck = false
	out.mu.Unlock()
	above.retryNow()
	waitUntil(t, "all to arrive", func() bool {
		out.mu.Lock()
		defer out.mu.Unlock()
		return len(out.messages) >= n
	})
	out.mu.Lock()
	defer out.mu.Unlock()
	for i, m := range out.messages {
		if number, _, _ := strings.Cut(m, " "); number != fmt.Sprint(i) {
			t.Fatalf("got %.20q, want number %d", m, i)
		}
	}
	delivered(t, below, n+1)
	if strings.Contains(below.logs.String(), "acknowledges nothing") {
		t.Error("the one below took it for a receiver that hangs")
	}
}
