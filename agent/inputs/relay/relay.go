// Package relay is the relay input: records that another runnel has stored, each
// taken exactly once (docs/format/relay.md). It hides sockets, sessions, certificates and
// what is known of every agent that ever spoke here; internal/relaywire has the frames and
// the rules. No frame is ever acknowledged that is not on disk together with what is
// known of it, nothing is stored that is known, and no peer may speak for an agent that its
// certificate does not allow. No peer can cause a panic or unbounded memory; one that
// breaks a rule or a bound loses its own connection.
package relay

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"os"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/runnel-log/runnel/agent/inputs"
	"github.com/runnel-log/runnel/internal/headroom"
	"github.com/runnel-log/runnel/internal/listen"
	"github.com/runnel-log/runnel/internal/relaywire"
	"github.com/runnel-log/runnel/internal/tiers"
)

const (
	// stopTime bounds a session's end: what is not on disk by then is not acknowledged,
	// and asked for again.
	stopTime = 2 * time.Second
	// backlogTime is how long the stop takes connections that the kernel has made
	// already: they are told that this agent closes.
	backlogTime = 50 * time.Millisecond
	// Accept is tried again after minBackoff when it fails (no descriptors
	// left), and after twice as long each time, up to maxBackoff.
	minBackoff, maxBackoff = 5 * time.Millisecond, time.Second
)

// Input is a relay input; New makes it.
type Input struct {
	options  *Options
	name     string
	own      relaywire.Hop
	version  string
	relay    inputs.Relay
	trouble  func() error // of the store
	reached  inputs.Points
	after    func() <-chan struct{} // setup.Ended
	tiers    *tiers.Tiers
	peers    *listen.Peers
	tls      *tls.Config
	counters *counters
	events   events
	patience patience
	budget   *budget
	known    *known

	streams []*stream

	ending  chan struct{} // closed when accepting ends
	end     sync.Once
	serving sync.WaitGroup // one for each connection

	mu       sync.Mutex // guards sessions
	sessions map[*session]struct{}
}

// stream is one address that takes connections.
type stream struct {
	url  string
	tls  bool
	l    streamListener
	open atomic.Int64
}

// streamListener is what listen.Sockets hands out.
type streamListener interface {
	net.Listener
	End(after time.Duration) // of Accept; at once where somebody else goes on with the queue
}

