// Package listen holds every listening socket of the process. A socket is
// opened, or taken from systemd, when an input first asks for its address, and
// stays open when that input lets go of it, so that a reload loses no
// connection and no datagram. It hides socket options, socket files that a dead
// process left behind, and who else has an address. It knows nothing of what is
// spoken on a socket. A socket that somebody still reads is never closed by Sweep.
package listen

import (
	"errors"
	"fmt"
	"net"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

// Sockets are the listening sockets of the process, by address. It is safe for
// concurrent use.
type Sockets struct {
	mu        sync.Mutex // guards all below
	open      map[string]*socket
	inherited []*socket // from systemd, and not asked for yet
}

// socket is one listening socket and how many have it.
type socket struct {
	stream    interface{ File() (*os.File, error) } // *net.TCPListener or *net.UnixListener; nil for datagrams
	packet    interface{ File() (*os.File, error) } // *net.UDPConn or *net.UnixConn
	closer    interface{ Close() error }
	addr      net.Addr
	inode     os.FileInfo // of the socket file that we made; nil otherwise
	inherited bool
	taken     int
	drops     atomic.Uint32 // the kernel's count, as last told
}

// NewSockets returns a registry that holds the sockets systemd passed, if any,
// and takes them out of the environment, so that no child process inherits the claim.
func NewSockets() *Sockets {
	return &Sockets{open: map[string]*socket{}, inherited: inherit()}
}

// Stream returns a listener at a tcp, tls or unix URL. Its Close gives the
// socket back and leaves it open; closing it wakes only its own Accept, and so
// does its SetDeadline(time.Time) error. TCP
// connections have keepalive on (a probe after 15 s, dead after 9 of them).
// Two callers that name the same URL share the socket.
func (s *Sockets) Stream(url string) (net.Listener, error) {
	a, err := Parse(url)
	if err != nil {
		return nil, err
	}
	if a.IsPacket() {
		return nil, fmt.Errorf("%q takes datagrams, not connections", url)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	k, err := s.take(a)
	if err != nil {
		return nil, err
	}
	f, err := k.stream.File()
	if err != nil {
		return nil, fmt.Errorf("duplicate %s: %w", a.Key(), err)
	}
	defer f.Close()
	l, err := net.FileListener(f)
	if err != nil {
		return nil, fmt.Errorf("duplicate %s: %w", a.Key(), err)
	}
	k.taken++
	return &listener{Listener: l, give: s.giver(k)}, nil
}

// Packet returns the socket at a udp or unixgram URL; Close is as Stream's. A
// UDP socket has been asked for a receive buffer of ReceiveBuffer bytes (see
// Granted), and counts what the kernel drops (SO_RXQ_OVFL).
// The result embeds a *net.UDPConn or a *net.UnixConn.
func (s *Sockets) Packet(url string) (net.PacketConn, error) {
	a, err := Parse(url)
	if err != nil {
		return nil, err
	}
	if !a.IsPacket() {
		return nil, fmt.Errorf("%q takes connections, not datagrams", url)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	k, err := s.take(a)
	if err != nil {
		return nil, err
	}
	f, err := k.packet.File()
	if err != nil {
		return nil, fmt.Errorf("duplicate %s: %w", a.Key(), err)
	}
	defer f.Close()
	c, err := net.FilePacketConn(f)
	if err != nil {
		return nil, fmt.Errorf("duplicate %s: %w", a.Key(), err)
	}
	k.taken++
	if udp, ok := c.(*net.UDPConn); ok {
		return &UDPConn{UDPConn: udp, give: s.giver(k), drops: &k.drops}, nil
	}
	return &UnixConn{UnixConn: c.(*net.UnixConn), give: s.giver(k)}, nil
}

// take finds or opens the socket at a; s.mu is held. Opening under the lock is
// what keeps two callers from opening the same address.
func (s *Sockets) take(a Address) (*socket, error) {
	k := s.open[a.Key()]
	if k == nil {
		if k = s.claim(a); k == nil {
			var err error
			if k, err = open(a); err != nil {
				return nil, err
			}
		}
		s.open[a.Key()] = k
	}
	if a.IsUnix() && !k.inherited {
		mode := a.Mode
		if mode == 0 {
			mode = DefaultMode
		}
		if err := os.Chmod(a.Path, mode); err != nil {
			return nil, fmt.Errorf("set mode of %s: %w", a.Path, err)
		}
	}
	return k, nil
}

// claim finds a among the inherited sockets; s.mu is held.
func (s *Sockets) claim(a Address) *socket {
	for i, k := range s.inherited {
		if matches(a, k) {
			s.inherited = slices.Delete(s.inherited, i, i+1)
			return k
		}
	}
	return nil
}

// giver returns what the handle's Close calls, once.
func (s *Sockets) giver(k *socket) func() {
	return sync.OnceFunc(func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		k.taken--
	})
}

// Sweep closes the sockets that nobody has: after a reload, those of addresses
// that are no longer in the config. Sockets that came from systemd stay, as
// systemd would not pass them again.
func (s *Sockets) Sweep() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for key, k := range s.open {
		if k.taken > 0 {
			continue
		}
		delete(s.open, key)
		if k.inherited {
			s.inherited = append(s.inherited, k)
			continue
		}
		_ = k.close() // nobody could act on it: the descriptor is gone either way
	}
}

// Refuse begins the end of the process: the kernel refuses whoever connects to,
// or writes to, a unix socket that this process made, and what is queued there
// already can still be taken. Without it, a sender that connects between
// the last Accept and Close writes to a queue that dies with the socket. Sockets
// from systemd stay as they are, as the next process serves their queue. There is no such means for TCP.
func (s *Sockets) Refuse() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, k := range s.open {
		if k.inode == nil {
			continue
		}
		if raw, err := k.closer.(syscall.Conn).SyscallConn(); err == nil {
			_ = raw.Control(func(fd uintptr) { _ = syscall.Shutdown(int(fd), syscall.SHUT_RD) }) // some systems cannot: as before
		}
	}
}

