// Package listen holds every listening socket of the process. A socket is
// opened, or taken from systemd, when an input first asks for its address, and
// stays open when that input lets go of it, so that a reload loses no
// connection and no datagram. Where a service manager keeps descriptors it also
// outlives the process, and so do connections that are passed on. It hides socket
// options, socket files that a dead process left behind, who else has an address,
// and under which names the manager keeps what. It knows nothing of what is
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

	"github.com/coreos/go-systemd/v22/activation"

	"github.com/runnel-log/runnel/internal/systemd"
)

// Sockets are the listening sockets of the process, by address. It is safe for
// concurrent use.
type Sockets struct {
	manager *systemd.Manager // nil: nobody keeps anything

	mu        sync.Mutex // guards all below
	open      map[string]*socket
	inherited []*socket // from systemd, and not asked for yet
	passed    []*Passed // connections of the process before, and not asked for yet
	settled   bool      // Settle was called
	ending    bool      // Ending was called
	passing             // connections for the process that comes
}

// socket is one listening socket and how many have it.
type socket struct {
	stream    interface{ File() (*os.File, error) } // *net.TCPListener or *net.UnixListener; nil for datagrams
	packet    interface{ File() (*os.File, error) } // *net.UDPConn or *net.UnixConn
	closer    interface{ Close() error }
	addr      net.Addr
	inode     os.FileInfo // of the socket file that we made; nil otherwise
	inherited bool        // a socket unit has it
	name      string      // under which the manager keeps it; empty: it does not
	taken     int
	dropped   uint32        // the kernel's count when it was handed to us
	drops     atomic.Uint32 // the same, as last told
}

// NewSockets returns a registry that holds the sockets systemd passed, if any,
// and takes them out of the environment, so that no child process inherits the claim.
func NewSockets() *Sockets { return Kept(nil, Handed()) }

// Handed returns what systemd passed, each file under its name.
func Handed() []*os.File { return activation.Files(true) }

// Kept returns a registry that holds the sockets and connections among handed, which
// it closes, and has the manager keep what it opens, and hand that to the
// process that comes next, whatever ends this one.
func Kept(manager *systemd.Manager, handed []*os.File) *Sockets {
	s := &Sockets{manager: manager, open: map[string]*socket{}}
	s.inherit(handed)
	return s
}

// Stream returns a listener at a tcp, tls or unix URL. Its Close gives the
// socket back and leaves it open; closing it wakes only its own Accept, and so
// does its End(time.Duration). TCP
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
	return &listener{Listener: l, give: s.giver(k), served: func() bool { return s.served(k) }}, nil
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
		return &UDPConn{UDPConn: udp, give: s.giver(k), drops: &k.drops, before: k.dropped}, nil
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
			if k, err = s.make(a); err != nil {
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

// make opens a socket at a and has it kept; s.mu is held. A kept socket that no
// config asks for may be in the way, as where a host part has changed.
func (s *Sockets) make(a Address) (*socket, error) {
	for _, k := range slices.Clone(s.inherited) {
		if k.name != "" && k.inTheWay(a) {
			s.inherited = slices.DeleteFunc(s.inherited, func(other *socket) bool { return other == k })
			s.forget(k)
			_ = k.close()          // likewise
			_ = s.manager.Settle() // its duplicate is as much in the way; bind will tell
		}
	}
	k, err := open(a)
	if err == nil {
		s.keep(a, k)
	}
	return k, err
}

// claim finds a among the inherited sockets; s.mu is held.
func (s *Sockets) claim(a Address) *socket {
	for i, k := range s.inherited {
		if k.name == "" && matches(a, k) || k.name == nameOf(a) && sameSocket(a, k) {
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
// systemd would not pass them again; and before Settle those that were kept, as
// this start may have failed and the next one wants them.
func (s *Sockets) Sweep() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for key, k := range s.open {
		if k.taken > 0 {
			continue
		}
		delete(s.open, key)
		if k.inherited || k.name != "" && !s.settled {
			s.inherited = append(s.inherited, k)
			continue
		}
		s.forget(k)
		_ = k.close() // nobody could act on it: the descriptor is gone either way
	}
}

// served reports whether somebody takes what is queued at k, without a holder that
// has given it back: another one, or the next process.
func (s *Sockets) served(k *socket) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return k.taken > 0 || s.ending && (k.inherited || k.name != "")
}

// Ending begins the end of the process. From here on what is kept is the next
// process's, and connections can be passed on to it: before, a holder that ends was
// removed by a reload, and nobody comes after it. The kernel refuses whoever connects
// to, or writes to, a unix socket that this process made, and what is queued there
// already can still be taken. Without it, a sender that connects between
// the last Accept and Close writes to a queue that dies with the socket. Sockets
// that somebody keeps stay as they are, as the next process serves their queue. There is no such means for TCP.
func (s *Sockets) Ending() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.ending = true
	for _, k := range s.open {
		if k.inode == nil || k.name != "" {
			continue
		}
		if raw, err := k.closer.(syscall.Conn).SyscallConn(); err == nil {
			_ = raw.Control(func(fd uintptr) { _ = syscall.Shutdown(int(fd), syscall.SHUT_RD) }) // some systems cannot: as before
		}
	}
}

// Close closes every socket and removes the socket files that this process
// made, but those of sockets that are kept. Handles that are still open keep working
// until they are closed. It returns when the manager has what it shall keep.
func (s *Sockets) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	var errs []error
	if s.manager.Keeps() {
		errs = append(errs, s.manager.Settle())
	}
	all := s.inherited
	for _, k := range s.open {
		all = append(all, k)
	}
	for _, k := range all {
		if k.name != "" {
			k.inode = nil // the file is the next process's
		}
		errs = append(errs, k.close())
	}
	for _, p := range s.passed {
		errs = append(errs, p.Conn.Close())
	}
	clear(s.open)
	s.inherited, s.passed = nil, nil
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
	give   func()
	served func() bool               // somebody else goes on with the queue
	until  atomic.Pointer[time.Time] // when Accept ends; nil: at Close
}

// over reports whether Accept is to end, of which it will tell.
func (l *listener) over() bool {
	until := l.until.Load()
	return until != nil && !time.Now().Before(*until)
}

// Accept returns the next connection, and EMFILE without taking one where it would use a
// descriptor that the store needs.
func (l *listener) Accept() (net.Conn, error) {
	if err := spare(l.Listener, descriptors()); err != nil && !l.over() {
		return nil, err
	}
	return l.Listener.Accept()
}

func (l *listener) Close() error {
	l.give()
	return l.Listener.Close()
}

// End ends this holder's Accept alone, and gives the socket back: after so much time
// for the connections that the kernel has made already, and at once where another
// holder or the next process serves them.
func (l *listener) End(after time.Duration) {
	l.give()
	if l.served() {
		after = 0
	}
	until := time.Now().Add(after)
	l.until.Store(&until)
	_ = l.Listener.(interface{ SetDeadline(time.Time) error }).SetDeadline(until) // both kinds of stream have it; fails on a closed one only
}

// UDPConn is one holder's duplicate of a UDP socket.
type UDPConn struct {
	*net.UDPConn
	give   func()
	drops  *atomic.Uint32
	before uint32
}

// Before returns what Dropped is to be told first of a socket that was handed
// to this process: the kernel counts from its opening on, and so do we, so
// that what it dropped while nobody read is seen.
func (c *UDPConn) Before() uint32 { return c.before }

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
