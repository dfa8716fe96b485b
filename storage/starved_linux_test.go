package storage

import (
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// starvedChild in the environment has a child be TestWithoutDescriptorsCommitsGoOn.
const starvedChild = "RUNNEL_STARVED"

// TestWithoutDescriptorsCommitsGoOn: when no file can be opened any more the segment
// grows beyond its size, and everything is acknowledged; once one can, there
// is a new one. It is another process, as the limit is all tests'.
func TestWithoutDescriptorsCommitsGoOn(t *testing.T) {
	if os.Getenv(starvedChild) == "" {
		cmd := exec.Command(os.Args[0], "-test.run=^TestWithoutDescriptorsCommitsGoOn$", "-test.v")
		cmd.Env = append(os.Environ(), starvedChild+"=1")
		out, err := cmd.CombinedOutput()
		if err != nil || !strings.Contains(string(out), "--- PASS") {
			t.Fatalf("%v\n%s", err, out)
		}
		return
	}
	s := openStore(t, Options{SegmentSize: 1 << 20})
	put(t, s, "a", noise(0, 100))
	segments := func() int {
		s.mu.RLock()
		defer s.mu.RUnlock()
		return len(s.segments)
	}
	was := unix.Rlimit{}
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &was); err != nil {
		t.Fatal(err)
	}
	if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &unix.Rlimit{Cur: 3, Max: was.Max}); err != nil {
		t.Fatal(err)
	}
	if f, err := os.Open("/dev/null"); err == nil {
		f.Close()
		t.Fatal("the limit does not hold")
	} else if !isStarved(err) || !isStarved(&os.PathError{Err: syscall.ENFILE}) {
		t.Fatalf("got %v", err)
	}
	for n := range uint64(80) {
		put(t, s, "a", noise(100+300*n, 300))
	}
	if got, size := segments(), s.active.size.Load(); got != 1 || size < 2<<20 {
		t.Errorf("%d segments, the active of %d bytes; want one that has grown beyond its size", got, size)
	}
	if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &was); err != nil {
		t.Fatal(err)
	}
	put(t, s, "a", noise(24100, 300))
	if segments() < 2 {
		t.Error("no new segment, although there are descriptors again")
	}
	if at, err := readable(s, "a", 1); err != nil || at != 24401 {
		t.Errorf("readable up to %d: %v", at, err)
	}
}
