package relay

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/runnel-log/runnel/forwarders"
	"github.com/runnel-log/runnel/internal/relaywire"
	"github.com/runnel-log/runnel/internal/tlsconf"
)

var (
	errHungUp   = errors.New("receiver closed the connection")
	errBye      = errors.New("receiver says that it ends")
	errSilent   = errors.New("receiver does not say a word")
	errStuck    = errors.New("receiver acknowledges nothing")
	errProtocol = errors.New("receiver breaks the rules of the relay")
	errLoop     = errors.New("records would go round in a circle")
	errLong     = errors.New("too many agents above")
)

const (
	reportEvery = 10 * time.Second // and so often a receiver that lives says something
	writePiece  = 16 << 10         // bytes after which a write has made progress
	keptFrames  = 1 << 20          // bytes of room for frames that are kept for the next
	goodbye     = 100 * time.Millisecond
)

// conn is one session, from its dial to its end.
type conn struct {
	url      string
	raw      net.Conn
	out      net.Conn // raw, or TLS over it
	in       *relaywire.Reader
	timeout  time.Duration
	writer   relaywire.Writer // in whose name it is
	name     string           // of that agent
	welcome  *relaywire.Welcome
	way      atomic.Int64                  // there and back: the quickest answer yet, of those that wait for no disk
	told     func([]relaywire.Hop)         // of a new path
	ending   func(line, relaywire.Ranges)  // of what has come to its end
	running  sync.WaitGroup                // its goroutines
	ended    chan struct{}                 // closed by fail
	courses  map[line]*course              // Deliver's own
	held     map[string]map[uint32]holding // by stream and epoch, while all lines are asked for: likewise
	behind   map[string]uint64             // by stream, where what the receiver has lost begins: Deliver's own
	reported map[string]bool               // streams of behind that the agent knows of: likewise
	lostOwn  map[string]bool               // streams of behind of which the receiver itself had something: likewise

	forgotten map[line]relaywire.Ranges // acknowledged, and too long ago for the receiver to know of: likewise

	behindFirst []*forwarders.Behind // behind at the beginning; not changed any more

	writing sync.Mutex // one message at a time; taken before mu
	frames  []byte     // room for one; guarded by writing

	mu      sync.Mutex
	changed *sync.Cond // on mu: anything below did
	// guarded by mu:
	sent       uint64                    // number of the last frame
	acked      uint64                    // all up to it are on disk
	open       []inFlight                // those in between
	inFlight   int                       // what they cost together
	has        map[line]relaywire.Ranges // what the receiver has said is there, and has acknowledged
	heard      time.Time                 // when the receiver last said something
	moved      time.Time                 // when bytes last left, or an ack came
	reportedAt time.Time                 // when the report left that no path has answered; zero: there is none
	asked      []*relaywire.Ask          // open questions
	tells      []*relaywire.Tell         // answers nobody has taken
	err        error                     // why the session is over
	ours       bool                      // that was our own wish, and no fault of the receiver's
}

// dialing is what a session is made with.
type dialing struct {
	url, network, address string
	resolver              *net.Resolver
	tls                   *tls.Config // nil: in the clear
	hello                 relaywire.Hello
	timeout               time.Duration
	cert                  string // the file of our certificate
	told                  func([]relaywire.Hop)
	ending                func(line, relaywire.Ranges)
}

