//go:build integration

package integration

import (
	"fmt"
	"syscall"
	"testing"
	"time"
)

// pause stops a program for a time, as a frozen virtual machine does.
func pause(t *testing.T, p *process, d time.Duration) {
	t.Helper()
	if err := p.cmd.Process.Signal(syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	select {
	case <-time.After(d):
	case <-p.done:
		t.Fatalf("it ended: %v", p.err)
	}
	if err := p.cmd.Process.Signal(syscall.SIGCONT); err != nil {
		t.Fatal(err)
	}
}

// TestStoppedAndContinued freezes the sending agent, and then the receiving one, under
// load. Over relp, http and syslog everything that the first has stored comes to the
// second, and both ledgers add up; twice comes what had no answer on a connection that
// broke, and over http nothing.
func TestStoppedAndContinued(t *testing.T) {
	t.Parallel() // it waits
	ports := [3]int{freePort(t), freePort(t), freePort(t)}
	b := startAgent(t, fmt.Sprintf(`
inputs:
  relp: {type: relp, listen: "tcp://127.0.0.1:%d"}
  http: {type: http, listen: "tcp://127.0.0.1:%d"}
  syslog: {type: syslog, listen: ["tcp://127.0.0.1:%d"]}
pipelines: {relp: {from: [relp], stream: relp}, http: {from: [http], stream: http}, syslog: {from: [syslog], stream: syslog}}
`, ports[0], ports[1], ports[2]))
	dir := t.TempDir()
	inputs, addresses := loadInputs(t, dir)
	a := startAgentIn(t, dir, inputs+fmt.Sprintf(`
forwarders:
  relp: {type: relp, from: [app], to: "tcp://127.0.0.1:%d"}
  http: {type: webhook, from: [app], url: "http://127.0.0.1:%d/"}
  syslog: {type: syslog, from: [app], to: "tcp://127.0.0.1:%d"}
`, ports[0], ports[1], ports[2]))
	l := startLoad(t, addresses, 200, loadKinds...)
	for _, whom := range []*agent{a, b} {
		most := uint64(0)
		arrived := func(n uint64) bool {
			all := b.streams(t)
			for _, s := range all {
				if most = max(most, s.Records); s.Records < n {
					return false
				}
			}
			return len(all) == 3
		}
		within(t, patience, "records to arrive", func() bool { return arrived(100) })
		pause(t, whom.process, stoppedFor)
		before := most
		took := within(t, 2*patience, "more records to arrive over each", func() bool { return arrived(before + 100) })
		t.Logf("stopped for %s, and all three went on after %s", stoppedFor, took.Round(time.Millisecond))
	}
	l.end(t)
	within(t, patience, "every line of tcp, unix and udp in the ledger", func() bool {
		now, _ := a.ledger(t)
		for _, kind := range []string{"tcp", "unix", "udp"} {
			if now.of(kind) != uint64(l.senders[kind].sent.Load()) {
				return false
			}
		}
		return true
	})
	a.drained(t)
	here := a.query(t, "stream=app")
	within(t, patience, "every line of syslog in the other's ledger", func() bool { now, _ := b.ledger(t); return now.of("syslog") >= uint64(len(here)) })
	a.wantExplained(t)
	b.wantExplained(t)
	wantThere(t, a, l)
	for _, stream := range []string{"relp", "http", "syslog"} {
		times := map[string]int{}
		for _, r := range b.query(t, "stream="+stream) {
			times[r.Message]++
		}
		missing, again := 0, 0
		for _, r := range here {
			missing += max(0, 1-times[r.Message])
			again += max(0, times[r.Message]-1)
		}
		t.Logf("over %s: %d sent, %d missing, %d came twice", stream, len(here), missing, again)
		if missing > 0 || stream == "http" && again > 0 || again > 2*1024 { // the relp forwarder's window
			t.Errorf("over %s: %d missing, %d came twice", stream, missing, again)
		}
	}
}
