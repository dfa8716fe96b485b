// Package query answers questions over HTTP: stored records, the same live,
// counts over time, the agent's status, its metrics. It is the only room that
// knows fasthttp. It reads the store through Source and the agent through Host,
// and keeps nothing of either between two requests, so a question can never
// slow an input down. Everything that comes from outside is bounded here, and
// nothing but /healthz, /readyz, /metrics and the greeting at / is answered without the
// token. docs/api.md is the text of what it promises.
package query

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"net"
	"strings"
	"sync"
	"time"

	"github.com/VictoriaMetrics/metrics"
	"github.com/rs/zerolog"
	"github.com/valyala/fasthttp"

	"github.com/runnel-log/runnel/internal/listen"
)

// The bounds of what one client may cost.
const (
	maxQueries     = 16               // queries and histograms at once; more get 429
	maxTails       = 32               // tails at once; more get 429
	maxLasts       = 4                // tails at once that send what was stored before them; more wait
	maxWides       = 2                // tails at once that hold a record of more than 1 MiB; more wait
	maxConnections = 1024             // open at once, tails not counted
	maxHeader      = 16 << 10         // bytes of request line and headers; more get 431
	maxBody        = 8 << 20          // bytes of a request's body; more get 413
	maxAnswer      = 10 << 20         // bytes of one page of records; the rest is on the next
	readTimeout    = 10 * time.Second // for a whole request, from its first byte
	idleTimeout    = 60 * time.Second // between two requests
	writeTimeout   = 30 * time.Second // for a whole answer, and for one piece of a tail: see tailTimeout
	shutdownGrace  = 2 * time.Second  // for answers under way when Serve is told to end
)

// maxPeerConnections is no bound: what is bounded is those of one other machine
// (listen.PerAddress), and maxConnections of all, tails apart.
const maxPeerConnections = 1 << 20

// Options are what a Server is made of. Source, Host and Metrics are required.
type Options struct {
	Source  Source
	Host    Host
	Token   string      // what clients must present; with neither it nor Open, nobody is let in
	Open    bool        // let everyone in without a token; the config allows it on loopback only
	Hosts   []string    // further names that a request's Host header may have on a loopback address
	TLS     *tls.Config // nil: in the clear
	Metrics *metrics.Set
	Log     zerolog.Logger
	Agent   string    // the agent's name
	Version string    // of the program
	Started time.Time // when the agent started

	// The rest has good defaults; tests set them.

	QueryTime time.Duration    // for one page; 0: 10 s
	ScanBytes int64            // uncompressed bytes read for one page; 0: 256 MiB
	TailWait  time.Duration    // for a tail's client to take what it asked for; 0: 10 s
	Now       func() time.Time // nil: time.Now
}

// Server answers the API. It is made by New and serves one listener.
type Server struct {
	o       Options
	routes  map[string]route
	auth    *gate
	events  events
	counts  counts
	queries chan struct{}  // one token for each query under way; maxQueries of them
	tails   chan struct{}  // one for each tail; maxTails of them
	lasts   chan struct{}  // one for each tail that sends what was stored before it
	wides   chan struct{}  // one for each tail that holds a long record
	trying  sync.Mutex     // held while a module is tried: one at a time
	wg      sync.WaitGroup // everything that begin let start

	// open guards connections, every connection of the server with its tails,
	// and ending, which is set once nothing more may begin.
	open        sync.Mutex
	connections map[net.Conn]struct{}
	ending      bool
}

// New returns a server that has not begun to serve.
func New(o Options) *Server {
	if o.QueryTime == 0 {
		o.QueryTime = 10 * time.Second
	}
	if o.ScanBytes == 0 {
		o.ScanBytes = 256 << 20
	}
	if o.TailWait == 0 {
		o.TailWait = 10 * time.Second
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	s := &Server{
		o:           o,
		auth:        newGate(o.Token, o.Open, o.Hosts, o.Now),
		events:      events{o.Log},
		queries:     make(chan struct{}, maxQueries),
		tails:       make(chan struct{}, maxTails),
		lasts:       make(chan struct{}, maxLasts),
		wides:       make(chan struct{}, maxWides),
		connections: make(map[net.Conn]struct{}),
	}
	s.routes = s.table()
	s.counts = newCounts(o.Metrics, s.routes, func() float64 { return float64(len(s.tails)) })
	return s
}

// Serve answers requests on ln until ctx ends, and then nil: it stops
// accepting, gives answers under way two seconds, and closes every connection.
// An error means that ln failed. It closes ln.
func (s *Server) Serve(ctx context.Context, ln net.Listener) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	local := isLoopback(ln.Addr())
	peers, err := listen.NewPeers(nil, maxPeerConnections, s.o.Agent)
	if err != nil {
		return err
	}
	ln = patient{ln, ctx, peers, s.counts.refused}
	if s.o.TLS != nil {
		ln = tls.NewListener(ln, s.o.TLS)
	}
	server := &fasthttp.Server{
		Handler: func(c *fasthttp.RequestCtx) {
			if s.begin() {
				defer s.wg.Done()
				s.handle(ctx, c, local)
			}
		},
		HeaderReceived:               s.bodyLimit,
		ErrorHandler:                 s.refuse,
		Name:                         "runnel",
		Logger:                       s.events,
		Concurrency:                  maxConnections,
		ReadBufferSize:               maxHeader,
		MaxRequestBodySize:           maxBody,
		ReadTimeout:                  readTimeout,
		WriteTimeout:                 writeTimeout,
		IdleTimeout:                  idleTimeout,
		MaxRequestsPerConn:           1000,
		CloseOnShutdown:              true,
		DisablePreParseMultipartForm: true,
		SecureErrorLogMessage:        true,
		ConnState:                    s.track,
	}
	failed := make(chan error, 1) // one: the server fails or ends once
	go func() { failed <- server.Serve(ln) }()
	select {
	case err := <-failed:
		cancel()
		s.shutdown(server)
		ln.Close() //nolint:errcheck // it has failed already
		return err
	case <-ctx.Done():
		ln.Close() //nolint:errcheck // fasthttp forgets it if it ends before it has begun
		s.shutdown(server)
		<-failed
		return nil
	}
}

