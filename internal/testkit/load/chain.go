package main

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"sync/atomic"
	"time"
)

// tiers are a host, a cluster and a central agent of three processes, each of
// which relays to the next.
type tiers struct {
	o       options
	dir     string
	sink    string        // where central sends to; empty: nowhere
	delay   time.Duration // between cluster and central, one way
	names   []string
	configs []string
	agents  []*agentProcess // nil: not running
	far     net.Listener    // nil: the way is short
}

const tierConfig = `
api: {listen: "unix://%[1]s/api.sock", open: true}
agent: {name: %[2]s, data_dir: %[1]s/data, commit_every: %[3]s}
inputs:
  in: {type: %[4]s, listen: "%[5]s"}
%[6]s
streams: {"*": {max_size: 8GiB}}
`

// newTiers writes the configurations.
func (o options) newTiers(dir, sink string, delay time.Duration) (*tiers, error) {
	t := &tiers{o: o, dir: dir, sink: sink, delay: delay, names: []string{"host", "cluster", "central"}, agents: make([]*agentProcess, 3)}
	var at []string
	for range 3 {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return nil, err
		}
		at = append(at, l.Addr().String())
		l.Close() //nolint:errcheck // only its port was wanted
	}
	up := append([]string(nil), at[1:]...)
	if delay > 0 {
		far, err := startFar(at[2], delay)
		if err != nil {
			return nil, err
		}
		t.far, up[1] = far, far.Addr().String()
	}
	for i, name := range t.names {
		kind, to := "relay", ""
		switch {
		case i < 2:
			to = fmt.Sprintf("forwarders: {up: {type: relay, from: [\"*\"], to: \"tcp://%s\"}}", up[i])
		case sink != "":
			to = fmt.Sprintf("forwarders: {out: {type: syslog, from: [\"*\"], to: \"tcp://%s\", format: rfc5424, framing: lf}}", sink)
		}
		if i == 0 {
			kind, to = "syslog", "pipelines: {main: {from: [in], stream: app}}\n"+to
		}
		own := filepath.Join(dir, name)
		if err := os.Mkdir(own, 0o700); err != nil {
			return nil, err
		}
		text := fmt.Sprintf(tierConfig, own, name, o.commit, kind, "tcp://"+at[i], to)
		t.configs = append(t.configs, text)
		if err := os.WriteFile(filepath.Join(own, "runnel.yaml"), []byte(text), 0o600); err != nil {
			return nil, err
		}
	}
	t.o.inputs = at
	return t, nil
}

// start starts one tier.
func (t *tiers) start(i int) (err error) {
	t.agents[i], err = t.o.launch(filepath.Join(t.dir, t.names[i]), t.o.inputs[i])
	return err
}

// startAll starts all that do not run, the last first.
func (t *tiers) startAll() error {
	for i := 2; i >= 0; i-- {
		if t.agents[i] == nil {
			if err := t.start(i); err != nil {
				return err
			}
		}
	}
	return nil
}

func (t *tiers) stop(i int) {
	if t.agents[i] != nil {
		t.agents[i].stop()
		t.agents[i] = nil
	}
}

func (t *tiers) close() {
	for i := range t.agents {
		t.stop(i)
	}
	if t.far != nil {
		t.far.Close() //nolint:errcheck // nobody is there any more
	}
}

// stored waits until a tier has stored n records.
func (t *tiers) stored(i, n int, r *result) error {
	last, lastAt := int64(0), time.Now()
	for {
		have, _, err := t.agents[i].stored()
		if err != nil || have >= int64(n) {
			return err
		}
		if have != last {
			last, lastAt = have, time.Now()
		} else if time.Since(lastAt) > 30*time.Second {
			return fmt.Errorf("%s has stored %d of %d, and no more since 30 s", t.names[i], have, n)
		}
		if t.agents[1] != nil {
			t.agents[1].watch(r)
		}
		time.Sleep(10 * time.Millisecond)
	}
}

