package http

import (
	"crypto/sha256"
	"crypto/subtle"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/runnel-log/runnel/internal/listen"
)

// A peer may show a wrong token maxFailures times in failureWindow; its
// further tries get 429.
const (
	maxFailures   = 10
	failureWindow = time.Minute
	maxPeers      = 4096 // peers remembered; beyond it their failures are forgotten
)

// gate decides by its token who may write.
type gate struct {
	token [sha256.Size]byte
	set   bool // there is one; else everybody is let in
	now   func() time.Time

	mu       sync.Mutex // guards failures
	failures map[netip.Prefix]failure
}

// failure is what one peer did wrong since a time.
type failure struct {
	since time.Time
	count int
}

func newGate(token string) *gate {
	return &gate{token: sha256.Sum256([]byte(token)), set: token != "", now: time.Now, failures: make(map[netip.Prefix]failure)}
}

// enter returns 0, or the status that a request without entry gets. From this
// host the right token is always let in, or any user could lock the others out;
// from elsewhere a peer that guesses is not listened to for the rest of the minute.
func (g *gate) enter(authorization string, who *listen.Peer) (code int) {
	if !g.set {
		return 0
	}
	scheme, token, _ := strings.Cut(authorization, " ")
	token = strings.TrimSpace(token)
	if !strings.EqualFold(scheme, "Bearer") || token == "" {
		return http.StatusUnauthorized
	}
	// Digests are compared, so that neither the token's bytes nor its length show in the time taken.
	shown := sha256.Sum256([]byte(token))
	peer := prefixOf(who)
	if subtle.ConstantTimeCompare(shown[:], g.token[:]) == 1 {
		if !who.Local() && g.blocked(peer) {
			return http.StatusTooManyRequests
		}
		return 0
	}
	if g.failed(peer) > maxFailures {
		return http.StatusTooManyRequests
	}
	return http.StatusUnauthorized
}

// prefixOf returns what one peer is told apart by: its IPv4 address, or the /64
// of its IPv6 one, as a single host has a whole /64 to itself.
func prefixOf(who *listen.Peer) netip.Prefix {
	if !who.Addr().IsValid() {
		return netip.Prefix{}
	}
	bits := who.Addr().BitLen()
	if who.Addr().Is6() {
		bits = 64
	}
	p, _ := who.Addr().Prefix(bits) // within the address's length
	return p
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
		clear(g.failures)
	}
	g.failures[peer] = f
	return f.count
}

// misdirected reports whether a request that came over loopback names another
// host. A page on the web can make a browser resolve its own name to 127.0.0.1
// (DNS rebinding), but cannot make it send another Host.
func misdirected(c *conn, host string) bool {
	local, ok := c.LocalAddr().(*net.TCPAddr)
	if !ok || !local.IP.IsLoopback() {
		return false
	}
	name := host
	if h, _, err := net.SplitHostPort(host); err == nil {
		name = h
	}
	name = strings.TrimSuffix(strings.TrimPrefix(name, "["), "]")
	if strings.EqualFold(name, "localhost") {
		return false
	}
	ip, err := netip.ParseAddr(name)
	return err != nil || !ip.Unmap().IsLoopback()
}

// foreign reports whether a browser sent the request on behalf of another
// site's page, which may send a POST of text anywhere without asking.
func foreign(r *http.Request) bool {
	switch r.Header.Get("Sec-Fetch-Site") {
	case "", "none", "same-origin":
	default:
		return true
	}
	origin := r.Header.Get("Origin")
	if origin == "" {
		return false
	}
	u, err := url.Parse(origin)
	return err != nil || !strings.EqualFold(u.Host, r.Host)
}

// credential names who sends, for the keys of requests: one client's keys are
// not another's.
func (in *Input) credential(c *conn) string {
	switch {
	case c.tls != nil && len(c.tls.ConnectionState().VerifiedChains) > 0:
		leaf := c.tls.ConnectionState().PeerCertificates[0]
		return "certificate " + leaf.Issuer.String() + "\x00" + leaf.Subject.String() + "\x00" + strings.Join(leaf.DNSNames, ",")
	case in.gate.set:
		return "token"
	}
	return ""
}
