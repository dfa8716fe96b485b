package oracle

import (
	"context"
	"fmt"
	"io"
	"net"
	"time"

	"github.com/runnel-log/runnel/internal/syslog"
)

// perWrite is how many messages go out with one write.
const perWrite = 64

// stream sends syslog over TCP or a unix socket until the connection breaks or
// all is taken. Such a connection has no acknowledgement: what the peer's kernel
// has taken counts as one, and where that cannot be known, what was written.
func (x *sender) stream(ctx context.Context, network, address string) error {
	c, end, err := dial(ctx, network, address)
	if err != nil {
		return err
	}
	defer end()
	h := &handing{sender: x, at: x.acked}
	if h.gauge, err = newGauge(c); err != nil {
		return fmt.Errorf("%w: %w", errFatal, err)
	}
	gone := make(chan struct{})
	go func() {
		defer close(gone)
		_, _ = io.Copy(io.Discard, c) // until the peer ends the connection, or we do
	}()
	defer func() { end(); <-gone }()
	defer h.look()
	for {
		h.look()
		if x.finished() {
			return nil
		}
		n := perWrite
		if h.at < x.next { // what broke off, once more
			n = int(min(uint64(n), x.next-h.at))
		} else {
			n = x.due(ctx, n)
		}
		select {
		case <-gone:
			return net.ErrClosed
		default:
		}
		if n == 0 {
			wait(ctx, time.Millisecond)
		}
		if err := h.write(c, n); err != nil {
			return err
		}
	}
}

// handing is one connection without acknowledgements.
type handing struct {
	*sender
	gauge *gauge   // nil: what is written counts
	at    uint64   // number of the next record to write
	ends  []uint64 // of the records from acked on, in bytes of the connection
	bytes uint64   // written
	wire  []byte
	text  []byte
}

func (h *handing) write(c net.Conn, n int) error {
	if n == 0 {
		return nil
	}
	h.sent.Offer(h.id, h.at, h.at+uint64(n)-1)
	h.wire = h.wire[:0]
	for range n {
		h.text = h.line(h.text[:0], h.at)
		if h.Octets {
			h.wire = syslog.AppendOctet(h.wire, h.text)
		} else {
			h.wire = append(append(h.wire, h.text...), '\n')
		}
		h.ends = append(h.ends, h.bytes+uint64(len(h.wire)))
		h.at++
	}
	h.next = max(h.next, h.at)
	_ = c.SetWriteDeadline(time.Now().Add(silence)) // fails on a closed connection only
	k, err := c.Write(h.wire)
	h.bytes += uint64(k)
	return err
}

// look notes what has been taken since it looked last.
func (h *handing) look() {
	taken := h.bytes
	if h.gauge != nil {
		var err error
		if taken, err = h.gauge.taken(); err != nil {
			return // closed
		}
	}
	n := 0
	for n < len(h.ends) && h.ends[n] <= taken {
		n++
	}
	if n > 0 {
		h.sent.Acknowledge(h.id, h.acked, h.acked+uint64(n)-1)
		h.acked += uint64(n)
		h.ends = h.ends[n:]
	}
}
