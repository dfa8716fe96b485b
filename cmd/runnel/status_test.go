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
		Ending:    []query.CertificateStatus{{Part: "forwarder hook", File: "/c.pem", Until: now.Add(9*24*time.Hour + 2*time.Hour)}},
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
		"forwarder hook - /c.pem expires in 9d2h, on 2026-12-01; renew it",
		"forwarder hook 10s connection refused; next try in 1m50s",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("no %q in\n%s", want, text)
		}
	}
}

// TestStatusSaysHowOldAWordIs: of an agent that is not there, or has not said so for long,
// nothing is shown as if it were so now.
func TestStatusSaysHowOldAWordIs(t *testing.T) {
	now := time.Date(2026, 11, 22, 10, 0, 0, 0, time.UTC)
	at := func(seconds time.Duration) time.Time { return now.Add(-seconds * time.Second) }
	st := query.Status{Inputs: []query.InputStatus{{Name: "chain", Below: []query.BelowStatus{
		{Name: "new", Version: "1", Connected: true, Copies: 1, Seen: at(1)},
		{Name: "fine", Version: "1", Connected: true, Copies: 1, Seen: at(4), Reported: at(4)},
		{Name: "away", Version: "1", Copies: 1, Seen: at(26), Reported: at(26)},
		{Name: "silent", Version: "1", Connected: true, Copies: 1, Seen: at(50), Reported: at(50), LagRecords: 7, LagBytes: 70, LagSeconds: 3},
		{Name: "twice", Version: "1", Connected: true, Copies: 2, Seen: at(4), Reported: at(4), Certificate: "db", Renamed: true},
		{Name: "deep", Version: "1", Through: "fine", Between: 1, Copies: 1, Seen: at(12), Reported: at(12), Lost: 5},
		{Name: "deep", Agent: "0011223344", Version: "1", Through: "fine", Between: 1, Copies: 1, Seen: at(120), Reported: at(120)},
		{Name: "kept", Version: "1", Through: "fine", Between: 1, Copies: 1, Before: true, Seen: at(12), Reported: at(12), LagRecords: 3},
	}}}}
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
		"STATE SEEN LAG BYTES BEHIND LOST AS_OF",
		"new 1 chain connected 1.0s ? ? ? ? ?",
		"fine 1 chain connected 4.0s - - - - 4.0s",
		"away 1 chain gone 26s 0? 0? 0? - 26s",
		"silent 1 chain connected 50s 7? 70B? 3.0s? - 50s",
		"twice(db) 1 chain connected×2 4.0s - - - - 4.0s",
		"deep() 1 chain fine reported 12s - - - 5 12s",
		"deep(00112233) 1 chain fine gone 2m 0? 0? 0? - 2m",
		"kept 1 chain fine gone 12s 3? 0? 0? - 12s",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("no %q in\n%s", want, text)
		}
	}
}

// TestStatusSaysThatABufferIsFull: now, and what becomes of what comes.
func TestStatusSaysThatABufferIsFull(t *testing.T) {
	f := func(full query.FullStatus, cell, want string) {
		t.Helper()
		st := query.Status{Forwarders: []query.ForwarderStatus{{Name: "up", Kind: "relay", Streams: []query.CursorStatus{{Stream: "app", LagRecords: 1, LagBytes: 5, Full: &full}}}}}
		var b strings.Builder
		if err := printStatus(&b, st, time.Now()); err != nil {
			t.Fatal(err)
		}
		if text := b.String(); !strings.Contains(text, "\n"+want+"\n") || !strings.Contains(strings.Join(strings.Fields(text), " "), cell) {
			t.Errorf("no %q, or no %q in\n%s", cell, want, text)
		}
	}
	const refused = "http, relp and relay senders wait; what comes by syslog is dropped"
	f(query.FullStatus{By: "max_size", Then: "push_back"}, "1 5B - now", "the buffer of app is full (max_size): "+refused)
	f(query.FullStatus{By: "max_size", Then: "drop_new"}, "1 5B - now", "the buffer of app is full (max_size): "+refused)
	f(query.FullStatus{By: "max_age", Then: "expire"}, "1 5B - now", "the buffer of app is full (max_age): records are dropped that up has not delivered")
	f(query.FullStatus{InSeconds: 90, By: "disk", Then: "push_back"}, "1 5B - 1m30s", "at this rate the buffer of app is full in 1m30s (disk): then "+refused)
}
