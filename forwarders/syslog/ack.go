package syslog

import (
	"context"
	"sync"
	"time"
)

// How often an Ack asks the kernel: soon at first, for on a quiet network the
// answer takes a fraction of a millisecond, then less and less. A peer may delay
// an acknowledgement by 40 ms (RFC 1122 §4.2.3.2 allows 500).
const (
	pollFirst = 200 * time.Microsecond
	pollMost  = 20 * time.Millisecond
)

// ack waits for the bytes of one batch.
type ack struct {
	conn  *conn
	to    string
	start uint64 // the connection's count before the batch
	end   uint64 // and after it, as far as it was written
	whole bool   // all of the batch was written
	ends  []int  // where each record ends in the batch's bytes
	marks []mark // under TLS
}

// mark ties a place in the batch's bytes to the connection's count of ciphertext.
type mark struct {
	plain int
	sent  uint64
}

var acks = sync.Pool{New: func() any { return new(ack) }}

func newAck(c *conn, to string) *ack {
	a := acks.Get().(*ack)
	*a = ack{conn: c, to: to, start: c.meter.sent.Load(), ends: a.ends[:0], marks: a.marks[:0]}
	return a
}

// Wait returns when the peer's kernel has acknowledged the batch, or when the
// connection has broken, with the records that had been acknowledged by then.
func (a *ack) Wait(ctx context.Context) (int, error) {
	defer func() {
		a.conn = nil
		acks.Put(a)
	}()
	var timer *time.Timer
	began := time.Now()
	for pause := pollFirst; ; pause = min(2*pause, pollMost) {
		acked, r, still, err := a.conn.state()
		if a.whole && acked >= a.end {
			return len(a.ends), nil
		}
		if err != nil {
			return a.records(acked), explain(a.to, err)
		}
		if still = min(still, time.Since(began)); a.conn.hopeless(r, still) {
			a.conn.fail(errSilent)
			continue
		}
		if timer == nil {
			timer = time.NewTimer(pause)
			defer timer.Stop()
		} else {
			timer.Reset(pause)
		}
		select {
		case <-timer.C:
		case <-a.conn.broken:
		case <-ctx.Done():
			acked, _, _, _ := a.conn.state()
			return a.records(acked), ctx.Err()
		}
	}
}

// hopeless reports whether to give up on outstanding bytes that have not moved for a while.
func (c *conn) hopeless(r reading, still time.Duration) bool {
	return still >= c.meter.patience.stuck || still >= c.meter.patience.silence && c.silent(r)
}

// records returns how many records of the batch lie wholly within the first
// acked bytes of the connection.
func (a *ack) records(acked uint64) int {
	plain := 0
	switch {
	case acked <= a.start:
		return 0
	case len(a.marks) == 0:
		plain = int(min(acked, a.end) - a.start)
	default:
		for _, m := range a.marks {
			if m.sent <= acked {
				plain = m.plain
			}
		}
	}
	n := 0
	for n < len(a.ends) && a.ends[n] <= plain {
		n++
	}
	return n
}
