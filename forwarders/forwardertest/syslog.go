package forwardertest

import (
	"bufio"
	"crypto/tls"
	"io"
	"net"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
)

// SyslogServer takes messages over TCP, TLS or a unix stream.
type SyslogServer struct {
	Address string // host:port, or the socket's path
	Reached chan struct{}

	listener net.Listener
	octets   bool
	tls      *tls.Config
	serving  sync.WaitGroup

	mu   sync.Mutex
	thaw *sync.Cond // on mu
	// guarded by mu:
	frozen bool
	conns  map[net.Conn]bool
	texts  []string
}

// ListenSyslog starts a server on a free port of loopback, or at a unix
// socket; it ends with the test.
func ListenSyslog(t testing.TB, network, address string, octets bool, secure *tls.Config) *SyslogServer {
	t.Helper()
	l, err := net.Listen(network, address)
	if err != nil {
		t.Fatal(err)
	}
	s := &SyslogServer{Address: l.Addr().String(), Reached: make(chan struct{}, 1<<16), listener: l, octets: octets,
		tls: secure, conns: make(map[net.Conn]bool)}
	s.thaw = sync.NewCond(&s.mu)
	s.serving.Go(s.accept)
	t.Cleanup(func() {
		l.Close()
		s.Freeze(false)
		s.reset()
		s.serving.Wait()
	})
	return s
}

func (s *SyslogServer) accept() {
	for {
		c, err := s.listener.Accept()
		if err != nil {
			return
		}
		s.mu.Lock()
		s.conns[c] = true
		s.mu.Unlock()
		s.Reached <- struct{}{}
		s.serving.Go(func() {
			s.serve(c)
			s.mu.Lock()
			delete(s.conns, c)
			s.mu.Unlock()
			c.Close()
		})
	}
}

func (s *SyslogServer) serve(c net.Conn) {
	if s.tls != nil {
		c = tls.Server(c, s.tls)
	}
	r := bufio.NewReaderSize(&gated{c, s}, 64<<10)
	for {
		text, err := s.next(r)
		if err != nil {
			return
		}
		s.mu.Lock()
		s.texts = append(s.texts, text)
		s.mu.Unlock()
	}
}

// next reads one message.
func (s *SyslogServer) next(r *bufio.Reader) (string, error) {
	if !s.octets {
		line, err := r.ReadString('\n')
		return strings.TrimSuffix(line, "\n"), err
	}
	digits, err := r.ReadString(' ')
	if err != nil {
		return "", err
	}
	n, err := strconv.Atoi(strings.TrimSuffix(digits, " "))
	if err != nil {
		return "", err
	}
	p := make([]byte, n)
	_, err = io.ReadFull(r, p)
	return string(p), err
}

// gated is a connection that is not read while the server is frozen.
type gated struct {
	net.Conn
	s *SyslogServer
}

func (g *gated) Read(p []byte) (int, error) {
	g.s.mu.Lock()
	for g.s.frozen {
		g.s.thaw.Wait()
	}
	g.s.mu.Unlock()
	return g.Conn.Read(p)
}

// Freeze stops or resumes reading.
func (s *SyslogServer) Freeze(frozen bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.frozen = frozen
	s.thaw.Broadcast()
}

// Texts returns the messages so far.
func (s *SyslogServer) Texts() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.texts)
}

// Break resets every connection and returns when the server has let go of them.
func (s *SyslogServer) Break(t testing.TB) {
	s.reset()
	Eventually(t, "connections are gone", func() bool {
		s.mu.Lock()
		defer s.mu.Unlock()
		return len(s.conns) == 0
	})
}

func (s *SyslogServer) reset() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for c := range s.conns {
		if tcp, ok := c.(*net.TCPConn); ok {
			tcp.SetLinger(0)
		}
		c.Close()
	}
}
