package systemd_test

import (
	"context"
	"errors"
	"io"
	"net"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/runnel-log/runnel/internal/systemd"
	"github.com/runnel-log/runnel/internal/systemd/systemdtest"
)

func TestWithoutAManagerNothingHappens(t *testing.T) {
	t.Setenv("NOTIFY_SOCKET", "")
	f := func(m *systemd.Manager) {
		t.Helper()
		m.Has("x", 1)
		err := errors.Join(m.Tell("READY=1"), m.Forget("x"), m.Settle())
		if err != nil || m.Keeps() {
			t.Errorf("got %v, keeps %v", err, m.Keeps())
		}
		if err := m.Keep("x"); !errors.Is(err, systemd.ErrNotKept) {
			t.Errorf("Keep: got %v, want ErrNotKept", err)
		}
		m.Close()
	}
	f(systemd.Find())
	f(new(systemd.Manager))
	t.Setenv("NOTIFY_SOCKET", t.TempDir()+"/nobody")
	f(systemd.Find())
}

func TestKeepsUpToItsRoomAndForgets(t *testing.T) {
	keeper := systemdtest.Start(t, 4)
	keeper.Setenv(t)
	m := systemd.Find()
	defer m.Close()
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	m.Has("from before", 1)
	if err := m.Keep("two", r, w); err != nil {
		t.Fatal(err)
	}
	w.Close()
	if err := m.Keep("more", r, r); !errors.Is(err, systemd.ErrNotKept) {
		t.Errorf("beyond the room: got %v, want ErrNotKept", err)
	}
	if err := m.Settle(); err != nil {
		t.Fatal(err)
	}
	if got := strings.Join(keeper.Names(), " "); got != "two two" {
		t.Errorf("kept %q, want two descriptors", got)
	}
	// The manager has the only write end.
	if err := errors.Join(m.Forget("two"), m.Settle()); err != nil {
		t.Fatal(err)
	}
	if _, err := r.Read(make([]byte, 1)); err != io.EOF {
		t.Errorf("after Forget: got %v, want the pipe closed", err)
	}
	if err := m.Keep("again", r, r, r); err != nil {
		t.Errorf("what was forgotten takes up room: %v", err)
	}
}

// TestKeepingLeavesADescriptorAsItIs: os.File.Fd would make it block.
func TestKeepingLeavesADescriptorAsItIs(t *testing.T) {
	keeper := systemdtest.Start(t, 4)
	keeper.Setenv(t)
	m := systemd.Find()
	defer m.Close()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if err := m.Keep("l", l.(syscall.Conn)); err != nil {
		t.Fatal(err)
	}
	l.(*net.TCPListener).SetDeadline(time.Now().Add(10 * time.Millisecond)) // needs a descriptor that does not block
	if _, err := l.Accept(); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("got %v, want the deadline", err)
	}
}

func TestSilentManagerCostsNoMoreThanPatience(t *testing.T) {
	path := t.TempDir() + "/n"
	l, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"}) // and nobody reads
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	t.Setenv("NOTIFY_SOCKET", path)
	t.Setenv("FDSTORE", "100000")
	m := systemd.Find()
	defer m.Close()
	r, _, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	began, failed := time.Now(), 0
	for range 2000 { // more than any queue of datagrams holds
		if m.Keep("x", r) != nil {
			failed++
		}
	}
	if took := time.Since(began); failed == 0 || took > 10*time.Second {
		t.Errorf("%d of 2000 failed in %s; want some to, and all soon after the first", failed, took)
	}
}

func TestWatchdog(t *testing.T) {
	f := func(usec, pid string, want time.Duration) {
		t.Helper()
		t.Setenv("WATCHDOG_USEC", usec)
		t.Setenv("WATCHDOG_PID", pid)
		if got := systemd.Watchdog(); got != want {
			t.Errorf("WATCHDOG_USEC=%s WATCHDOG_PID=%s: got %s, want %s", usec, pid, got, want)
		}
	}
	f("", "", 0)
	f("30000000", "", 15*time.Second)
	f("30000000", "1", 0) // another process's
	f("-3", "", 0)
	f("x", "", 0)
}

// TestWatchdogHearsOnlyOfALivingProcess: a hung alive ends the telling.
func TestWatchdogHearsOnlyOfALivingProcess(t *testing.T) {
	keeper := systemdtest.Start(t, 0)
	keeper.Setenv(t)
	m := systemd.Find()
	defer m.Close()
	ctx, cancel := context.WithCancel(t.Context())
	hang, hung, ended := make(chan struct{}), make(chan struct{}), make(chan struct{})
	calls := 0
	go func() {
		defer close(ended)
		m.RunWatchdog(ctx, time.Millisecond, func() {
			if calls++; calls == 4 {
				close(hung)
				<-hang
			}
		})
	}()
	<-hung
	if err := m.Settle(); err != nil {
		t.Fatal(err)
	}
	if got := keeper.Told("WATCHDOG=1"); got != 3 {
		t.Errorf("told %d times before it hung, want 3", got)
	}
	close(hang)
	keeper.Wait(t, "WATCHDOG=1", 3)
	cancel()
	<-ended
}
