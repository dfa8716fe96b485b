package listen

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"syscall"
)

// The names under which the manager keeps things: a socket's ends in its key,
// a connection's in a number and the key of the socket that it came in at.
const (
	listenName = "runnel-listen."
	connName   = "runnel-conn."
	maxKeyName = 200 // of 255, which is systemd's; a longer key stands there as its hash
)

// nameOf is the name of the socket at a.
func nameOf(a Address) string { return listenName + keyName(a.Key()) }

// keyName writes a key as part of a name, which is printable ASCII without a colon.
func keyName(key string) string {
	var b strings.Builder
	for i := range len(key) {
		if c := key[i]; c > ' ' && c <= '~' && c != ':' && c != '%' {
			b.WriteByte(c)
		} else {
			fmt.Fprintf(&b, "%%%02X", c)
		}
	}
	if b.Len() > maxKeyName {
		sum := sha256.Sum256([]byte(key))
		return hex.EncodeToString(sum[:])
	}
	return b.String()
}

// keep has the manager keep k; s.mu is held. What it does not keep is as without one.
func (s *Sockets) keep(a Address, k *socket) {
	if !s.manager.Keeps() {
		return
	}
	if name := nameOf(a); s.manager.Keep(name, k.closer.(syscall.Conn)) == nil {
		k.name = name
	}
}

// forget has the manager close its duplicate of k.
func (s *Sockets) forget(k *socket) {
	if k.name != "" {
		_ = s.manager.Forget(k.name) // who cannot be told hands it over again, and it is found unasked for again
	}
}

// Keeping returns how many of the open sockets outlive this process, whatever ends it.
func (s *Sockets) Keeping() (kept, of int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, k := range s.open {
		if k.inherited || k.name != "" {
			kept++
		}
	}
	return kept, len(s.open)
}

// Settle is called once all that the config names is open. It closes what the
// process before this one had kept and nobody has asked for, and returns their
// addresses: the config has changed between the two.
func (s *Sockets) Settle() (closed []string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.settled = true
	var rest []*socket
	for _, k := range s.inherited {
		if k.name == "" {
			rest = append(rest, k)
			continue
		}
		closed = append(closed, k.addr.Network()+"://"+k.addr.String())
		s.forget(k)
		_ = k.close() // the descriptor is gone either way
	}
	s.inherited = rest
	for _, p := range s.passed {
		closed = append(closed, "a connection from "+p.Conn.RemoteAddr().String())
		_ = errors.Join(s.manager.Forget(p.name), p.Conn.Close()) // likewise
	}
	s.passed = nil
	return closed
}

// Unasked returns the addresses of socket units' sockets that nobody has asked
// for: they take senders in, and nobody reads them.
func (s *Sockets) Unasked() (urls []string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, k := range s.inherited {
		urls = append(urls, k.addr.Network()+"://"+k.addr.String())
	}
	return urls
}

// sameSocket reports whether k, which was kept under the name of a, is what is
// meant by a: the kind and, where a names one, the address.
func sameSocket(a Address, k *socket) bool {
	var at netip.AddrPort
	switch addr := k.addr.(type) {
	case *net.TCPAddr:
		at = addr.AddrPort()
		if a.IsPacket() || a.IsUnix() {
			return false
		}
	case *net.UDPAddr:
		at = addr.AddrPort()
		if a.Scheme != "udp" {
			return false
		}
	default:
		return matches(a, k)
	}
	if a.Port == 0 {
		a.Port = int(at.Port()) // whichever was free
	}
	if _, err := netip.ParseAddr(a.Host); err != nil && a.Host != "" && a.Host != "localhost" {
		return a.Port == int(at.Port()) // a name, which stood for that address when it was opened
	}
	return sameHost(a, at)
}

// inTheWay reports whether nothing can be bound to a while k is open.
func (k *socket) inTheWay(a Address) bool {
	switch addr := k.addr.(type) {
	case *net.TCPAddr:
		return !a.IsPacket() && !a.IsUnix() && overlaps(a, addr.AddrPort())
	case *net.UDPAddr:
		return a.Scheme == "udp" && overlaps(a, addr.AddrPort())
	}
	return a.IsUnix() && a.Path == k.addr.String()
}

// overlaps reports whether a may mean an address that at has.
func overlaps(a Address, at netip.AddrPort) bool {
	if a.Port != int(at.Port()) {
		return false
	}
	ip := at.Addr().Unmap()
	host, err := netip.ParseAddr(a.Host)
	return err != nil || host.IsUnspecified() || ip.IsUnspecified() || host.Unmap() == ip
}
