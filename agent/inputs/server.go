package inputs

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/runnel-log/runnel/internal/listen"
	"github.com/runnel-log/runnel/internal/tlsconf"
)

const (
	// stopTime bounds Run after its ctx has ended: what sessions have not finished by then
	// is given up.
	stopTime = 2 * time.Second
	// backlogTime is how long the stop takes connections that the kernel has made
	// already: they are told that this end closes.
	backlogTime = 50 * time.Millisecond
	// Accept is tried again after minBackoff when it fails (no descriptors
	// left), and after twice as long each time, up to maxBackoff.
	minBackoff, maxBackoff = 5 * time.Millisecond, time.Second
)

// Server takes the connections of an input whose senders wait for answers: it opens the sockets,
// refuses who is not allowed or too many, has each connection served by a session of its own, and
// ends them when the input ends. It counts and logs what it does, under the input's name.
type Server struct {
	options  ServerOptions
	sockets  *listen.Sockets
	peers    *listen.Peers
	tls      *tls.Config
	counters serverCounters
	events   serverEvents
	doors    []*door

	ending  chan struct{} // closed when accepting ends
	end     sync.Once
	serving sync.WaitGroup // one for each connection

	mu       sync.Mutex // guards sessions
	sessions map[Session]struct{}
}

// ServerOptions are what a Server needs from its input.
type ServerOptions struct {
	Listen         []string        // addresses of streams
	Mode           fs.FileMode     // of unix sockets whose address names none; 0: listen's own
	Segment        int             // bytes that TCP clients send at most in one piece; 0: as the kernel likes
	TLS            *tlsconf.Server // nil: tls:// is refused
	Allow          []string        // networks; none: everybody
	MaxConnections int
	// Session makes the session of a new connection. ctx outlives Run's by the time that
	// sessions have to finish.
	Session func(ctx context.Context, c *Conn) Session
}

// Session is what serves one connection.
type Session interface {
	Serve()   // until the connection has ended; it closes Conn.Socket
	Stop()    // has Serve end soon: what is taken is answered, nothing more is read
	Abandon() // has Serve end at once
}

// Conn is a connection that a Server has taken.
type Conn struct {
	net.Conn // what is said on it: the socket, or TLS over it
	Socket   net.Conn
	URL      string // of the address that took it
	TLS      bool   // a handshake comes first
	Peer     *listen.Peer
}

// door is one address that takes connections.
type door struct {
	url  string
	tls  bool
	l    doorListener
	open atomic.Int64
}

// doorListener is what listen.Sockets hands out.
type doorListener interface {
	net.Listener
	End(after time.Duration) // of Accept; at once where somebody else goes on with the queue
}

// NewServer opens the sockets. It returns what listen and tlsconf report, each one line.
func NewServer(o ServerOptions, setup Setup) (*Server, error) {
	s := &Server{
		options: o, sockets: setup.Sockets, counters: newServerCounters(setup.Metrics, setup.Name), events: newServerEvents(setup.Log),
		ending: make(chan struct{}), sessions: map[Session]struct{}{},
	}
	var err error
	if s.peers, err = listen.NewPeers(o.Allow, o.MaxConnections, setup.Agent); err != nil {
		return nil, fmt.Errorf("allow: %w", err)
	}
	if o.TLS != nil {
		if s.tls, err = o.TLS.Config(s.events.certificate); err != nil {
			return nil, fmt.Errorf("tls: %w", err)
		}
	}
	for _, url := range o.Listen {
		if err := s.listen(url); err != nil {
			s.Retire() // gives the others back
			return nil, err
		}
	}
	return s, nil
}

// listen opens one socket.
func (s *Server) listen(url string) error {
	a, err := listen.Parse(url)
	if err != nil {
		return err
	}
	if a.IsUnix() && a.Mode == 0 {
		a.Mode = s.options.Mode
	}
	if a.Scheme == "tls" && s.tls == nil {
		return fmt.Errorf("%q needs a tls section", url)
	}
	l, err := s.sockets.Stream(a.String())
	if err != nil {
		return err
	}
	if !a.IsUnix() && s.options.Segment > 0 {
		listen.Segment(l, s.options.Segment)
	}
	s.doors = append(s.doors, &door{url: Taken(a, l.Addr()), tls: a.Scheme == "tls", l: l.(doorListener)})
	return nil
}

// Taken is the address as a URL, with the port that was really taken.
func Taken(a listen.Address, at net.Addr) string {
	if !a.IsUnix() {
		if _, port, err := net.SplitHostPort(at.String()); err == nil {
			a.Port, _ = strconv.Atoi(port)
		}
	}
	a.Mode = 0
	return a.String()
}

// Errors is where the server keeps what went wrong last at each of its addresses, and
// sessions add to it.
func (s *Server) Errors() *LastErrors { return s.events.last }

