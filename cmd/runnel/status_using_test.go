package main

import (
	"strings"
	"testing"
	"time"

	"github.com/runnel-log/runnel/agent/query"
)

// Of several destinations the one that is in use is marked.
func TestStatusMarksTheDestinationInUse(t *testing.T) {
	f := func(to, using, want string) {
		t.Helper()
		if got := destinations(&query.ForwarderStatus{To: to, Using: using}); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
	f("tls://a:6515, tls://b:6515", "tls://b:6515", "tls://a:6515, tls://b:6515 (in use)")
	f("tls://a:6515, tls://b:6515", "", "tls://a:6515, tls://b:6515")
	f("tls://a:6515", "tls://a:6515", "tls://a:6515")
}

// How each destination failed is said while another is in use, and not twice.
func TestStatusSaysHowEachDestinationFailed(t *testing.T) {
	now := time.Date(2026, 11, 22, 10, 0, 0, 0, time.UTC)
	f := query.ForwarderStatus{Name: "up", State: "up", LastError: `stream "app", offsets 1 to 9: tls://a:6515: receiver closed the connection`, LastErrorAt: now.Add(-time.Hour),
		Destinations: []query.DestinationStatus{
			{URL: "tls://a:6515", LastError: "receiver closed the connection", LastErrorAt: now.Add(-time.Hour)},
			{URL: "tls://b:6515", LastError: "connect: refused", LastErrorAt: now.Add(-time.Minute)},
			{URL: "tls://c:6515", Connected: true}}}
	table := troubleTable(query.Status{Forwarders: []query.ForwarderStatus{f}}, now)
	if len(table.rows) != 2 || table.rows[0][2] != f.LastError || table.rows[1][2] != "tls://b:6515: connect: refused" || table.rows[1][1] != "1m" {
		t.Errorf("got %q", table.rows)
	}
}

// What is delivered and kept until its end is said, where there is some.
func TestStatusSaysWhatIsKeptUntilItsEnd(t *testing.T) {
	f := func(unended uint64, want string) {
		t.Helper()
		var b strings.Builder
		st := query.Status{Forwarders: []query.ForwarderStatus{{Name: "up", Streams: []query.CursorStatus{{Stream: "app", Unended: unended}}}}}
		if err := printUnended(&b, st); err != nil || strings.TrimSpace(b.String()) != want {
			t.Errorf("got %q, %v want %q", b.String(), err, want)
		}
	}
	f(0, "")
	f(1200, "1200 records of app are delivered by up, and kept until the last agent above has them")
}
