package agent

import (
	"net"
	"net/netip"
	"strconv"
	"strings"

	"github.com/runnel-log/runnel/internal/config"
	"github.com/runnel-log/runnel/internal/listen"
)

// api checks the section of that name: nothing is shown beyond this host
// without encryption, and nothing at all without a token beyond loopback.
func (l *loader) api(s APIConfig, at *config.At) {
	l.config.API, l.config.at = s, at
	if s.TLS != nil {
		s.TLS.Check(at.Key("tls"))
	}
	if s.Open && !s.Token.IsZero() {
		at.Key("open").Problemf("true waives the token; remove one of the two")
	}
	local := false
	where := at.Key("listen")
	if strings.HasPrefix(s.Listen, "unix:") {
		local = true
		if _, err := listen.Parse(s.Listen); err != nil {
			where.Problemf("%v", err)
			return
		}
	} else {
		host, port, err := net.SplitHostPort(s.Listen)
		if n, convErr := strconv.Atoi(port); err != nil || convErr != nil || n < 0 || n > 65535 {
			where.Problemf("%q is no place to listen; write HOST:PORT, such as %s, or unix:///PATH", s.Listen, defaultAPI)
			return
		}
		local = isLoopback(host)
	}
	switch {
	case !local && s.TLS == nil:
		where.Problemf("%q can be reached from other hosts, and is not encrypted; write tls: {cert: FILE, key: FILE}, or listen on 127.0.0.1", s.Listen)
	case !local && s.Open:
		at.Key("open").Problemf("true lets every host that reaches %q read and change everything; remove it", s.Listen)
	}
	l.take(where, "tcp", s.Listen)
}

func isLoopback(host string) bool {
	if host == "localhost" {
		return true
	}
	ip, err := netip.ParseAddr(host)
	return err == nil && ip.Unmap().IsLoopback()
}

// take reports an address that something else in the file listens on already.
func (l *loader) take(at *config.At, network, address string) {
	key := network + " " + address
	if before, twice := l.taken[key]; twice {
		at.Problemf("%s is taken already by %s; take another port or path", address, before)
		return
	}
	if !strings.HasSuffix(address, ":0") {
		l.taken[key] = at.Path()
	}
}

// takeURL is take of an address written as a URL; one that cannot be read has
// been reported by whoever listens there.
func (l *loader) takeURL(at *config.At, url string) {
	if network, address, ok := addressOf(url); ok {
		l.take(at, network, address)
	}
}

// addressOf returns what a URL is to the kernel; ok is false if it is no URL of
// a socket.
func addressOf(url string) (network, address string, ok bool) {
	a, err := listen.Parse(url)
	if err != nil {
		return "", "", false
	}
	switch a.Scheme {
	case "unix", "unixgram":
		return "unix", a.Path, true
	case "udp":
		network = "udp"
	default:
		network = "tcp"
	}
	return network, net.JoinHostPort(a.Host, strconv.Itoa(a.Port)), true
}

// loop reports a forwarder's destination that is an address of this agent's
// own: each record would come back and go out again.
func (l *loader) loop(at *config.At, url string) {
	network, address, ok := addressOf(url)
	if !ok {
		return
	}
	candidates := []string{address}
	if host, port, err := net.SplitHostPort(address); err == nil && isLoopback(host) {
		candidates = append(candidates, ":"+port, "0.0.0.0:"+port, "[::]:"+port)
	}
	for _, c := range candidates {
		if owner, own := l.taken[network+" "+c]; own {
			at.Problemf("%s is where %s listens: every record would come back and be sent again; send it elsewhere", url, owner)
			return
		}
	}
}
