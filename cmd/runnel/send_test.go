package main

import (
	"bytes"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/runnel-log/runnel/internal/syslog"
	"github.com/runnel-log/runnel/internal/tlsconf"
	"github.com/runnel-log/runnel/internal/tlsconf/tlstest"
	"github.com/runnel-log/runnel/record"
)

// sink receives syslog on the loopback and keeps every message.
type sink struct {
	mu       sync.Mutex
	messages []string // guarded by mu
	wg       sync.WaitGroup
}

func (s *sink) keep(message []byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.messages = append(s.messages, string(message))
}

// stream serves l until the test ends; wait for the connections with s.wg.
func (s *sink) stream(t *testing.T, l net.Listener, connections int) {
	t.Helper()
	t.Cleanup(func() { l.Close() })
	for range connections {
		s.wg.Go(func() {
			conn, err := l.Accept()
			if err != nil {
				t.Error(err)
				return
			}
			defer conn.Close()
			f := syslog.NewFramer(conn, 1<<20)
			for {
				message, flags, err := f.Next()
				if err != nil {
					if err != io.EOF {
						t.Error(err)
					}
					return
				}
				if flags != 0 {
					t.Errorf("%q: flags %v", message, flags.Names())
				}
				s.keep(message)
			}
		})
	}
}

// packets reads count datagrams.
func (s *sink) packets(t *testing.T, c net.PacketConn, count int) {
	t.Helper()
	t.Cleanup(func() { c.Close() })
	s.wg.Go(func() {
		c.SetReadDeadline(time.Now().Add(20 * time.Second))
		buf := make([]byte, 64<<10)
		for range count {
			n, _, err := c.ReadFrom(buf)
			if err != nil {
				t.Error(err)
				return
			}
			s.keep(buf[:n])
		}
	})
}

// sendTo runs the verb and returns what it printed.
func sendTo(t *testing.T, args ...string) string {
	t.Helper()
	var stdout, stderr bytes.Buffer
	if code := run(append([]string{"send"}, args...), strings.NewReader(""), &stdout, &stderr); code != exitGood {
		t.Fatalf("send %q: exit %d: %s", args, code, &stderr)
	}
	return stdout.String()
}

// eachOnce holds that messages hold the numbers 1 to n once each, well-formed and of one size.
func (s *sink) eachOnce(t *testing.T, n, size int) {
	t.Helper()
	s.wg.Wait()
	seen := make([]bool, n+1)
	p := syslog.Parser{Now: time.Now}
	for _, message := range s.messages {
		var r record.Record
		p.Parse([]byte(message), &r)
		number := 0
		if _, err := fmt.Sscanf(string(r.Message), "seq=%d", &number); err != nil || number < 1 || number > n || seen[number] {
			t.Fatalf("unexpected message %q (%v)", message, err)
		}
		if seen[number] = true; len(message) != size || r.Flags != 0 || len(r.Host) == 0 || len(r.ProcID) == 0 {
			t.Fatalf("message of %d bytes, flags %v: %q", len(message), r.Flags.Names(), message)
		}
	}
	if len(s.messages) != n {
		t.Errorf("got %d messages want %d", len(s.messages), n)
	}
}

func TestSendNumbersEachMessageOnce(t *testing.T) {
	f := func(connections, count, size int, more ...string) {
		t.Helper()
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		var s sink
		s.stream(t, l, connections)
		out := sendTo(t, append([]string{"--to", "tcp://" + l.Addr().String(), "-o", "json",
			"--count", fmt.Sprint(count), "--size", fmt.Sprint(size), "--connections", fmt.Sprint(connections)}, more...)...)
		s.eachOnce(t, count, size)
		var said sent
		if err := json.Unmarshal([]byte(out), &said); err != nil || said.Messages != int64(count) || said.Bytes < int64(count*size) {
			t.Errorf("said %s (%v)", out, err)
		}
	}
	f(1, 20_000, 300)
	f(1, 1, 120)
	f(3, 10_001, 200, "--framing", "octet")
	f(2, 5_000, 300, "--format", "rfc3164")
	f(1, 300, 300, "--rate", "3000")
}

