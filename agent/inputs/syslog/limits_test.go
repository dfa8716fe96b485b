package syslog

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/VictoriaMetrics/metrics"
	"github.com/rs/zerolog"

	"github.com/runnel-log/runnel/agent/inputs"
	"github.com/runnel-log/runnel/agent/inputs/inputtest"
	"github.com/runnel-log/runnel/record"
)

func TestAllow(t *testing.T) {
	f := func(allow, addr string, want bool) {
		t.Helper()
		o := newOptions()
		o.Allow = strings.Fields(allow)
		p, err := newPeers(o, "agent-1")
		if err != nil {
			t.Fatal(err)
		}
		who := p.unix("unix")
		if addr != "unix" {
			who = p.at(netip.MustParseAddr(addr))
		}
		if got := p.allowed(who); got != want {
			t.Errorf("allow %q: %s may send: %v, want %v", allow, addr, got, want)
		}
	}
	f("", "203.0.113.9", true)
	f("10.0.0.0/8", "10.1.2.3", true)
	f("10.0.0.0/8", "::ffff:10.1.2.3", true)
	f("10.0.0.0/8", "11.0.0.1", false)
	f("10.0.0.0/8", "127.0.0.1", true)
	f("10.0.0.0/8", "::1", true)
	f("10.0.0.0/8", "unix", true)
	f("10.0.0.7/8", "10.9.9.9", true)
	f("192.0.2.7", "192.0.2.7", true)
	f("192.0.2.7", "192.0.2.8", false)
	f("2001:db8::/32 fe80::/10", "2001:db8::1", true)
	f("2001:db8::/32 fe80::/10", "fe80::1%eth0", true)
	f("2001:db8::/32", "2001:db9::1", false)
	f("0.0.0.0/0", "2001:db8::1", false)
}

func TestPerAddressLimitExemptsLoopback(t *testing.T) {
	o := newOptions()
	p, err := newPeers(o, "agent-1")
	if err != nil {
		t.Fatal(err)
	}
	remote, local := p.at(netip.MustParseAddr("192.0.2.1")), p.at(netip.MustParseAddr("127.0.0.1"))
	for i := range perAddress {
		if got := p.enter(remote); got != withinLimits {
			t.Fatalf("connection %d: got %v", i, got)
		}
	}
	if got := p.enter(remote); got != overAddress {
		t.Errorf("connection %d of one address: got %v, want overAddress", perAddress+1, got)
	}
	for i := range perAddress + 1 {
		if got := p.enter(local); got != withinLimits {
			t.Fatalf("loopback connection %d: got %v", i, got)
		}
	}
	p.leave(remote)
	if got := p.enter(p.at(netip.MustParseAddr("192.0.2.1"))); got != withinLimits {
		t.Errorf("after one left: got %v", got)
	}
	for range perAddress {
		p.leave(remote)
	}
	if len(p.of) != 0 || p.open != perAddress+1 {
		t.Errorf("left behind: %v, %d open", p.of, p.open)
	}
}

// TestConnectionsBeyondTheLimitAreRefused by closing, and there is room again when one leaves.
func TestConnectionsBeyondTheLimitAreRefused(t *testing.T) {
	var log lockedBuffer
	r := inputtest.Start(t, Kind, t.TempDir(), "listen: tcp://127.0.0.1:0\nmax_connections: 2", inputtest.Setup{Log: zerolog.New(&log)})
	line := func(c net.Conn) error {
		_, err := io.WriteString(c, "<13>1 - vm app - - - line\n")
		return err
	}
	first, second := inputtest.Dial(t, r.URL(0), ""), inputtest.Dial(t, r.URL(0), "")
	if err := errors.Join(line(first), line(second)); err != nil {
		t.Fatal(err)
	}
	r.Sink.Wait(t, 2)
	third := inputtest.Dial(t, r.URL(0), "")
	if _, err := third.Read(make([]byte, 1)); err == nil {
		t.Error("the connection beyond the limit stays open")
	}
	counted(t, r, `runnel_input_denied_total{input="in",reason="max_connections"}`, 1)
	if !strings.Contains(log.String(), `"limit":"max_connections","connections":2`) {
		t.Errorf("the log does not name the limit: %s", log.String())
	}
	first.(*net.TCPConn).CloseWrite()
	io.Copy(io.Discard, first) // until the input has closed it
	taken := 0
	for until := time.Now().Add(inputtest.Patience); taken < 3; { // leaving comes a moment after closing
		if time.Now().After(until) {
			t.Fatal("there is no room although one has left")
		}
		c := inputtest.Dial(t, r.URL(0), "")
		if line(c) == nil {
			c.(*net.TCPConn).CloseWrite()
			io.Copy(io.Discard, c)
		}
		taken = r.Sink.Len()
	}
}

type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// TestDeniedPeers gives the input a peer that it takes for a remote one.
func TestDeniedPeers(t *testing.T) {
	o := inputtest.Options(t, Kind, "", "listen: udp://127.0.0.1:0\nallow: [10.0.0.0/8]").(*Options)
	sockets := newSockets(t)
	in, err := New(o, inputs.Setup{Name: "in", Emit: inputtest.NewSink().Emit, Sockets: sockets, Metrics: metrics.NewSet()})
	if err != nil {
		t.Fatal(err)
	}
	defer in.Retire()
	ring := newRing()
	for _, addr := range []string{"192.0.2.1", "10.0.0.1", "192.0.2.2"} {
		in.datagram(in.packets[0], ring, []byte("<13>x"), in.peers.at(netip.MustParseAddr(addr)), captured)
	}
	if got := in.counters.deniedAllow.Get(); got != 2 {
		t.Errorf("denied %d datagrams, want 2", got)
	}
	if c, _ := ring.take(); c == nil || len(c.marks) != 1 || string(c.marks[0].from.text) != "10.0.0.1" {
		t.Errorf("the ring holds %v, want the one of 10.0.0.1", c)
	}
}