// dial connects, shakes hands, says hello and takes the welcome.
func dial(ctx context.Context, d *dialing) (*conn, error) {
	dialer := net.Dialer{Resolver: d.resolver, KeepAliveConfig: net.KeepAliveConfig{
		Enable: true, Idle: 15 * time.Second, Interval: 5 * time.Second, Count: 3}}
	raw, err := dialer.DialContext(ctx, d.network, d.address)
	if err != nil {
		return nil, err
	}
	keepShort(raw)
	now := time.Now()
	c := &conn{url: d.url, raw: raw, out: raw, timeout: d.timeout, writer: d.hello.Writer, name: d.hello.Name, told: d.told, ending: d.ending, has: make(map[line]relaywire.Ranges), ended: make(chan struct{}), heard: now, moved: now,
		courses: make(map[line]*course), behind: make(map[string]uint64), reported: make(map[string]bool), lostOwn: make(map[string]bool), forgotten: make(map[line]relaywire.Ranges)}
	c.changed = sync.NewCond(&c.mu)
	stop := context.AfterFunc(ctx, func() { raw.Close() })
	if d.tls != nil {
		secure := tls.Client(raw, d.tls)
		c.out, err = secure, secure.HandshakeContext(ctx)
	}
	if err == nil {
		c.in = relaywire.NewReader(c.out)
		err = c.begin(&d.hello)
	}
	if !stop() && err == nil {
		err = context.Cause(ctx)
	}
	if err != nil {
		raw.Close()
		if d.tls != nil {
			err = tlsconf.OfPeer(tlsconf.OfOwn(err, d.cert, d.tls))
		}
		if ctx.Err() != nil {
			err = fmt.Errorf("no session in time: %w", err)
		}
		return nil, err
	}
	c.running.Go(c.runReader)
	return c, nil
}

// begin says hello and looks at the answer.
func (c *conn) begin(hello *relaywire.Hello) error {
	said := time.Now()
	if _, err := c.out.Write(relaywire.Append(nil, hello)); err != nil {
		return err
	}
	m, err := c.in.Next()
	c.way.Store(int64(time.Since(said)))
	if err != nil {
		return reading(err)
	}
	switch m := m.(type) {
	case *relaywire.Welcome:
		c.welcome = m
	case *relaywire.Nack:
		return refusal(m)
	default:
		return fmt.Errorf("%w: %T where a welcome is due", errProtocol, m)
	}
	w := c.welcome
	if w.Version < hello.Versions[0] || w.Version > hello.Versions[1] || w.Session == 0 {
		return fmt.Errorf("%w: a welcome to version %d, session %d", errProtocol, w.Version, w.Session)
	}
	if w.Agent == hello.Agent {
		return fmt.Errorf("%w: the receiver is this agent itself, or has a copy of its data directory; send elsewhere, or give the copy a data directory of its own", errLoop)
	}
	return c.path(w.Above)
}

// path looks at who is above, and hands it on.
func (c *conn) path(above []relaywire.Hop) error {
	if slices.ContainsFunc(above, func(h relaywire.Hop) bool { return h.Agent == c.writer.Agent }) {
		return fmt.Errorf("%w: %s; have one of them send elsewhere, or, where one is a copy of another, give it a data directory of its own",
			errLoop, relaywire.Circle(relaywire.Hop{Agent: c.writer.Agent, Name: c.name}, above))
	}
	if len(above) > relaywire.MaxPath {
		return errLong
	}
	c.told(above)
	return nil
}

// reading says what an error of reading means.
func reading(err error) error {
	switch {
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return errHungUp
	case errors.Is(err, relaywire.ErrMalformed):
		return fmt.Errorf("%w: %w", errProtocol, err)
	}
	return err
}

// refusal is the error that a Nack is. Many are asked to wait at once, and shall not come
// back at once.
func refusal(n *relaywire.Nack) error {
	var err error = n
	switch n.Code {
	case relaywire.CodeFenced:
		err = fmt.Errorf("%w; is there a second forwarder to this receiver, or a copy of this machine?", n)
	case relaywire.CodeIdentity:
		err = fmt.Errorf("%w; give this agent the certificate that it had, or a data directory of its own", n)
	case relaywire.CodeOrigin:
		err = fmt.Errorf("%w; issue its certificate with --relay", n)
	}
	if n.After > 0 {
		return &forwarders.Retry{After: n.After + rand.N(n.After), Err: err}
	}
	return err
}

