package relay

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/runnel-log/runnel/agent/inputs"
	"github.com/runnel-log/runnel/internal/relaywire"
	"github.com/runnel-log/runnel/internal/tiers"
)

const (
	// handshakeTime bounds a TLS handshake.
	handshakeTime = 10 * time.Second
	// slowest is how many bytes a second of a frame must come once it is overdue, and brisk
	// how many where it holds memory that others wait for.
	slowest, brisk = 1 << 10, 1 << 20
	// fullPause is what an agent is asked to wait when nothing is taken.
	fullPause = time.Second
)

// Why a session ends, beside errors of the connection and those of relaywire.
var (
	errStopped  = errors.New("input is stopping")
	errBye      = errors.New("agent closed the session")
	errRefused  = errors.New("nothing is taken")
	errGone     = errors.New("answers cannot be written")
	errProtocol = errors.New("against the protocol")
	errVersion  = errors.New("no version of the protocol in common")
	errIdentity = errors.New("certificate does not speak for this agent")
	errOrigin   = errors.New("certificate does not speak for the agent that a record is from")
	errLoop     = errors.New("agents send to each other in a circle")
	errSlow     = errors.New("too slow")
)

// session is one connection. One goroutine reads it and another answers.
type session struct {
	in     *Input
	ctx    context.Context // of waiting for receipts
	cancel context.CancelFunc
	waits  context.Context // of waiting for others; ended by Stop, fence and fail
	give   context.CancelFunc
	conn   *inputs.Conn
	id     identity
	reader *relaywire.Reader

	writer relaywire.Writer // once it has said hello, as all of these
	hop    relaywire.Hop
	number relaywire.Session
	frames uint64    // data frames taken
	begun  bool      // the hello is welcome
	since  time.Time // that was
	bye    func()    // of the tiers
	ends   ends      // of what was answered

	arriving arriving

	pending  chan pending  // the reader closes it
	inFlight atomic.Int64  // bytes of payload that are not acknowledged
	due      atomic.Int64  // bytes of answers to questions that are not written
	fewer    chan struct{} // has one when they are fewer
	gone     chan struct{}
	goneOnce sync.Once

	writing sync.Mutex // one frame, or a row of them, at a time

	fenced  atomic.Bool           // a newer connection has taken over
	refusal atomic.Pointer[error] // why nothing is taken any more, once the agent has been told

	stopping chan struct{} // closed when the input stops
	stopOnce sync.Once
}

func (in *Input) newSession(ctx context.Context, c *inputs.Conn) *session {
	x := &session{in: in, conn: c, bye: func() {}, ends: ends{after: in.after},
		// Room for as many frames as a sender has under way while one commit is; then reading
		// waits. It is most of what an idle connection costs.
		pending: make(chan pending, 64), fewer: make(chan struct{}, 1), gone: make(chan struct{}), stopping: make(chan struct{})}
	x.ctx, x.cancel = context.WithCancel(ctx)
	x.waits, x.give = context.WithCancel(x.ctx)
	return x
}

// Serve speaks with one agent until the session ends, and closes it.
func (x *session) Serve() {
	defer x.conn.Socket.Close()
	defer x.cancel()
	if x.conn.TLS && !x.handshake() {
		return
	}
	x.arriving = arriving{x: x, began: time.Now(), first: true}
	x.reader = relaywire.NewReader(bufio.NewReaderSize(&x.arriving, 4<<10))
	x.reader.Budget = x.coming
	var answering sync.WaitGroup
	answering.Go(x.runAnswers)
	why := x.read()
	x.reader.Close()
	give := time.AfterFunc(stopTime, x.cancel) // of what the disk does not have by then
	close(x.pending)
	answering.Wait()
	give.Stop()
	if x.begun {
		x.in.known.end(x)
		x.bye()
	}
	x.tell(why)
	x.leave(why)
}

// handshake makes the connection one of TLS, and finds out who is there.
func (x *session) handshake() bool {
	state, ok := x.in.Handshake(x.ctx, x.conn, handshakeTime, x.stopping)
	if ok {
		x.id = identityOf(state.PeerCertificates[0], x.in.options.Relays)
	}
	return ok
}