// TestHostOfARemotePeer is its address; that of a local one the agent's name.
func TestHostOfARemotePeer(t *testing.T) {
	o := inputtest.Options(t, Kind, "", "listen: udp://127.0.0.1:0").(*Options)
	sink := inputtest.NewSink()
	in, err := New(o, inputs.Setup{Name: "in", Agent: "agent-1", Emit: sink.Emit, Sockets: newSockets(t), Metrics: metrics.NewSet()})
	if err != nil {
		t.Fatal(err)
	}
	defer in.Retire()
	c := in.newCollector(t.Context(), "")
	c.now = captured.UnixNano()
	for _, addr := range []string{"192.0.2.1", "::ffff:192.0.2.2", "2001:db8::1", "127.0.0.1", "::1"} {
		c.add([]byte("<13>no host"), 0, in.peers.at(netip.MustParseAddr(addr)))
	}
	c.add([]byte("<13>1 - stated - - - - x"), record.Truncated, in.peers.unix("unix:uid=7"))
	c.flush()
	var got []string
	for _, v := range sink.Records() {
		got = append(got, fmt.Sprintf("%s %s %v", v.Peer(), v.Host(), v.Flags()&record.HostFilled != 0))
		if v.Received() != captured.UnixNano() || string(v.Input()) != "in" || string(v.Agent()) != "agent-1" {
			t.Errorf("got received %d, input %q, agent %q", v.Received(), v.Input(), v.Agent())
		}
	}
	want := "192.0.2.1 192.0.2.1 true, 192.0.2.2 192.0.2.2 true, 2001:db8::1 2001:db8::1 true, 127.0.0.1 agent-1 true, ::1 agent-1 true, unix:uid=7 stated false"
	if strings.Join(got, ", ") != want {
		t.Errorf("got  %s\nwant %s", strings.Join(got, ", "), want)
	}
}

// TestDescriptorsRunOut: accepting backs off without spinning, says so, and goes on.
func TestDescriptorsRunOut(t *testing.T) {
	in := &Input{counters: newCounters(metrics.NewSet(), "in"), events: newEvents(zerolog.Nop()), ending: make(chan struct{})}
	l := &brokenListener{}
	s := &stream{url: "tcp://127.0.0.1:1", l: l}
	done := make(chan struct{})
	go func() { in.runAccept(t.Context(), s); close(done) }()
	for until := time.Now().Add(inputtest.Patience); in.counters.errAccept.Get() < 4; runtime.Gosched() {
		if time.Now().After(until) {
			t.Fatal("accepting is not tried again")
		}
	}
	l.set(net.ErrClosed)
	close(in.ending)
	<-done
	if n := in.counters.errAccept.Get(); n > 200 {
		t.Errorf("accept was called %d times: it spins", n)
	}
}

// brokenListener fails as a process without free descriptors does.
type brokenListener struct {
	net.Listener
	mu  sync.Mutex
	err error
}

func (l *brokenListener) set(err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.err = err
}

func (l *brokenListener) Accept() (net.Conn, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.err != nil {
		return nil, l.err
	}
	return nil, &net.OpError{Op: "accept", Err: os.NewSyscallError("accept4", syscall.EMFILE)}
}

func (l *brokenListener) End(time.Duration) {}
func (l *brokenListener) Close() error      { return nil }

// TestRingIsBounded: beyond its size datagrams are refused, and there is room again after.
func TestRingIsBounded(t *testing.T) {
	r := newRing()
	b := make([]byte, 1000)
	n := 0
	for r.push(b, 0, nil, captured) {
		n++
	}
	if want := ringBytes / (1000 + markBytes); n != want {
		t.Errorf("took %d datagrams, want %d", n, want)
	}
	got := 0
	for got < n {
		c := r.pop(func() { t.Error("idle while there is work") })
		got += len(c.marks)
		r.release(c)
	}
	if got != n || r.bytes != 0 || len(r.free) > spare {
		t.Errorf("gave %d of %d back; %d bytes, %d free chunks left", got, n, r.bytes, len(r.free))
	}
	if !r.push(b, 0, nil, captured) {
		t.Error("no room in an empty ring")
	}
	r.close()
	idle := 0
	for c := r.pop(func() { idle++ }); c != nil; c = r.pop(func() { idle++ }) {
		r.release(c)
	}
	if idle != 1 {
		t.Errorf("idle was called %d times at the end, want 1", idle)
	}
}

// TestIdleConnectionsAreSmall: at most 40 KiB each, also after they were busy.
func TestIdleConnectionsAreSmall(t *testing.T) {
	const n = 400
	r := inputtest.Start(t, Kind, t.TempDir(), "listen: unix://"+t.TempDir()+"/s", inputtest.Setup{Sink: inputtest.NewCounter()})
	heap := func() uint64 {
		runtime.GC()
		runtime.GC() // the second empties the pools
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return m.HeapInuse + m.StackInuse
	}
	before := heap()
	lines := bytes.Repeat([]byte("<13>1 - vm app - - - line\n"), 4)
	for range n {
		if _, err := inputtest.Dial(t, r.URL(0), "").Write(lines); err != nil {
			t.Fatal(err)
		}
	}
	r.Sink.Wait(t, 4*n)
	// The client's side is in this process, and counted; it is small.
	if each := int64(heap()-before) / n; each > 40<<10 {
		t.Errorf("a silent connection takes %d bytes, want at most %d", each, 40<<10)
	} else {
		t.Logf("a silent connection takes %d bytes, its client's side included", each)
	}
}
