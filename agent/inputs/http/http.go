// Package http is the HTTP input: bodies of JSON, plain lines or syslog lines,
// each of them one transaction, answered after fsync and never before. It hides
// connections, credentials, encodings and repeated requests. Nothing of a body
// is stored unless all of it is, no peer can make it hold more than its bounds, and
// what cannot be stored now is refused with 503 and never accepted and dropped.
package http

import (
	"context"
	"crypto/tls"
	"fmt"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/runnel-log/runnel/agent/inputs"
	"github.com/runnel-log/runnel/internal/headroom"
	"github.com/runnel-log/runnel/internal/listen"
)

// Input is an HTTP input; New makes it.
type Input struct {
	options  *Options
	zone     *time.Location
	name     []byte
	agent    []byte
	emit     inputs.Emit
	peers    *listen.Peers
	gate     *gate
	tls      *tls.Config
	keys     *keys
	shared   *inputs.Memory // where keys are
	counters *counters
	events   events
	server   *http.Server
	doors    []*door
	reached  inputs.Points

	memory  budget
	gzips   sync.Pool      // of *gzip.Reader
	zstds   sync.Pool      // of *zstd.Decoder
	slots   chan struct{}  // one for each body that is being unpacked and read
	stalled atomic.Int64   // requests that were told 503 and whose records may still be stored
	fates   sync.WaitGroup // one for each body on its way into the store
	hopeful context.Context
	give    context.CancelFunc // ends hopeful: whatever still waits for the store gives up

	retired atomic.Bool
	ending  chan struct{} // closed when accepting ends
	end     sync.Once
	serving sync.WaitGroup // one for each connection

	mu    sync.Mutex // guards conns
	conns map[*conn]struct{}
}

// New opens the input's sockets. It returns what listen and tlsconf report,
// each one line.
func New(o *Options, setup inputs.Setup) (*Input, error) {
	zone, err := location(o.Timezone)
	if err != nil {
		return nil, fmt.Errorf("timezone: %w", err)
	}
	in := &Input{
		options: o, zone: zone, name: []byte(setup.Name), agent: []byte(setup.Agent), emit: setup.Emit,
		counters: newCounters(setup.Metrics, setup.Name), events: newEvents(setup.Log),
		memory: budget{most: int64(headroom.Share(maxMemory))}, gzips: sync.Pool{New: newGzip}, zstds: sync.Pool{New: newZstd}, slots: make(chan struct{}, decoders()),
		ending: make(chan struct{}), conns: map[*conn]struct{}{}, reached: setup.Reached,
	}
	in.hopeful, in.give = context.WithCancel(context.Background())
	if in.peers, err = listen.NewPeers(o.Allow, o.MaxConnections, setup.Agent); err != nil {
		return nil, fmt.Errorf("allow: %w", err)
	}
	token, err := o.Token.Read()
	if err != nil {
		return nil, fmt.Errorf("token: %w", err)
	}
	in.gate = newGate(token)
	if o.TLS != nil {
		if in.tls, err = o.TLS.Config(in.events.certificate); err != nil {
			return nil, fmt.Errorf("tls: %w", err)
		}
	}
	in.shared = setup.Memory
	in.keys = setup.Memory.Of(func() any { return newKeys(setup.Marks, maxKeys, time.Now) }).(*keys)
	in.counters.publish(setup.Metrics, setup.Name, in.keys)
	in.server = in.newServer()
	for _, address := range o.Listen {
		if err := in.open(address, setup.Sockets); err != nil {
			in.Retire() // gives the others back
			return nil, err
		}
	}
	return in, nil
}

// open takes one socket.
func (in *Input) open(address string, sockets *listen.Sockets) error {
	a, err := in.options.address(address)
	if err != nil {
		return err
	}
	l, err := sockets.Stream(a.String())
	if err != nil {
		return err
	}
	in.doors = append(in.doors, &door{in: in, url: inputs.Taken(a, l.Addr()), tls: a.Scheme == "tls", l: l.(streamListener)})
	return nil
}

// Run takes requests until ctx ends or, after Retire, until the last client has
// closed its connection.
func (in *Input) Run(ctx context.Context) error {
	defer in.give()
	if ctx.Err() != nil {
		in.Retire()
		return nil
	}
	var accepting, stopping sync.WaitGroup
	for _, d := range in.doors {
		in.events.listening(d.url)
		accepting.Go(func() {
			_ = in.server.Serve(d) // ends when the door is closed, with an error that says so
		})
	}
	finished := make(chan struct{})
	stopping.Go(func() { in.runStop(ctx, finished, &accepting) })
	accepting.Wait()
	in.serving.Wait()
	in.fates.Wait()
	close(finished)
	stopping.Wait()
	return nil
}

// runStop ends the input when ctx ends: what has been asked is answered, and what
// has no answer stopTime later is given up. Its sender knows, as it got none.
func (in *Input) runStop(ctx context.Context, finished <-chan struct{}, accepting *sync.WaitGroup) {
	select {
	case <-finished:
		return
	case <-ctx.Done():
	}
	in.end.Do(func() { close(in.ending) })
	for _, d := range in.doors {
		d.l.End(backlogTime)
	}
	accepting.Wait()
	in.closeSilent()
	patience, cancel := context.WithTimeout(context.WithoutCancel(ctx), stopTime)
	defer cancel()
	if in.server.Shutdown(patience) != nil { //nolint:contextcheck // it has a deadline of its own
		_ = in.server.Close()
		in.give()
	}
}

// closeSilent closes the connections on which nothing was ever asked.
func (in *Input) closeSilent() {
	in.mu.Lock()
	defer in.mu.Unlock()
	for c := range in.conns {
		if !c.asked.Load() {
			_ = c.raw.Close() // nobody waits for anything on it
		}
	}
}

// Retire gives the sockets back. Requests on connections that are open are
// still served, and each of them is told to connect again with the next one.
func (in *Input) Retire() {
	in.retired.Store(true)
	in.end.Do(func() { close(in.ending) })
	for _, d := range in.doors {
		_ = d.Close() // closed twice, it says so
	}
}

// Status describes the addresses.
func (in *Input) Status() []inputs.Listener {
	all := make([]inputs.Listener, 0, len(in.doors))
	for _, d := range in.doors {
		all = append(all, in.events.last.Of(inputs.Listener{URL: d.url, Connections: int(d.open.Load())}))
	}
	return all
}
