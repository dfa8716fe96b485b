package listen

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/runnel-log/runnel/internal/systemd"
	"github.com/runnel-log/runnel/internal/systemd/systemdtest"
)

// generation is the registry of one process after another.
func generation(t *testing.T, keeper *systemdtest.Manager) *Sockets {
	t.Helper()
	m := systemd.Find()
	t.Cleanup(m.Close)
	return Kept(m, keeper.Handed(t))
}

func keeping(t *testing.T, room int) *systemdtest.Manager {
	t.Helper()
	keeper := systemdtest.Start(t, room)
	keeper.Setenv(t)
	return keeper
}

// taken opens a socket at each URL and returns their addresses.
func takenAt(t *testing.T, s *Sockets, urls []string) (handles []interface{ Close() error }, at []string) {
	t.Helper()
	for _, url := range urls {
		if a, err := Parse(url); err != nil {
			t.Fatal(err)
		} else if a.IsPacket() {
			c, err := s.Packet(url)
			if err != nil {
				t.Fatal(err)
			}
			handles, at = append(handles, c), append(at, c.LocalAddr().String())
		} else {
			l, err := s.Stream(url)
			if err != nil {
				t.Fatal(err)
			}
			handles, at = append(handles, l), append(at, l.Addr().String())
		}
	}
	return handles, at
}

var networks = map[string]string{"tls": "tcp"}

// say connects and writes one line, which nobody may be reading.
func say(t *testing.T, url, addr, line string) {
	t.Helper()
	network, _, _ := strings.Cut(url, "://")
	if n := networks[network]; n != "" {
		network = n
	}
	c, err := net.Dial(network, addr)
	if err != nil {
		t.Fatalf("%s: %v", url, err)
	}
	t.Cleanup(func() { c.Close() })
	if _, err := c.Write([]byte(line)); err != nil {
		t.Fatalf("%s: %v", url, err)
	}
}

// hear reads one line of the first sender.
func hear(t *testing.T, handle any) string {
	t.Helper()
	buf := make([]byte, 100)
	switch h := handle.(type) {
	case net.Listener:
		c, err := h.Accept()
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		n, _ := c.Read(buf)
		return string(buf[:n])
	case net.PacketConn:
		h.SetReadDeadline(time.Now().Add(10 * time.Second))
		n, _, err := h.ReadFrom(buf)
		if err != nil {
			t.Fatal(err)
		}
		return string(buf[:n])
	}
	return ""
}

