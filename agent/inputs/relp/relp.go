// Package relp is the RELP input: syslog messages over TCP, TLS and unix streams,
// each answered once it is on disk. It hides sockets, sessions and who may send;
// internal/relp reads the frames and internal/syslog the messages. No message is
// ever answered that is not stored, and none is answered with an error: librelp
// throws such a message away. What cannot be stored is left without an answer and
// its connection closed, so that the client sends it again. No peer can cause a panic or
// unbounded memory; one that breaks a bound loses its own connection.
package relp

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
)

const (
	// stopTime bounds Run after its ctx has ended: what the pipeline has not stored
	// by then gets no answer.
	stopTime = 2 * time.Second
	// backlogTime is how long the stop takes connections that the kernel has made
	// already: they are told that the server closes.
	backlogTime = 50 * time.Millisecond
	// Accept is tried again after minBackoff when it fails (no descriptors
	// left), and after twice as long each time, up to maxBackoff.
	minBackoff, maxBackoff = 5 * time.Millisecond, time.Second
	// segment is what clients send at most in one piece, as over Ethernet. rsyslog
	// corks its socket, fills its window and waits for answers: where a window fits
	// into a segment, over loopback, its last byte leaves only 200 ms later, every time.
	segment = 1400
	// socketMode lets every user of the host log.
	socketMode = 0o666
)

// Input is a RELP input; New makes it.
type Input struct {
	options  *Options
	zone     *time.Location
	name     []byte
	agent    []byte
	emit     inputs.Emit
	reached  inputs.Points
	peers    *listen.Peers
	tls      *tls.Config
	counters *counters
	events   events
	now      func() time.Time
	patience patience
	repeats  *repeats
	budget   *budget

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
	zone, err := location(o.Timezone)
	if err != nil {
		return nil, fmt.Errorf("timezone: %w", err)
	}
	in := &Input{
		options: o, zone: zone, name: []byte(setup.Name), agent: []byte(setup.Agent), emit: setup.Emit, reached: setup.Reached,
		counters: newCounters(setup.Metrics, setup.Name), events: newEvents(setup.Log), now: o.now, patience: o.patience,
		repeats: setup.Memory.Of(func() any { return newRepeats() }).(*repeats), budget: newBudget(headroom.Share(totalBuffers)),
		ending: make(chan struct{}), sessions: map[*session]struct{}{},
	}
	if in.now == nil {
		in.now = time.Now
	}
	if in.patience == (patience{}) {
		in.patience = usualPatience
	}
	if in.peers, err = listen.NewPeers(o.Allow, o.MaxConnections, setup.Agent); err != nil {
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
	l, err := sockets.Stream(a.String())
	if err != nil {
		return err
	}
	if !a.IsUnix() {
		listen.Segment(l, segment)
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
	emitting, give := context.WithCancel(context.WithoutCancel(ctx))
	defer give()
	var accepting, stopping sync.WaitGroup
	for _, s := range in.streams {
		in.events.listening(s.url)
		accepting.Go(func() { in.runAccept(emitting, s) })
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
			in.counters.errAccept.Inc()
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
