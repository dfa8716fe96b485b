package syslog

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"syscall"
	"time"

	"github.com/VictoriaMetrics/metrics"
	"golang.org/x/net/ipv4"

	"github.com/runnel-log/runnel/forwarders"
	"github.com/runnel-log/runnel/internal/listen"
)

// datagrams sends each record as one UDP datagram (RFC 5426).
type datagrams struct {
	options  *Options
	resolver *net.Resolver
	network  string
	address  string
	encoder  *encoder
	buf      []byte
	ends     []int
	rewind   forwarders.Rewind
	batch    []ipv4.Message // reused; as many as the largest batch had
	events   events
	cut      *metrics.Counter // messages shortened to what a datagram holds

	lookEvery time.Duration // a name may have moved, and no datagram would tell

	closing context.Context // ends with Close
	cancel  context.CancelFunc

	mu sync.Mutex
	// guarded by mu:
	conn   net.Conn // connected, so that an ICMP "port unreachable" is seen
	looked time.Time
	closed bool
}

func newDatagrams(o *Options, to listen.Address, e *encoder, s forwarders.Setup) *datagrams {
	f := &datagrams{options: o, resolver: s.Resolver, lookEvery: time.Minute, encoder: e, events: newEvents(s.Log)}
	f.network, f.address = dialAddress(to)
	f.closing, f.cancel = context.WithCancel(context.Background())
	f.cut = new(metrics.Counter)
	if s.Metrics != nil {
		f.cut = s.Metrics.GetOrCreateCounter(fmt.Sprintf(`runnel_forwarder_truncated_records_total{forwarder=%q}`, s.Name))
	}
	return f
}

// Deliver sends every record of b. Sent is all that is known of any of them.
func (f *datagrams) Deliver(ctx context.Context, b *forwarders.Batch) (forwarders.Ack, error) {
	c, err := f.socket(ctx)
	if err != nil {
		return nil, explain(f.options.To, err)
	}
	if err := f.rewind.Overtakes(b); err != nil {
		return nil, explain(f.options.To, err)
	}
	f.buf, f.ends = f.encoder.batch(f.buf[:0], f.ends[:0], b)
	if n := f.encoder.cut; n > 0 {
		f.encoder.cut = 0
		f.cut.Add(n)
		f.events.cut(n, maxDatagram)
	}
	stop := context.AfterFunc(ctx, func() { f.drop(c) })
	defer stop()
	n, err := f.send(c)
	if err == nil {
		return nil, nil
	}
	if errors.Is(err, syscall.EMSGSIZE) {
		return f.rewind.Partly(b, n, &forwarders.Refused{Index: n, Answer: err.Error()})
	}
	f.drop(c)
	return f.rewind.Partly(b, n, explain(f.options.To, err))
}

// send writes the datagrams, many with one system call where there is one for
// it, and returns how many were sent.
func (f *datagrams) send(c net.Conn) (int, error) {
	for len(f.batch) < len(f.ends) {
		f.batch = append(f.batch, ipv4.Message{Buffers: make([][]byte, 1)})
	}
	batch, from := f.batch[:len(f.ends)], 0
	for i, end := range f.ends {
		batch[i].Buffers[0] = f.buf[from:end]
		from = end
	}
	packets := ipv4.NewPacketConn(c.(net.PacketConn)) // the call is the same for IPv6
	for sent := 0; ; {
		n, err := packets.WriteBatch(batch[sent:], 0)
		sent += max(n, 0)
		if err != nil || sent == len(batch) {
			return sent, err
		}
	}
}

// socket returns the socket under way, or makes one. Now and then it makes another, in
// case the name stands for another address by now; where that fails the old one stays.
func (f *datagrams) socket(ctx context.Context) (net.Conn, error) {
	f.mu.Lock()
	old, due, closed := f.conn, time.Since(f.looked) >= f.lookEvery, f.closed
	f.mu.Unlock()
	if closed {
		return nil, errClosed
	}
	if old != nil && !due {
		return old, nil
	}
	ctx, cancel := context.WithTimeout(ctx, f.options.ConnectTimeout)
	defer cancel()
	defer context.AfterFunc(f.closing, cancel)()
	c, err := (&net.Dialer{Resolver: f.resolver}).DialContext(ctx, f.network, f.address)
	f.mu.Lock()
	defer f.mu.Unlock()
	f.looked = time.Now()
	switch {
	case err != nil && old != nil && !f.closed:
		return old, nil
	case err != nil:
		return nil, err
	case f.closed:
		c.Close()
		return nil, errClosed
	}
	if old != nil {
		_ = old.Close() // what was sent is with the kernel
	}
	f.conn = c
	return c, nil
}

// drop closes the socket; the next Deliver looks the address up again.
func (f *datagrams) drop(c net.Conn) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.conn == c {
		f.conn = nil
	}
	_ = c.Close() // nothing is buffered in it
}

// Close closes the socket.
func (f *datagrams) Close() error {
	f.cancel()
	f.mu.Lock()
	defer f.mu.Unlock()
	f.closed = true
	if f.conn == nil {
		return nil
	}
	err := f.conn.Close()
	f.conn = nil
	return err
}
