package relp

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"sync"
	"time"

	"github.com/runnel-log/runnel/internal/relp"
)

var (
	errHungUp      = errors.New("receiver closed the connection")
	errServerClose = errors.New("receiver says that it closes")
	errSilent      = errors.New("receiver does not answer")
	errProtocol    = errors.New("receiver does not speak RELP")
)

// conn is one session, from its dial to its end. Its messages are numbered from 0;
// the first of them has transaction 2, after the open.
type conn struct {
	raw     net.Conn
	out     net.Conn // raw, or TLS over it
	in      *relp.Reader
	reader  sync.WaitGroup
	timeout time.Duration

	mu      sync.Mutex
	changed *sync.Cond // on mu: anything below did
	// guarded by mu:
	next    uint64            // number of the next message
	done    uint64            // all before it have an answer
	early   map[uint64]bool   // answered before its turn
	refused map[uint64]string // what was not answered with 200, and what with
	good    uint64            // one more than the last that was answered with 200
	moved   time.Time         // when the last answer came, or what waits for one was sent
	err     error             // why the session is over
}

// firstMessage is the transaction number of message 0.
const firstMessage = 2

// txnr returns the transaction number of a message.
func txnr(message uint64) uint32 { return uint32((firstMessage-1+message)%relp.MaxTxnr) + 1 }

// dial connects, shakes hands, opens a session and starts its reader.
func dial(ctx context.Context, resolver *net.Resolver, network, address string, config *tls.Config, offers *relp.Offers, timeout time.Duration) (*conn, error) {
	dialer := net.Dialer{Resolver: resolver, KeepAliveConfig: net.KeepAliveConfig{
		Enable: true, Idle: 15 * time.Second, Interval: 5 * time.Second, Count: 3}}
	raw, err := dialer.DialContext(ctx, network, address)
	if err != nil {
		return nil, err
	}
	c := &conn{raw: raw, out: raw, timeout: timeout, early: make(map[uint64]bool), refused: make(map[uint64]string), moved: time.Now()}
	c.changed = sync.NewCond(&c.mu)
	stop := context.AfterFunc(ctx, func() { raw.Close() })
	if config != nil {
		secure := tls.Client(raw, config)
		c.out, err = secure, secure.HandshakeContext(ctx)
	}
	if err == nil {
		c.in = relp.NewReader(c.out)
		err = c.open(offers)
	}
	if !stop() && err == nil {
		err = context.Cause(ctx)
	}
	if err != nil {
		raw.Close()
		if ctx.Err() != nil {
			err = fmt.Errorf("no session in time: %w", err)
		}
		return nil, err
	}
	c.reader.Go(c.runReader)
	return c, nil
}

// open makes our offers and looks at the receiver's.
func (c *conn) open(offers *relp.Offers) error {
	if _, err := c.out.Write(relp.AppendOpen(nil, firstMessage-1, offers)); err != nil {
		return err
	}
	f, err := c.in.Next()
	if errors.Is(err, relp.ErrFrame) {
		return fmt.Errorf("%w: %w", errProtocol, err)
	}
	if err != nil {
		return hungUp(err)
	}
	if f.Txnr != firstMessage-1 || string(f.Command) != relp.Rsp {
		return fmt.Errorf("%w: open was answered with transaction %d, command %q", errProtocol, f.Txnr, f.Command)
	}
	answer, err := relp.ParseAnswer(f.Data)
	if err != nil {
		return fmt.Errorf("%w: %w", errProtocol, err)
	}
	if answer.Code != relp.CodeOK {
		return fmt.Errorf("receiver refused the session: %d %q", answer.Code, answer.Text)
	}
	theirs, err := relp.ParseOffers(answer.Data)
	switch {
	case err != nil:
		return fmt.Errorf("%w: %w", errProtocol, err)
	case theirs.Version > offers.Version:
		return fmt.Errorf("receiver speaks only RELP version %d", theirs.Version)
	case !theirs.Speaks(relp.Syslog):
		return errors.New("receiver takes no syslog messages")
	}
	return nil
}

