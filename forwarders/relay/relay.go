// Package relay sends records to another runnel so that each arrives exactly once
// (docs/format/relay.md). The receiver keeps what it has of each line, and is asked before
// anything of a line is sent: what is there is not sent a second time, what it has lost
// is, as far as the store has it. Of several receivers one is used until it fails.
// Nothing that a receiver says may have a record counted as delivered which was not
// sent and acknowledged, or shown by a print to be there.
package relay

import (
	"context"
	"crypto/tls"
	_ "embed"
	"errors"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/runnel-log/runnel/forwarders"
	"github.com/runnel-log/runnel/internal/config"
	"github.com/runnel-log/runnel/internal/listen"
	"github.com/runnel-log/runnel/internal/relaywire"
	"github.com/runnel-log/runnel/internal/tiers"
)

//go:embed sample.yaml
var sample string

// Kind is the relay forwarder.
var Kind = forwarders.Kind{
	Name:    "relay",
	Sample:  sample,
	Options: func() config.Options { return defaults() },
	New: func(o config.Options, s forwarders.Setup) (forwarders.Forwarder, error) {
		return newForwarder(o.(*Options), s)
	},
}

var (
	errClosed = errors.New("forwarder was closed")
	errCopied = errors.New("a copy of this agent sends too; a new epoch begins")
)

// Forwarder sends to one of several receivers.
type Forwarder struct {
	options  *Options
	name     string
	hello    relaywire.Hello
	resolver *net.Resolver
	source   forwarders.Source
	tiers    *tiers.Tiers
	events   events
	counters *counters
	to       []upstream
	packer   packer // Deliver's own

	closing context.Context // ends with Close, to cut a dial short
	cancel  context.CancelFunc

	connecting sync.Mutex             // one dial at a time; taken before mu
	memory     *memory                // what receivers have; nil until the first dial
	remembered atomic.Pointer[memory] // memory

	mu sync.Mutex // taken before a conn's
	// guarded by mu:
	at       int                // which of to is used
	used     string             // that of the last session, by its URL; before there was one, the first
	failures map[string]failure // by URL: why it could not be used, since it last was
	turns    int                // sessions in a row that failed before anything was acknowledged on them
	conn     *conn
	closed   bool
	open     []*ack // not waited for yet
	rewind   forwarders.Rewind
}

// upstream is one receiver.
type upstream struct {
	url, network, address string
	tls                   *tls.Config // nil: in the clear
}

func newForwarder(o *Options, s forwarders.Setup) (*Forwarder, error) {
	f := &Forwarder{failures: make(map[string]failure), options: o, name: s.Name, resolver: s.Resolver, source: s.Source, tiers: s.Tiers, events: events{s.Log},
		counters: newCounters(s.Metrics, s.Name), packer: packer{how: o.Compress},
		hello: relaywire.Hello{Versions: [2]uint16{relaywire.Version, relaywire.Version}, Name: s.Agent, Build: s.Version}}
	f.closing, f.cancel = context.WithCancel(context.Background())
	for _, url := range o.To {
		to, err := listen.Parse(url)
		if err != nil {
			return nil, err
		}
		u := upstream{url: url}
		u.network, u.address = dialAddress(to)
		if to.Scheme == "tls" {
			config, err := o.TLS.Config()
			if err != nil {
				return nil, err
			}
			u.tls = config.Clone()
			u.tls.MinVersion = tls.VersionTLS13
			if u.tls.ServerName == "" {
				u.tls.ServerName = to.Host
			}
		}
		f.to = append(f.to, u)
	}
	f.used = f.to[0].url
	return f, nil
}

// Over a way as long as this, batches that are compressed anew are as large as they may be: as many as may be under
// way at once are to last until the first is acknowledged. Over a shorter one, and of those that are not,
// a batch is a block of the store.
const (
	longWay     = 20 * time.Millisecond
	longRecords = 4096
	longBytes   = 1 << 20
)

