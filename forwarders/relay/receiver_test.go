package relay

import (
	"bytes"
	"crypto/tls"
	"math/rand/v2"
	"net"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/VictoriaMetrics/metrics"
	"github.com/klauspost/compress/s2"
	"github.com/rs/zerolog"

	"github.com/runnel-log/runnel/forwarders"
	"github.com/runnel-log/runnel/forwarders/forwardertest"
	"github.com/runnel-log/runnel/internal/config"
	"github.com/runnel-log/runnel/internal/relaywire"
	"github.com/runnel-log/runnel/internal/tiers"
	"github.com/runnel-log/runnel/record"
)

var receiverID = relaywire.Agent{0xEC}

// receiver is a small honest receiver that can misbehave on command. What it keeps it
// keeps by the rules (relaywire.Known).
type receiver struct {
	t        testing.TB
	address  string
	reached  chan struct{}
	listener net.Listener
	tls      *tls.Config
	serving  sync.WaitGroup

	mu   sync.Mutex
	thaw *sync.Cond // on mu
	// guarded by mu:
	known    *relaywire.Known
	texts    []string
	origins  []record.Origin
	gone     []relaywire.Gone
	frozen   bool
	conns    map[net.Conn]bool
	hellos   []relaywire.Hello
	asks     []relaywire.Ask
	reports  int
	byes     int
	busy     int // hellos to turn away
	credit   uint64
	above    []relaywire.Hop
	welcome  func(*relaywire.Welcome)                        // changes it
	tell     func(*relaywire.Tell)                           // likewise
	visiting *visit                                          // whose message is being answered
	answer   func(c net.Conn, m relaywire.Message) (ok bool) // answers in its place; false: hang up
}

func startReceiver(t testing.TB, network, address string, secure *tls.Config) *receiver {
	t.Helper()
	l, err := net.Listen(network, address)
	if err != nil {
		t.Fatal(err)
	}
	s := &receiver{t: t, address: l.Addr().String(), reached: make(chan struct{}, 1<<16), listener: l, tls: secure,
		conns: make(map[net.Conn]bool), known: relaywire.NewKnown(), credit: 1 << 20}
	s.thaw = sync.NewCond(&s.mu)
	s.serving.Go(s.accept)
	t.Cleanup(func() {
		l.Close()
		s.freeze(false)
		s.reset()
		s.serving.Wait()
	})
	return s
}

func (s *receiver) accept() {
	for {
		c, err := s.listener.Accept()
		if err != nil {
			return
		}
		s.mu.Lock()
		s.conns[c] = true
		s.mu.Unlock()
		s.serving.Go(func() {
			s.serve(c)
			c.Close()
			s.mu.Lock()
			defer s.mu.Unlock()
			delete(s.conns, c)
		})
	}
}

func (s *receiver) serve(raw net.Conn) {
	c := raw
	if s.tls != nil {
		c = tls.Server(raw, s.tls)
	}
	v := &visit{receiver: s, c: c, number: relaywire.Session(rand.Uint64() | 1)}
	r := relaywire.NewReader(c)
	defer r.Close()
	for {
		m, err := r.Next()
		if err != nil || !v.take(m) {
			return
		}
	}
}

// visit is one connection.
type visit struct {
	*receiver
	c      net.Conn
	number relaywire.Session
	writer relaywire.Writer
}

func (v *visit) say(m relaywire.Message) bool {
	_, err := v.c.Write(relaywire.Append(nil, m))
	return err == nil
}

// take obeys one message; false: the connection is over.
func (v *visit) take(m relaywire.Message) bool {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.frozen {
		select {
		case v.reached <- struct{}{}:
		default:
		}
	}
	for v.frozen {
		v.thaw.Wait()
	}
	if h, ok := m.(*relaywire.Hello); ok {
		v.hellos, v.writer = append(v.hellos, *h), h.Writer
	}
	if q, ok := m.(*relaywire.Ask); ok {
		v.asks = append(v.asks, *q)
	}
	v.visiting = v
	if v.answer != nil {
		return v.answer(v.c, m)
	}
	return v.obey(m)
}

