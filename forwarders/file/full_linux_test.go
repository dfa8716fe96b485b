package file

import (
	"testing"

	"golang.org/x/sys/unix"

	"path/filepath"

	"github.com/runnel-log/runnel/forwarders"
	"github.com/runnel-log/runnel/forwarders/forwardertest"
)

// A disk that is full, here a limit on the file's size, makes Deliver fail and leaves
// no half line; the first byte of room resumes it.
func TestFullDiskLosesNothing(t *testing.T) {
	path := filepath.Join(t.TempDir(), "app.log")
	f := forwardertest.New(t, Kind, &Options{Path: path, Format: forwarders.JSON})
	// Long enough for the limit to stop nothing else: the test binary writes a log of its own.
	const before = 5000
	deliver(t, f, 1, before)
	var was unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_FSIZE, &was); err != nil {
		t.Fatal(err)
	}
	var here unix.Stat_t
	if err := unix.Stat(path, &here); err != nil {
		t.Fatal(err)
	}
	if err := unix.Setrlimit(unix.RLIMIT_FSIZE, &unix.Rlimit{Cur: uint64(here.Size) + 100, Max: was.Max}); err != nil {
		t.Fatal(err)
	}
	_, err := f.Deliver(t.Context(), forwardertest.Batch(t, "app", before, before+2, nil))
	if rerr := unix.Setrlimit(unix.RLIMIT_FSIZE, &was); rerr != nil {
		t.Fatal(rerr)
	}
	if err == nil {
		t.Fatalf("Deliver = nil with no room, want an error")
	}
	wantLines(t, path, before-1)
	deliver(t, f, before, before+2)
	wantLines(t, path, before+1)
}
