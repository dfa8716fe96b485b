package syslog

import (
	"testing"
	"time"
)

// TestParseTimeAgreesWithTheLibrary: what ParseTime reads, time.Parse reads alike.
func TestParseTimeAgreesWithTheLibrary(t *testing.T) {
	f := func(text string, want bool) {
		t.Helper()
		ns, ok := ParseTime([]byte(text))
		if ok != want {
			t.Errorf("%q: got %v, want %v", text, ok, want)
		}
		if lib, err := time.Parse(time.RFC3339Nano, text); ok && (err != nil || lib.UnixNano() != ns) {
			t.Errorf("%q: got %d, the library has %v, %v", text, ns, lib.UnixNano(), err)
		}
	}
	f("2026-11-22T10:09:12Z", true)
	f("2026-11-22T10:09:12.878831Z", true)
	f("2026-11-22T10:09:12.878831123+05:30", true)
	f("1969-12-31T23:59:59.9-01:00", true)
	f("2026-11-22T10:09:12", false)
	f("2026-11-22 10:09:12Z", false)
	f("2026-11-22t10:09:12z", false)
	f("2026-11-22T10:09:12Z and more", false)
	f("2026-02-30T10:09:12Z", false)
	f("0001-01-01T00:00:00Z", false)
	f("", false)
}
