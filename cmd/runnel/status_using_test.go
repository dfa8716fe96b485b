package main

import (
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
