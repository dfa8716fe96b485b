package main

import (
	"strings"
	"testing"

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