// runReader takes answers until the session ends.
func (c *conn) runReader() {
	for {
		if err := c.answers(); err != nil {
			c.fail(err)
			return
		}
		_ = c.raw.SetReadDeadline(c.deadline()) // fails on a closed connection only, which the read reports
		if err := c.in.Fill(); err != nil && !c.patient(err) {
			c.fail(hungUp(err))
			return
		}
	}
}

// deadline returns when to look again whether the receiver still answers.
func (c *conn) deadline() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.done < c.next {
		return c.moved.Add(c.timeout)
	}
	return time.Now().Add(c.timeout)
}

// patient reports whether an error of reading is only that nothing came, and
// nothing was due.
func (c *conn) patient(err error) bool {
	if !errors.Is(err, os.ErrDeadlineExceeded) {
		return false
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.done == c.next || time.Since(c.moved) < c.timeout
}

func hungUp(err error) error {
	switch {
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return errHungUp
	case errors.Is(err, os.ErrDeadlineExceeded):
		return errSilent
	}
	return err
}

// answers takes what answers have come.
func (c *conn) answers() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	defer c.changed.Broadcast()
	for {
		f, ok, err := c.in.Take()
		if err != nil {
			return fmt.Errorf("%w: %w", errProtocol, err)
		}
		if !ok {
			return nil
		}
		if err := c.answer(f); err != nil {
			return err
		}
	}
}

// answer takes one; c.mu is held. The specification wants them in order, and also
// says that they may come in any: so any it is.
func (c *conn) answer(f relp.Frame) error {
	if f.Txnr == 0 {
		if string(f.Command) == relp.ServerClose {
			return errServerClose
		}
		return nil // a hint that we do not know
	}
	if string(f.Command) != relp.Rsp || f.Txnr > relp.MaxTxnr {
		return fmt.Errorf("%w: command %q", errProtocol, f.Command)
	}
	message := c.done + uint64(relp.Distance(txnr(c.done), f.Txnr))
	if message >= c.next || c.early[message] {
		return fmt.Errorf("%w: an answer to transaction %d, which waits for none", errProtocol, f.Txnr)
	}
	answer, err := relp.ParseAnswer(f.Data)
	if err != nil {
		return fmt.Errorf("%w: %w", errProtocol, err)
	}
	if answer.Code == relp.CodeOK {
		c.good = max(c.good, message+1)
	} else {
		c.refused[message] = fmt.Sprintf("%d %s", answer.Code, answer.Text)
	}
	c.moved = time.Now()
	if message > c.done {
		c.early[message] = true
		return nil
	}
	for c.done++; c.early[c.done]; c.done++ {
		delete(c.early, c.done)
	}
	return nil
}

// reserve waits until the window has room for some of want messages, and returns
// how many and the transaction number of the first. It does not wait for every
// single answer: a quarter of the window goes out with one write.
func (c *conn) reserve(a *ack, want, window int) (first uint32, n int, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for {
		room := window - int(c.next-c.done)
		switch {
		case c.err != nil:
			return 0, 0, c.err
		case a.dropped || c.stuck():
			return 0, 0, errStuck
		case room >= min(want, max(1, window/4)):
			if n = min(want, room); len(c.refused) > 0 {
				n = 1
			}
			if c.next == c.done {
				c.moved = time.Now()
			}
			if a.sent == 0 {
				a.first = c.next
			}
			first = txnr(c.next)
			c.next += uint64(n)
			a.sent += n
			return first, n, nil
		}
		c.changed.Wait()
	}
}

// stuck reports whether a message was refused and one after it has been sent, which
// tells whether the receiver takes others; c.mu is held.
func (c *conn) stuck() bool {
	for message := range c.refused {
		if message+1 < c.next {
			return true
		}
	}
	return false
}

// fail ends the session. Only the first call counts.
func (c *conn) fail(err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.err != nil {
		return
	}
	c.err = err
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

// close says goodbye where that cannot block, and ends the session.
func (c *conn) close() {
	c.mu.Lock()
	idle, last := c.err == nil && c.done == c.next, txnr(c.next)
	c.mu.Unlock()
	if idle {
		_ = c.raw.SetWriteDeadline(time.Now().Add(100 * time.Millisecond)) // as above
		_, _ = c.out.Write(relp.AppendFrame(nil, last, relp.Close, nil))   // the receiver notices anyway
	}
	c.fail(errClosed)
	c.reader.Wait()
}
