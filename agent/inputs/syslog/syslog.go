// Package syslog is the syslog input: UDP, TCP, TLS and unix sockets, RFC 5424
// and RFC 3164, decided for each message. It hides sockets, framing and who may
// send; internal/syslog reads the messages. It never stops reading for long, as
// its senders cannot bear it (a Docker daemon blocks the container, and then
// itself), and never closes a connection for being silent. No peer can cause a
// panic or unbounded memory; one that breaks a bound loses its own connection.
package syslog

import (
	"context"
	"crypto/tls"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/runnel-log/runnel/agent/inputs"
	"github.com/runnel-log/runnel/internal/listen"
)

// stopTime bounds Run after its ctx has ended: what the pipeline has not taken
// by then is lost, and counted.
const stopTime = 2 * time.Second

// socketMode lets every user of the host log, as /dev/log does.
const socketMode = 0o666

// Input is a syslog input; New makes it.
type Input struct {
	options  *Options
	zone     *time.Location
	name     []byte
	agent    []byte
	emit     inputs.Emit
	sockets  *listen.Sockets
	peers    *peers
	tls      *tls.Config
	counters *counters
	events   events
	memory   memory
	now      func() time.Time

	streams   []*stream
	packets   []*packets
	order     []any // streams and packets in config order, for Status
	unsettled *settling

	ending  chan struct{} // closed when accepting ends
	end     sync.Once
	serving sync.WaitGroup // one for each connection

	mu    sync.Mutex // guards conns
	conns map[*conn]*stream

	passed atomic.Int64 // connections, to the next process
}

// New opens the input's sockets. It returns what listen and tlsconf report,
// each one line.
func New(o *Options, setup inputs.Setup) (*Input, error) {
	zone, err := location(o.Timezone)
	if err != nil {
		return nil, fmt.Errorf("timezone: %w", err)
	}
	in := &Input{
		options: o, zone: zone, name: []byte(setup.Name), agent: []byte(setup.Agent), emit: setup.Emit, sockets: setup.Sockets,
		counters: newCounters(setup.Metrics, setup.Name), events: newEvents(setup.Log), now: o.now,
		unsettled: newSettling(),
		ending:    make(chan struct{}), conns: map[*conn]*stream{},
	}
	if in.now == nil {
		in.now = time.Now
	}
	if in.peers, err = newPeers(o, setup.Agent); err != nil {
		return nil, fmt.Errorf("allow: %w", err)
	}
	if o.TLS != nil {
		if in.tls, err = o.TLS.Config(in.events.certificate); err != nil {
			return nil, fmt.Errorf("tls: %w", err)
		}
	}
	for _, url := range o.Listen {
		if err := in.open(url, setup.Sockets); err != nil {
			in.Retire() // gives the others back
			return nil, err
		}
	}
	return in, nil
}

// open takes one socket.
func (in *Input) open(url string, sockets *listen.Sockets) error {
	a, err := listen.Parse(url)
	if err != nil {
		return err
	}
	if a.IsUnix() && a.Mode == 0 {
		a.Mode = socketMode
	}
	if a.Scheme == "tls" && in.tls == nil {
		return fmt.Errorf("%q needs a tls section", url)
	}
	if a.IsPacket() {
		c, err := sockets.Packet(a.String())
		if err != nil {
			return err
		}
		p := &packets{url: inputs.Taken(a, c.LocalAddr()), conn: c}
		in.packets, in.order = append(in.packets, p), append(in.order, p)
		return nil
	}
	l, err := sockets.Stream(a.String())
	if err != nil {
		return err
	}
	s := &stream{url: inputs.Taken(a, l.Addr()), configured: a.String(), tls: a.Scheme == "tls", l: l.(streamListener)}
	if a.Scheme == "tcp" { // the keys of a TLS connection are in this process's memory, and stay there
		s.passes, s.passed = true, sockets.Passed(s.configured)
	}
	in.streams, in.order = append(in.streams, s), append(in.order, s)
	return nil
}

