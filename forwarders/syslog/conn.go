package syslog

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"time"
)

// conn is one connection, from its dial to its end.
type conn struct {
	out    net.Conn // meter, or the TLS connection over it
	meter  *meter
	gauge  *gauge // nil: what was written counts as acknowledged
	broken chan struct{}
	reader sync.WaitGroup

	mu sync.Mutex
	// guarded by mu:
	acked uint64    // bytes of the meter's count that the peer's kernel has
	moved time.Time // when acked last rose
	err   error     // why broken is closed; acked is final then
	short bool      // a write was cut short: records were lost whatever acked says
}

// dial connects, shakes hands, and starts the connection's reader.
func dial(ctx context.Context, resolver *net.Resolver, network, address string, config *tls.Config, p patience) (*conn, error) {
	dialer := net.Dialer{Resolver: resolver, KeepAliveConfig: net.KeepAliveConfig{
		Enable: true, Idle: 15 * time.Second, Interval: 5 * time.Second, Count: 3}}
	raw, err := dialer.DialContext(ctx, network, address)
	if err != nil {
		return nil, err
	}
	c := &conn{meter: &meter{Conn: raw, patience: p}, broken: make(chan struct{}), moved: time.Now()}
	c.out, c.meter.alive = c.meter, c.alive
	if c.gauge, err = newGauge(raw); err == nil && config != nil {
		secure := tls.Client(c.meter, config)
		c.out, err = secure, secure.HandshakeContext(ctx)
	}
	if err != nil {
		raw.Close()
		return nil, err
	}
	c.reader.Go(c.runReader)
	return c, nil
}

var errHungUp = errors.New("receiver closed the connection")

// runReader reads, and throws away, what the peer says, so as to learn at once that
// it has hung up: a write would be the first to know otherwise, and its bytes
// the price. It ends with the connection.
func (c *conn) runReader() {
	buf := make([]byte, 512)
	for {
		if _, err := c.out.Read(buf); err != nil {
			if errors.Is(err, io.EOF) {
				err = errHungUp
			}
			c.fail(err)
			return
		}
	}
}

// fail ends the connection, keeping what it knows about acknowledged bytes.
// Only the first call counts.
func (c *conn) fail(err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.err != nil {
		return
	}
	c.measure()
	c.err = err
	close(c.broken)
	// Not through TLS, whose close would wait for a peer that does not read.
	_ = c.meter.Close() // nothing is relied upon any more
}

// measure brings acked up to date; c.mu is held.
func (c *conn) measure() reading {
	if c.gauge == nil {
		c.acked = c.meter.sent.Load()
		return reading{acked: c.acked}
	}
	r, err := c.gauge.read()
	if err == nil && r.acked > c.acked {
		c.acked, c.moved = r.acked, time.Now()
	}
	return r
}

// state returns how many bytes the peer's kernel is known to have, how long it
// has been since that number rose, and why the connection is broken, if it is.
func (c *conn) state() (acked uint64, r reading, still time.Duration, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.err == nil {
		r = c.measure()
	}
	return c.acked, r, time.Since(c.moved), c.err
}

// alive reports whether the peer has shown a sign of life lately, as far as
// anyone can tell: a closed window that it confirms when probed is one.
func (c *conn) alive() bool {
	if c.gauge == nil {
		_, local := c.meter.Conn.(*net.UnixConn)
		return local // its peer is a process here, and the kernel says when that ends
	}
	_, r, _, err := c.state()
	return err == nil && !c.silent(r)
}

func (c *conn) silent(r reading) bool {
	return r.waiting && time.Duration(r.quiet)*time.Millisecond >= c.meter.patience.silence
}

// lost returns how the connection broke, nil if it did not, and whether bytes
// went down with it.
func (c *conn) lost() (err error, bytes bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.err, c.short || c.acked < c.meter.sent.Load()
}

// cutShort ends the connection after a write that failed.
func (c *conn) cutShort(err error) {
	c.mu.Lock()
	c.short = true
	c.mu.Unlock()
	c.fail(err)
}

// close says goodbye where that cannot block, and ends the connection.
func (c *conn) close() {
	if acked, _, _, err := c.state(); err == nil && acked == c.meter.sent.Load() {
		if secure, ok := c.out.(*tls.Conn); ok {
			_ = secure.CloseWrite() // the peer has everything already
		}
	}
	c.fail(errClosed)
	c.reader.Wait()
}

// explain adds the place to an error of the connection.
func explain(to string, err error) error { return fmt.Errorf("%s: %w", to, err) }