// Run takes connections until ctx ends or, after Retire, until the last peer has
// closed its own.
func (s *Server) Run(ctx context.Context) error {
	if ctx.Err() != nil {
		s.Retire()
		return nil
	}
	working, give := context.WithCancel(context.WithoutCancel(ctx))
	defer give()
	var accepting, stopping sync.WaitGroup
	for _, d := range s.doors {
		s.events.listening(d.url)
		accepting.Go(func() { s.runAccept(working, d) })
	}
	finished := make(chan struct{})
	stopping.Go(func() { s.runStop(ctx, finished, &accepting, give) })
	accepting.Wait()
	s.serving.Wait()
	close(finished)
	stopping.Wait()
	return nil
}

// runStop stops the server when ctx ends, and gives up what is not finished stopTime later.
func (s *Server) runStop(ctx context.Context, finished <-chan struct{}, accepting *sync.WaitGroup, give func()) {
	select {
	case <-finished:
		return
	case <-ctx.Done():
	}
	s.end.Do(func() { close(s.ending) })
	for _, d := range s.doors {
		d.l.End(backlogTime)
	}
	accepting.Wait()
	s.each(Session.Stop)
	select {
	case <-finished:
	case <-time.After(stopTime):
		give()
		s.each(Session.Abandon)
	}
}

// each calls f for every session.
func (s *Server) each(f func(Session)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for x := range s.sessions {
		f(x)
	}
}

// Retire gives the sockets back; connections are served until their peers close them.
func (s *Server) Retire() {
	s.end.Do(func() { close(s.ending) })
	for _, d := range s.doors {
		_ = d.l.Close() // closed twice, it says so
	}
}

// Status describes the addresses.
func (s *Server) Status() []Listener {
	all := make([]Listener, 0, len(s.doors))
	for _, d := range s.doors {
		all = append(all, s.events.last.Of(Listener{URL: d.url, Connections: int(d.open.Load())}))
	}
	return all
}

// runAccept takes connections until the listener is closed or its deadline passes.
func (s *Server) runAccept(ctx context.Context, d *door) {
	defer d.l.Close()
	for wait := minBackoff; ; {
		c, err := d.l.Accept()
		switch {
		case err == nil:
			wait = minBackoff
			s.accept(ctx, d, c)
		case errors.Is(err, net.ErrClosed), errors.Is(err, os.ErrDeadlineExceeded):
			return
		default:
			s.counters.accept.Inc()
			s.events.acceptFailed(d.url, err, wait)
			select {
			case <-time.After(wait):
			case <-s.ending:
				return
			}
			wait = min(2*wait, maxBackoff)
		}
	}
}

// accept has a new connection served, or closes it.
func (s *Server) accept(ctx context.Context, d *door, c net.Conn) {
	who := s.peers.Of(c)
	if refusal := s.peers.Enter(who); refusal != listen.Welcome {
		s.refuse(d, who, refusal)
		c.Close()
		return
	}
	x := s.options.Session(ctx, &Conn{Conn: c, Socket: c, URL: d.url, TLS: d.tls, Peer: who})
	s.mu.Lock()
	s.sessions[x] = struct{}{}
	s.mu.Unlock()
	s.counters.connections.Inc()
	d.open.Add(1)
	s.serving.Go(func() {
		x.Serve()
		s.mu.Lock()
		delete(s.sessions, x)
		s.mu.Unlock()
		s.counters.connections.Dec()
		d.open.Add(-1)
		s.peers.Leave(who)
	})
}

func (s *Server) refuse(d *door, who *listen.Peer, why listen.Refusal) {
	switch why {
	case listen.NotAllowed:
		s.counters.deniedAllow.Inc()
		s.events.denied(d.url, string(who.Text))
	case listen.OverTotal:
		s.counters.deniedTotal.Inc()
		s.events.limitReached(d.url, string(who.Text), "max_connections", s.options.MaxConnections)
	case listen.OverAddress:
		s.counters.deniedAddress.Inc()
		s.events.limitReached(d.url, string(who.Text), "per address", listen.PerAddress)
	}
}

// Handshake makes c a connection of TLS within a time, unless stopping is closed before, and returns
// who is there. Where it returns false the connection is of no use any more, and it has said why.
func (s *Server) Handshake(ctx context.Context, c *Conn, within time.Duration, stopping <-chan struct{}) (state tls.ConnectionState, ok bool) {
	_ = c.Socket.SetDeadline(time.Now().Add(within)) // fails on a closed connection only
	if Closed(stopping) {
		return state, false
	}
	t := tls.Server(c.Socket, s.tls)
	err := t.HandshakeContext(ctx)
	var header tls.RecordHeaderError
	switch {
	case err == nil:
		_ = c.Socket.SetDeadline(time.Time{})
		c.Conn = t
		return t.ConnectionState(), true
	case Closed(stopping):
	case errors.As(err, &header) && header.Conn != nil:
		s.counters.plainText.Inc()
		s.events.plainText(c.URL, string(c.Peer.Text))
	default:
		s.counters.handshake.Inc()
		s.events.handshakeFailed(c.URL, string(c.Peer.Text), tlsconf.OfPeer(tlsconf.OfServed(err, s.options.TLS.Cert, s.tls)))
	}
	return state, false
}

// Closed reports whether a channel that is only ever closed is.
func Closed(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}