// read takes frames until the session ends, and returns why.
func (x *session) read() error {
	for {
		x.arriving.next()
		m, err := x.reader.Next()
		switch {
		case x.fenced.Load():
			return relaywire.ErrFenced
		case inputs.Closed(x.stopping):
			return errStopped
		case inputs.Closed(x.gone):
			return errGone
		case x.refusal.Load() != nil:
			return *x.refusal.Load()
		case err != nil:
			return x.broken(err)
		}
		if err := x.take(m); err != nil {
			return err
		}
	}
}

// broken says what an error of reading means.
func (x *session) broken(err error) error {
	var timeout net.Error
	switch {
	case errors.As(err, &timeout) && timeout.Timeout(), errors.Is(err, os.ErrDeadlineExceeded):
		return fmt.Errorf("%w: nothing came in time", errSlow)
	case errors.Is(err, relaywire.ErrMalformed):
		return fmt.Errorf("%w: %w", errProtocol, err)
	}
	return err
}

// take obeys one message.
func (x *session) take(m relaywire.Message) error {
	hello, first := m.(*relaywire.Hello)
	if first == x.begun {
		return fmt.Errorf("%w: %T where a hello is due, or a second one", errProtocol, m)
	}
	switch m := m.(type) {
	case *relaywire.Hello:
		return x.hello(hello)
	case *relaywire.Ask:
		return x.ask(m)
	case *relaywire.Data:
		return x.data(m)
	case *relaywire.Report:
		if x.conn.TLS && !x.id.relay { // who may not pass on the records of others has nobody below it
			m.Below = nil
		}
		x.in.tiers.Reported(x.in.name, x.hop, m)
		x.lookForCopy()
		return x.write(relaywire.Append(nil, &relaywire.Path{Above: x.above()}))
	case *relaywire.Bye:
		return errBye
	}
	return fmt.Errorf("%w: %T from a sender", errProtocol, m)
}

// above is who is above the sender: this agent, and those above it.
func (x *session) above() []relaywire.Hop {
	above := x.in.tiers.Above()
	if len(above) == 0 {
		return []relaywire.Hop{x.in.own}
	}
	return above[:min(len(above), relaywire.MaxPath)]
}

// hello begins the session.
func (x *session) hello(h *relaywire.Hello) error {
	h.Name, h.Build = tiers.Short(h.Name), tiers.Short(h.Build)
	x.hop = relaywire.Hop{Agent: h.Agent, Name: h.Name}
	if h.Versions[0] > relaywire.Version || h.Versions[1] < relaywire.Version {
		return fmt.Errorf("%w: it speaks %d to %d, and this one %d", errVersion, h.Versions[0], h.Versions[1], relaywire.Version)
	}
	if h.Agent == x.in.own.Agent {
		return fmt.Errorf("%w: it is this agent itself, or has a copy of its data directory; send elsewhere, or give the copy a data directory of its own", errLoop)
	}
	above := x.above()
	if slices.ContainsFunc(above, func(hop relaywire.Hop) bool { return hop.Agent == h.Agent }) {
		return fmt.Errorf("%w: %s; have one of them send elsewhere, or, where one is a copy of another, give it a data directory of its own", errLoop, relaywire.Circle(x.hop, above))
	}
	if x.conn.TLS {
		if err := x.in.known.speaks(x.id, h.Agent); err != nil {
			return err
		}
	}
	x.writer, x.number = h.Writer, relaywire.Session(1+rand.Uint64N(1<<63))
	if err := x.in.known.begin(x); err != nil {
		return err
	}
	x.begun = true
	x.bye = x.in.tiers.Connected(x.in.name, x.hop, h.Build)
	x.identify()
	x.in.events.connected(x.conn.URL, string(x.conn.Peer.Text), x.hop, h.Build)
	return x.write(relaywire.Append(nil, &relaywire.Welcome{Version: relaywire.Version, Agent: x.in.own.Agent, Name: x.in.own.Name,
		Build: x.in.version, Session: x.number, Credit: uint64(x.in.options.Credit), Above: above}))
}

// identify notes who the certificate says the agent is.
func (x *session) identify() {
	differs, shared := x.in.tiers.Identified(x.hop, x.id.name)
	if differs {
		x.in.events.renamed(x.hop, x.id.name)
	}
	if shared {
		x.in.events.nameShared(x.hop, string(x.conn.Peer.Text))
	}
}

