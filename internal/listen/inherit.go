package listen

import (
	"net"
	"net/netip"
	"os"

	"github.com/coreos/go-systemd/v22/activation"
)

// inherit takes over the sockets that systemd passed (sd_listen_fds(3)). What
// is no socket of ours is left alone.
func inherit() []*socket {
	var all []*socket
	for _, f := range activation.Files(true) {
		if k := adopt(f); k != nil {
			k.inherited = true
			all = append(all, k)
		}
		_ = f.Close() // the socket has its own duplicate
	}
	return all
}

// adopt makes a socket of a descriptor; nil if it is none that we can serve.
func adopt(f *os.File) *socket {
	// package net takes a unix datagram socket for a listener, so ask first for datagrams.
	if c, err := net.FilePacketConn(f); err == nil && c.LocalAddr().Network() != "unix" {
		tune(c)
		k, err := packetSocket(c)
		if err == nil {
			return k
		}
	} else if err == nil {
		_ = c.Close() // a stream socket; taken as such below
	}
	l, err := net.FileListener(f)
	if err != nil {
		return nil
	}
	k, err := streamSocket(l)
	if err != nil {
		return nil
	}
	return k
}

// matches reports whether the inherited socket k is what the config means by a.
func matches(a Address, k *socket) bool {
	switch addr := k.addr.(type) {
	case *net.TCPAddr:
		return !a.IsPacket() && !a.IsUnix() && sameHost(a, addr.AddrPort())
	case *net.UDPAddr:
		return a.Scheme == "udp" && sameHost(a, addr.AddrPort())
	case *net.UnixAddr:
		return a.Scheme == addr.Net && a.Path == addr.Name
	}
	return false
}

func sameHost(a Address, at netip.AddrPort) bool {
	if a.Port != int(at.Port()) {
		return false
	}
	ip := at.Addr().Unmap().WithZone("")
	switch a.Host {
	case "":
		return ip.IsUnspecified()
	case "localhost":
		return ip.IsLoopback()
	}
	host, err := netip.ParseAddr(a.Host)
	if err != nil {
		return false
	}
	host = host.Unmap().WithZone("")
	// systemd's ListenStream=514 binds [::] for both families.
	return host == ip || host.IsUnspecified() && ip.IsUnspecified()
}
