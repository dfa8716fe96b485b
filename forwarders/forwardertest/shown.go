package forwardertest

import (
	"crypto/tls"
	"sync"
	"testing"
	"time"

	"github.com/runnel-log/runnel/internal/tlsconf/tlstest"
)

// Shown is the certificate that a receiver shows, which a test can change under it.
type Shown struct {
	CA *tlstest.Authority // that the forwarder trusts

	mu         sync.Mutex
	pair       *tls.Certificate // guarded by mu
	handshakes int              // guarded by mu
}

// NewShown makes an authority and shows a good certificate of it.
func NewShown(t testing.TB) *Shown {
	t.Helper()
	s := &Shown{CA: tlstest.NewAuthority(t, "test")}
	s.show(t, s.CA, time.Now().Add(time.Hour))
	return s
}

// show has another certificate be shown from the next handshake on.
func (s *Shown) show(t testing.TB, by *tlstest.Authority, until time.Time) {
	t.Helper()
	pair, err := tls.LoadX509KeyPair(by.Issue(t, "server", until))
	if err != nil {
		t.Fatal(err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.pair = &pair
}

// Config is for the receiver. No session is resumed: each connection shows the certificate.
func (s *Shown) Config() *tls.Config {
	return &tls.Config{GetConfigForClient: func(*tls.ClientHelloInfo) (*tls.Config, error) {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.handshakes++
		return &tls.Config{Certificates: []tls.Certificate{*s.pair}, SessionTicketsDisabled: true}, nil
	}}
}

// shaken returns how many handshakes have been begun.
func (s *Shown) shaken() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.handshakes
}