// runReader takes what the receiver says until the session ends.
func (c *conn) runReader() {
	defer c.in.Close()
	for {
		m, err := c.in.Next()
		if err != nil {
			c.fail(reading(err))
			return
		}
		if err := c.take(m); err != nil {
			c.fail(err)
			return
		}
	}
}

// take obeys one message.
func (c *conn) take(m relaywire.Message) error {
	if p, ok := m.(*relaywire.Path); ok {
		if err := c.path(p.Above); err != nil {
			return err
		}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	defer c.changed.Broadcast()
	c.heard = time.Now()
	switch m := m.(type) {
	case *relaywire.Ack:
		return c.acknowledge(m.Number)
	case *relaywire.Tell:
		if len(c.tells) >= len(c.asked) {
			return fmt.Errorf("%w: an answer to no question", errProtocol)
		}
		c.there(c.asked[len(c.tells)], m)
		c.tells, c.moved = append(c.tells, m), c.heard
	case *relaywire.Ended:
		return c.over(m)
	case *relaywire.Path:
		if !c.reportedAt.IsZero() { // a busy machine is no long way
			c.way.Store(min(c.way.Load(), int64(c.heard.Sub(c.reportedAt))))
			c.reportedAt = time.Time{}
		}
	case *relaywire.Nack:
		return refusal(m)
	case *relaywire.Bye:
		return errBye
	default:
		return fmt.Errorf("%w: %T from a receiver", errProtocol, m)
	}
	return nil
}

// acknowledge takes an ack; c.mu is held.
func (c *conn) acknowledge(number uint64) error {
	if number > c.sent {
		return fmt.Errorf("%w: frame %d is acknowledged, and %d was the last", errProtocol, number, c.sent)
	}
	for ; c.acked < number; c.acked++ {
		f := &c.open[0]
		c.inFlight -= f.cost
		c.has[f.line] = c.has[f.line].Add(f.Range)
		c.open = c.open[1:]
		c.moved = c.heard
	}
	return nil
}

// runReports tells the receiver how this agent is, and gives up one that lives no more.
func (c *conn) runReports(report func() *relaywire.Report) {
	every := min(reportEvery, c.timeout/3)
	tick := time.NewTicker(every)
	defer tick.Stop()
	for {
		r := report()
		c.mu.Lock()
		if c.reportedAt.IsZero() {
			c.reportedAt = time.Now()
		}
		c.mu.Unlock()
		if err := c.write(r); err != nil {
			return
		}
		select {
		case <-c.ended:
			return
		case <-tick.C:
		}
	}
}

// runWatch ends a session whose receiver says nothing, or does nothing, for too long.
func (c *conn) runWatch() {
	tick := time.NewTicker(max(time.Millisecond, min(c.timeout/8, time.Second)))
	defer tick.Stop()
	for {
		select {
		case <-c.ended:
			return
		case <-tick.C:
		}
		if err := c.late(time.Now()); err != nil {
			c.fail(err)
		}
	}
}

// late returns what the receiver owes.
func (c *conn) late(now time.Time) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	busy := c.acked < c.sent || len(c.asked) > 0
	switch quiet := now.Sub(c.moved) > c.timeout; {
	case quiet && now.Sub(c.heard) > c.timeout:
		return fmt.Errorf("%w for %s", errSilent, c.timeout)
	case quiet && busy:
		return fmt.Errorf("%w for %s", errStuck, c.timeout)
	}
	return nil
}

// write writes one message, and ends the session where that fails.
func (c *conn) write(m relaywire.Message) error {
	c.writing.Lock()
	defer c.writing.Unlock()
	frames := relaywire.Append(c.frames[:0], m)
	if c.frames = frames; cap(frames) > keptFrames {
		c.frames = nil
	}
	return c.writeFrames(frames, true)
}

