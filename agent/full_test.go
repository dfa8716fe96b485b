package agent

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"
)

// TestFullStreamNeverBlocksTheInput: a syslog sender cannot bear back-pressure,
// so whatever on_full says, the input goes on reading; what is not kept is counted.
func TestFullStreamNeverBlocksTheInput(t *testing.T) {
	for _, policy := range []string{"drop_oldest", "drop_new", "push_back"} {
		t.Run(policy, func(t *testing.T) {
			f := newTaker()
			f.stuck = true // so that push_back has something to keep
			a := startAgent(t, shortDir(t), fmt.Sprintf(`
inputs: {in: {type: syslog, listen: ["tcp://127.0.0.1:0"]}}
pipelines: {main: {from: [in], stream: app}}
streams: {app: {max_size: 1MiB, on_full: %s}}
forwarders: {out: {type: test, from: [app]}}
`, policy), f)
			c := a.dial(t, "in", 0)
			const n = 6000
			random := rand.NewChaCha8([32]byte{1}) // does not compress
			noise := make([]byte, 700)
			for i := range n {
				random.Read(noise) //nolint:errcheck // never fails
				if err := c.SetWriteDeadline(time.Now().Add(patience)); err != nil {
					t.Fatal(err)
				}
				write(t, c, line("%d %x", i, noise))
			}
			waitUntil(t, "every line to be accounted for", func() bool { return a.status().Pipelines[0].Received == n })
			c.Close()
			a.stop(t)
			p := a.status().Pipelines[0]
			dropped := a.metric(`runnel_input_dropped_total{input="in"`)
			store := openedAfter(t, a.dir)
			var next, here, refused uint64
			for _, s := range store.Streams() {
				if s.Name == "app" {
					next, here, refused = s.Next-1, s.Records, s.Dropped
				}
			}
			if p.Stored+p.Rejected+p.Dropped[fullReason] != n || next != p.Stored || refused != p.Dropped[fullReason] || dropped != p.Rejected {
				t.Errorf("of %d: pipeline stored %d and rejected %d, input dropped %d; the stream took %d and refused %d",
					n, p.Stored, p.Rejected, dropped, next, refused)
			}
			if audit := auditOf(store.Books()); audit.Unexplained != 0 || audit.Pipelines[0].Dropped[fullReason] != refused {
				t.Errorf("the ledger: %+v", audit)
			}
			switch policy {
			case "drop_oldest":
				if refused+p.Rejected != 0 || here >= n {
					t.Errorf("%d of %d are here, %d refused and %d rejected; want the oldest gone, and nothing else", here, n, refused, p.Rejected)
				}
			case "drop_new":
				if refused == 0 || p.Rejected != 0 || here != next {
					t.Errorf("%d refused, %d rejected, %d of %d here; want new ones refused", refused, p.Rejected, here, next)
				}
			case "push_back":
				if p.Rejected == 0 || refused != 0 || here != next {
					t.Errorf("%d refused, %d rejected, %d of %d here; want new ones rejected", refused, p.Rejected, here, next)
				}
			}
		})
	}
}

// TestDeadLettersOfAModule: a record on which the guest traps goes to the dead
// letters alone, flagged, and the others go on.
func TestDeadLettersOfAModule(t *testing.T) {
	a := startAgent(t, shortDir(t), fmt.Sprintf(`
inputs: {in: {type: syslog, listen: ["tcp://127.0.0.1:0"]}}
modules: {m: {%s, on_error: dead_letter}}
pipelines: {main: {from: [in], stream: app, steps: [{module: m}]}}
forwarders: {out: {type: test, from: ["*"]}}
`, conformance(t)), newTaker())
	c := a.dial(t, "in", 0)
	var b strings.Builder
	for i := range 50 {
		if i == 20 {
			b.WriteString(line("panic"))
		}
		b.WriteString(line("set n %d", i))
	}
	write(t, c, b.String())
	a.stored(t, "app", 50)
	a.stored(t, "app.dead", 1)
	p, m := a.status().Pipelines[0], a.status().Modules[0]
	if p.Received != 51 || p.Stored != 51 || m.Failed != 1 || !strings.Contains(m.LastError, "asked to") {
		t.Errorf("pipeline %+v, module %+v; want 51 received and stored, one failure and its reason", p, m)
	}
	a.stop(t)
	store := openedAfter(t, a.dir)
	if got := texts(t, store, "app.dead"); len(got) != 1 || got[0] != "panic" {
		t.Errorf("dead letters %q, want the one that traps", got)
	}
	if got := texts(t, store, "app"); len(got) != 50 || got[20] != "set n 20" {
		t.Errorf("%d records, want the other 50 in order", len(got))
	}
}
