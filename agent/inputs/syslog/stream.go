package syslog

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"os"
	"sync/atomic"
	"time"

	"github.com/runnel-log/runnel/internal/listen"
	"github.com/runnel-log/runnel/internal/syslog"
)

const (
	// handshakeTime bounds a TLS handshake. There is no limit of silence after it.
	handshakeTime = 5 * time.Second
	// quietTime is how long a connection must be silent to lose its large buffer.
	quietTime = 10 * time.Second
	// backlogTime is how long the stop takes connections that the kernel has made already.
	backlogTime = 50 * time.Millisecond
	// Accept is tried again after minBackoff when it fails (no descriptors
	// left), and after twice as long each time, up to maxBackoff.
	minBackoff, maxBackoff = 5 * time.Millisecond, time.Second
)

// stream is one address that takes connections.
type stream struct {
	url        string
	configured string // url as Pass and Passed know it: port 0 stays 0
	tls        bool
	l          streamListener
	open       atomic.Int64
	passes     bool             // its connections can outlive this process
	passed     []*listen.Passed // the process before this one had them
}

// streamListener is what listen.Sockets hands out.
type streamListener interface {
	net.Listener
	End(after time.Duration) // of Accept; at once where somebody else goes on with the queue
}

// runAccept takes connections until the listener is closed or its deadline passes.
func (in *Input) runAccept(ctx context.Context, s *stream) {
	defer s.l.Close()
	for wait := minBackoff; ; {
		c, err := s.l.Accept()
		switch {
		case err == nil:
			wait = minBackoff
			in.accept(ctx, s, c, nil)
		case errors.Is(err, net.ErrClosed), errors.Is(err, os.ErrDeadlineExceeded):
			return
		default:
			in.counters.errAccept.Inc()
			in.events.acceptFailed(s.url, err, wait)
			select {
			case <-time.After(wait):
			case <-in.ending:
				return
			}
			wait = min(2*wait, maxBackoff)
		}
	}
}

// accept serves a new connection, or closes it. state is of one that was passed on.
func (in *Input) accept(ctx context.Context, s *stream, c net.Conn, state []byte) {
	who := in.peers.connected(c)
	if !in.peers.allowed(who) {
		in.counters.deniedAllow.Inc()
		in.events.denied(s.url, string(who.text))
		c.Close()
		return
	}
	switch in.peers.enter(who) {
	case overTotal:
		in.counters.deniedTotal.Inc()
		in.events.limitReached(s.url, string(who.text), "max_connections", in.peers.total)
		c.Close()
		return
	case overAddress:
		in.counters.deniedAddress.Inc()
		in.events.limitReached(s.url, string(who.text), "per address", perAddress)
		c.Close()
		return
	}
	col := in.newCollector(ctx, s.url)
	k, err := newConn(c, col.readNow)
	if err != nil {
		in.peers.leave(who)
		c.Close()
		return
	}
	k.state = state
	in.mu.Lock()
	in.conns[k] = s
	in.mu.Unlock()
	in.counters.connections.Inc()
	s.open.Add(1)
	in.serving.Go(func() {
		in.serve(s, k, who, col)
		in.mu.Lock()
		delete(in.conns, k)
		in.mu.Unlock()
		in.counters.connections.Dec()
		s.open.Add(-1)
		in.peers.leave(who)
	})
}

// serve reads one connection to its end and closes it.
func (in *Input) serve(s *stream, c *conn, who *peer, col *collector) {
	defer c.Conn.Close()
	var from io.Reader = c
	if s.tls {
		t, err := in.handshake(c)
		if err != nil {
			in.handshakeFailed(s, who, err)
			return
		}
		defer t.Close() // says goodbye, so that the peer knows it was us
		from = t
	}
	err := in.read(s, c, from, who, col)
	switch {
	case errors.Is(err, errPassed):
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, errStopped):
	case errors.Is(err, syslog.ErrFrameCount):
		in.counters.errFrameCount.Inc()
		in.events.framingBroken(s.url, string(who.text), err)
	default:
		in.counters.errRead.Inc() // reset by the peer, mostly
	}
}

// handshake makes c a TLS connection.
func (in *Input) handshake(c *conn) (*tls.Conn, error) {
	c.shake(handshakeTime)
	t := tls.Server(c, in.tls)
	if err := t.Handshake(); err != nil {
		return nil, err
	}
	c.shaken()
	return t, nil
}

func (in *Input) handshakeFailed(s *stream, who *peer, err error) {
	var header tls.RecordHeaderError
	switch {
	case errors.Is(err, errStopped):
	case errors.As(err, &header) && header.Conn != nil:
		in.counters.errPlainText.Inc()
		in.events.plainText(s.url, string(who.text))
	default:
		in.counters.errHandshake.Inc()
		in.events.handshakeFailed(s.url, string(who.text), err)
	}
}

// read cuts what comes into messages. It emits when a batch is full and when
// nothing more can be read now: a lone line is passed on at once, and a busy
// connection gives full batches.
func (in *Input) read(s *stream, c *conn, from io.Reader, who *peer, col *collector) error {
	f := syslog.NewFramer(from, int(in.options.MaxMessage))
	if c.state != nil {
		var err error
		if f, err = syslog.ResumeFramer(from, int(in.options.MaxMessage), c.state); err != nil {
			return err
		}
		c.state = nil
	}
	in.share(f, who)
	defer f.Share(nil)
	var empty uint64
	for {
		frame, flags, err := f.Next()
		if err == nil {
			col.add(frame, flags, who)
			continue
		}
		col.flush()
		if n := f.Empty(); n != empty {
			in.counters.ignoredEmpty.Add(int(n - empty))
			empty = n
		}
		if err != errWouldBlock {
			return err
		}
		if c.passing.Load() {
			if in.handOn(s, c, f) {
				return errPassed
			}
			continue
		}
		if err := in.quiet(c, f); err != nil && err != errStopped {
			return err
		}
	}
}

// handOn passes a connection on to the next process, with the message it is in
// the middle of. Where that cannot be, it is drained, as if there were no next process.
func (in *Input) handOn(s *stream, c *conn, f *syslog.Framer) bool {
	err := in.sockets.Pass(s.configured, c.Conn, f.Suspend())
	if err != nil {
		in.events.notPassed(s.url, err)
		c.notPassed()
		return false
	}
	in.passed.Add(1)
	return true
}

// quiet waits for the sender to say more. One that stays silent keeps only a small buffer.
func (in *Input) quiet(c *conn, f *syslog.Framer) error {
	if f.Size() <= smallBuffer {
		_, err := c.wait(0)
		return err
	}
	passed, err := c.wait(quietTime)
	if passed {
		f.Shrink()
	}
	return err
}

// smallBuffer is what a Framer starts with and shrinks to.
const smallBuffer = 4 << 10
