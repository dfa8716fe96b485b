package relay

import (
	"context"
	"errors"
	"time"

	"github.com/runnel-log/runnel/agent/inputs"
	"github.com/runnel-log/runnel/internal/relaywire"
)

// maxAnswers is how many bytes of answers are put together before they are written.
const maxAnswers = 16 << 10

// mostDue is how many bytes of answers to questions may wait for the sender to read them before nothing more is asked.
const mostDue = 1 << 20

// pending is what is due to the sender, in the order of its messages.
type pending struct {
	receipt inputs.Receipt // to wait for; nil: nothing
	number  uint64         // of a frame to acknowledge; 0: raw
	size    int64          // of its payload
	raw     []byte         // frames to write as they are
	said    *said          // what the sender hears with that; nil: nothing
	due     int64          // what all this takes of mostDue
}

// answersDue waits until few enough answers wait for the sender to read them.
func (x *session) answersDue() error {
	for x.due.Load() > mostDue {
		select {
		case <-x.fewer:
		case <-x.waits.Done():
			return x.ended()
		}
	}
	return nil
}

// wrote says that answers of so many bytes wait no more.
func (x *session) wrote(due int64) {
	if due == 0 {
		return
	}
	x.due.Add(-due)
	select {
	case x.fewer <- struct{}{}:
	default:
	}
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
	number uint64 // of the frame to acknowledge; 0: none
	size   int64  // of all the payloads that this acknowledges
	due    int64  // of what is in buf, of mostDue
	failed bool   // nothing can be answered any more
}

// runAnswers answers in order, until the reader has closed pending: each frame once its
// receipt says that it is on disk, and all frames of one commit with one ack. After the
// first that cannot be answered none is.
func (x *session) runAnswers() {
	a := answers{x: x, ask: over()}
	for {
		due, passed := x.ends.next()
		select { // first: in a short session there is always something else to do
		case <-due:
			x.ends.begin()
		case <-passed:
			a.pass()
		default:
			select {
			case p, more := <-x.pending:
				if !more {
					a.write()
					return
				}
				a.settle(p)
				a.due += p.due
			case <-due:
				x.ends.begin()
			case <-passed:
				a.pass()
			}
		}
		if len(x.pending) == 0 || len(a.buf) > maxAnswers {
			a.write()
		}
	}
}

// pass says what has ended.
func (a *answers) pass() {
	a.acknowledge() // before: of what is not acknowledged nothing can have ended
	a.buf = a.x.ends.pass(a.buf)
}

// settle waits until p may be answered.
func (a *answers) settle(p pending) {
	if a.failed {
		return
	}
	if p.receipt != nil {
		if err := a.wait(p.receipt); errors.Is(err, errRefused) {
			a.failed = true
			a.x.refuse(err)
			return
		} else if err != nil {
			a.x.in.counters.errors("outcome_unknown").Inc()
			if a.failed = true; a.x.ctx.Err() == nil { // or else the session has ended, and the disk is slow
				a.x.in.events.notStored(a.x.conn.URL, err)
				a.x.fail()
			}
			return
		}
	}
	ended := a.x.ends.tell(nil, p.said)
	if p.number > 0 {
		a.number, a.size = p.number, a.size+p.size
	}
	if len(p.raw)+len(ended) > 0 {
		a.acknowledge()
		a.buf = append(append(a.buf, p.raw...), ended...)
	}
}

// acknowledge puts the ack that is due among what is to be written.
func (a *answers) acknowledge() {
	if a.number > 0 {
		a.buf = relaywire.Append(a.buf, &relaywire.Ack{Number: a.number})
		a.number = 0
	}
}

// lookAgain is how often it is looked whether the store is in trouble while a receipt is due.
const lookAgain = 500 * time.Millisecond

// wait waits for a receipt. What is due before goes out first, unless the
// receipt is there already. While the store takes nothing the sender is not kept waiting.
func (a *answers) wait(receipt inputs.Receipt) error {
	err := receipt.Wait(a.ask)
	if !errors.Is(err, context.Canceled) {
		return err
	}
	a.write()
	for began := time.Now(); ; {
		ctx, cancel := context.WithTimeout(a.x.ctx, lookAgain)
		err := receipt.Wait(ctx)
		cancel()
		if !errors.Is(err, context.DeadlineExceeded) || a.x.ctx.Err() != nil {
			return err
		}
		if trouble := a.x.in.trouble(); trouble != nil || time.Since(began) > a.x.in.patience.stored {
			return a.x.notStored(trouble)
		}
	}
}

// write writes what is due.
func (a *answers) write() {
	defer func() {
		a.x.wrote(a.due)
		a.due = 0
	}()
	told := a.number > 0 || a.size > 0
	a.acknowledge()
	if len(a.buf) == 0 || a.failed {
		return
	}
	a.x.inFlight.Add(-a.size) // before: the sender sends on as soon as it has read this
	a.size = 0
	if a.x.write(a.buf) != nil {
		a.failed = true
	} else if told {
		a.x.in.reached.At(inputs.Answered)
	}
	a.buf = a.buf[:0]
	if cap(a.buf) > maxAnswers {
		a.buf = nil
	}
}

// write writes whole frames. After an error nothing can be answered any more.
func (x *session) write(frames []byte) error {
	x.writing.Lock()
	defer x.writing.Unlock()
	if x.refusal.Load() != nil {
		return errGone // the last word is said
	}
	return x.writeOut(frames)
}

// writeOut does so; x.writing is held.
func (x *session) writeOut(frames []byte) error {
	_ = x.conn.Socket.SetWriteDeadline(time.Now().Add(x.in.patience.write)) // fails on a closed connection only
	if _, err := x.conn.Write(frames); err != nil {
		x.in.counters.errors("write").Inc()
		x.fail()
		return errGone
	}
	return nil
}
