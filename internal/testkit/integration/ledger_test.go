//go:build integration

package integration

import (
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"testing"
)

// ledger is what the audit says, as far as these tests look at it.
type ledger struct {
	Inputs []struct {
		Name              string
		Received, Dropped uint64
		KernelDrops       uint64 `json:"kernel_drops"`
	}
	Pipelines []struct {
		Name     string
		Dropped  map[string]uint64
		Rejected uint64
	}
	Streams []struct {
		Name                                            string
		Stored, Here, Retention, Damaged, Lost, Dropped uint64
	}
	Forwarders []struct {
		Name, Stream                                                                  string
		Start, Stored, Delivered, Repeated, Filtered, Dead, Expired, Damaged, Pending uint64
	}
	Gaps []struct {
		Stream            string
		From, To, Records uint64
		Reason            string
	}
	Unexplained uint64
}

// ledger asks for the audit.
func (a *agent) ledger(t *testing.T) (l ledger, text string) {
	t.Helper()
	answer, err := a.client.Get("http://agent/api/v1/audit")
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	body, err := io.ReadAll(answer.Body)
	if err == nil {
		err = json.Unmarshal(body, &l)
	}
	if err != nil || answer.StatusCode != http.StatusOK {
		t.Fatalf("audit: %s, %v: %s", answer.Status, err, body)
	}
	return l, string(body)
}

// wantExplained ends every test of a fault: the ledger explains each record.
func (a *agent) wantExplained(t *testing.T) ledger {
	t.Helper()
	l, text := a.ledger(t)
	if l.Unexplained != 0 || !strings.HasSuffix(strings.TrimSpace(text), `"unexplained":0}`) {
		t.Errorf("the ledger does not add up: %s", text)
	}
	return l
}

// drained waits until every forwarder has everything, and returns the ledger then.
func (a *agent) drained(t *testing.T) (l ledger) {
	t.Helper()
	eventually(t, "every forwarder to have everything", func() bool {
		l, _ = a.ledger(t)
		for _, f := range l.Forwarders {
			if f.Pending > 0 {
				return false
			}
		}
		return len(l.Forwarders) > 0
	})
	return l
}

// ready asks /readyz, and returns what it says if it is no.
func (a *agent) ready(t *testing.T) (ok bool, why string) {
	t.Helper()
	answer, err := a.client.Get("http://agent/readyz")
	if err != nil {
		return false, err.Error()
	}
	defer answer.Body.Close()
	body, _ := io.ReadAll(answer.Body)
	return answer.StatusCode == http.StatusOK, string(body)
}

// wantAccounted holds what the senders know against the ledger and what the receiver
// has. Everything is delivered, and no agent was killed.
func (l *load) wantAccounted(t *testing.T, a *agent, y *tally) ledger {
	t.Helper()
	for kind, s := range l.senders { // what stands in the kernel's buffers is still to come
		if kind == "tcp" || kind == "unix" || kind == "udp" {
			eventually(t, kind+": every line in the ledger", func() bool {
				now, _ := a.ledger(t)
				return now.of(kind) >= uint64(s.sent.Load())
			})
		}
	}
	a.drained(t)
	last := a.wantExplained(t)
	expired := 0
	for _, f := range last.Forwarders {
		expired += int(f.Expired)
	}
	for kind, s := range l.senders {
		missing, again := y.of(kind, s.acked.Load())
		t.Logf("%-5s sent %d, acknowledged %d, refused %d times, %d connections broken; %d of those acknowledged expired, %d came twice",
			kind, s.sent.Load(), s.acked.Load(), s.refused.Load(), s.broken.Load(), missing, again)
		if missing > expired {
			t.Errorf("%s: %d acknowledged messages have not come, and retention took %d in all", kind, missing, expired)
		}
		if kind != "relp" && again > 0 || again > relpWindow*int(s.broken.Load()) {
			t.Errorf("%s: %d came twice", kind, again)
		}
		if got := last.of(kind); (kind == "tcp" || kind == "unix" || kind == "udp") && got != uint64(s.sent.Load()) {
			t.Errorf("%s: %d were sent, and the ledger has %d", kind, s.sent.Load(), got)
		}
	}
	return last
}

// of returns how many messages the ledger has of an input, whatever became of them.
func (l *ledger) of(input string) uint64 {
	for _, in := range l.Inputs {
		if in.Name == input {
			return in.Received + in.Dropped + in.KernelDrops
		}
	}
	return 0
}
