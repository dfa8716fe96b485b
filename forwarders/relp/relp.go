// Package relp sends records as syslog messages over RELP, and moves on when the
// receiver has answered each with 200. One long-lived session holds a window of
// messages that have no answer yet; on a broken connection delivery goes back to the
// first of them. No record may be taken for delivered that was not answered, and
// none that was answered may be sent again where that can be known.
package relp

import (
	"context"
	"crypto/tls"
	_ "embed"
	"errors"
	"fmt"
	"net"
	"sync"

	"github.com/runnel-log/runnel/forwarders"
	"github.com/runnel-log/runnel/internal/config"
	"github.com/runnel-log/runnel/internal/listen"
	"github.com/runnel-log/runnel/internal/relp"
)

//go:embed sample.yaml
var sample string

// Kind is the RELP forwarder.
var Kind = forwarders.Kind{
	Name:    "relp",
	Sample:  sample,
	Options: func() config.Options { return defaults() },
	New: func(o config.Options, s forwarders.Setup) (forwarders.Forwarder, error) {
		return newForwarder(o.(*Options), s)
	},
}

var (
	errClosed = errors.New("forwarder was closed")
	errStuck  = errors.New("the receiver refused a record before this one, which has to be settled first")
)

// Forwarder sends to one receiver.
type Forwarder struct {
	options  *Options
	resolver *net.Resolver
	network  string
	address  string
	tls      *tls.Config // nil: in the clear
	offers   relp.Offers
	messages forwarders.Messages
	text     []byte // the message under way
	buf      []byte // the frames under way

	closing context.Context // ends with Close, to cut a dial short
	cancel  context.CancelFunc

	mu sync.Mutex // taken before a conn's
	// guarded by mu:
	conn   *conn
	closed bool
	open   []*ack // not yet waited for, of the session under way
	rewind forwarders.Rewind
	taken  map[string]*taken // by stream
}

func newForwarder(o *Options, s forwarders.Setup) (*Forwarder, error) {
	to, err := listen.Parse(o.To)
	if err != nil {
		return nil, err
	}
	zone, err := location(o.Timezone)
	if err != nil {
		return nil, err
	}
	f := &Forwarder{options: o, resolver: s.Resolver, offers: relp.Offers{Version: 0, Software: []string{"runnel", s.Version}, Commands: []string{relp.Syslog}},
		messages: forwarders.Messages{Format: o.Format, Content: o.Message, Zone: zone, Agent: s.Agent},
		taken:    make(map[string]*taken)}
	f.network, f.address = dialAddress(to)
	f.closing, f.cancel = context.WithCancel(context.Background())
	if to.Scheme != "tls" {
		return f, nil
	}
	config, err := o.TLS.Config()
	if err != nil {
		return nil, err
	}
	f.tls = config.Clone()
	if f.tls.ServerName == "" {
		f.tls.ServerName = to.Host
	}
	return f, nil
}

// Deliver writes b, waiting while the window is full; the Ack waits for the answers.
func (f *Forwarder) Deliver(ctx context.Context, b *forwarders.Batch) (forwarders.Ack, error) {
	a := &ack{f: f, stream: b.Stream, offsets: append([]uint64(nil), b.Offsets...)}
	for {
		here, err := f.enter(a, b)
		if err == nil && !here {
			err = f.dial(ctx)
		}
		if err != nil {
			return nil, f.explain(err)
		}
		if here {
			break
		}
	}
	stop := context.AfterFunc(ctx, func() { a.conn.fail(context.Cause(ctx)) })
	defer stop()
	if sent, err := f.send(a, b); err != nil && sent == 0 {
		f.forget(a)
		return nil, f.explain(err)
	}
	return a, nil // also after an error: the Ack knows how much of b got through
}

// enter puts a's batch after those under way; here is false where there is no
// session to do so in.
func (f *Forwarder) enter(a *ack, b *forwarders.Batch) (here bool, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.closed {
		return false, errClosed
	}
	if f.conn != nil {
		if err := f.conn.broken(); err != nil {
			f.bury(err)
		}
	}
	if err := f.rewind.Overtakes(b); err != nil {
		return false, err
	}
	if f.conn == nil {
		return false, nil
	}
	a.conn = f.conn
	f.leaveOut(a)
	f.open = append(f.open, a)
	return true, nil
}

// send writes what is to be sent of b, a part of the window at a time.
func (f *Forwarder) send(a *ack, b *forwarders.Batch) (sent int, err error) {
	meta := f.messages.Meta(b)
	for due := a.due(); sent < due; {
		txnr, n, err := a.conn.reserve(a, due-sent, f.options.Window)
		if err != nil {
			return sent, err
		}
		f.buf = f.buf[:0]
		for i := sent; i < sent+n; i++ {
			at := a.record(i)
			meta.Offset = b.Place(at)
			f.text = f.messages.Append(f.text[:0], b.Records.At(at), meta)
			if n := len(f.text); f.text[n-1] == '\n' {
				f.text = append(f.text, '\n') // receivers take one for the sender's, rsyslog and runnel among them
			}
			f.buf = relp.AppendFrame(f.buf, txnr, relp.Syslog, f.text)
			txnr = relp.Next(txnr)
		}
		sent += n
		if _, err := a.conn.out.Write(f.buf); err != nil {
			a.conn.fail(err)
			return sent, err
		}
	}
	return sent, nil
}

// bury takes leave of a broken session; f.mu is held.
func (f *Forwarder) bury(err error) {
	f.conn.reader.Wait()
	f.goBack(err)
	f.conn = nil
}

// dial makes a session.
func (f *Forwarder) dial(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, f.options.ConnectTimeout)
	defer cancel()
	defer context.AfterFunc(f.closing, cancel)()
	c, err := dial(ctx, f.resolver, f.network, f.address, f.tls, &f.offers, f.options.Timeout)
	if err != nil {
		return fmt.Errorf("connect: %w", err)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.closed {
		c.close()
		return errClosed
	}
	f.conn = c
	return nil
}

// Close ends the session. Acks of what has no answer yet fail.
func (f *Forwarder) Close() error {
	f.cancel()
	f.mu.Lock()
	c := f.conn
	f.closed, f.conn = true, nil
	f.mu.Unlock()
	if c != nil {
		c.close()
	}
	return nil
}

// explain adds the place to an error of the connection.
func (f *Forwarder) explain(err error) error { return fmt.Errorf("%s: %w", f.options.To, err) }
