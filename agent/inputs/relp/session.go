package relp

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/runnel-log/runnel/agent/inputs"
	"github.com/runnel-log/runnel/internal/relp"
)

const (
	// handshakeTime bounds a TLS handshake.
	handshakeTime = 5 * time.Second
	// lingerTime is how long a connection that we close is read to its end: closed
	// with bytes unread, the kernel resets it, and answers on their way are lost.
	lingerTime = 500 * time.Millisecond
	// slowest is how many bytes a second of a frame must come once it is overdue.
	slowest = 1 << 10
	// maxFrame is how long a message may be that is cut to max_message; a longer
	// one is taken for an attack.
	maxFrame = 64 << 20
)

// Why a session ends, beside errors of the connection.
var (
	errStopped  = errors.New("input is stopping")
	errClosed   = errors.New("client closed the session")
	errAborted  = errors.New("client aborted the session")
	errRefused  = errors.New("pipeline takes nothing")
	errGone     = errors.New("answers cannot be written")
	errProtocol = errors.New("against the protocol")
	errSlow     = errors.New("too slow")
)

// session is one connection. One goroutine reads it and another answers.
type session struct {
	in     *Input
	ctx    context.Context // of emitting; outlives the input's by the time to drain
	conn   *inputs.Conn
	reader *relp.Reader

	opened  bool
	next    uint32    // transaction number of the next command
	began   time.Time // when the connection was made, or the frame under way began
	partly  bool      // a frame is under way since began
	collect collector
	emitted tail
	repeat  match

	pending  chan pending // the reader closes it
	frames   atomic.Int64 // syslog frames that wait for their answer
	inFlight atomic.Int64 // bytes of their records
	settled  chan struct{}
	gone     chan struct{} // closed when nothing can be answered any more
	goneOnce sync.Once

	stopping chan struct{} // closed when the input stops
	stopOnce sync.Once
}

func (in *Input) newSession(ctx context.Context, c *inputs.Conn) *session {
	x := &session{in: in, ctx: ctx, conn: c, next: max(in.options.first, 1), began: time.Now(),
		// Room for many small batches while one commit is on its way; then reading waits.
		pending: make(chan pending, 256), settled: make(chan struct{}, 1), gone: make(chan struct{}), stopping: make(chan struct{})}
	x.collect.init(x)
	return x
}

// Serve speaks with one client until the session ends, and closes it.
func (x *session) Serve() {
	defer x.conn.Socket.Close()
	if x.conn.TLS {
		if _, ok := x.in.Handshake(x.ctx, x.conn, handshakeTime, x.stopping); !ok {
			return
		}
	}
	x.reader = relp.NewReader(x.conn)
	x.reader.Budget(x.room)
	defer x.reader.Release()
	var answering sync.WaitGroup
	answering.Go(x.runAnswers)
	why := x.read()
	if !errors.Is(why, errClosed) && !errors.Is(why, errStopped) {
		x.in.repeats.remember(string(x.conn.Peer.Text), x.emitted.list(), time.Now())
	}
	if errors.Is(why, errRefused) {
		x.pause()
	}
	close(x.pending)
	answering.Wait()
	x.tell(why)
	x.leave(why)
}

// read takes frames until the session ends, and returns why. It emits when a
// batch is full and when nothing more has come: a lone message is stored at
// once, and a busy client's whole window with one commit.
func (x *session) read() error {
	for {
		if inputs.Closed(x.stopping) {
			return x.after(errStopped)
		}
		f, ok, err := x.reader.Take()
		switch {
		case err != nil:
			return x.after(fmt.Errorf("%w: %w", errProtocol, err))
		case !ok:
			if err := x.collect.flush(); err != nil {
				return err
			}
			if err := x.fill(); err != nil {
				return err
			}
			continue
		}
		x.partly = false
		if err := x.take(f); err != nil {
			return x.after(err)
		}
	}
}

// after emits what came before the session's end, and returns why it ended.
func (x *session) after(why error) error {
	if err := x.collect.flush(); err != nil {
		return err
	}
	return why
}

// take obeys one frame.
func (x *session) take(f relp.Frame) error {
	if f.Txnr == 0 {
		return x.hint(f)
	}
	if f.Txnr != x.next {
		return fmt.Errorf("%w: transaction %d where %d was due", errProtocol, f.Txnr, x.next)
	}
	x.next = relp.Next(x.next)
	switch string(f.Command) {
	case relp.Syslog:
		if !x.opened {
			break
		}
		return x.collect.add(f)
	case relp.Open:
		if x.opened {
			break
		}
		return x.open(f)
	case relp.Close:
		if !x.opened {
			break
		}
		if err := x.answer(relp.AppendOK(nil, f.Txnr)); err != nil {
			return err
		}
		return errClosed
	case relp.Abort:
		return errAborted
	}
	if !x.opened {
		return fmt.Errorf("%w: command %q before open", errProtocol, f.Command)
	}
	return fmt.Errorf("%w: command %q", errProtocol, f.Command)
}

// hint takes what wants no answer. One that we do not know is left out.
func (x *session) hint(f relp.Frame) error {
	switch string(f.Command) {
	case relp.Open, relp.Syslog, relp.Close, relp.Rsp, relp.StartTLS:
		return fmt.Errorf("%w: command %q as a hint", errProtocol, f.Command)
	case relp.Abort, relp.ServerClose:
		return errAborted
	}
	return nil
}

