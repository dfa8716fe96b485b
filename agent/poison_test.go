package agent

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"math"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/runnel-log/runnel/internal/pki"
	"github.com/runnel-log/runnel/internal/relaywire"
	"github.com/runnel-log/runnel/record"
)

// poisoned is a chain of a host that does as it likes, another that is honest, a cluster and a
// central agent, all with certificates.
type poisoned struct {
	*testing.T
	cluster, central *testAgent
	dial             *tls.Config // of the one that does as it likes
	honest           *below
	sent             int  // by the honest one
	agents           byte // that the other has been
}

func startPoisoned(t *testing.T) *poisoned {
	dir := shortDir(t)
	ca, err := pki.Init(filepath.Join(dir, "pki"), "test", 24*time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	section := func(name string, trust string, relay bool) string {
		i, err := ca.Issue(pki.Request{Host: name, Names: []string{"127.0.0.1"}, Relay: relay, Valid: time.Hour})
		if err != nil {
			t.Fatal(err)
		}
		return fmt.Sprintf("tls: {cert: %q, key: %q, %s: %q}", i.Cert, i.Key, trust, filepath.Join(dir, "pki", "ca.pem"))
	}
	input := func(name string, relay bool) string {
		return fmt.Sprintf("inputs: {chain: {type: relay, listen: ['tls://127.0.0.1:0'], %s}}\n", section(name, "client_ca", relay))
	}
	p := &poisoned{T: t}
	p.central = startAgent(t, shortDir(t), input("central", false), nil)
	_, above := p.central.address(t, "chain", 0)
	p.cluster = startAgent(t, shortDir(t), input("cluster", true)+
		fmt.Sprintf("forwarders: {up: {type: relay, from: ['*'], to: ['tls://%s'], %s}}\n", above, section("up", "ca", true)), nil)
	config := func(name string) *tls.Config {
		section(name, "ca", false)
		pair, err := tls.LoadX509KeyPair(filepath.Join(dir, "pki", name+".pem"), filepath.Join(dir, "pki", name+".key"))
		if err != nil {
			t.Fatal(err)
		}
		return &tls.Config{Certificates: []tls.Certificate{pair}, RootCAs: x509.NewCertPool(), InsecureSkipVerify: true}
	}
	p.dial = config("evil")
	p.honest = p.connect(config("good"), hostBelow, "honest")
	p.goesOn("nothing")
	return p
}

// connect connects a host to the cluster.
func (p *poisoned) connect(config *tls.Config, w relaywire.Writer, streams ...string) *below {
	p.Helper()
	_, address := p.cluster.address(p.T, "chain", 0)
	conn, err := tls.Dial("tcp", address, config)
	if err != nil {
		p.Fatal(err)
	}
	p.Cleanup(func() { conn.Close() })
	b, err := relayOver(p.T, conn, w, streams...)
	if err != nil {
		p.Fatal(err)
	}
	return b
}

// goesOn checks that what an honest host sends arrives at the last tier still.
func (p *poisoned) goesOn(after string) {
	p.Helper()
	p.sent++
	_ = p.honest.SetDeadline(time.Now().Add(patience)) // the test's own bound
	text := fmt.Sprintf("honest %d", p.sent)
	if err := p.honest.send("honest", text); err != nil {
		p.Fatalf("after %s: %v", after, err)
	}
	waitUntil(p.T, "what is honest to arrive after "+after, func() bool {
		got := texts(p.T, p.central.store, "honest")
		return len(got) > 0 && got[len(got)-1] == text
	})
}

// poison sends records of a stream from below, and returns whether the cluster took them.
func (p *poisoned) poison(what, stream string, batches ...*record.Batch) bool {
	p.Helper()
	p.agents++
	b := p.connect(p.dial, p.evil(), stream)
	var frames []byte
	for _, records := range batches {
		frames = append(frames, b.frameOf(stream, records)...)
	}
	err := b.sendFrames(frames)
	var refused *relaywire.Nack
	if err != nil && !errors.As(err, &refused) {
		p.Logf("%s: %v", what, err)
	}
	b.Close()
	p.goesOn(what)
	return err == nil
}

// evil is who the one that does as it likes is at the moment.
func (p *poisoned) evil() relaywire.Writer {
	return relaywire.Writer{Agent: relaywire.Agent{0xee, p.agents}, Epoch: 7}
}

// records makes n of them, as change has them.
func (p *poisoned) records(n int, change func(i int, r *record.Record)) *record.Batch {
	p.Helper()
	b := new(record.Batch)
	for i := range n {
		var r record.Record
		r.Reset()
		r.Message = fmt.Append(nil, i)
		r.Received = time.Now().UnixNano()
		change(i, &r)
		if err := b.Append(&r); err != nil {
			p.Fatal(err)
		}
	}
	return b
}

// all counts what an agent has stored in all streams that a forwarder of all streams takes.
func all(a *testAgent) (n uint64) {
	for _, s := range a.store.Streams() {
		if !strings.HasSuffix(s.Name, deadSuffix) {
			n += s.Next - 1
		}
	}
	return n
}

// Whatever the records are that a host with a good certificate sends: no tier that takes them has
// them stop the one above it. What has been taken is at the last tier, all of it.
func TestPoisonFromBelowStopsNoChain(t *testing.T) {
	p := startPoisoned(t)
	huge := bytes.Repeat([]byte{0xff, 0, '"', '\n'}, record.MaxField/4)
	taken := func(what, stream string, change func(i int, r *record.Record)) {
		t.Helper()
		if !p.poison(what, stream, p.records(3, change)) {
			t.Errorf("%s: the cluster does not take it", what)
		}
	}
	taken("huge fields that are no text", "app", func(_ int, r *record.Record) {
		r.Host, r.App, r.ProcID, r.MsgID, r.Input, r.Peer, r.Agent = huge, huge, huge, huge, huge, huge, huge
		r.SD, r.Message = huge, huge
	})
	taken("many attributes", "app", func(_ int, r *record.Record) {
		for i := range 2000 {
			r.Attrs.SetString(fmt.Sprintf("\x00%d\xff", i), "\xff\x00")
		}
		r.Attrs.SetFloat("nan", math.NaN())
		r.Attrs.SetString(strings.Repeat("k", 255), strings.Repeat("\xfe", 1<<20))
	})
	taken("times at their limits", "app", func(i int, r *record.Record) {
		r.Time = []int64{math.MinInt64, math.MaxInt64, -1}[i]
		r.Received = []int64{math.MaxInt64, math.MinInt64, math.MinInt64 + 1}[i]
	})
	taken("flags that nobody knows", "app", func(_ int, r *record.Record) {
		r.Flags, r.Severity, r.Facility = math.MaxUint16, record.Absent, record.Absent
	})
	for _, name := range []string{strings.Repeat("s", 64), strings.Repeat("s", 64) + ".dead", "0", "default.dead", "app.dead", "con", "default"} {
		taken("a stream called "+name, name, func(int, *record.Record) {})
	}
	for _, name := range []string{"../../etc/passwd", "\x00", "App", string(huge)} {
		taken("records routed to "+name[:min(len(name), 20)], "app", func(_ int, r *record.Record) { r.Stream = []byte(name) })
	}
	taken("origins at their limits", "app", func(i int, r *record.Record) {
		r.Origin = record.Origin{Agent: relaywire.Agent{0xee, p.agents + 1}, Epoch: []uint32{0, math.MaxUint32, 1}[i], Sequence: []uint64{0, math.MaxUint64 - 1, math.MaxUint64}[i],
			Child: []uint32{0, 0, math.MaxUint32}[i], Stream: []byte(strings.Repeat("o", 64) + ".dead")}
	})
	var lined []*record.Batch // many lines each: what the cluster makes of them, it must be able to send
	for n := range 4 {
		lined = append(lined, p.records(1000, func(i int, r *record.Record) {
			r.Origin = record.Origin{Agent: relaywire.Agent{0xee, p.agents + 1}, Epoch: uint32(1000*n + i + 10), Sequence: uint64(i), Stream: []byte("app")}
		}))
	}
	if !p.poison("records of many lines", "app", lined...) {
		t.Error("records of many lines are not taken")
	}
	p.poison("an origin that is another's", "app", p.records(1, func(_ int, r *record.Record) {
		r.Origin = record.Origin{Agent: hostBelow.Agent, Epoch: 1, Sequence: 1, Stream: []byte("app")}
	}))
	p.poison("an origin that is central's", "app", p.records(1, func(_ int, r *record.Record) {
		id, epoch := p.central.store.Identity()
		r.Origin = record.Origin{Agent: id, Epoch: epoch, Sequence: 1, Stream: []byte("app")}
	}))
	p.arrives()
}

// arrives waits until the last tier has what the cluster has.
func (p *poisoned) arrives() {
	p.Helper()
	waitUntil(p.T, "all to arrive", func() bool { return all(p.central) == all(p.cluster) })
}

// A block that has a large record behind others is not handed on whole: the largest record there is and as
// many small ones as go with it are more than one frame can have, if nothing of it compresses.
func TestALargeRecordGoesAlone(t *testing.T) {
	out := newTaker()
	a := startAgent(t, shortDir(t), "inputs: {chain: {type: relay, listen: ['tcp://127.0.0.1:0']}}\nforwarders: {out: {type: test, from: [app]}}\n", out)
	p := &poisoned{T: t}
	b := a.mustRelay(t, "chain", hostBelow, "app")
	records := p.records(3, func(i int, r *record.Record) {
		r.Message = bytes.Repeat([]byte{byte('a' + i)}, []int{100 << 10, 300 << 10, 2 << 20}[i])
	})
	if err := b.sendFrames(b.frameOf("app", records)); err != nil {
		t.Fatal(err)
	}
	block := record.NewBatch()
	defer block.Release()
	if _, _, err := a.store.ReadBlock("app", 1, block); err != nil || block.Len() != 3 {
		t.Fatalf("%v: the store made a block of %d records, and this is about one of three", err, block.Len())
	}
	waitUntil(t, "all to be handed on", func() bool { at, _ := a.store.Cursor("out", "app"); return at == 4 })
	out.mu.Lock()
	defer out.mu.Unlock()
	if got := out.sizes[len(out.sizes)-1]; got != 1 {
		t.Errorf("the large one went with others: %v", out.sizes)
	}
}