// lookForCopy says so if another run of the agent has connected since this one has, which
// speaks all the same: one that was killed says nothing any more.
func (x *session) lookForCopy() {
	if other := x.in.known.another(x); other != nil && x.in.tiers.Copied(x.writer.Agent) {
		x.in.events.copied(x.hop, string(x.conn.Peer.Text), string(other.conn.Peer.Text))
	}
}

// lock keeps others away from what is known of some agents, unless they keep this one away
// for too long: what they hold may wait for a disk.
func (x *session) lock(patience time.Duration, agents ...relaywire.Agent) (unlock func(), err error) {
	done := func() {}
	unlock, ok := x.in.known.LockUntil(func() <-chan struct{} {
		ctx, cancel := context.WithTimeout(x.waits, patience)
		done = cancel
		return ctx.Done()
	}, agents...)
	done()
	switch {
	case ok:
		return unlock, nil
	case x.waits.Err() != nil:
		return nil, x.ended()
	}
	err = fmt.Errorf("records of this agent that came before are not stored after %s", patience)
	x.in.counters.errors("not_taken").Inc()
	x.in.events.notTaken(x.conn.URL, err)
	return nil, fmt.Errorf("%w: %w", errRefused, err)
}

// ended says why the session waits for nothing more.
func (x *session) ended() error {
	switch {
	case x.fenced.Load():
		return relaywire.ErrFenced
	case inputs.Closed(x.stopping):
		return errStopped
	case x.refusal.Load() != nil:
		return *x.refusal.Load()
	}
	return errGone
}

// ask answers what is missing of a line, once what is known of it is on disk.
func (x *session) ask(a *relaywire.Ask) error {
	if !streamName.MatchString(a.Stream) {
		return fmt.Errorf("%w: %q is no name of a stream", errProtocol, a.Stream)
	}
	if err := x.answersDue(); err != nil {
		return err
	}
	defer x.inTime()()
	tell, last, err := x.in.known.ask(x, a)
	if err != nil {
		return x.broken(err)
	}
	p := pending{receipt: last, raw: relaywire.Append(nil, tell), said: there(a, tell)}
	p.due = int64(cap(p.raw) + 16*cap(p.said.parts))
	x.due.Add(p.due)
	x.pending <- p
	return nil
}

// arriving is the connection as it is read: every read has its time, and a frame that has
// begun must come at slowest at least.
type arriving struct {
	x     *session
	began time.Time // when the frame before was done
	came  int       // bytes since then
	first bool      // nothing but the hello is due

	waited   time.Duration // for memory, since then: that is not the peer's time
	holds    int           // bytes of the budget, for what comes
	favoured time.Time     // since when it may have more than there is; zero: it may not
	before   int           // what had come by then
}

// next says that a frame has been read, or that the first is due.
func (a *arriving) next() {
	if a.came > 0 {
		a.first, a.came, a.began, a.waited = false, 0, time.Now(), 0
	}
}

func (a *arriving) Read(p []byte) (int, error) {
	patience, now := &a.x.in.patience, time.Now()
	until := now.Add(patience.silent)
	if a.first {
		until = a.began.Add(patience.hello)
	}
	if !a.favoured.IsZero() {
		until = now.Add(patience.favour)
	}
	if a.late(now) {
		return 0, fmt.Errorf("%w: %d bytes of a frame in %s", errSlow, a.came, now.Sub(a.began).Round(time.Second))
	}
	a.x.setReadDeadline(until)
	n, err := a.x.conn.Read(p)
	a.came += n
	return n, err
}

// late reports whether a frame comes too slowly: in any case, while others wait for the memory
// that it holds, or with more memory than there is.
func (a *arriving) late(now time.Time) bool {
	patience, elapsed := &a.x.in.patience, now.Sub(a.began)-a.waited
	switch over := elapsed - patience.silent; {
	case a.came == 0 || over <= 0:
	case float64(a.came) < slowest*elapsed.Seconds():
		return true
	case a.holds > 0 && a.x.in.budget.waiting.Load() > 0 && float64(a.came) < brisk*over.Seconds():
		return true
	}
	over := now.Sub(a.favoured) - patience.favour
	return !a.favoured.IsZero() && float64(a.came-a.before) < brisk*over.Seconds()
}

// setReadDeadline is SetReadDeadline that does not undo Stop's.
func (x *session) setReadDeadline(t time.Time) {
	_ = x.conn.Socket.SetReadDeadline(t) // fails on a closed connection only, which the read reports
	if inputs.Closed(x.stopping) || inputs.Closed(x.gone) || x.fenced.Load() || x.refusal.Load() != nil {
		_ = x.conn.Socket.SetReadDeadline(time.Unix(1, 0))
	}
}