func (v *visit) obey(m relaywire.Message) bool {
	switch m := m.(type) {
	case *relaywire.Hello:
		if v.busy > 0 {
			v.busy--
			v.say(&relaywire.Nack{Code: relaywire.CodeClosing, Text: "later"})
			return false
		}
		v.known.Begin(v.writer, v.number)
		w := &relaywire.Welcome{Version: relaywire.Version, Agent: receiverID, Name: "above", Session: v.number, Credit: v.credit, Above: v.above}
		if v.welcome != nil {
			v.welcome(w)
		}
		return v.say(w)
	case *relaywire.Ask:
		t, err := v.known.Ask(v.writer, v.number, m)
		if err != nil {
			return v.say(&relaywire.Nack{Code: relaywire.CodeFenced})
		}
		if v.tell != nil {
			v.tell(t)
		}
		return v.say(t)
	case *relaywire.Data:
		return v.data(m)
	case *relaywire.Report:
		v.reports++
		return v.say(&relaywire.Path{Above: v.above})
	case *relaywire.Bye:
		v.byes++
		return false
	}
	v.t.Errorf("a sender says %T", m)
	return false
}

// data stores what is new of a frame and acknowledges it.
func (v *visit) data(d *relaywire.Data) bool {
	return v.keep(d) && v.say(&relaywire.Ack{Number: d.Number})
}

// keep stores what is new of a frame.
func (v *visit) keep(d *relaywire.Data) bool {
	d.Agent = v.writer.Agent
	verdict, err := v.known.Judge(v.writer, v.number, d)
	if err != nil {
		v.t.Errorf("frame %d of %q, [%d, %d): %v", d.Number, d.Stream, d.From, d.To, err)
		v.say(&relaywire.Nack{Code: relaywire.CodeHole, Text: err.Error()})
		return false
	}
	if len(verdict.Missing) > 0 {
		v.store(d)
		v.known.Take(verdict)
	}
	return true
}

func (v *visit) store(d *relaywire.Data) {
	v.gone = append(v.gone, d.Gone...)
	if len(d.Offsets) == 0 {
		return
	}
	b := new(record.Batch)
	raw, err := s2.Decode(nil, d.Payload)
	if err == nil {
		copy(b.Room(len(raw)), raw)
		err = b.Decode(raw)
	}
	if err == nil {
		err = b.Stamp(&d.Origin)
	}
	n := uint64(0)
	for _, r := range d.Offsets {
		n += r.Len()
	}
	if err != nil || n != uint64(b.Len()) || d.Offsets.End() != d.To || relaywire.Sum(d.To-1, b.At(b.Len()-1)) != d.Sum || int(d.Raw) != len(raw) {
		v.t.Errorf("frame %d: %d records at %v, sum %x, %d bytes: %v", d.Number, b.Len(), d.Offsets, d.Sum, len(raw), err)
		return
	}
	for i := range b.Len() {
		v.texts = append(v.texts, string(b.At(i).Message()))
		o := b.At(i).Origin()
		o.Stream = bytes.Clone(o.Stream)
		v.origins = append(v.origins, o)
	}
}

func (s *receiver) freeze(frozen bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.frozen = frozen
	s.thaw.Broadcast()
}

func (s *receiver) received() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]string(nil), s.texts...)
}

// set changes the receiver's ways.
func (s *receiver) set(change func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	change()
}

// get looks at something of it.
func get[T any](s *receiver, look func() T) T {
	s.mu.Lock()
	defer s.mu.Unlock()
	return look()
}

func (s *receiver) reset() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for c := range s.conns {
		if tcp, ok := c.(*net.TCPConn); ok {
			tcp.SetLinger(0)
		}
		c.Close()
	}
}

// cut ends every connection and waits until the receiver has noticed.
func (s *receiver) cut(t testing.TB) {
	t.Helper()
	s.reset()
	forwardertest.Eventually(t, "connections are gone", func() bool { return get(s, func() bool { return len(s.conns) == 0 }) })
}

func options(url string, change func(*Options)) *Options {
	o := defaults()
	o.To = []string{url}
	if change != nil {
		change(o)
	}
	return o
}

// fixture is a receiver for the suite.
func (s *receiver) fixture(t *testing.T, o *Options) *forwardertest.Receiver {
	return &forwardertest.Receiver{Options: o, Texts: s.received, Freeze: s.freeze, Reached: s.reached, Break: func() { s.cut(t) },
		Busy: func(n int) { s.set(func() { s.busy = n }) }}
}

