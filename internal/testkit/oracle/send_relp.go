package oracle

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"time"

	"github.com/runnel-log/runnel/internal/relp"
)

// silence is how long an answer may take before a connection is given up.
const silence = 30 * time.Second

// relp sends in a window over one connection, until it breaks or all is
// acknowledged. It begins with what has no answer.
func (x *sender) relp(ctx context.Context, network, address string) error {
	c, end, err := dial(ctx, network, address)
	if err != nil {
		return err
	}
	defer end()
	w := &window{sender: x, conn: c, reader: relp.NewReader(c), room: make(chan struct{}, 1), first: x.acked}
	if err := w.open(); err != nil {
		return err
	}
	broken := make(chan struct{})
	var answers sync.WaitGroup
	var readErr error
	answers.Go(func() {
		defer close(broken)
		if readErr = w.readAnswers(); readErr != nil {
			_ = c.Close() // or the other side would write for ever
		}
	})
	writeErr := w.write(ctx, broken)
	if writeErr == nil {
		w.leave()
	}
	_ = c.SetReadDeadline(time.Now().Add(time.Second)) // for the answers that are on their way
	answers.Wait()
	if errors.Is(readErr, errFatal) {
		return readErr
	}
	return writeErr
}

// window is one session. One goroutine writes, another reads answers.
type window struct {
	*sender
	conn   net.Conn
	reader *relp.Reader
	room   chan struct{} // wakes the writer when answers have come
	first  uint64        // number that has transaction 2

	mu   sync.Mutex
	upTo uint64 // guarded by mu: all before it are acknowledged; sender.acked is the writer's
}

func (w *window) open() error {
	w.upTo = w.acked
	_ = w.conn.SetReadDeadline(time.Now().Add(silence)) // fails on a closed connection only
	o := relp.Offers{Version: 1, Software: []string{"oracle"}, Commands: []string{relp.Syslog}}
	if _, err := w.conn.Write(relp.AppendOpen(nil, 1, &o)); err != nil {
		return err
	}
	f, err := w.reader.Next()
	if err != nil {
		return err
	}
	if a, err := relp.ParseAnswer(f.Data); err != nil || a.Code != relp.CodeOK {
		return fmt.Errorf("%w: open was answered with %.80q", errFatal, f.Data)
	}
	return nil
}

// readAnswers takes answers until the connection ends. They come in order: another
// order, or another code than 200, is nothing that this sender knows to obey.
func (w *window) readAnswers() error {
	for {
		from := w.upTo
		for {
			f, ok, err := w.reader.Take()
			if err != nil {
				return fmt.Errorf("%w: %w", errFatal, err)
			}
			if !ok {
				break
			}
			if f.Txnr == 0 || string(f.Command) != relp.Rsp || len(f.Data) == 0 {
				continue // serverclose, and librelp's answer to a close
			}
			a, err := relp.ParseAnswer(f.Data)
			if err != nil || a.Code != relp.CodeOK || uint64(f.Txnr) != w.upTo-w.first+2 {
				return fmt.Errorf("%w: transaction %d was answered with %.80q where %d was due", errFatal, f.Txnr, f.Data, w.upTo-w.first+2)
			}
			w.mu.Lock()
			w.upTo++
			w.mu.Unlock()
		}
		if w.upTo > from {
			w.sent.Acknowledge(w.id, from, w.upTo-1)
			select {
			case w.room <- struct{}{}:
			default:
			}
		}
		if err := w.reader.Fill(); err != nil {
			return err
		}
	}
}

// write sends until all is acknowledged, with no more than a window open.
func (w *window) write(ctx context.Context, broken <-chan struct{}) error {
	defer w.catchUp()
	at := w.acked // the next to write on this connection
	var wire, text []byte
	for {
		w.catchUp()
		if w.finished() {
			return nil
		}
		n := w.may(ctx, at)
		if n == 0 {
			select {
			case <-w.room:
				continue
			case <-broken:
				return net.ErrClosed
			case <-ctx.Done():
				return ctx.Err()
			}
		}
		w.sent.Offer(w.id, at, at+uint64(n)-1)
		wire = wire[:0]
		for range n {
			text = w.line(text[:0], at)
			wire = relp.AppendFrame(wire, uint32(at-w.first)+2, relp.Syslog, text)
			at++
		}
		w.next = max(w.next, at)
		_ = w.conn.SetDeadline(time.Now().Add(silence)) // fails on a closed connection only
		if _, err := w.conn.Write(wire); err != nil {
			return err
		}
	}
}

// may returns how many records may be written from at on; 0 if there are answers
// to wait for.
func (w *window) may(ctx context.Context, at uint64) int {
	room := w.Window - int(at-w.acked)
	if at < w.next || room <= 0 {
		return max(min(room, int(w.next-at)), 0) // what had no answer, once more
	}
	return w.due(ctx, room)
}

// catchUp takes what the reader knows to be acknowledged over.
func (w *window) catchUp() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.acked = w.upTo
}

// leave closes the session as the protocol wants it; the answer does not matter.
func (w *window) leave() {
	_, _ = w.conn.Write(relp.AppendFrame(nil, uint32(w.upTo-w.first)+2, relp.Close, nil)) // everything is acknowledged
}
