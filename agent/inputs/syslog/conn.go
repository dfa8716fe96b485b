package syslog

import (
	"errors"
	"io"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// drainTime bounds reading what the kernel holds of one connection at the stop:
// a sender that goes on writing would keep us for ever.
const drainTime = 500 * time.Millisecond

// errStopped ends a connection that is drained.
var errStopped = errors.New("input is stopping")

// errPassed ends a connection that the next process goes on with.
var errPassed = errors.New("passed on")

// errWouldBlock says that the kernel holds nothing more of this connection
// now. crypto/tls and the Framer take it for a timeout, and go on afterwards.
var errWouldBlock net.Error = wouldBlock{}

type wouldBlock struct{}

func (wouldBlock) Error() string   { return "nothing to read yet" }
func (wouldBlock) Timeout() bool   { return true }
func (wouldBlock) Temporary() bool { return true }

// conn is a connection whose Read does not wait: it returns errWouldBlock, so
// that what was collected can be emitted first, and wait waits. One goroutine
// reads; drain may be called by another.
type conn struct {
	net.Conn
	raw    syscall.RawConn
	onRead func() // told when bytes came

	p        []byte // of the Read at hand
	n        int
	err      error
	tryRead  func(fd uintptr) bool // kept, so that a read allocates nothing
	tryPoll  func(fd uintptr) bool
	poll     [1]unix.PollFd
	blocking bool // Read waits: while the TLS handshake is made

	mu       sync.Mutex // held while deadlines are set that shaking decides
	shaking  bool       // the TLS handshake is being made; guarded by mu
	until    time.Time  // when draining ends; set before draining
	draining atomic.Bool
	drained  bool

	passing atomic.Bool // Read reads nothing more, so that the next process can
	state   []byte      // of the Framer, where the process before has passed the connection on
}

func newConn(c net.Conn, onRead func()) (*conn, error) {
	sc, ok := c.(syscall.Conn)
	if !ok {
		return nil, errors.New("bug: a connection that is no socket")
	}
	raw, err := sc.SyscallConn()
	if err != nil {
		return nil, err
	}
	k := &conn{Conn: c, raw: raw, onRead: onRead}
	k.tryRead, k.tryPoll = k.readNow, k.pollNow
	return k, nil
}

// readNow reads once; false makes the runtime wait for the descriptor and call again.
func (c *conn) readNow(fd uintptr) bool {
	for {
		c.n, c.err = unix.Read(int(fd), c.p)
		switch c.err {
		case unix.EINTR:
			continue
		case unix.EAGAIN:
			c.n, c.err = 0, errWouldBlock
			return !c.blocking
		}
		return true
	}
}

// pollNow reports whether there is something to read, or the end.
func (c *conn) pollNow(fd uintptr) bool {
	c.poll[0] = unix.PollFd{Fd: int32(fd), Events: unix.POLLIN}
	n, err := unix.Poll(c.poll[:], 0)
	return n > 0 || err != nil && err != unix.EINTR
}

// Read reads what the kernel holds. At the end of draining it returns errStopped.
func (c *conn) Read(p []byte) (int, error) {
	if c.drained {
		return 0, errStopped
	}
	if c.passing.Load() {
		return 0, errWouldBlock
	}
	c.p = p
	var draining bool
	for {
		draining = c.draining.Load()
		err := c.raw.Read(c.tryRead)
		if err == nil {
			break
		}
		if err := c.expired(err); err != nil {
			return 0, err
		}
		if c.passing.Load() {
			return 0, errWouldBlock
		}
	}
	c.p = nil
	if draining && c.err == errWouldBlock {
		// Nothing was left after drain had begun; before, the writer may have written since.
		c.drained = true
		return 0, errStopped
	}
	if c.err != nil {
		return 0, c.err
	}
	if c.n == 0 {
		return 0, io.EOF
	}
	c.onRead()
	return c.n, nil
}

// wait waits until there is something to read or limit has passed, which it
// reports; 0 is no limit.
func (c *conn) wait(limit time.Duration) (passed bool, err error) {
	if limit > 0 {
		c.setReadDeadline(time.Now().Add(limit))
	}
	err = c.raw.Read(c.tryPoll)
	if limit > 0 && errors.Is(err, os.ErrDeadlineExceeded) && !c.draining.Load() {
		c.setReadDeadline(time.Time{})
		return true, nil
	}
	if err != nil {
		err = c.expired(err)
	}
	return false, err
}

// expired deals with a deadline that has passed: it was the limit of a wait
// long ago, or drain or pass woke us.
func (c *conn) expired(err error) error {
	switch {
	case !errors.Is(err, os.ErrDeadlineExceeded):
		return err
	case !c.draining.Load():
		if c.blocking {
			return err
		}
		c.setReadDeadline(time.Time{})
		return nil
	case time.Now().After(c.until):
		c.drained = true
		return errStopped
	}
	return c.Conn.SetReadDeadline(c.until)
}

// setReadDeadline is SetReadDeadline that does not undo drain's or pass's.
func (c *conn) setReadDeadline(t time.Time) {
	_ = c.Conn.SetReadDeadline(t) // fails on a closed connection only, which Read reports
	if c.draining.Load() || c.passing.Load() {
		_ = c.Conn.SetReadDeadline(time.Unix(1, 0))
	}
}

// shake begins the TLS handshake, in which Read waits: at most limit, and at the stop
// as long as draining may take, since a handshake that is cut off keeps a container
// from starting.
func (c *conn) shake(limit time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.blocking, c.shaking = true, true
	until := time.Now().Add(limit)
	if c.draining.Load() {
		until = c.until
	}
	_ = c.Conn.SetDeadline(until) // fails on a closed connection only
}

// shaken ends the handshake.
func (c *conn) shaken() {
	c.mu.Lock()
	c.blocking, c.shaking = false, false
	_ = c.Conn.SetWriteDeadline(time.Time{}) // likewise
	c.mu.Unlock()
	c.setReadDeadline(time.Time{})
}

// drain makes the reader take what the kernel holds, and then end. A unix
// stream is shut for the writer first: it notices at once, connects again, and
// not a line is lost between.
func (c *conn) drain() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.until = time.Now().Add(drainTime)
	if u, ok := c.Conn.(*net.UnixConn); ok {
		_ = u.CloseRead() // before the reader may end; fails where the peer has closed already
		c.until = time.Now().Add(stopTime)
	}
	c.draining.Store(true)
	if c.shaking {
		_ = c.Conn.SetDeadline(c.until)
		return
	}
	_ = c.Conn.SetDeadline(time.Unix(1, 0)) // wakes the reader; nothing is written but TLS alerts
}

// pass makes the reader stop where it is: what the kernel holds is the next process's.
func (c *conn) pass() {
	c.passing.Store(true)
	_ = c.Conn.SetReadDeadline(time.Unix(1, 0)) // wakes the reader
}

// notPassed makes the reader, who calls it, drain instead.
func (c *conn) notPassed() {
	c.passing.Store(false)
	c.drain()
}
