package relp

import (
	"crypto/tls"
	"errors"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/runnel-log/runnel/forwarders/forwardertest"
	"github.com/runnel-log/runnel/internal/relp"
)

// server is a small honest receiver that can misbehave on command.
type server struct {
	address  string
	reached  chan struct{}
	listener net.Listener
	tls      *tls.Config
	serving  sync.WaitGroup

	mu   sync.Mutex
	thaw *sync.Cond // on mu
	// guarded by mu:
	frozen  bool
	conns   map[net.Conn]bool
	texts   []string
	opens   int
	closes  int    // sessions that were closed properly
	refused string // messages with it are answered 500
	busy    int    // sessions to turn away
	// answer, if it is not nil, writes the answer to a message in place of 200.
	answer func(c net.Conn, txnr uint32, text string) error
}

func startServer(t testing.TB, network, address string, secure *tls.Config) *server {
	t.Helper()
	l, err := net.Listen(network, address)
	if err != nil {
		t.Fatal(err)
	}
	s := &server{address: l.Addr().String(), reached: make(chan struct{}, 1<<16), listener: l, tls: secure, conns: make(map[net.Conn]bool)}
	s.thaw = sync.NewCond(&s.mu)
	s.serving.Go(s.accept)
	t.Cleanup(func() {
		l.Close()
		s.freeze(false)
		s.reset()
		s.serving.Wait()
	})
	return s
}

func (s *server) accept() {
	for {
		c, err := s.listener.Accept()
		if err != nil {
			return
		}
		s.mu.Lock()
		s.conns[c] = true
		s.mu.Unlock()
		s.serving.Go(func() {
			s.serve(c)
			c.Close()
			s.mu.Lock()
			defer s.mu.Unlock()
			delete(s.conns, c)
		})
	}
}

func (s *server) serve(raw net.Conn) {
	c := raw
	if s.tls != nil {
		c = tls.Server(raw, s.tls)
	}
	r := relp.NewReader(c)
	r.Allow(1<<20, 1<<20)
	for next := uint32(1); ; next = relp.Next(next) {
		f, err := r.Next()
		if err != nil || f.Txnr != next {
			return
		}
		if err := s.take(c, f); err != nil {
			return
		}
	}
}

var errDone = errors.New("session is over")

func (s *server) take(c net.Conn, f relp.Frame) error {
	switch string(f.Command) {
	case relp.Open:
		return s.open(c, f)
	case relp.Close:
		s.mu.Lock()
		s.closes++
		s.mu.Unlock()
		c.Write(relp.AppendFrame(nil, f.Txnr, relp.Rsp, nil)) // as librelp does
		return errDone
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.frozen {
		select {
		case s.reached <- struct{}{}:
		default:
		}
	}
	for s.frozen {
		s.thaw.Wait()
	}
	text := string(f.Data)
	if s.refused != "" && strings.Contains(text, s.refused) {
		_, err := c.Write(relp.AppendError(nil, f.Txnr, "not this one"))
		return err
	}
	s.texts = append(s.texts, text)
	if s.answer != nil {
		return s.answer(c, f.Txnr, text)
	}
	_, err := c.Write(relp.AppendOK(nil, f.Txnr))
	return err
}

func (s *server) open(c net.Conn, f relp.Frame) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.busy > 0 {
		s.busy--
		c.Write(relp.AppendError(nil, f.Txnr, "later"))
		return errDone
	}
	s.opens++
	o := relp.Offers{Version: 0, Software: []string{"test"}, Commands: []string{relp.Syslog}}
	_, err := c.Write(relp.AppendOpened(nil, f.Txnr, &o))
	return err
}

func (s *server) freeze(frozen bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.frozen = frozen
	s.thaw.Broadcast()
}

func (s *server) received() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.texts)
}

// set changes the server's ways.
func (s *server) set(change func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	change()
}

func (s *server) reset() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for c := range s.conns {
		if tcp, ok := c.(*net.TCPConn); ok {
			tcp.SetLinger(0)
		}
		c.Close()
	}
}

// receiver wraps a server for the suite.
func (s *server) receiver(t *testing.T, o *Options) *forwardertest.Receiver {
	return &forwardertest.Receiver{Options: o, Texts: s.received, Freeze: s.freeze, Reached: s.reached,
		Break: func() {
			s.reset()
			forwardertest.Eventually(t, "connections are gone", func() bool {
				s.mu.Lock()
				defer s.mu.Unlock()
				return len(s.conns) == 0
			})
		},
		Refuse: func(text string) { s.set(func() { s.refused = text }) },
		Busy:   func(n int) { s.set(func() { s.busy = n }) }}
}
