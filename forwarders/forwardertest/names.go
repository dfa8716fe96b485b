package forwardertest

import (
	"context"
	"net"
	"net/netip"
	"strings"
	"sync"
	"testing"

	"golang.org/x/net/dns/dnsmessage"
)

// Names is a name server on loopback that says what a test wants. Nothing of the
// machine's own configuration has a say.
type Names struct {
	address string

	mu sync.Mutex
	// guarded by mu:
	addresses map[string][]netip.Addr
	asked     int
}

// ListenNames starts one; it ends with the test.
func ListenNames(t testing.TB) *Names {
	t.Helper()
	c, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	n := &Names{address: c.LocalAddr().String(), addresses: make(map[string][]netip.Addr)}
	var serving sync.WaitGroup
	serving.Go(func() {
		buf := make([]byte, 1500)
		for {
			size, from, err := c.ReadFrom(buf)
			if err != nil {
				return
			}
			if answer, err := n.answer(buf[:size]); err == nil {
				_, _ = c.WriteTo(answer, from) // who asks asks again
			}
		}
	})
	t.Cleanup(func() { c.Close(); serving.Wait() })
	return n
}

// Resolver asks n alone.
func (n *Names) Resolver() *net.Resolver {
	return &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "udp", n.address)
	}}
}

// Set makes a name stand for IPv4 addresses; without any it does not exist.
func (n *Names) Set(name string, addresses ...string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	all := make([]netip.Addr, len(addresses))
	for i, a := range addresses {
		all[i] = netip.MustParseAddr(a)
	}
	n.addresses[name] = all
}

// Asked returns how many questions there have been.
func (n *Names) Asked() int {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.asked
}

// answer answers one question: the addresses in the order given, to be kept for no time.
func (n *Names) answer(request []byte) ([]byte, error) {
	var p dnsmessage.Parser
	head, err := p.Start(request)
	if err != nil {
		return nil, err
	}
	q, err := p.Question()
	if err != nil {
		return nil, err
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	n.asked++
	m := dnsmessage.Message{Header: dnsmessage.Header{ID: head.ID, Response: true, RecursionAvailable: true, RecursionDesired: head.RecursionDesired}, Questions: []dnsmessage.Question{q}}
	addresses := n.addresses[strings.TrimSuffix(q.Name.String(), ".")]
	if len(addresses) == 0 {
		m.RCode = dnsmessage.RCodeNameError
	}
	for _, a := range addresses {
		if q.Type == dnsmessage.TypeA {
			m.Answers = append(m.Answers, dnsmessage.Resource{Header: dnsmessage.ResourceHeader{Name: q.Name, Class: q.Class}, Body: &dnsmessage.AResource{A: a.As4()}})
		}
	}
	return m.Pack()
}