// Batching says how large batches are on the session under way.
func (f *Forwarder) Batching() forwarders.Batching {
	f.mu.Lock()
	defer f.mu.Unlock()
	if !f.TakesBlocks() && f.conn != nil && time.Duration(f.conn.way.Load()) >= longWay {
		return forwarders.Batching{Records: longRecords, Bytes: longBytes}
	}
	return forwarders.Batching{}
}

// TakesBlocks says that a block may go out as it lies in the store, unless it is to be compressed otherwise.
func (f *Forwarder) TakesBlocks() bool { return f.options.Compress == compressFast }

// Deliver writes what the receiver does not have of b, waiting while it has no
// credit; the Ack waits until that is on its disk.
func (f *Forwarder) Deliver(ctx context.Context, b *forwarders.Batch) (forwarders.Ack, error) {
	c, err := f.enter(ctx, b)
	if err != nil {
		return nil, err
	}
	stop := context.AfterFunc(ctx, func() { c.end(context.Cause(ctx), true) })
	defer stop()
	if lost := c.lost(b); lost != nil {
		return nil, lost
	}
	l, err := f.course(c, b)
	if err != nil {
		return nil, f.failed(c, err)
	}
	a := &ack{f: f, conn: c, line: l.line, offsets: append([]uint64(nil), b.Offsets...), before: l.last, doubt: f.doubts(l.line, b)}
	if err := f.send(c, l, a, b); err != nil {
		return nil, f.failed(c, err)
	}
	f.enterOpen(a)
	return a, nil
}

// enterOpen notes an ack that is to be waited for. Where its session was taken leave of while its frames
// were on their way, what is not acknowledged comes again before anything else of the stream.
func (f *Forwarder) enterOpen(a *ack) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if a.conn == f.conn {
		f.open = append(f.open, a)
		return
	}
	acked, _ := a.conn.wait(context.Background(), 0) // for nothing: how far it came
	if n := a.known(acked); n < len(a.offsets) {
		f.rewind.Failed(a.line.stream, a.offsets[n], a.conn.broken())
	}
}

// send writes the frames of a batch.
func (f *Forwarder) send(c *conn, l *course, a *ack, b *forwarders.Batch) error {
	pieces := l.pieces(b)
	sent := 0
	for i := range pieces {
		p := &pieces[i]
		d := &relaywire.Data{Part: relaywire.Part{Line: relaywire.Line{Writer: relaywire.Writer{Agent: c.writer.Agent, Epoch: l.epoch}, Stream: l.stream}, Range: p.Range},
			Gone: p.gone(b, l.epoch, f.source.Parts)}
		if p.from < p.to {
			if err := f.packer.fill(d, b, p.from, p.to, f.source); err != nil {
				return err
			}
		}
		f.memory.says(c.url, l.line)
		if err := c.send(d); err != nil {
			return err
		}
		f.counters.frames.Inc()
		f.counters.bytes.Add(len(d.Payload))
		sent += p.to - p.from
		l.last = d.Number
		l.todo = without(l.todo, relaywire.Ranges{p.Range})
		a.frames = append(a.frames, sentFrame{d.Number, p.Range, p.from})
	}
	if sent == len(b.Offsets) {
		a.before = 0 // its own frames say it all
	}
	f.counters.here.Add(len(b.Offsets) - sent)
	return nil
}

// doubts returns which records of a batch are in doubt; nil: none.
func (f *Forwarder) doubts(l line, b *forwarders.Batch) (doubt []bool) {
	ranges := f.memory.ackedBy(inDoubt, l)
	if len(within(ranges, relaywire.Range{From: b.First, To: b.Next})) == 0 {
		return nil
	}
	doubt = make([]bool, len(b.Offsets))
	for i, o := range b.Offsets {
		doubt[i] = ranges.Has(relaywire.Range{From: o, To: o + 1})
	}
	return doubt
}

// enter returns the session that b may go on.
func (f *Forwarder) enter(ctx context.Context, b *forwarders.Batch) (*conn, error) {
	c, err := f.current(b)
	if c != nil || err != nil {
		return c, err
	}
	return f.connect(ctx)
}