// open answers the client's offers with ours.
func (x *session) open(f relp.Frame) error {
	offers, err := relp.ParseOffers(f.Data)
	if err == nil && !offers.Speaks(relp.Syslog) {
		err = fmt.Errorf("%w: the command syslog is not among them", relp.ErrOffers)
	}
	if err != nil {
		x.pending <- pending{raw: relp.AppendError(nil, f.Txnr, "offers not understood, or without the command syslog")}
		return fmt.Errorf("%w: %w", errProtocol, err)
	}
	ours := relp.Offers{Version: min(offers.Version, relp.MaxVersion), Software: []string{"runnel"}, Commands: []string{relp.Syslog}}
	x.pending <- pending{raw: relp.AppendOpened(nil, f.Txnr, &ours)}
	x.opened = true
	x.reader.Allow(int(x.in.options.MaxMessage), max(maxFrame, int(x.in.options.MaxMessage)))
	x.repeat = x.in.repeats.expect(string(x.conn.Peer.Text), time.Now())
	return nil
}

// answer has a frame written after all that is due before it.
func (x *session) answer(frame []byte) error {
	if err := x.collect.flush(); err != nil {
		return err
	}
	x.pending <- pending{raw: frame}
	return nil
}

// fill reads once, for as long as the peer may take.
func (x *session) fill() error {
	p := &x.in.patience
	now := time.Now()
	var until time.Time
	switch begun := x.reader.Begun(); {
	case !x.opened:
		until = x.began.Add(p.open)
	case begun && !x.partly:
		x.partly, x.began = true, now
		fallthrough
	case begun:
		until = now.Add(p.frame)
	case x.reader.Size() > idleBuffer:
		until = now.Add(p.quiet)
	}
	x.setReadDeadline(until)
	err := x.reader.Fill()
	switch {
	case err == nil:
		x.collect.now = x.in.now().UnixNano()
		return x.overdue()
	case inputs.Closed(x.stopping):
		return errStopped
	case inputs.Closed(x.gone):
		return errGone
	case !errors.Is(err, os.ErrDeadlineExceeded):
		return err
	case !x.opened:
		return fmt.Errorf("%w: no open within %s", errSlow, p.open)
	case x.reader.Begun():
		return fmt.Errorf("%w: nothing more of a frame came for %s", errSlow, p.frame)
	}
	x.reader.Shrink()
	return nil
}

// idleBuffer is the buffer that a silent connection keeps.
const idleBuffer = 4 << 10

// overdue complains about a frame that trickles in.
func (x *session) overdue() error {
	if !x.partly {
		return nil
	}
	elapsed := time.Since(x.began)
	if elapsed > x.in.patience.frame && float64(x.reader.Came()) < slowest*elapsed.Seconds() {
		return fmt.Errorf("%w: %d bytes of a frame in %s", errSlow, x.reader.Came(), elapsed.Round(time.Second))
	}
	return nil
}

// setReadDeadline is SetReadDeadline that does not undo Stop's.
func (x *session) setReadDeadline(t time.Time) {
	_ = x.conn.Socket.SetReadDeadline(t) // fails on a closed connection only, which the read reports
	if inputs.Closed(x.stopping) || inputs.Closed(x.gone) {
		_ = x.conn.Socket.SetReadDeadline(time.Unix(1, 0))
	}
}

// Stop ends the session: what is emitted is answered, what is not is left to
// the client.
func (x *session) Stop() {
	x.stopOnce.Do(func() { close(x.stopping) })
	_ = x.conn.Socket.SetReadDeadline(time.Unix(1, 0)) // wakes the reader
}

// Abandon closes what did not end in time.
func (x *session) Abandon() {
	x.fail()
	_ = x.conn.Socket.Close() // it is given up
}

// fail says that nothing can be answered any more.
func (x *session) fail() {
	x.goneOnce.Do(func() { close(x.gone) })
	_ = x.conn.Socket.SetReadDeadline(time.Unix(1, 0)) // wakes the reader
}

// pause waits before the connection is closed, so that a client that comes back
// at once does not keep us busy with it.
func (x *session) pause() {
	select {
	case <-time.After(x.in.patience.pause):
	case <-x.stopping:
	}
}

// tell counts and logs why the session ended, where that is worth a word.
func (x *session) tell(why error) {
	switch {
	case errors.Is(why, errProtocol):
		x.in.counters.errProtocol.Inc()
		x.in.events.protocolBroken(x.conn.URL, string(x.conn.Peer.Text), why)
	case errors.Is(why, errSlow):
		x.in.counters.errSlow.Inc()
		x.in.events.tooSlow(x.conn.URL, string(x.conn.Peer.Text), why)
	case errors.Is(why, errGone), errors.Is(why, errRefused): // told where it happened
	case errors.Is(why, errStopped), errors.Is(why, errClosed), errors.Is(why, errAborted), errors.Is(why, io.EOF), errors.Is(why, io.ErrUnexpectedEOF):
	default:
		x.in.counters.errRead.Inc() // reset by the peer, mostly
	}
}

// leave says that the server closes, and reads what the peer has still on its way.
func (x *session) leave(why error) {
	if errors.Is(why, io.EOF) || errors.Is(why, io.ErrUnexpectedEOF) {
		return
	}
	if inputs.Closed(x.gone) {
		return
	}
	_ = x.conn.Socket.SetDeadline(time.Now().Add(lingerTime)) // fails on a closed connection only
	if _, err := x.conn.Write(relp.AppendFrame(nil, 0, relp.ServerClose, nil)); err != nil {
		return // a hint: the client notices anyway
	}
	if half, ok := x.conn.Conn.(interface{ CloseWrite() error }); !ok || half.CloseWrite() != nil {
		return
	}
	_, _ = io.Copy(io.Discard, x.conn.Socket) // until the peer closes too, or has had its time
}
