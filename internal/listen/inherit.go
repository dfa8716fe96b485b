package listen

import (
	"net"
	"net/netip"
	"os"
	"strings"
)

// inherit takes over the sockets that systemd passed (sd_listen_fds(3)): those of
// socket units, and what a process before this one had it keep. What is neither is left alone.
func (s *Sockets) inherit(files []*os.File) {
	pieces := make(map[string][]*os.File) // of a connection: itself, and what is known of it
	for _, f := range files {
		name := f.Name()
		switch {
		case strings.HasPrefix(name, connName):
			pieces[name] = append(pieces[name], f)
			continue
		case strings.HasPrefix(name, listenName):
			s.inheritKept(f)
		default:
			if k := adopt(f); k != nil {
				k.inherited = true
				s.inherited = append(s.inherited, k)
			}
		}
		_ = f.Close() // the socket has its own duplicate
	}
	for name, files := range pieces {
		s.manager.Has(name, len(files))
		if p := joined(name, files); p != nil {
			s.passed = append(s.passed, p)
		} else {
			_ = s.manager.Forget(name) // it takes room; who cannot be told keeps it
		}
	}
}

// inheritKept takes over a socket of the process before this one.
func (s *Sockets) inheritKept(f *os.File) {
	s.manager.Has(f.Name(), 1)
	k := adopt(f)
	if k == nil {
		_ = s.manager.Forget(f.Name()) // as above
		return
	}
	k.name = f.Name()
	if _, ok := k.addr.(*net.UnixAddr); ok {
		// Without its file nobody can reach it: a runtime directory that was not preserved.
		info, err := os.Lstat(k.addr.String())
		if err != nil || info.Mode()&os.ModeSocket == 0 {
			s.forget(k)
			_ = k.close() // nothing can be in its queue that matters to anybody
			return
		}
		k.inode = info
	}
	s.inherited = append(s.inherited, k)
}

// adopt makes a socket of a descriptor; nil if it is none that we can serve.
func adopt(f *os.File) *socket {
	// package net takes a unix datagram socket for a listener, so ask first for datagrams.
	if c, err := net.FilePacketConn(f); err == nil && c.LocalAddr().Network() != "unix" {
		tune(c)
		k, err := packetSocket(c)
		if err == nil {
			k.dropped = dropsOf(f)
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