// drain has the host take count records while nobody is above it. Then it passes them
// on, through the cluster: what that costs there is what is measured.
func (t *tiers) drain(r *result) error {
	if err := t.start(0); err != nil {
		return err
	}
	if err := t.fill(); err != nil {
		return err
	}
	if err := t.stored(0, t.o.count, r); err != nil {
		return err
	}
	t.stop(0) // and begins anew: or else it would wait for its next try
	if err := t.startAll(); err != nil {
		return err
	}
	began := time.Now()
	if err := t.stored(2, t.o.count, r); err != nil {
		return err
	}
	r.Seconds, r.Sent, r.Arrived = time.Since(began).Seconds(), t.o.count, int64(t.o.count)
	r.CPU = t.agents[1].cpu()
	r.Note = fmt.Sprintf("CPU-s a million: host %.2f, cluster %.2f, central %.2f", t.million(0), t.million(1), t.million(2))
	if t.delay > 0 {
		r.Note += fmt.Sprintf("; %.0f MB/s of records over %v there and back", float64(t.o.count*t.o.size)/r.Seconds/1e6, 2*t.delay)
	}
	return nil
}

func (t *tiers) million(i int) float64 { return t.agents[i].cpu() / float64(t.o.count) * 1e6 }

// fill sends count lines to the host, as fast as it takes them.
func (t *tiers) fill() error {
	c, err := net.Dial("tcp", t.o.inputs[0])
	if err != nil {
		return err
	}
	defer c.Close() //nolint:errcheck // flushed before
	w := bufio.NewWriterSize(c, 256<<10)
	lines := someLines(1<<14, t.o.size)
	if t.o.even {
		lines = lines[:1]
	}
	for i := range t.o.count {
		if _, err := w.Write(lines[i%len(lines)]); err != nil {
			return err
		}
	}
	return w.Flush()
}

// someLines returns messages as services write them: JSON of which a third differs from line to line.
func someLines(n, size int) [][]byte {
	random := rand.New(rand.NewPCG(1, 2))
	pick := func(of ...string) string { return of[random.IntN(len(of))] }
	lines := make([][]byte, n)
	for i := range lines {
		l := fmt.Appendf(nil, `<14>1 2026-03-01T12:00:%02d.%06dZ node-%02d %s %d - - {"level":"%s","method":"%s","path":"/api/v2/%s/%d","status":%d,"bytes":%d,"took_ms":%.3f,"trace":"%016x%016x","agent":"%s","msg":"`,
			i/1000%60, random.IntN(1e6), random.IntN(40), pick("checkout", "gateway", "search"), 1000+random.IntN(200), pick("info", "info", "debug", "warn"), pick("GET", "GET", "POST"),
			pick("orders", "users", "carts"), random.IntN(1e6), 200+random.IntN(4)*100, random.IntN(1e5), random.ExpFloat64()*20, random.Uint64(), random.Uint64(), pick("curl/8.5", "okhttp/4.12", "Go-http-client/2.0"))
		for len(l) < size-3 {
			l = append(l, pick("request ", "served ", "from ", "cache ", "upstream ", "after ", "retry ")...)
		}
		lines[i] = append(l[:size-3], "\"}\n"...)
	}
	return lines
}

// through sends rate lines a second for some seconds, and says how long each took to come out of
// the third tier, where it is on disk.
func (t *tiers) through(r *result, s *timedSink, every time.Duration, n int) error {
	if err := t.startAll(); err != nil {
		return err
	}
	c, err := net.Dial("tcp", t.o.inputs[0])
	if err != nil {
		return err
	}
	defer c.Close() //nolint:errcheck // nothing is under way any more
	lines := someLines(1<<10, t.o.size)
	begins := len(lines[0]) - len(`"}`) - 1 - 19
	send := func(i int) error {
		l := lines[i%len(lines)]
		copy(l[begins:], fmt.Sprintf("%019d", time.Now().UnixNano()))
		_, err := c.Write(l)
		return err
	}
	if err := send(0); err != nil { // sessions are made
		return err
	}
	if err := s.until(1); err != nil {
		return err
	}
	time.Sleep(time.Second)
	cpu, began := t.agents[1].cpu(), time.Now()
	for i := range n {
		time.Sleep(time.Until(began.Add(time.Duration(i) * every)))
		if err := send(1 + i); err != nil {
			return err
		}
	}
	if err := s.until(1 + n); err != nil {
		return err
	}
	r.Seconds, r.Sent, r.Arrived, r.CPU = time.Since(began).Seconds(), n, int64(n), t.agents[1].cpu()-cpu
	r.Note = s.percentiles(1)
	return nil
}