// New opens the input's sockets. It returns what listen and tlsconf report,
// each one line.
func New(o *Options, setup inputs.Setup) (*Input, error) {
	in := &Input{
		options: o, name: setup.Name, own: relaywire.Hop{Agent: setup.AgentID, Name: setup.Agent}, version: setup.Version,
		relay: setup.Relay, trouble: setup.Trouble, reached: setup.Reached, after: setup.Ended, tiers: setup.Tiers,
		counters: newCounters(setup.Metrics, setup.Name), events: newEvents(setup.Log), patience: o.patience,
		budget: newBudget(headroom.Share(int(o.MaxInflight))),
		ending: make(chan struct{}), sessions: map[*session]struct{}{},
	}
	if in.patience == (patience{}) {
		in.patience = usualPatience
	}
	in.known = setup.Memory.Of(func() any { return newKnown(setup.Marks, in.events) }).(*known)
	var err error
	if in.peers, err = listen.NewPeers(o.Allow, o.MaxConnections, setup.Agent); err != nil {
		return nil, fmt.Errorf("allow: %w", err)
	}
	if o.TLS != nil {
		required := *o.TLS
		required.ClientAuth, required.MinVersion = "require", "1.3"
		if in.tls, err = required.Config(in.events.certificate); err != nil {
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
	if a.Scheme == "tls" && (in.tls == nil || in.options.TLS.ClientCA == "") {
		return fmt.Errorf("%q needs a tls section with client_ca", url)
	}
	l, err := sockets.Stream(a.String())
	if err != nil {
		return err
	}
	in.streams = append(in.streams, &stream{url: taken(a, l.Addr()), tls: a.Scheme == "tls", l: l.(streamListener)})
	return nil
}

// taken is the address as a URL, with the port that was really taken.
func taken(a listen.Address, at net.Addr) string {
	if !a.IsUnix() {
		if _, port, err := net.SplitHostPort(at.String()); err == nil {
			a.Port, _ = strconv.Atoi(port)
		}
	}
	a.Mode = 0
	return a.String()
}

// Run takes records until ctx ends or, after Retire, until the last peer has
// closed its connection.
func (in *Input) Run(ctx context.Context) error {
	if ctx.Err() != nil {
		in.Retire()
		return nil
	}
	working, give := context.WithCancel(context.WithoutCancel(ctx))
	defer give()
	var accepting, stopping sync.WaitGroup
	for _, s := range in.streams {
		in.events.listening(s.url)
		accepting.Go(func() { in.runAccept(working, s) })
	}
	finished := make(chan struct{})
	stopping.Go(func() { in.runStop(ctx, finished, &accepting, give) })
	accepting.Wait()
	in.serving.Wait()
	close(finished)
	stopping.Wait()
	return nil
}

// runStop stops the input when ctx ends, and gives up what is not finished stopTime later.
func (in *Input) runStop(ctx context.Context, finished <-chan struct{}, accepting *sync.WaitGroup, give func()) {
	select {
	case <-finished:
		return
	case <-ctx.Done():
	}
	in.end.Do(func() { close(in.ending) })
	for _, s := range in.streams {
		s.l.End(backlogTime)
	}
	accepting.Wait()
	in.each((*session).stop)
	select {
	case <-finished:
	case <-time.After(stopTime):
		give()
		in.each((*session).abandon)
	}
}

// each calls f for every session.
func (in *Input) each(f func(*session)) {
	in.mu.Lock()
	defer in.mu.Unlock()
	for x := range in.sessions {
		f(x)
	}
}

// Retire gives the sockets back; connections are served until their peers close them.
func (in *Input) Retire() {
	in.end.Do(func() { close(in.ending) })
	for _, s := range in.streams {
		_ = s.l.Close() // closed twice, it says so
	}
}

// Status describes the addresses.
func (in *Input) Status() []inputs.Listener {
	all := make([]inputs.Listener, 0, len(in.streams))
	for _, s := range in.streams {
		all = append(all, in.events.last.Of(inputs.Listener{URL: s.url, Connections: int(s.open.Load())}))
	}
	return all
}

// runAccept takes connections until the listener is closed or its deadline passes.
func (in *Input) runAccept(ctx context.Context, s *stream) {
	defer s.l.Close()
	for wait := minBackoff; ; {
		c, err := s.l.Accept()
		switch {
		case err == nil:
			wait = minBackoff
			in.accept(ctx, s, c)
		case errors.Is(err, net.ErrClosed), errors.Is(err, os.ErrDeadlineExceeded):
			return
		default:
			in.counters.errors("accept").Inc()
			in.events.acceptFailed(s.url, err, wait)
			select {
			case <-time.After(wait):
			case <-in.ending:
				return
			}
			wait = min(2*wait, maxBackoff)
		}
	}
}

// accept serves a new connection, or closes it.
func (in *Input) accept(ctx context.Context, s *stream, c net.Conn) {
	who := in.peers.Of(c)
	if refusal := in.peers.Enter(who); refusal != listen.Welcome {
		in.refuse(s, who, refusal)
		c.Close()
		return
	}
	x := in.newSession(ctx, s, c, who)
	in.mu.Lock()
	in.sessions[x] = struct{}{}
	in.mu.Unlock()
	in.counters.connections.Inc()
	s.open.Add(1)
	in.serving.Go(func() {
		x.serve()
		in.mu.Lock()
		delete(in.sessions, x)
		in.mu.Unlock()
		in.counters.connections.Dec()
		s.open.Add(-1)
		in.peers.Leave(who)
	})
}

func (in *Input) refuse(s *stream, who *listen.Peer, why listen.Refusal) {
	switch why {
	case listen.NotAllowed:
		in.counters.deniedAllow.Inc()
		in.events.denied(s.url, string(who.Text))
	case listen.OverTotal:
		in.counters.deniedTotal.Inc()
		in.events.limitReached(s.url, string(who.Text), "max_connections", in.options.MaxConnections)
	case listen.OverAddress:
		in.counters.deniedAddress.Inc()
		in.events.limitReached(s.url, string(who.Text), "per address", listen.PerAddress)
	}
}
