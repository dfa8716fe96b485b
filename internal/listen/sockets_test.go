package listen

import (
	"errors"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"time"
)

func stream(t *testing.T, s *Sockets, url string) net.Listener {
	t.Helper()
	l, err := s.Stream(url)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	return l
}

func TestSocketOutlivesItsHandle(t *testing.T) {
	s := NewSockets()
	defer s.Close()
	f := func(url, network string) {
		t.Helper()
		first := stream(t, s, url)
		addr := first.Addr().String()
		if err := first.Close(); err != nil {
			t.Fatal(err)
		}
		// Nobody accepts, and yet the sender's connection and line are taken.
		c, err := net.Dial(network, addr)
		if err != nil {
			t.Fatalf("%s: dial between two holders: %v", url, err)
		}
		defer c.Close()
		if _, err := c.Write([]byte("held")); err != nil {
			t.Fatal(err)
		}
		second := stream(t, s, url)
		if got := second.Addr().String(); got != addr {
			t.Errorf("%s: second handle at %s, want %s", url, got, addr)
		}
		in, err := second.Accept()
		if err != nil {
			t.Fatal(err)
		}
		defer in.Close()
		buf := make([]byte, 8)
		if n, err := in.Read(buf); err != nil || string(buf[:n]) != "held" {
			t.Errorf("%s: got %q, %v", url, buf[:n], err)
		}
	}
	f("tcp://127.0.0.1:0", "tcp")
	f("unix://"+filepath.Join(t.TempDir(), "s"), "unix")
}

func TestCloseWakesOnlyItsOwnAccept(t *testing.T) {
	s := NewSockets()
	defer s.Close()
	first, second := stream(t, s, "tcp://127.0.0.1:0"), stream(t, s, "tcp://127.0.0.1:0")
	accept := func(l net.Listener) <-chan error {
		done := make(chan error, 1)
		go func() {
			c, err := l.Accept()
			if err == nil {
				c.Close()
			}
			done <- err
		}()
		return done
	}
	old, now := accept(first), accept(second)
	first.Close()
	if err := <-old; !errors.Is(err, net.ErrClosed) {
		t.Errorf("the closed handle's Accept: got %v, want net.ErrClosed", err)
	}
	c, err := net.Dial("tcp", second.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if err := <-now; err != nil {
		t.Errorf("the other handle's Accept: %v", err)
	}
}

func TestSweepClosesWhatNobodyHas(t *testing.T) {
	s := NewSockets()
	defer s.Close()
	path := filepath.Join(t.TempDir(), "gone")
	kept, gone, file := stream(t, s, "tcp://127.0.0.1:0"), stream(t, s, "tcp://localhost:0"), stream(t, s, "unix://"+path)
	gone.Close()
	gone.Close() // a second Close must not give back twice
	file.Close()
	s.Sweep()
	if c, err := net.Dial("tcp", gone.Addr().String()); err == nil {
		c.Close()
		t.Error("a socket that nobody has still listens after Sweep")
	}
	if _, err := os.Lstat(path); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the swept socket's file: got %v, want none", err)
	}
	c, err := net.Dial("tcp", kept.Addr().String())
	if err != nil {
		t.Fatalf("Sweep closed a socket in use: %v", err)
	}
	c.Close()
}