// wake has the reader look at what has happened.
func (x *session) wake() { _ = x.conn.Socket.SetReadDeadline(time.Unix(1, 0)) }

// Stop ends the session: what is taken is acknowledged once it is on disk.
func (x *session) Stop() {
	x.stopOnce.Do(func() { close(x.stopping) })
	x.give()
	x.wake()
}

// fence ends the session, as a newer one has taken over.
func (x *session) fence() {
	x.fenced.Store(true)
	x.give()
	x.wake()
}

// Abandon closes what did not end in time.
func (x *session) Abandon() {
	x.fail()
	_ = x.conn.Socket.Close() // it is given up
}

// fail says that nothing can be answered any more.
func (x *session) fail() {
	x.goneOnce.Do(func() { close(x.gone) })
	x.give()
	x.wake()
}

// ending is how a session ends for one reason.
type ending struct {
	why    error
	reason string // of the counter; empty: none
	code   relaywire.Code
	after  time.Duration
}

// endings are what a peer is told of why its session ends.
var endings = []ending{
	{errVersion, "version", relaywire.CodeVersion, 0},
	{errIdentity, "identity", relaywire.CodeIdentity, 0},
	{errOrigin, "origin", relaywire.CodeOrigin, 0},
	{errLoop, "loop", relaywire.CodeLoop, 0},
	{relaywire.ErrFenced, "fenced", relaywire.CodeFenced, 0},
	{relaywire.ErrKnown, "known", relaywire.CodeKnown, 0},
	{relaywire.ErrHole, "hole", relaywire.CodeHole, 0},
	{errRefused, "", relaywire.CodeFull, fullPause},
	{errProtocol, "protocol", relaywire.CodeMalformed, 0},
	{errSlow, "slow", relaywire.CodeClosing, 0},
	{errStopped, "", relaywire.CodeClosing, 0},
}

// endingOf finds how a session ends; nil: without a word.
func endingOf(why error) *ending {
	for i := range endings {
		if errors.Is(why, endings[i].why) {
			return &endings[i]
		}
	}
	return nil
}

// tell counts and logs why the session ended, where that is worth a word.
func (x *session) tell(why error) {
	peer := string(x.conn.Peer.Text)
	e := endingOf(why)
	if e != nil && e.reason != "" {
		x.in.counters.errors(e.reason).Inc()
	}
	switch {
	case errors.Is(why, errProtocol), errors.Is(why, relaywire.ErrHole), errors.Is(why, relaywire.ErrKnown):
		x.in.events.protocolBroken(x.conn.URL, peer, why)
	case errors.Is(why, errSlow):
		x.in.events.tooSlow(x.conn.URL, peer, why)
	case errors.Is(why, errVersion), errors.Is(why, errIdentity), errors.Is(why, errOrigin), errors.Is(why, errLoop):
		x.in.events.refused(x.conn.URL, peer, x.hop, why)
	case errors.Is(why, errGone), errors.Is(why, errRefused): // told where it happened
	case e != nil, errors.Is(why, errBye), errors.Is(why, io.EOF), errors.Is(why, io.ErrUnexpectedEOF):
	default:
		x.in.counters.errors("read").Inc() // reset by the peer, mostly
	}
	if x.begun {
		x.in.events.disconnected(x.conn.URL, peer, x.hop, why)
	}
}

// leave says why this end closes, and reads what the peer has still on its way: closed
// with bytes unread, the kernel resets a connection, and answers on their way are lost.
func (x *session) leave(why error) {
	if inputs.Closed(x.gone) || errors.Is(why, io.EOF) || errors.Is(why, io.ErrUnexpectedEOF) {
		return
	}
	_ = x.conn.Socket.SetDeadline(time.Now().Add(x.in.patience.linger)) // fails on a closed connection only
	if x.refusal.Load() == nil {
		if _, err := x.conn.Write(lastWord(why)); err != nil {
			return // it notices anyway
		}
	}
	if half, ok := x.conn.Conn.(interface{ CloseWrite() error }); !ok || half.CloseWrite() != nil {
		return
	}
	_, _ = io.Copy(io.Discard, x.conn.Socket) // until the peer closes too, or has had its time
}
