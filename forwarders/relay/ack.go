package relay

import (
	"context"
	"slices"

	"github.com/runnel-log/runnel/forwarders"
	"github.com/runnel-log/runnel/internal/relaywire"
)

// ack waits for the answer to one batch.
type ack struct {
	f       *Forwarder
	conn    *conn
	line    line
	offsets []uint64
	frames  []sentFrame // in order
	before  uint64      // frame that has to be acknowledged before what was not sent again counts
	doubt   []bool      // of each record, whether it is in doubt; nil: none is

	arrived int // records, once it was waited for
}

// sentFrame is a frame of a batch.
type sentFrame struct {
	number  uint64
	part    relaywire.Range
	records int // of the batch, up to the first of the frame: those before it arrived earlier
}

// last is the number of the frame that settles all of the batch.
func (a *ack) last() uint64 {
	if n := len(a.frames); n > 0 {
		return max(a.before, a.frames[n-1].number)
	}
	return a.before
}

// known returns how many records, from the first, the receiver has, if it has all frames up to acked.
func (a *ack) known(acked uint64) int {
	if acked < a.before {
		return 0
	}
	for _, f := range a.frames {
		if f.number > acked {
			return f.records
		}
	}
	return len(a.offsets)
}

// Wait returns when the receiver has acknowledged all frames, or the connection has broken.
func (a *ack) Wait(ctx context.Context) (int, error) {
	acked, err := a.conn.wait(ctx, a.last())
	a.arrived = a.known(acked)
	for _, f := range a.frames {
		if f.number <= acked {
			a.f.memory.add(a.conn.url, a.line, f.part)
		}
	}
	if a.arrived == len(a.offsets) {
		err = nil
	}
	a.f.settled(a)
	a.f.counters.doubtful(a.line.stream, a.Doubtful())
	if err != nil {
		return a.arrived, a.f.failed(a.conn, err)
	}
	return a.arrived, nil
}

// Marks returns what the receiver has acknowledged of the line.
func (a *ack) Marks() []forwarders.Mark { return a.f.memory.marks(a.line) }

// Unsent returns how many of the records that arrived, below an offset, were not sent and are in no doubt.
func (a *ack) Unsent(below uint64) (n int) {
	for i, o := range a.offsets[:a.arrived] {
		if o >= below {
			break
		}
		sent := slices.ContainsFunc(a.frames, func(f sentFrame) bool { return f.part.From <= o && o < f.part.To })
		if !sent && (a.doubt == nil || !a.doubt[i]) {
			n++
		}
	}
	return n
}

// Doubtful returns how many of the records that arrived did not: they are in doubt.
func (a *ack) Doubtful() (n int) {
	for i := range min(a.arrived, len(a.doubt)) {
		if a.doubt[i] {
			n++
		}
	}
	return n
}
