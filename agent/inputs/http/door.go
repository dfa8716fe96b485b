package http

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/runnel-log/runnel/internal/listen"
)

const (
	// backlogTime is how long the stop takes connections that the kernel has made already.
	backlogTime = 50 * time.Millisecond
	// Accept is tried again after minBackoff when it fails (no descriptors
	// left), and after twice as long each time, up to maxBackoff.
	minBackoff, maxBackoff = 5 * time.Millisecond, time.Second
)

// door is one address that takes connections: the net.Listener of the server,
// which lets in only whom it may.
type door struct {
	in   *Input
	url  string
	tls  bool
	l    streamListener
	open atomic.Int64
}

// streamListener is what listen.Sockets hands out.
type streamListener interface {
	net.Listener
	End(after time.Duration) // of Accept; at once where somebody else goes on with the queue
}

// Close gives the socket back.
func (d *door) Close() error { return d.l.Close() }

// Addr is the address listened on.
func (d *door) Addr() net.Addr { return d.l.Addr() }

// Accept returns the next connection that is let in, and an error once the door
// is closed.
func (d *door) Accept() (net.Conn, error) {
	for wait := minBackoff; ; {
		c, err := d.l.Accept()
		switch {
		case err == nil:
			wait = minBackoff
			if k := d.admit(c); k != nil {
				return k, nil
			}
		case errors.Is(err, net.ErrClosed), errors.Is(err, os.ErrDeadlineExceeded):
			return nil, net.ErrClosed
		default:
			d.in.counters.errAccept.Inc()
			d.in.events.acceptFailed(d.url, err, wait)
			select {
			case <-time.After(wait):
			case <-d.in.ending:
			}
			wait = min(2*wait, maxBackoff)
		}
	}
}

// admit makes c a connection of the input, or closes it.
func (d *door) admit(c net.Conn) *conn {
	in := d.in
	who := in.peers.Of(c)
	refuse := func() { _ = c.Close() } // nothing was said on it
	switch in.peers.Enter(who) {
	case listen.NotAllowed:
		in.counters.deniedAllow.Inc()
		in.events.denied(d.url, string(who.Text))
		refuse()
		return nil
	case listen.OverTotal:
		in.counters.deniedTotal.Inc()
		in.events.limitReached(d.url, string(who.Text), "max_connections", in.options.MaxConnections)
		refuse()
		return nil
	case listen.OverAddress:
		in.counters.deniedAddress.Inc()
		in.events.limitReached(d.url, string(who.Text), "per address", listen.PerAddress)
		refuse()
		return nil
	}
	k := &conn{Conn: c, raw: c, door: d, who: who}
	if d.tls {
		k.tls = tls.Server(c, in.tls)
		k.Conn = k.tls
	}
	in.serving.Add(1)
	in.mu.Lock()
	in.conns[k] = struct{}{}
	in.mu.Unlock()
	in.counters.connections.Inc()
	d.open.Add(1)
	return k
}

// conn is one connection. The server reads and writes it, and closes it once
// at least.
type conn struct {
	net.Conn // the TLS connection, if it is one
	raw      net.Conn
	door     *door
	who      *listen.Peer
	tls      *tls.Conn // nil: in the clear
	shaken   bool      // the handshake is made; the one reader's
	requests int       // answered; the server's one goroutine's
	asked    atomic.Bool
	gone     sync.Once
}

// Read makes the handshake first, so that a slow one is bounded more tightly
// than a request and holds up nobody else.
func (c *conn) Read(p []byte) (int, error) {
	if c.tls != nil && !c.shaken {
		if err := c.handshake(); err != nil {
			return 0, err
		}
		c.shaken = true
	}
	n, err := c.Conn.Read(p)
	if n > 0 {
		c.asked.Store(true)
	}
	return n, err
}

func (c *conn) handshake() error {
	limit := c.door.in.options.times.handshake
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	err := c.tls.HandshakeContext(ctx)
	var header tls.RecordHeaderError
	in, url, peer := c.door.in, c.door.url, string(c.who.Text)
	switch {
	case err == nil:
		return nil
	case errors.As(err, &header) && header.Conn != nil:
		in.counters.errPlainText.Inc()
		in.events.plainText(url, peer)
		_ = c.raw.SetWriteDeadline(time.Now().Add(limit))
		_, _ = c.raw.Write([]byte("HTTP/1.0 400 Bad Request\r\n\r\nThis address speaks HTTPS.\n")) // it may not be listening
	default:
		in.counters.errHandshake.Inc()
		in.events.handshakeFailed(url, peer, err)
	}
	return net.ErrClosed
}

// CloseWrite says that no more will come, so that an answer is read although
// the rest of its request never was.
func (c *conn) CloseWrite() error {
	if w, ok := c.Conn.(interface{ CloseWrite() error }); ok {
		return w.CloseWrite()
	}
	return nil
}

// Close closes the connection and leaves the input.
func (c *conn) Close() error {
	err := c.Conn.Close()
	c.gone.Do(func() {
		in := c.door.in
		in.mu.Lock()
		delete(in.conns, c)
		in.mu.Unlock()
		in.peers.Leave(c.who)
		in.counters.connections.Dec()
		c.door.open.Add(-1)
		in.serving.Done()
	})
	return err
}
