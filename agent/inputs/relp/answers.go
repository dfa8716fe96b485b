package relp

import (
	"context"
	"errors"
	"time"

	"github.com/runnel-log/runnel/agent/inputs"
	"github.com/runnel-log/runnel/internal/relp"
)

// maxAnswers is how many bytes of answers are put together before they are written.
const maxAnswers = 16 << 10

// pending is what is due to the client, in the order of its commands.
type pending struct {
	receipt inputs.Receipt // of a batch of messages; nil: raw
	first   uint32         // transaction number of the first
	records int
	size    int64
	raw     []byte // a frame to write as it is
}

// over is a context that has ended: to ask a receipt without waiting.
func over() context.Context {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	return ctx
}

// answers writes what is due. One goroutine uses it.
type answers struct {
	x      *session
	ask    context.Context // has ended
	buf    []byte
	told   bool // answers of messages are in buf
	failed bool // nothing can be answered any more
}

// runAnswers answers in order, until the reader has closed pending: each batch
// once its receipt says that it is on disk, and all batches of one commit with
// one write. After the first that cannot be answered none is.
func (x *session) runAnswers() {
	a := answers{x: x, ask: over()}
	for p := range x.pending {
		a.settle(p)
		if len(x.pending) == 0 || len(a.buf) > maxAnswers {
			a.write()
		}
	}
	a.write()
}

// settle waits until p may be answered.
func (a *answers) settle(p pending) {
	switch {
	case a.failed:
	case p.receipt == nil:
		a.buf = append(a.buf, p.raw...)
	default:
		if err := a.wait(p.receipt); err != nil {
			a.x.in.counters.unansweredUnknown.Add(p.records)
			a.x.in.events.notStored(a.x.conn.URL, p.records, err)
			a.fail()
			break
		}
		txnr := p.first
		for range p.records {
			a.buf = relp.AppendOK(a.buf, txnr)
			txnr = relp.Next(txnr)
		}
		a.told = true
	}
	a.x.frames.Add(-int64(p.records))
	a.x.inFlight.Add(-p.size)
	select {
	case a.x.settled <- struct{}{}:
	default:
	}
}

// wait waits for a receipt. What is due before goes out first, unless the
// receipt is there already.
func (a *answers) wait(receipt inputs.Receipt) error {
	err := receipt.Wait(a.ask)
	if !errors.Is(err, context.Canceled) {
		return err
	}
	a.write()
	return receipt.Wait(a.x.ctx)
}

// write writes what is due.
func (a *answers) write() {
	if len(a.buf) == 0 || a.failed {
		return
	}
	_ = a.x.conn.Socket.SetWriteDeadline(time.Now().Add(a.x.in.patience.write)) // fails on a closed connection only
	if _, err := a.x.conn.Write(a.buf); err != nil {
		a.x.in.counters.errWrite.Inc()
		a.fail()
	} else if a.told {
		a.x.in.reached.At(inputs.Answered)
	}
	a.buf, a.told = a.buf[:0], false
}

func (a *answers) fail() {
	a.failed = true
	a.x.fail()
}

// await waits while too many messages have no answer.
func (x *session) await() error {
	for int(x.frames.Load()) >= x.in.options.Window || x.inFlight.Load() > maxInFlight {
		select {
		case <-x.settled:
		case <-x.gone:
			return errGone
		case <-x.ctx.Done():
			return errStopped
		}
	}
	return nil
}