// current returns the session under way; nil if there is none, or an error if b must not
// go out before others.
func (f *Forwarder) current(b *forwarders.Batch) (*conn, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.closed {
		return nil, errClosed
	}
	c := f.alive()
	return c, f.rewind.Overtakes(b)
}

// alive returns the session under way, and takes leave of one that has ended; f.mu is held.
func (f *Forwarder) alive() *conn {
	if f.conn == nil {
		return nil
	}
	err := f.conn.broken()
	if err == nil {
		return f.conn
	}
	c := f.conn
	f.conn = nil
	acked, _ := c.wait(context.Background(), 0) // for nothing: how far it came
	if !c.faultless() {
		f.note(c.url, err)
		f.at = (f.at + 1) % len(f.to)
		if f.turns++; acked > 0 {
			f.turns = 0
		}
	}
	for i := len(f.open) - 1; i >= 0; i-- { // the first of each stream counts
		a := f.open[i]
		if n := a.known(acked); a.conn == c && n < len(a.offsets) {
			f.rewind.Failed(a.line.stream, a.offsets[n], err)
		}
	}
	f.open = nil
	c.running.Wait()
	return nil
}

// settled forgets an ack that was waited for, unless its records are to come again.
func (f *Forwarder) settled(a *ack) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if a.arrived < len(a.offsets) && a.conn == f.conn {
		return
	}
	for i, open := range f.open {
		if open == a {
			f.open = append(f.open[:i], f.open[i+1:]...)
			return
		}
	}
}

// dial makes a session in the name of what is written now.
func (f *Forwarder) dial(ctx context.Context, u upstream) (*conn, error) {
	ctx, cancel := context.WithTimeout(ctx, f.options.ConnectTimeout)
	defer cancel()
	defer context.AfterFunc(f.closing, cancel)()
	hello := f.hello
	hello.Agent, hello.Epoch = f.source.Identity()
	return dial(ctx, &dialing{url: u.url, network: u.network, address: u.address, resolver: f.resolver, tls: u.tls, cert: f.options.TLS.Cert, hello: hello,
		timeout: f.options.Timeout, told: func(above []relaywire.Hop) { f.tiers.Told(f.name, above) }, ending: f.memory.end})
}

// take makes a new session the one under way, once the receiver has said what it has
// of the lines that it had something of.
func (f *Forwarder) take(ctx context.Context, c *conn) error {
	defer context.AfterFunc(ctx, func() { c.end(context.Cause(ctx), true) })()
	defer context.AfterFunc(f.closing, func() { c.end(errClosed, true) })()
	c.running.Go(func() { c.runReports(f.report) })
	c.running.Go(c.runWatch)
	err := f.askAll(c)
	f.mu.Lock()
	defer f.mu.Unlock()
	if err == nil {
		err = c.broken()
	}
	if err == nil && f.closed {
		err = errClosed
	}
	if err != nil {
		c.end(err, errors.Is(err, errCopied))
		c.running.Wait()
		return err
	}
	for stream, to := range c.behind {
		c.behindFirst = append(c.behindFirst, c.back(stream, to))
	}
	f.counters.connects.Inc()
	f.conn = c
	return nil
}

// report is what the receiver is told of this agent and those below it.
func (f *Forwarder) report() *relaywire.Report {
	r := &relaywire.Report{Below: f.tiers.Reports()}
	r.Lag.Records, r.Lag.Bytes, r.Lag.Oldest, r.Lag.Lost = f.source.Lag()
	return r
}

// Using returns the receiver whose session is under way; empty: there is none.
func (f *Forwarder) Using() string {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.conn == nil || f.conn.broken() != nil {
		return ""
	}
	return f.conn.url
}

// Close ends the session. Acks of what is not acknowledged yet fail.
func (f *Forwarder) Close() error {
	f.cancel()
	f.mu.Lock()
	c := f.conn
	f.closed, f.conn = true, nil
	f.mu.Unlock()
	if c != nil {
		c.close()
		f.tiers.Told(f.name, nil)
	}
	return nil
}