// writeFrames writes what is to be on the wire in pieces, each of which is progress if
// that counts; writing is held.
func (c *conn) writeFrames(frames []byte, counts bool) error {
	for len(frames) > 0 {
		n := min(len(frames), writePiece)
		if _, err := c.out.Write(frames[:n]); err != nil {
			c.fail(err)
			return c.broken()
		}
		frames = frames[n:]
		if counts && len(frames) > 0 {
			c.mu.Lock()
			c.moved = time.Now()
			c.mu.Unlock()
		}
	}
	return nil
}

// send gives a frame its number and writes it, once the receiver's credit allows that. A
// frame that was given a number may have arrived, also after an error.
func (c *conn) send(d *relaywire.Data) error {
	c.mu.Lock()
	for c.err == nil && c.inFlight > 0 && uint64(c.inFlight)+uint64(d.Cost()) > c.welcome.Credit {
		c.changed.Wait()
	}
	if c.err != nil {
		defer c.mu.Unlock()
		return c.err
	}
	if c.acked == c.sent {
		c.moved = time.Now()
	}
	c.sent++
	d.Number = c.sent
	c.open = append(c.open, inFlight{d.Cost(), line{d.Stream, d.Epoch}, d.Range})
	c.inFlight += d.Cost()
	c.mu.Unlock()
	return c.write(d)
}

// ask asks questions and returns the answers, in order.
func (c *conn) ask(questions ...*relaywire.Ask) ([]*relaywire.Tell, error) {
	if len(questions) == 0 {
		return nil, nil
	}
	c.mu.Lock()
	if len(c.asked) == 0 && c.acked == c.sent {
		c.moved = time.Now()
	}
	c.asked = questions
	c.mu.Unlock()
	for _, q := range questions {
		if err := c.write(q); err != nil {
			return nil, err
		}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	for c.err == nil && len(c.tells) < len(questions) {
		c.changed.Wait()
	}
	if c.err != nil {
		return nil, c.err
	}
	tells := c.tells
	c.asked, c.tells = nil, nil
	return tells, nil
}

// wait waits until a frame is acknowledged, and returns how far that has come.
func (c *conn) wait(ctx context.Context, number uint64) (acked uint64, err error) {
	defer context.AfterFunc(ctx, func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		c.changed.Broadcast()
	})()
	c.mu.Lock()
	defer c.mu.Unlock()
	for c.acked < number && c.err == nil && ctx.Err() == nil {
		c.changed.Wait()
	}
	switch {
	case c.acked >= number:
		return c.acked, nil
	case c.err != nil:
		return c.acked, c.err
	}
	return c.acked, context.Cause(ctx)
}

// fail ends the session. Only the first call counts.
func (c *conn) fail(err error) { c.end(err, false) }

// end ends the session, by our own wish or not.
func (c *conn) end(err error, ours bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.err != nil {
		return
	}
	c.err, c.ours = err, ours
	close(c.ended)
	c.changed.Broadcast()
	// Not through TLS, whose close would wait for a peer that does not read.
	_ = c.raw.Close() // nothing is relied upon any more
}

// broken returns why the session is over, nil if it is not.
func (c *conn) broken() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.err
}

// faultless reports whether the session ended by our own wish.
func (c *conn) faultless() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.ours
}

// close says goodbye where that cannot block, and ends the session.
func (c *conn) close() {
	c.mu.Lock()
	idle := c.err == nil && c.acked == c.sent
	c.mu.Unlock()
	if idle && c.writing.TryLock() {
		_ = c.raw.SetWriteDeadline(time.Now().Add(goodbye)) // the receiver notices anyway
		_, _ = c.out.Write(relaywire.Append(nil, new(relaywire.Bye)))
		c.writing.Unlock()
	}
	c.end(errClosed, true)
	c.running.Wait()
}

// explain adds the place to an error of the session.
func (c *conn) explain(err error) error { return fmt.Errorf("%s: %w", c.url, err) }