func TestSendOverEveryTransport(t *testing.T) {
	dir := t.TempDir()
	t.Run("unix", func(t *testing.T) {
		path := filepath.Join(dir, "s")
		l, err := net.Listen("unix", path)
		if err != nil {
			t.Fatal(err)
		}
		var s sink
		s.stream(t, l, 1)
		sendTo(t, "--to", "unix://"+path, "--count", "5000")
		s.eachOnce(t, 5000, 300)
	})
	t.Run("unixgram", func(t *testing.T) {
		path := filepath.Join(dir, "d")
		c, err := net.ListenPacket("unixgram", path)
		if err != nil {
			t.Fatal(err)
		}
		var s sink
		s.packets(t, c, 500)
		sendTo(t, "--to", "unixgram://"+path, "--count", "500")
		s.eachOnce(t, 500, 300)
	})
	t.Run("tls", func(t *testing.T) {
		authority := tlstest.NewAuthority(t, "test")
		cert, key := authority.Issue(t, "localhost", time.Now().Add(time.Hour))
		server := tlsconf.Server{Cert: cert, Key: key}
		config, err := server.Config(func(err error) { t.Error(err) })
		if err != nil {
			t.Fatal(err)
		}
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		var s sink
		s.stream(t, tls.NewListener(l, config), 1)
		sendTo(t, "--to", "tls://"+l.Addr().String(), "--insecure", "--count", "3000", "--framing", "octet")
		s.eachOnce(t, 3000, 300)
	})
	t.Run("udp", func(t *testing.T) {
		c, err := net.ListenPacket("udp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		var s sink
		s.packets(t, c, 200)
		sendTo(t, "--to", "udp://"+c.LocalAddr().String(), "--count", "200", "--rate", "4000")
		s.eachOnce(t, 200, 300)
	})
}

func TestSendAsLogger(t *testing.T) {
	c, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var s sink
	s.packets(t, c, 1)
	out := sendTo(t, "--to", "udp://"+c.LocalAddr().String(), "hello", "world")
	s.wg.Wait()
	var r record.Record
	p := syslog.Parser{}
	p.Parse([]byte(s.messages[0]), &r)
	host, _ := os.Hostname()
	if string(r.Message) != "hello world" || r.Facility != 1 || r.Severity != 5 || string(r.Host) != host ||
		string(r.ProcID) != fmt.Sprint(os.Getpid()) || len(r.App) == 0 || r.Flags != 0 {
		t.Errorf("got %q", s.messages[0])
	}
	if !strings.HasPrefix(out, "sent 1 message, ") {
		t.Errorf("said %q", out)
	}
}

func TestSendFile(t *testing.T) {
	file := filepath.Join(t.TempDir(), "lines")
	if err := os.WriteFile(file, []byte("first\n\n<134>Nov 22 10:00:00 h a: as it is\nlast"), 0o600); err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var s sink
	s.stream(t, l, 1)
	sendTo(t, "--to", "tcp://"+l.Addr().String(), "--file", file, "--count", "4")
	s.wg.Wait()
	if len(s.messages) != 4 || !strings.HasSuffix(s.messages[0], " first") || s.messages[1] != "<134>Nov 22 10:00:00 h a: as it is" ||
		!strings.HasSuffix(s.messages[2], " last") || !strings.HasSuffix(s.messages[3], " first") {
		t.Errorf("got %q", s.messages)
	}
}

func TestSendSaysWhatIsWrong(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	closed := l.Addr().String()
	l.Close()
	f := func(code int, want string, args ...string) {
		t.Helper()
		var stdout, stderr bytes.Buffer
		if got := run(append([]string{"send"}, args...), strings.NewReader(""), &stdout, &stderr); got != code || !strings.Contains(stderr.String(), want) {
			t.Errorf("send %q: exit %d, %q; want %d, %q", args, got, &stderr, code, want)
		}
	}
	f(exitUsage, `has no scheme; write "udp://127.0.0.1:514"`, "--to", "127.0.0.1:514", "x")
	f(exitUsage, `unknown scheme "http"`, "--to", "http://h", "x")
	f(exitUsage, "nothing to send", "--to", "udp://h")
	f(exitUsage, "exclude each other", "--to", "udp://h", "--file", "f", "x")
	f(exitUsage, "--size 10 is less than the header", "--to", "tcp://"+closed, "--count", "1", "--size", "10")
	f(exitUsage, "--connections is 1 to", "--to", "tcp://"+closed, "--connections", "0", "x")
	f(exitFailed, "connection refused", "--to", "tcp://"+closed, "x")
	f(exitFailed, "no such file", "--to", "unix:///nonexistent/socket", "x")
	f(exitFailed, "no such file", "--to", "tcp://"+closed, "--file", "/nonexistent")
	f(exitFailed, "no such file", "--to", "tls://"+closed, "--ca", "/nonexistent", "x")
}

// BenchmarkSend is one message of 300 bytes over one TCP connection to a
// receiver that throws away what it reads.
//
// go test ./cmd/runnel -run '^$' -bench BenchmarkSend -benchtime 3000000x
func BenchmarkSend(b *testing.B) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	defer l.Close()
	var wg sync.WaitGroup
	wg.Go(func() {
		conn, err := l.Accept()
		if err != nil {
			return
		}
		defer conn.Close()
		buf := make([]byte, 1<<20)
		for err == nil {
			_, err = conn.Read(buf)
		}
		if !errors.Is(err, io.EOF) {
			b.Error(err)
		}
	})
	b.SetBytes(301)
	var stdout, stderr bytes.Buffer
	if code := run([]string{"send", "--to", "tcp://" + l.Addr().String(), "--count", fmt.Sprint(b.N)}, nil, &stdout, &stderr); code != exitGood {
		b.Fatal(stderr.String())
	}
	wg.Wait()
}
