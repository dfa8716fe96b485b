package query

import (
	"crypto/sha256"
	"crypto/subtle"
	"errors"
	"net"
	"net/netip"
	"net/url"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/valyala/fasthttp"
)

// A peer may show a wrong token maxFailures times in failureWindow; its
// further tries get 429.
const (
	maxFailures   = 10
	failureWindow = time.Minute
	maxPeers      = 4096 // peers remembered; beyond it the oldest failures are forgotten
)

// gate decides who is let in.
type gate struct {
	token [sha256.Size]byte
	set   bool // there is a token; without one nothing matches
	open  bool
	hosts []string
	now   func() time.Time

	// mu guards failures: wrong tokens by peer.
	mu       sync.Mutex
	failures map[netip.Prefix]failure
}

// failure is what one peer did wrong since a time.
type failure struct {
	since time.Time
	count int
}

func newGate(token string, open bool, hosts []string, now func() time.Time) *gate {
	return &gate{token: sha256.Sum256([]byte(token)), set: token != "", open: open, hosts: hosts, now: now,
		failures: make(map[netip.Prefix]failure)}
}

// knows reports whether an Authorization header carries the token. The hashes
// are compared, so that neither its bytes nor its length show in the time taken.
func (g *gate) knows(header []byte) bool {
	if g.open {
		return true
	}
	shown := sha256.Sum256(bearer(header))
	return subtle.ConstantTimeCompare(shown[:], g.token[:]) == 1 && g.set
}

// enter returns 0, or the status that a request without entry gets. On
// loopback and unix sockets the right token is always let in, or any user of
// this host could lock the others out; from elsewhere a peer that guesses is not
// listened to at all for the rest of the minute.
func (g *gate) enter(header []byte, from net.Addr) (code int) {
	peer, remote := prefixOf(from)
	known := g.knows(header)
	if known && (!remote || !g.blocked(peer)) {
		return 0
	}
	if len(bearer(header)) == 0 {
		return fasthttp.StatusUnauthorized
	}
	if g.failed(peer) > maxFailures {
		return fasthttp.StatusTooManyRequests
	}
	return fasthttp.StatusUnauthorized
}

// blocked reports whether peer has used up its failures.
func (g *gate) blocked(peer netip.Prefix) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	f := g.failures[peer]
	return f.count >= maxFailures && g.now().Sub(f.since) < failureWindow
}

// failed counts one more failure of peer and returns how many there are.
func (g *gate) failed(peer netip.Prefix) int {
	g.mu.Lock()
	defer g.mu.Unlock()
	now := g.now()
	f := g.failures[peer]
	if now.Sub(f.since) >= failureWindow {
		f = failure{since: now}
	}
	f.count++
	if len(g.failures) >= maxPeers {
		g.forget(now)
	}
	g.failures[peer] = f
	return f.count
}

// forget makes room in failures: what is over goes first, then everything.
func (g *gate) forget(now time.Time) {
	for peer, f := range g.failures {
		if now.Sub(f.since) >= failureWindow {
			delete(g.failures, peer)
		}
	}
	if len(g.failures) >= maxPeers {
		clear(g.failures)
	}
}

// prefixOf returns what one peer is told apart by: its IPv4 address, or the /64
// of its IPv6 one, as a single host has a whole /64 to itself; and whether it is
// another machine.
func prefixOf(addr net.Addr) (netip.Prefix, bool) {
	tcp, ok := addr.(*net.TCPAddr)
	if !ok {
		return netip.Prefix{}, false
	}
	ip, _ := netip.AddrFromSlice(tcp.IP)
	ip = ip.Unmap()
	bits := ip.BitLen()
	if ip.Is6() {
		bits = 64
	}
	p, _ := ip.Prefix(bits)
	return p, !ip.IsLoopback()
}

// trusts reports whether a Host header may be meant for this server when it
// listens on loopback. A page on the web can make a browser resolve its own name
// to 127.0.0.1 (DNS rebinding), but cannot make it send another Host.
func (g *gate) trusts(host string) bool {
	name := host
	if h, _, err := net.SplitHostPort(host); err == nil {
		name = h
	}
	name = strings.TrimSuffix(strings.TrimPrefix(name, "["), "]")
	if strings.EqualFold(name, "localhost") {
		return true
	}
	if ip, err := netip.ParseAddr(name); err == nil {
		return ip.Unmap().IsLoopback()
	}
	for _, h := range g.hosts {
		if strings.EqualFold(h, name) {
			return true
		}
	}
	return false
}

// foreign reports whether a browser sent the request on behalf of another
// site's page. It matters most where the API is open: a page may send a POST
// anywhere without being allowed to read the answer.
func foreign(c *fasthttp.RequestCtx) bool {
	switch string(c.Request.Header.Peek("Sec-Fetch-Site")) {
	case "", "none", "same-origin":
	default:
		return true
	}
	origin := c.Request.Header.Peek(fasthttp.HeaderOrigin)
	if len(origin) == 0 {
		return false
	}
	u, err := url.Parse(string(origin))
	return err != nil || !strings.EqualFold(u.Host, string(c.Host()))
}

// isTransient reports whether accepting may work again in a moment.
func isTransient(err error) bool {
	for _, e := range []error{syscall.EMFILE, syscall.ENFILE, syscall.ENOBUFS, syscall.ENOMEM, syscall.ECONNABORTED, syscall.EINTR} {
		if errors.Is(err, e) {
			return true
		}
	}
	return false
}