func TestRelay(t *testing.T) {
	t.Run("tcp", func(t *testing.T) {
		forwardertest.Run(t, Kind, func(t *testing.T) *forwardertest.Receiver {
			s := startReceiver(t, "tcp", "127.0.0.1:0", nil)
			r := s.fixture(t, options("tcp://"+s.address, nil))
			r.Named = func(host string) config.Options {
				_, port, _ := net.SplitHostPort(s.address)
				return options("tcp://"+net.JoinHostPort(host, port), nil)
			}
			return r
		})
	})
	t.Run("unix", func(t *testing.T) {
		forwardertest.Run(t, Kind, func(t *testing.T) *forwardertest.Receiver {
			s := startReceiver(t, "unix", filepath.Join(t.TempDir(), "s"), nil)
			return s.fixture(t, options("unix://"+s.address, func(o *Options) { o.Compress = compressNone }))
		})
	})
	t.Run("tls", func(t *testing.T) {
		forwardertest.Run(t, Kind, func(t *testing.T) *forwardertest.Receiver {
			shown := forwardertest.NewShown(t)
			s := startReceiver(t, "tcp", "127.0.0.1:0", shown.Config())
			r := s.fixture(t, options("tls://"+s.address, func(o *Options) { o.TLS.CA, o.Compress = shown.CA.File, compressBetter }))
			r.Shown = shown
			return r
		})
	})
}

// sender is a forwarder, and the store that it sends from.
type sender struct {
	*Forwarder
	source *forwardertest.Source
	tiers  *tiers.Tiers
}

func text(uint64) string { return "GET /healthz 200" }

// newSender makes one whose streams have the offsets from 1 on.
func newSender(t testing.TB, o *Options, source *forwardertest.Source) *sender {
	t.Helper()
	if source == nil {
		source = &forwardertest.Source{Texts: text}
	}
	tiers := tiers.New(relaywire.Hop{Agent: forwardertest.ID(), Name: "vm-17"})
	f, err := Kind.New(o, forwarders.Setup{Name: "up", Agent: "vm-17", Version: "test", Log: zerolog.New(zerolog.NewTestWriter(t)), Metrics: metrics.NewSet(),
		Source: source, Tiers: tiers})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	return &sender{f.(*Forwarder), source, tiers}
}

// deliver hands over records and returns their Ack.
func (s *sender) deliver(t testing.TB, from, to uint64) forwarders.Ack {
	t.Helper()
	ack, err := s.Deliver(t.Context(), forwardertest.Batch(t, "app", from, to, nil))
	if err != nil {
		t.Fatalf("Deliver [%d, %d): %v", from, to, err)
	}
	return ack
}

// acked delivers records, and has what is to be remembered stored.
func (s *sender) acked(t testing.TB, from, to uint64) {
	t.Helper()
	ack := s.deliver(t, from, to)
	if n, err := ack.Wait(t.Context()); n != int(to-from) || err != nil {
		t.Fatalf("Wait of [%d, %d) = %d, %v", from, to, n, err)
	}
	s.source.Keep(ack)
}

// tries delivers until it works, as the agent does, and returns the errors on the way.
func (s *sender) tries(t testing.TB, from, to uint64) (errs []error) {
	t.Helper()
	return s.triesWith(t, from, to, func(forwarders.Ack) {})
}

// triesWith is tries that shows the last Ack.
func (s *sender) triesWith(t testing.TB, from, to uint64, last func(forwarders.Ack)) (errs []error) {
	t.Helper()
	deadline := time.Now().Add(time.Minute)
	for time.Now().Before(deadline) {
		ack, err := s.Deliver(t.Context(), forwardertest.Batch(t, "app", from, to, nil))
		if err == nil {
			var n int
			if n, err = ack.Wait(t.Context()); err == nil {
				s.source.Keep(ack)
				last(ack)
				return errs
			}
			from += uint64(n)
		}
		errs = append(errs, err)
	}
	t.Fatalf("[%d, %d) is not delivered in a minute: %v", from, to, errs[:min(3, len(errs))])
	return nil
}