// timedSink takes lines whose end says when they were sent.
type timedSink struct {
	net.Listener
	arrived atomic.Int64
	took    []time.Duration // its one connection's, until arrived says so
}

func startTimedSink(most int) (*timedSink, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	s := &timedSink{Listener: l, took: make([]time.Duration, most)}
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			s.take(c)
		}
	}()
	return s, nil
}

func (s *timedSink) take(c io.ReadCloser) {
	defer c.Close() //nolint:errcheck // the agent closes it
	lines := bufio.NewScanner(c)
	for lines.Scan() {
		l := bytes.TrimSuffix(lines.Bytes(), []byte(`"}`))
		sent, err := strconv.ParseInt(string(l[max(0, len(l)-19):]), 10, 64)
		if n := s.arrived.Load(); err == nil && n < int64(len(s.took)) {
			s.took[n] = time.Duration(time.Now().UnixNano() - sent)
			s.arrived.Store(n + 1)
		}
	}
}

func (s *timedSink) until(n int) error {
	for deadline := time.Now().Add(time.Minute); s.arrived.Load() < int64(n); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			return fmt.Errorf("%d of %d lines have arrived", s.arrived.Load(), n)
		}
	}
	return nil
}

func (s *timedSink) percentiles(from int) string {
	all := slices.Clone(s.took[from:s.arrived.Load()])
	slices.Sort(all)
	at := func(p float64) time.Duration { return all[int(p*float64(len(all)-1))].Round(100 * time.Microsecond) }
	return fmt.Sprintf("median %v, 99th percentile %v, longest %v", at(0.5), at(0.99), at(1))
}

// startFar passes connections on to an address, each byte after a delay.
func startFar(to string, delay time.Duration) (net.Listener, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	go func() {
		for {
			near, err := l.Accept()
			if err != nil {
				return
			}
			there, err := net.Dial("tcp", to)
			if err != nil {
				near.Close() //nolint:errcheck // it tries again
				continue
			}
			go late(there, near, delay)
			go late(near, there, delay)
		}
	}()
	return l, nil
}

// piece is what was read at once.
type piece struct {
	bytes []byte
	due   time.Time
}

// late copies what it reads, each piece after a delay.
func late(to io.WriteCloser, from io.ReadCloser, delay time.Duration) {
	way := make(chan piece, 4096) // 256 MiB at most; what does not fit waits at the sender's
	go func() {
		defer to.Close() //nolint:errcheck // its reader notices
		for p := range way {
			time.Sleep(time.Until(p.due))
			if _, err := to.Write(p.bytes); err != nil {
				from.Close() //nolint:errcheck // the reader below notices
			}
		}
	}()
	defer close(way)
	for {
		buf := make([]byte, 64<<10)
		n, err := from.Read(buf)
		if n > 0 {
			way <- piece{buf[:n], time.Now().Add(delay)}
		}
		if err != nil {
			return
		}
	}
}

// chain measures three tiers.
func (o options) chain(dir, scenario string, r *result) error {
	var (
		sink  *timedSink
		where string
		delay time.Duration
		err   error
	)
	paced := scenario == "chain-paced" || scenario == "chain-lone"
	if paced {
		if sink, err = startTimedSink(1 << 20); err != nil {
			return err
		}
		defer sink.Close() //nolint:errcheck // read from only
		where = sink.Addr().String()
	}
	if scenario == "chain-far" {
		delay = 50 * time.Millisecond
	}
	t, err := o.newTiers(dir, where, delay)
	if err != nil {
		return err
	}
	defer t.close()
	switch {
	case scenario == "chain-agents":
		return t.idleAgents(r, 10_000)
	case !paced:
		return t.drain(r)
	case scenario == "chain-lone":
		return t.through(r, sink, 1500*time.Millisecond, 20)
	}
	return t.through(r, sink, time.Millisecond, 20_000)
}