func TestPacketSurvivesReload(t *testing.T) {
	s := NewSockets()
	defer s.Close()
	first, err := s.Packet("udp://127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	c, err := net.Dial("udp", first.LocalAddr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	first.Close()
	if _, err := c.Write([]byte("between")); err != nil {
		t.Fatal(err)
	}
	second, err := s.Packet("udp://127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer second.Close()
	second.SetReadDeadline(time.Now().Add(5 * time.Second))
	buf := make([]byte, 16)
	if n, _, err := second.ReadFrom(buf); err != nil || string(buf[:n]) != "between" {
		t.Errorf("got %q, %v", buf[:n], err)
	}
}

func TestStaleSocketFileIsReplaced(t *testing.T) {
	f := func(scheme string) {
		t.Helper()
		path := filepath.Join(t.TempDir(), "log.sock")
		// A dead process: bound, closed, file left.
		dead, err := open(Address{Scheme: scheme, Path: path})
		if err != nil {
			t.Fatal(err)
		}
		dead.closer.Close()
		s := NewSockets()
		defer s.Close()
		k, err := s.take(Address{Scheme: scheme, Path: path, Mode: 0o606})
		if err != nil {
			t.Fatalf("%s: %v", scheme, err)
		}
		if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o606 || !os.SameFile(info, k.inode) {
			t.Errorf("%s: got %v, %v, want our socket with mode 0606", scheme, info, err)
		}
	}
	f("unix")
	f("unixgram")
}

func TestSocketFileInUseIsRefused(t *testing.T) {
	s, other := NewSockets(), NewSockets()
	defer s.Close()
	defer other.Close()
	path := filepath.Join(t.TempDir(), "log.sock")
	stream(t, s, "unix://"+path)
	refused := func(err error, want string) {
		t.Helper()
		if err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "\n") {
			t.Errorf("got %v, want one line with %q", err, want)
		}
	}
	me, _ := os.Executable()
	_, err := other.Stream("unix://" + path)
	refused(err, "listen unix "+path+": address already in use; ")
	refused(err, filepath.Base(me)[:5])
	_, err = other.Packet("unixgram://" + path)
	refused(err, "address already in use; ")
	if _, err := os.Lstat(path); err != nil {
		t.Errorf("the living socket's file is gone: %v", err)
	}
	plain := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(plain, []byte("precious"), 0o600); err != nil {
		t.Fatal(err)
	}
	_, err = other.Stream("unix://" + plain)
	refused(err, "the file exists and is no socket; remove it or choose another path")
	_, err = other.Stream("unix:///nonexistent-runnel/x")
	refused(err, "the directory /nonexistent-runnel does not exist; create it")
}

func TestPortInUseNamesTheHolder(t *testing.T) {
	s, other := NewSockets(), NewSockets()
	defer s.Close()
	defer other.Close()
	l := stream(t, s, "tcp://127.0.0.1:0")
	_, err := other.Stream("tcp://" + l.Addr().String())
	want := "listen tcp " + l.Addr().String() + ": address already in use; "
	if err == nil || !strings.HasPrefix(err.Error(), want) {
		t.Fatalf("got %v, want %s…", err, want)
	}
	if pid := "(pid " + strconv.Itoa(os.Getpid()) + ")"; runtime.GOOS == "linux" && !strings.Contains(err.Error(), pid) {
		t.Errorf("got %v, want it to name %s", err, pid)
	}
	u, err := s.Packet("udp://127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer u.Close()
	if _, err := other.Packet("udp://" + u.LocalAddr().String()); err == nil {
		t.Error("a second socket shares the UDP port, and takes its datagrams")
	}
	if _, err := other.Stream("tcp://192.0.2.1:0"); err == nil ||
		!strings.Contains(err.Error(), `no interface of this host has that address; write "tcp://:0" to listen everywhere`) {
		t.Errorf("foreign address: got %v", err)
	}
}

func TestWrongKindIsRefused(t *testing.T) {
	s := NewSockets()
	if _, err := s.Stream("udp://127.0.0.1:0"); err == nil {
		t.Error("Stream took a udp URL")
	}
	if _, err := s.Packet("tcp://127.0.0.1:0"); err == nil {
		t.Error("Packet took a tcp URL")
	}
	if _, err := s.Packet("nonsense"); err == nil {
		t.Error("Packet took nonsense")
	}
}

func TestUDPBufferIsAskedFor(t *testing.T) {
	s := NewSockets()
	defer s.Close()
	c, err := s.Packet("udp://127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	plain, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer plain.Close()
	if got, before := Granted(c), Granted(plain); got < before || got == 0 {
		t.Errorf("granted %d bytes, a socket that asks for none has %d", got, before)
	}
}

// TestSystemdSockets runs itself as a child that systemd would have started,
// with two sockets from descriptor 3 on.
func TestSystemdSockets(t *testing.T) {
	if addr := os.Getenv("RUNNEL_TEST_ACTIVATED"); addr != "" {
		activated(t, addr)
		return
	}
	tcp, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer tcp.Close()
	path := filepath.Join(t.TempDir(), "devlog")
	gram, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Net: "unixgram", Name: path})
	if err != nil {
		t.Fatal(err)
	}
	defer gram.Close()
	f1, err1 := tcp.(*net.TCPListener).File()
	f2, err2 := gram.File()
	if err := errors.Join(err1, err2); err != nil {
		t.Fatal(err)
	}
	defer f1.Close()
	defer f2.Close()
	cmd := exec.Command(os.Args[0], "-test.run=^TestSystemdSockets$", "-test.v")
	cmd.ExtraFiles = []*os.File{f1, f2}
	cmd.Env = append(os.Environ(), "RUNNEL_TEST_ACTIVATED="+tcp.Addr().String()+" "+path)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("activated child: %v\n%s", err, out)
	}
}

func activated(t *testing.T, addr string) {
	t.Setenv("LISTEN_PID", strconv.Itoa(os.Getpid()))
	t.Setenv("LISTEN_FDS", "2")
	at, path, _ := strings.Cut(addr, " ")
	s := NewSockets()
	defer s.Close()
	if os.Getenv("LISTEN_FDS") != "" {
		t.Error("LISTEN_FDS is still in the environment")
	}
	// Opening it afresh would fail: the parent still has the port.
	l := stream(t, s, "tcp://"+at)
	c, err := net.Dial("tcp", at)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	in, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	in.Close()
	l.Close()
	s.Sweep()
	stream(t, s, "tcp://"+at) // systemd's socket outlives a sweep
	p, err := s.Packet("unixgram://" + path)
	if err != nil {
		t.Fatal(err)
	}
	p.Close()
	if err := s.Close(); err != nil {
		t.Error(err)
	}
	if _, err := os.Lstat(path); err != nil {
		t.Errorf("systemd's socket file was removed: %v", err)
	}
}
