package main

import (
	"strings"
	"testing"
	"time"

	"github.com/runnel-log/runnel/agent/query"
)

// TestStatusTellsLossesFromWhatWasWanted: what was dropped as it was full is lost, what a
// step dropped is not; and of what went wrong it says when, and when it is tried again.
func TestStatusTellsLossesFromWhatWasWanted(t *testing.T) {
	now := time.Date(2026, 11, 22, 10, 0, 0, 0, time.UTC)
	st := query.Status{
		Inputs: []query.InputStatus{{Name: "net", Listeners: []query.ListenerStatus{
			{URL: "tcp://:514", LastError: "cut", LastErrorAt: now.Add(-3 * time.Minute)}}}},
		Pipelines: []query.PipelineStatus{{Name: "main", Dropped: map[string]uint64{"drop": 1, "full": 2501, "damaged": 2}}},
		Forwarders: []query.ForwarderStatus{{Name: "hook", State: "retrying", LastError: "connection refused",
			LastErrorAt: now.Add(-10 * time.Second), NextTry: now.Add(110 * time.Second)}},
	}
	var b strings.Builder
	if err := printStatus(&b, st, now); err != nil {
		t.Fatal(err)
	}
	var got []string
	for line := range strings.Lines(b.String()) {
		got = append(got, strings.Join(strings.Fields(line), " "))
	}
	text := strings.Join(got, "\n")
	for _, want := range []string{
		"REJECTED RATE LOST DROPPED",
		"damaged=2,full=2501 drop=1",
		"input net 3m tcp://:514: cut",
		"forwarder hook 10s connection refused; next try in 1m50s",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("no %q in\n%s", want, text)
		}
	}
}
