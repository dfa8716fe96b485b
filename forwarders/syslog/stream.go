package syslog

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"sync"

	"github.com/runnel-log/runnel/forwarders"
	"github.com/runnel-log/runnel/internal/listen"
)

// stream sends over one long-lived connection.
type stream struct {
	options  *Options
	resolver *net.Resolver
	network  string
	address  string
	tls      *tls.Config // nil: in the clear
	encoder  *encoder
	buf      []byte // encoded batch, reused
	patient  patience

	// written has, for each stream of records, the last offset written to the
	// connection under way. Only Deliver touches it and rewind.
	written map[string]uint64
	rewind  forwarders.Rewind

	closing context.Context // ends with Close, to cut a dial short
	cancel  context.CancelFunc

	mu     sync.Mutex
	conn   *conn // guarded by mu
	closed bool  // guarded by mu
}

func newStream(o *Options, to listen.Address, e *encoder, s forwarders.Setup) (*stream, error) {
	f := &stream{options: o, resolver: s.Resolver, encoder: e, patient: usualPatience,
		written: make(map[string]uint64)}
	f.network, f.address = dialAddress(to)
	f.closing, f.cancel = context.WithCancel(context.Background())
	if to.Scheme != "tls" {
		return f, nil
	}
	config, err := o.TLS.Config()
	if err != nil {
		return nil, err
	}
	f.tls = config.Clone()
	if f.tls.ServerName == "" {
		f.tls.ServerName = to.Host
	}
	// With it off, a write of up to 16 KiB is one TLS record, and an Ack can tell
	// which ciphertext holds which messages.
	f.tls.DynamicRecordSizingDisabled = true
	return f, nil
}

// Deliver writes b and returns; the Ack waits for the peer's kernel.
func (f *stream) Deliver(ctx context.Context, b *forwarders.Batch) (forwarders.Ack, error) {
	c, err := f.connection(ctx, b)
	if err != nil {
		return nil, explain(f.options.To, err)
	}
	a := newAck(c, f.options.To)
	f.buf, a.ends = f.encoder.batch(f.buf[:0], a.ends, b)
	f.written[b.Stream] = b.Offsets[len(b.Offsets)-1]
	stop := context.AfterFunc(ctx, func() { c.fail(context.Cause(ctx)) })
	defer stop()
	if f.tls != nil {
		err = a.writeTLS(f.buf)
	} else {
		_, err = c.out.Write(f.buf)
	}
	a.end, a.whole = c.meter.sent.Load(), err == nil
	if err != nil {
		c.cutShort(err)
	}
	return a, nil // also after an error: the Ack knows how much of b got through
}

// tlsRecord is the most plaintext that one TLS record holds (RFC 8446 §5.1).
const tlsRecord = 16 << 10

// writeTLS writes p a TLS record at a time, noting how much ciphertext each made.
func (a *ack) writeTLS(p []byte) error {
	for at := 0; at < len(p); {
		n, err := a.conn.out.Write(p[at:min(at+tlsRecord, len(p))])
		if err != nil {
			return err
		}
		at += n
		a.marks = append(a.marks, mark{plain: at, sent: a.conn.meter.sent.Load()})
	}
	return nil
}

// connection returns the connection under way, or makes one.
func (f *stream) connection(ctx context.Context, b *forwarders.Batch) (*conn, error) {
	f.mu.Lock()
	c, closed := f.conn, f.closed
	f.mu.Unlock()
	if closed {
		return nil, errClosed
	}
	if c != nil {
		err, bytes := c.lost()
		if err == nil {
			return c, nil
		}
		f.bury(c, err, bytes)
	}
	if err := f.rewind.Overtakes(b); err != nil {
		return nil, err
	}
	return f.dial(ctx)
}

// bury takes leave of a broken connection.
func (f *stream) bury(c *conn, err error, bytes bool) {
	c.reader.Wait()
	f.mu.Lock()
	f.conn = nil
	f.mu.Unlock()
	if bytes {
		for stream, last := range f.written {
			f.rewind.Failed(stream, last, err)
		}
	}
	clear(f.written)
}

func (f *stream) dial(ctx context.Context) (*conn, error) {
	ctx, cancel := context.WithTimeout(ctx, f.options.ConnectTimeout)
	defer cancel()
	defer context.AfterFunc(f.closing, cancel)()
	c, err := dial(ctx, f.resolver, f.network, f.address, f.tls, f.patient)
	if err != nil {
		return nil, fmt.Errorf("connect: %w", err)
	}
	f.mu.Lock()
	if !f.closed {
		f.conn = c
		f.mu.Unlock()
		return c, nil
	}
	f.mu.Unlock()
	c.close()
	return nil, errClosed
}

// Close ends the connection. Acks of bytes still on their way fail.
func (f *stream) Close() error {
	f.cancel()
	f.mu.Lock()
	c := f.conn
	f.closed, f.conn = true, nil
	f.mu.Unlock()
	if c != nil {
		c.close()
	}
	return nil
}