// shutdown ends what server still does and waits for it.
func (s *Server) shutdown(server *fasthttp.Server) {
	grace, cancel := context.WithTimeout(context.Background(), shutdownGrace)
	defer cancel()
	server.ShutdownWithContext(grace) //nolint:errcheck // what is left is closed below
	s.open.Lock()
	s.ending = true
	for c := range s.connections {
		c.Close() //nolint:errcheck // nothing to be done about it
	}
	s.open.Unlock()
	s.wg.Wait()
}

// begin reports whether one more request may be worked on; the caller then
// calls s.wg.Done.
func (s *Server) begin() bool {
	s.open.Lock()
	defer s.open.Unlock()
	if s.ending {
		return false
	}
	s.wg.Add(1)
	return true
}

// track keeps the list of open connections; a tail takes itself off.
func (s *Server) track(c net.Conn, state fasthttp.ConnState) {
	s.open.Lock()
	defer s.open.Unlock()
	switch state {
	case fasthttp.StateNew:
		s.connections[c] = struct{}{}
	case fasthttp.StateClosed:
		delete(s.connections, c)
	}
}

// bodyLimit says how much of a body is read before the handler is asked: little
// from those who have shown no token, or strangers could fill the memory.
func (s *Server) bodyLimit(h *fasthttp.RequestHeader) fasthttp.RequestConfig {
	if s.auth.knows(h.Peek(fasthttp.HeaderAuthorization)) {
		return fasthttp.RequestConfig{}
	}
	return fasthttp.RequestConfig{MaxRequestBodySize: 4 << 10}
}

// refuse answers a request that could not be read.
func (s *Server) refuse(c *fasthttp.RequestCtx, err error) {
	code, text := fasthttp.StatusBadRequest, "the request is not well-formed HTTP"
	var small *fasthttp.ErrSmallBuffer
	var timeout net.Error
	switch {
	case errors.As(err, &small):
		code, text = fasthttp.StatusRequestHeaderFieldsTooLarge, "request line and headers are longer than 16 KiB"
	case errors.Is(err, fasthttp.ErrBodyTooLarge):
		code, text = fasthttp.StatusRequestEntityTooLarge, "the body is longer than 8 MiB (4 KiB without a token)"
	case errors.As(err, &timeout) && timeout.Timeout():
		code, text = fasthttp.StatusRequestTimeout, "the request took longer than 10 s to arrive"
	}
	s.counts.refused.Inc()
	fail(c, code, text)
}

// patient is a listener that outlives a moment without descriptors, and lets no
// other machine have all the connections there are.
type patient struct {
	net.Listener
	ctx     context.Context //nolint:containedctx // Accept has no other way to be told
	peers   *listen.Peers
	refused *metrics.Counter
}

// counted is a connection that is counted until it is closed.
type counted struct {
	net.Conn
	leave func()
}

func (c *counted) Close() error {
	c.leave()
	return c.Conn.Close()
}

// Accept waits a little and tries again when the process or the kernel is out
// of descriptors or buffers: giving up would take the API away for good.
func (p patient) Accept() (net.Conn, error) {
	wait := 5 * time.Millisecond
	for {
		c, err := p.Listener.Accept()
		if err == nil {
			who := p.peers.Of(c)
			if p.peers.Enter(who) == listen.Welcome {
				return &counted{c, sync.OnceFunc(func() { p.peers.Leave(who) })}, nil
			}
			p.refused.Inc()
			c.Close() //nolint:errcheck // nothing was said on it
			continue
		}
		if errors.Is(err, net.ErrClosed) || p.ctx.Err() != nil || !isTransient(err) {
			return c, err
		}
		select {
		case <-p.ctx.Done():
		case <-time.After(wait):
		}
		wait = min(2*wait, time.Second)
	}
}

// isLoopback reports whether only this machine's programs over TCP reach addr.
// A unix socket is not loopback here: no browser can be made to open one.
func isLoopback(addr net.Addr) bool {
	a, ok := addr.(*net.TCPAddr)
	return ok && a.IP.IsLoopback()
}

// bearer returns the token of an Authorization header, or nothing.
func bearer(header []byte) []byte {
	scheme, token, _ := bytes.Cut(header, []byte(" "))
	if !strings.EqualFold(string(scheme), "bearer") {
		return nil
	}
	return bytes.TrimSpace(token)
}
