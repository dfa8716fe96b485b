package listen

import (
	"errors"
	"net"
	"os"
	"syscall"
	"testing"
)

// TestDescriptorsAreKeptForTheStore: beyond the bound nothing is accepted, the
// sender waits in the backlog, and is taken once there is room; a deadline and an end
// are told all the same.
func TestDescriptorsAreKeptForTheStore(t *testing.T) {
	s := NewSockets()
	defer s.Close()
	l := stream(t, s, "tcp://127.0.0.1:0")
	waiting, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer waiting.Close()
	inner := l.(*listener).Listener
	if err := spare(inner, 3); !errors.Is(err, syscall.EMFILE) {
		t.Errorf("with standard input, output and errors open and 3 allowed: got %v, want EMFILE", err)
	}
	if err := spare(inner, 1<<20); err != nil {
		t.Errorf("with room: got %v", err)
	}
	c, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	l.(*listener).End(0)
	if _, err := l.Accept(); !errors.Is(err, os.ErrDeadlineExceeded) || !l.(*listener).over() {
		t.Errorf("after the deadline: got %v", err)
	}
	l.Close()
	if err := spare(inner, 3); err != nil {
		t.Errorf("closed: got %v, want that Accept tells", err)
	}
	f := func(limit, want int) {
		t.Helper()
		if got := belowKept(limit); got != want {
			t.Errorf("of %d: got %d want %d", limit, got, want)
		}
	}
	f(64, 48)
	f(256, 192)
	f(1024, 960)
	f(1<<20, 1<<20-64)
}