// Close closes every socket and removes the socket files that this process
// made. Handles that are still open keep working until they are closed.
func (s *Sockets) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	var errs []error
	for key, k := range s.open {
		errs = append(errs, k.close())
		delete(s.open, key)
	}
	for _, k := range s.inherited {
		errs = append(errs, k.close())
	}
	s.inherited = nil
	return errors.Join(errs...)
}

// close closes the socket and removes its file, unless another process has put
// its own there meanwhile.
func (k *socket) close() error {
	if k.inode != nil {
		if now, err := os.Lstat(k.addr.String()); err == nil && os.SameFile(now, k.inode) {
			_ = os.Remove(k.addr.String()) // a file left behind is stale, and found to be so at the next start
		}
	}
	return k.closer.Close()
}

// listener is one holder's duplicate of a listening socket.
type listener struct {
	net.Listener
	give func()
}

func (l *listener) Close() error {
	l.give()
	return l.Listener.Close()
}

// SetDeadline bounds this holder's Accept alone.
func (l *listener) SetDeadline(t time.Time) error {
	return l.Listener.(interface{ SetDeadline(time.Time) error }).SetDeadline(t) // both kinds of stream have it
}

// UDPConn is one holder's duplicate of a UDP socket.
type UDPConn struct {
	*net.UDPConn
	give  func()
	drops *atomic.Uint32
}

// Dropped takes the socket's own count of datagrams dropped for want of buffer,
// as SO_RXQ_OVFL tells it with a datagram, and returns how many are new
// to every holder of the socket. The count wraps at 32 bits.
func (c *UDPConn) Dropped(total uint32) uint32 {
	for {
		last := c.drops.Load()
		if int32(total-last) <= 0 {
			return 0 // another holder was told of later ones
		}
		if c.drops.CompareAndSwap(last, total) {
			return total - last
		}
	}
}

// Close gives the socket back.
func (c *UDPConn) Close() error {
	c.give()
	return c.UDPConn.Close()
}

// UnixConn is one holder's duplicate of a unix datagram socket.
type UnixConn struct {
	*net.UnixConn
	give func()
}

// Close gives the socket back.
func (c *UnixConn) Close() error {
	c.give()
	return c.UnixConn.Close()
}
