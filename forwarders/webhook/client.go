package webhook

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"sync"
	"syscall"
	"time"
)

// Bounds of a connection.
const (
	connectTimeout    = 10 * time.Second
	idleTimeout       = 90 * time.Second
	maxResponseHeader = 16 << 10
)

// newClient returns an HTTP client that goes where the config says and nowhere else.
func newClient(o *Options, dialed *connections) (*http.Client, error) {
	tlsConfig, err := o.TLS.Config()
	if err != nil {
		return nil, err
	}
	transport := &http.Transport{
		Proxy:                  nil, // not the environment's: it may name anyone
		DialContext:            dialed.dial,
		TLSClientConfig:        tlsConfig,
		TLSHandshakeTimeout:    connectTimeout,
		ForceAttemptHTTP2:      true,
		DisableCompression:     true, // an answer is read for its first bytes only
		MaxIdleConnsPerHost:    1,
		IdleConnTimeout:        idleTimeout,
		ExpectContinueTimeout:  time.Second,
		MaxResponseHeaderBytes: maxResponseHeader,
	}
	return &http.Client{Transport: transport, CheckRedirect: func(*http.Request, []*http.Request) error {
		return http.ErrUseLastResponse
	}}, nil
}

// connections are those that the client has open. It closes idle ones itself,
// but takes one for busy until it has tidied up after the last answer; Close must not
// leave that one behind.
type connections struct {
	guard    guard
	resolver *net.Resolver

	mu     sync.Mutex
	open   map[net.Conn]bool // guarded by mu
	closed bool              // guarded by mu
}

func (s *connections) dial(ctx context.Context, network, address string) (net.Conn, error) {
	dialer := net.Dialer{Timeout: connectTimeout, KeepAlive: 30 * time.Second, Resolver: s.resolver, ControlContext: s.guard.control}
	raw, err := dialer.DialContext(ctx, network, address)
	if err != nil {
		return nil, err
	}
	c := &connection{Conn: raw, all: s}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		raw.Close()
		return nil, errClosed
	}
	s.open[c] = true
	return c, nil
}

// close closes all of them, and every one that is dialed from now on.
func (s *connections) close() {
	s.mu.Lock()
	open := s.open
	s.open, s.closed = nil, true
	s.mu.Unlock()
	for c := range open {
		c.Close()
	}
}

// connection leaves the set when it is closed.
type connection struct {
	net.Conn
	all *connections
}

func (c *connection) Close() error {
	c.all.mu.Lock()
	delete(c.all.open, c)
	c.all.mu.Unlock()
	return c.Conn.Close()
}

// guard decides which addresses may be connected to. It looks at the address
// itself, after the name was resolved, so that no spelling and no name server
// gets round it.
type guard struct{ allowPrivate bool }

func (g guard) control(_ context.Context, _, address string, _ syscall.RawConn) error {
	at, err := netip.ParseAddrPort(address)
	if err != nil {
		return fmt.Errorf("connect to %q: %w", address, err)
	}
	return g.check(at.Addr())
}

// check returns an error if ip must not be connected to.
func (g guard) check(ip netip.Addr) error {
	ip = embedded(ip.Unmap().WithZone(""))
	switch {
	case ip.IsLinkLocalUnicast(), slices.Contains(metadata, ip):
		return fmt.Errorf("%s is a link-local or cloud metadata address, which runnel never connects to", ip)
	case ip.IsMulticast(), ip == netip.AddrFrom4([4]byte{255, 255, 255, 255}):
		return fmt.Errorf("%s is no address of one host", ip)
	case g.allowPrivate:
		return nil
	case ip.IsLoopback(), ip.IsPrivate(), ip.IsUnspecified(), sharedNet.Contains(ip), thisNet.Contains(ip):
		return fmt.Errorf("%s is a private address, and allow_private is false", ip)
	}
	return nil
}

// metadata are the addresses at which clouds answer a machine with its own
// secrets, besides the link-local one.
var metadata = []netip.Addr{
	netip.MustParseAddr("100.100.100.200"), // Alibaba
	netip.MustParseAddr("168.63.129.16"),   // Azure
	netip.MustParseAddr("fd00:ec2::254"),   // AWS
	netip.MustParseAddr("fd20:ce::254"),    // Google
}

var (
	sharedNet = netip.MustParsePrefix("100.64.0.0/10") // RFC 6598
	thisNet   = netip.MustParsePrefix("0.0.0.0/8")     // RFC 1122 §3.2.1.3
	nat64     = netip.MustParsePrefix("64:ff9b::/96")  // RFC 6052 §2.1
	sixToFour = netip.MustParsePrefix("2002::/16")     // RFC 3056 §2
)

// embedded returns the IPv4 address that a translator would send ip on to, or ip.
func embedded(ip netip.Addr) netip.Addr {
	b := ip.As16()
	switch {
	case nat64.Contains(ip):
		return netip.AddrFrom4([4]byte(b[12:]))
	case sixToFour.Contains(ip):
		return netip.AddrFrom4([4]byte(b[2:6]))
	}
	return ip
}