// Run takes records until ctx ends or, after Retire, until the last peer has
// closed its connection.
func (in *Input) Run(ctx context.Context) error {
	if ctx.Err() != nil {
		in.Retire()
		return nil
	}
	emitting, give := context.WithCancel(context.WithoutCancel(ctx))
	defer give()
	var settling, reading, accepting sync.WaitGroup
	settling.Go(func() { in.runSettle(emitting) })
	for _, p := range in.packets {
		in.started(p)
		if _, ok := p.conn.(*listen.UDPConn); ok {
			r := newRing()
			reading.Go(func() { in.runUDP(p, r) })
			reading.Go(func() { in.runParse(emitting, p.url, r) })
			continue
		}
		reading.Go(func() { in.runUnixgram(emitting, p) })
	}
	for _, s := range in.streams {
		in.events.listening(s.url)
		in.resume(emitting, s)
		accepting.Go(func() { in.runAccept(emitting, s) })
	}
	finished := make(chan struct{})
	var stopping sync.WaitGroup
	stopping.Go(func() { in.runStop(ctx, finished, &accepting, give) })
	accepting.Wait()
	reading.Wait()
	in.serving.Wait()
	in.unsettled.end()
	settling.Wait()
	close(finished)
	stopping.Wait()
	in.events.lost.end()
	if n := in.passed.Load(); n > 0 {
		in.events.passedOn(int(n))
	}
	return nil
}

// resume goes on with the connections that the process before had.
func (in *Input) resume(ctx context.Context, s *stream) {
	if len(s.passed) == 0 {
		return
	}
	if err := in.sockets.Begin(s.passed); err != nil {
		in.events.notBegun(s.url, err)
	}
	for _, p := range s.passed {
		in.accept(ctx, s, p.Conn, p.State)
	}
	in.events.resumed(s.url, len(s.passed))
	s.passed = nil
}

// runStop stops the input when ctx ends, and gives up what is not finished stopTime later.
func (in *Input) runStop(ctx context.Context, finished <-chan struct{}, accepting *sync.WaitGroup, give func()) {
	select {
	case <-finished:
		return
	case <-ctx.Done():
	}
	in.stop(accepting)
	select {
	case <-finished:
	case <-time.After(stopTime):
		give()
		in.abandon()
	}
}

// started says where the input listens, and what the kernel grants it.
func (in *Input) started(p *packets) {
	in.events.listening(p.url)
	if udp, ok := p.conn.(*listen.UDPConn); ok {
		in.countDrops(p, udp.Dropped(udp.Before()))
		if granted := listen.Granted(p.conn); granted > 0 && granted < listen.ReceiveBuffer {
			in.events.smallBuffer(p.url, granted, listen.ReceiveBuffer)
		}
	}
}

// stop ends accepting, first of connections that the kernel has made already
// and nobody else would serve, and then has every connection read to where it
// is, or, where it is the process that ends, passed on.
func (in *Input) stop(accepting *sync.WaitGroup) {
	in.end.Do(func() { close(in.ending) })
	for _, p := range in.packets {
		_ = p.conn.SetReadDeadline(time.Unix(1, 0)) // wakes the reader; fails on a closed socket only
	}
	for _, s := range in.streams {
		s.l.End(backlogTime)
	}
	accepting.Wait()
	next := in.sockets.Passes()
	in.mu.Lock()
	defer in.mu.Unlock()
	for c, s := range in.conns {
		if s.passes && next {
			c.pass()
		} else {
			c.drain()
		}
	}
}

// abandon closes what did not end in time.
func (in *Input) abandon() {
	in.mu.Lock()
	defer in.mu.Unlock()
	for c := range in.conns {
		_ = c.Conn.Close() // it is given up
	}
}

// Retire gives the sockets back; connections are served until their peers close them.
func (in *Input) Retire() {
	in.end.Do(func() { close(in.ending) })
	for _, s := range in.streams {
		_ = s.l.Close() // closed twice, it says so
	}
	for _, p := range in.packets {
		_ = p.conn.Close() // likewise; the input that follows reads on where this one is
	}
}

// Status describes the addresses.
func (in *Input) Status() []inputs.Listener {
	all := make([]inputs.Listener, 0, len(in.order))
	for _, at := range in.order {
		switch at := at.(type) {
		case *stream:
			all = append(all, in.events.last.Of(inputs.Listener{URL: at.url, Connections: int(at.open.Load())}))
		case *packets:
			all = append(all, in.events.last.Of(inputs.Listener{URL: at.url, KernelDrops: at.drops.Load()}))
		}
	}
	return all
}