// TestKeptSocketsOutliveTheProcess ends one process as a stop does, and one as
// kill -9 does: what comes in between waits in the kernel, and free ports stay the same.
func TestKeptSocketsOutliveTheProcess(t *testing.T) {
	f := func(name string, end func(*Sockets)) {
		t.Run(name, func(t *testing.T) {
			dir, keeper := t.TempDir(), keeping(t, 10)
			urls := []string{"tcp://127.0.0.1:0", "tls://127.0.0.1:0", "udp://127.0.0.1:0", "unix://" + dir + "/s:s", "unixgram://" + dir + "/g%"}
			s := generation(t, keeper)
			handles, first := takenAt(t, s, urls)
			if kept, of := s.Keeping(); kept != len(urls) || of != len(urls) {
				t.Errorf("%d of %d sockets are kept, want %d", kept, of, len(urls))
			}
			s.Settle()
			for _, h := range handles {
				h.Close()
			}
			end(s)
			for i, url := range urls {
				say(t, url, first[i], "said to nobody")
			}
			s = generation(t, keeper)
			handles, second := takenAt(t, s, urls)
			if fmt.Sprint(first) != fmt.Sprint(second) {
				t.Errorf("the addresses were %v and are %v", first, second)
			}
			if closed := s.Settle(); closed != nil {
				t.Errorf("closed %q, want nothing", closed)
			}
			for i, h := range handles {
				if got := hear(t, h); got != "said to nobody" {
					t.Errorf("%s: got %q", urls[i], got)
				}
				h.Close()
			}
			if got := keeper.Names(); len(got) != len(urls) {
				t.Errorf("the manager keeps %q, want each socket once", got)
			}
			s.Close()
		})
	}
	f("stop", func(s *Sockets) {
		s.Ending()
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	f("kill", func(s *Sockets) {
		for _, k := range s.open {
			k.closer.Close() // as the kernel does; nothing else is tidied up
		}
		_ = s.manager.Settle()
	})
}

// TestUnaskedForIsClosedOnceAllIsOpen: not by a start that fails, as the next one may want it.
func TestUnaskedForIsClosedOnceAllIsOpen(t *testing.T) {
	dir, keeper := t.TempDir(), keeping(t, 10)
	s := generation(t, keeper)
	handles, at := takenAt(t, s, []string{"tcp://127.0.0.1:0", "unix://" + dir + "/gone", "udp://127.0.0.1:0"})
	handles[0].Close()
	s.Close()

	s = generation(t, keeper) // a start that fails after it has opened one
	handles, _ = takenAt(t, s, []string{"udp://127.0.0.1:0"})
	handles[0].Close()
	s.Sweep()
	s.Close()
	if got := keeper.Names(); len(got) != 3 {
		t.Fatalf("after a failed start the manager keeps %q, want all three", got)
	}

	s = generation(t, keeper)
	handles, _ = takenAt(t, s, []string{"udp://127.0.0.1:0"})
	if closed := s.Settle(); len(closed) != 2 {
		t.Errorf("closed %q, want two addresses", closed)
	}
	if err := s.manager.Settle(); err != nil {
		t.Fatal(err)
	}
	if got := keeper.Names(); len(got) != 1 || !strings.HasPrefix(got[0], "runnel-listen.udp") {
		t.Errorf("the manager keeps %q, want the UDP socket", got)
	}
	if c, err := net.Dial("tcp", at[0]); err == nil {
		c.Close()
		t.Error("a socket that no config names still listens")
	}
	if _, err := os.Lstat(dir + "/gone"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("its file: got %v, want none", err)
	}
	handles[0].Close() // by a reload
	s.Sweep()
	if err := errors.Join(s.manager.Settle(), s.Close()); err != nil {
		t.Fatal(err)
	}
	if got := keeper.Names(); len(got) != 0 {
		t.Errorf("after the reload the manager keeps %q, want nothing", got)
	}
}

// TestKeptByNameAndKindAndAddress: a name alone does not make a socket ours.
func TestKeptByNameAndKindAndAddress(t *testing.T) {
	keeper := keeping(t, 10)
	m := systemd.Find()
	defer m.Close()
	udp, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer udp.Close()
	other, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	err = errors.Join(m.Keep(nameOf(Address{Scheme: "tcp", Host: "127.0.0.1"}), udp.(*net.UDPConn)),
		m.Keep(nameOf(Address{Scheme: "tcp", Host: "127.0.0.1", Port: 9}), other.(*net.TCPListener)), m.Settle())
	if err != nil {
		t.Fatal(err)
	}
	s := generation(t, keeper)
	defer s.Close()
	l := stream(t, s, "tcp://127.0.0.1:0")
	if l.Addr().String() == udp.LocalAddr().String() || l.Addr().String() == other.Addr().String() {
		t.Errorf("took %s, which was kept under its name and is another", l.Addr())
	}
	if closed := s.Settle(); len(closed) != 2 {
		t.Errorf("closed %q, want both", closed)
	}
}

// TestChangedHostTakesThePort: what was kept would be in the way of its successor.
func TestChangedHostTakesThePort(t *testing.T) {
	f := func(scheme string) {
		t.Helper()
		keeper := keeping(t, 10)
		s := generation(t, keeper)
		handles, at := takenAt(t, s, []string{scheme + "://0.0.0.0:0"}) // the whole host's, so that it is free for any part of it
		handles[0].Close()
		s.Close()
		_, port, _ := net.SplitHostPort(at[0])
		s = generation(t, keeper)
		defer s.Close()
		takenAt(t, s, []string{scheme + "://127.0.0.1:" + port})
	}
	f("tcp")
	f("udp")
}

// TestSocketWhoseFileIsGoneIsMadeAnew: nobody could reach it.
func TestSocketWhoseFileIsGoneIsMadeAnew(t *testing.T) {
	dir, keeper := t.TempDir(), keeping(t, 10)
	url := "unixgram://" + dir + "/g"
	s := generation(t, keeper)
	takenAt(t, s, []string{url})
	s.Close()
	if err := os.Remove(dir + "/g"); err != nil {
		t.Fatal(err)
	}
	s = generation(t, keeper)
	defer s.Close()
	handles, at := takenAt(t, s, []string{url})
	say(t, url, at[0], "here")
	if got := hear(t, handles[0]); got != "here" {
		t.Errorf("got %q", got)
	}
	if kept, _ := s.Keeping(); kept != 1 {
		t.Error("the new socket is not kept")
	}
}

// TestBeyondTheRoomSocketsAreAsEver: opened, not kept, and gone with the process.
func TestBeyondTheRoomSocketsAreAsEver(t *testing.T) {
	keeper := keeping(t, 1)
	s := generation(t, keeper)
	takenAt(t, s, []string{"tcp://127.0.0.1:0", "tcp://localhost:0"})
	if kept, of := s.Keeping(); kept != 1 || of != 2 {
		t.Errorf("%d of %d are kept, want 1 of 2", kept, of)
	}
	s.Close()
	if got := keeper.Names(); len(got) != 1 {
		t.Errorf("the manager keeps %q, want one", got)
	}
}

func TestNamesAreWhatSystemdTakes(t *testing.T) {
	seen := map[string]string{}
	for _, url := range []string{"tcp://127.0.0.1:514", "unix:///run/a%3Ab", "unix:///run/a:b", "unix:///run/é\x01",
		"unix:///" + strings.Repeat("ö", 50), "unix:///" + strings.Repeat("ö", 49) + "o", "tcp://" + strings.Repeat("a.", 120) + "b:514"} {
		a, err := Parse(url)
		if err != nil {
			t.Fatal(err)
		}
		name := nameOf(a)
		if strings.ContainsFunc(name, func(r rune) bool { return r < ' ' || r > '~' || r == ':' }) || len(name) > 255 {
			t.Errorf("%q is kept as %q, which systemd does not take", url, name)
		}
		if seen[name] != "" {
			t.Errorf("%q and %q have one name", url, seen[name])
		}
		seen[name] = url
	}
}

// TestWhatWaitsIsServedBySomebody: a holder that ends serves the connections that
// the kernel has made, unless another one or the next process does.
func TestWhatWaitsIsServedBySomebody(t *testing.T) {
	const url = "tcp://127.0.0.1:0"
	f := func(name string, served bool, before func(s *Sockets)) {
		t.Helper()
		s := generation(t, keeping(t, 10))
		defer s.Close()
		l := stream(t, s, url)
		say(t, url, l.Addr().String(), "a line\n")
		before(s)
		l.(*listener).End(10 * time.Second)
		if l.(*listener).over() == served {
			t.Fatalf("%s: it serves what waits: %v, want %v", name, !served, served)
		}
		if served && hear(t, l) != "a line\n" {
			t.Errorf("%s: another line waited", name)
		}
	}
	f("of a reload", true, func(*Sockets) {})
	f("of a reload that gave the socket to another", false, func(s *Sockets) { stream(t, s, url) })
	f("of the process", false, (*Sockets).Ending)
}
