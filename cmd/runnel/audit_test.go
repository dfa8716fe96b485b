package main

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/runnel-log/runnel/agent/query"
)

// TestAuditSaysWhatWasLost: each kind of loss is a sentence, with how many, where and
// why; and nothing lost is said as well.
func TestAuditSaysWhatWasLost(t *testing.T) {
	a := query.Audit{
		Inputs:  []query.InputAudit{{Name: "net", Dropped: 2, KernelDrops: 3}},
		Streams: []query.StreamAudit{{Name: "app", Dropped: 4, Uncommitted: 8, Lost: 5}},
		Gaps: []query.GapAudit{{Stream: "app", From: 31, To: 150, Records: 120, Reason: "damage",
			Found: time.Date(2026, 11, 22, 10, 0, 0, 0, time.UTC)}},
		Forwarders: []query.ForwarderAudit{{Name: "hook", Stream: "app", Expired: 1, Damaged: 120, Dead: 10, Skipped: 7},
			{Name: "hook", Stream: "app.dead", Redrive: true, Redriven: 4, Dead: 2}},
	}
	var b strings.Builder
	if err := printAudit(&b, &a); err != nil {
		t.Fatal(err)
	}
	got := strings.Split(b.String(), "\n")
	for _, want := range []string{
		"LOST",
		"2 records of input net since the start: the pipeline did not take them, as the disk or a stream that pushes back was full, and their sender cannot be told",
		"3 records of input net since the start: the kernel dropped their datagrams, as its receive buffer was full",
		"4 records for stream app: it was full, or the disk was, and on_full drops what is new",
		"8 records for stream app since the last commit: likewise, and that is not on disk yet: if the agent ends before it is, the ledger does not have them",
		"5 records of stream app: gone with a damaged file, offsets and all",
		"120 records of stream app: offsets 31 to 150, damage on the disk, found 2026-11-22T10:00:00Z",
		"1 record of stream app for forwarder hook: retention took them before they were delivered",
		"120 records of stream app for forwarder hook: damaged before they were delivered",
		"6 records of stream app for forwarder hook: the receiver refused them for good; they are in app.dead",
		"7 records of stream app for forwarder hook: left out by hand",
		"unexplained: 0",
	} {
		if !slices.Contains(got, want) {
			t.Errorf("no line %q in\n%s", want, &b)
		}
	}
	b.Reset()
	if err := printAudit(&b, &query.Audit{}); err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(b.String(), "\nNothing was lost.\n\nunexplained: 0\n") {
		t.Errorf("got %q, want that nothing was lost", b.String())
	}
	b.Reset()
	if err := printAudit(&b, &query.Audit{Interrupted: true}); err != nil {
		t.Fatal(err)
	}
	if said := b.String(); strings.Contains(said, "Nothing was lost") || !strings.Contains(said, "did not end properly") {
		t.Errorf("got %q, want that not everything is known", said)
	}
}
