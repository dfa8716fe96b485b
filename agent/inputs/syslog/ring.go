package syslog

import (
	"sync"
	"time"

	"github.com/runnel-log/runnel/record"
)

const (
	// ringBytes bounds the datagrams that wait to be parsed: some quarter of a
	// second of 200 000 a second. Beyond it they are dropped and counted.
	ringBytes  = 16 << 20
	chunkBytes = 256 << 10
	spare      = 2 // empty chunks kept for reuse
)

// chunk is a run of datagrams, end to end.
type chunk struct {
	data  []byte
	marks []mark
}

// mark is where one datagram ends, and what is known of it.
type mark struct {
	end      int
	flags    record.Flags
	received int64
	from     *peer
}

// markBytes is what a mark counts towards ringBytes.
const markBytes = 32

// ring is the bounded queue between the reader of a UDP socket and the parser.
type ring struct {
	ready chan struct{} // told when something was pushed or the ring closed; one signal is enough to look

	mu     sync.Mutex // guards all below
	queue  []*chunk   // oldest first; the last is still being filled
	free   []*chunk
	bytes  int
	closed bool
}

func newRing() *ring { return &ring{ready: make(chan struct{}, 1)} }

// push copies a datagram to the end, or returns false if there is no room.
func (r *ring) push(b []byte, flags record.Flags, from *peer, now time.Time) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.bytes+len(b)+markBytes > ringBytes {
		return false
	}
	r.bytes += len(b) + markBytes
	var c *chunk
	if n := len(r.queue); n > 0 && len(r.queue[n-1].data)+len(b) <= chunkBytes {
		c = r.queue[n-1]
	} else {
		c = r.fresh()
		r.queue = append(r.queue, c)
	}
	c.data = append(c.data, b...)
	c.marks = append(c.marks, mark{len(c.data), flags, now.UnixNano(), from})
	return true
}

// fresh returns an empty chunk; r.mu is held.
func (r *ring) fresh() *chunk {
	if n := len(r.free); n > 0 {
		c := r.free[n-1]
		r.free = r.free[:n-1]
		return c
	}
	return new(chunk)
}

// pushed tells the parser that there is something.
func (r *ring) pushed() {
	select {
	case r.ready <- struct{}{}:
	default:
	}
}

// close lets pop return nil once all is taken.
func (r *ring) close() {
	r.mu.Lock()
	r.closed = true
	r.mu.Unlock()
	r.pushed()
}

// pop returns the oldest chunk, waiting for one; nil at the end. It calls idle
// before it waits and before the end.
func (r *ring) pop(idle func()) *chunk {
	for waited := false; ; waited = true {
		c, closed := r.take()
		if c != nil {
			return c
		}
		if !waited || closed {
			idle()
		}
		if closed {
			return nil
		}
		<-r.ready
	}
}

func (r *ring) take() (*chunk, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.queue) == 0 {
		return nil, r.closed
	}
	c := r.queue[0]
	r.queue[0] = nil
	r.queue = r.queue[1:]
	return c, false
}

// release takes a chunk back.
func (r *ring) release(c *chunk) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.bytes -= len(c.data) + markBytes*len(c.marks)
	if len(r.free) < spare && cap(c.data) <= 2*chunkBytes {
		c.data, c.marks = c.data[:0], c.marks[:0]
		r.free = append(r.free, c)
	}
}
