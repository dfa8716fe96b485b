package relay

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"math"
	"math/rand/v2"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/klauspost/compress/s2"

	"github.com/runnel-log/runnel/agent/inputs"
	"github.com/runnel-log/runnel/agent/inputs/inputtest"
	"github.com/runnel-log/runnel/internal/config"
	"github.com/runnel-log/runnel/internal/relaywire"
	"github.com/runnel-log/runnel/internal/tlsconf/tlstest"
	"github.com/runnel-log/runnel/record"
)

// with is Kind with other options than can be written.
func with(change func(*Options)) inputs.Kind {
	k := Kind
	k.Options = func() config.Options {
		o := newOptions()
		change(o)
		return o
	}
	return k
}

var quick = patience{hello: 200 * time.Millisecond, silent: 200 * time.Millisecond, write: time.Second, room: time.Second, stored: inputtest.Patience, favour: 200 * time.Millisecond, linger: 500 * time.Millisecond}

// Whoever lies loses its connection and is told why; nothing of the lie is stored or
// known, and nobody else is harmed.
func TestLies(t *testing.T) {
	r := inputtest.Start(t, Kind, "", plain+"\ncredit: 64KiB", inputtest.Setup{})
	good := dial(t, r, relaywire.Writer{Agent: relaywire.Agent{200}, Epoch: 1})
	good.ask("app", forever)
	lies := byte(0)
	f := func(code relaywire.Code, lie func(c *client)) {
		t.Helper()
		lies++
		c := dial(t, r, relaywire.Writer{Agent: relaywire.Agent{100, lies}, Epoch: 1})
		c.ask("app", forever)
		lie(c)
		c.refused(code)
		c.Close()
		after := dial(t, r, c.writer)
		if missing := after.ask("app", forever).Missing; len(missing) != 1 || missing[0].From != 1 {
			t.Errorf("after a lie %v are missing", missing)
		}
		after.Close()
	}
	three := batch(texts(1, 4), nil)
	data := func(code relaywire.Code, change func(d *relaywire.Data)) {
		t.Helper()
		f(code, func(c *client) {
			d := c.frame("app", 1, three)
			change(d)
			c.say(d)
		})
	}
	const bad = relaywire.CodeMalformed
	data(bad, func(d *relaywire.Data) { d.Number = 2 })
	data(bad, func(d *relaywire.Data) { d.Stream = "../etc" })
	data(bad, func(d *relaywire.Data) { d.Stream = "" })
	data(bad, func(d *relaywire.Data) { d.Sum++ })
	data(bad, func(d *relaywire.Data) { d.Sum = relaywire.Sum(d.To, three.At(2)) })
	data(bad, func(d *relaywire.Data) { d.To++; d.Offsets = relaywire.Ranges{d.Range} })
	data(bad, func(d *relaywire.Data) { d.To--; d.Offsets = relaywire.Ranges{d.Range} })
	data(bad, func(d *relaywire.Data) { d.To = math.MaxUint64; d.Offsets = relaywire.Ranges{d.Range} })
	data(bad, func(d *relaywire.Data) { d.Raw++ })
	data(bad, func(d *relaywire.Data) { d.Raw = relaywire.MaxPayload })
	data(bad, func(d *relaywire.Data) { d.Payload = d.Payload[:len(d.Payload)-1] })
	data(bad, func(d *relaywire.Data) { d.Payload = nil })
	data(bad, func(d *relaywire.Data) { // a bomb: 64 MiB that are said to be a few
		d.Payload = s2.Encode(nil, make([]byte, 64<<20))
	})
	data(bad, func(d *relaywire.Data) { // and one that is said
		raw := make([]byte, 64<<20)
		copy(raw, three.Bytes())
		d.Payload, d.Raw = s2.Encode(nil, raw), 64<<20
	})
	data(bad, func(d *relaywire.Data) { // no batch
		d.Payload, d.Raw = s2.Encode(nil, []byte("hello")), 5
	})
	data(bad, func(d *relaywire.Data) { // a record that contradicts itself
		raw := bytes.Clone(three.Bytes())
		raw[record.BatchHeaderSize+4] = 9
		d.Payload = s2.Encode(nil, raw)
	})
	data(relaywire.CodeHole, func(d *relaywire.Data) { d.Stream = "unasked" })
	data(relaywire.CodeHole, func(d *relaywire.Data) { d.Epoch++ })
	data(relaywire.CodeHole, func(d *relaywire.Data) { d.Range = relaywire.Range{From: 2, To: 5}; fill(d, three) })
	for _, stream := range []string{"", "No Stream", "../etc", strings.Repeat("s", 70), strings.Repeat("s", 32<<10)} {
		for child := range uint32(2) { // of a record that a module made, too
			data(bad, func(d *relaywire.Data) {
				fill(d, batch(texts(1, 4), func(i int, r *record.Record) {
					from(host, stream, 1)(i, r)
					r.Origin.Child = child
				}))
			})
		}
	}
	data(bad, func(d *relaywire.Data) { // little on the wire
		b := batch(make([]string, relaywire.MaxRecords+1), nil)
		d.To = d.From + uint64(b.Len())
		fill(d, b)
	})
	data(bad, func(d *relaywire.Data) { // as would bring a counter down
		d.To = 1<<63 + 10
		*d = relaywire.Data{Number: d.Number, Part: d.Part, Gone: []relaywire.Gone{{Range: d.Range, Reason: relaywire.Retention}}}
	})
	tooMany := relaywire.Ranges{{From: 1, To: 100}}
	for i := uint64(1); i < relaywire.MaxRanges; i++ {
		tooMany = append(tooMany, relaywire.Range{From: 100 + 2*i, To: 101 + 2*i})
	}
	f(bad, func(c *client) {
		c.say(&relaywire.Ask{Stream: "app", Epoch: 1, Parts: tooMany})
	})
	f(bad, func(c *client) { c.say(&relaywire.Hello{Writer: c.writer, Versions: [2]uint16{1, 1}}) })
	f(bad, func(c *client) { c.say(&relaywire.Ack{Number: 1}) })
	f(bad, func(c *client) { c.say(&relaywire.Path{}) })
	f(bad, func(c *client) { c.say(&relaywire.Ask{Stream: "No Stream", Epoch: 1, Parts: forever}) })
	f(bad, func(c *client) { c.Write([]byte("<13>1 - - - - - - hello\n")) })
	f(bad, func(c *client) { c.Write([]byte{255, 255, 255, 255, 0, 0, 0, 0, 6}) })
	f(bad, func(c *client) {
		wire := relaywire.Append(nil, c.frame("app", 1, three))
		wire[len(wire)/2] ^= 1
		c.Write(wire)
	})
	good.send("app", 1, 3)
	good.acked(1)
	want(t, r, 1, 3)

	stranger := func(m relaywire.Message, code relaywire.Code) {
		t.Helper()
		c := newClient(t, inputtest.Dial(t, r.URL(0), ""), host)
		c.say(m)
		c.refused(code)
	}
	stranger(&relaywire.Ask{Stream: "app", Epoch: 1, Parts: forever}, bad)
	stranger(good.frame("app", 3, three), bad)
	stranger(&relaywire.Hello{Writer: host, Versions: [2]uint16{2, 9}, Name: "newer"}, relaywire.CodeVersion)
	stranger(&relaywire.Hello{Writer: relaywire.Writer{Agent: inputtest.AgentID, Epoch: 1}, Versions: [2]uint16{1, 2}}, relaywire.CodeLoop)
}

// A frame of which some is known, in other pieces, ends the connection, and changes nothing.
func TestPartlyKnown(t *testing.T) {
	r := inputtest.Start(t, Kind, "", plain, inputtest.Setup{})
	c := dial(t, r, host)
	c.ask("app", forever)
	c.send("app", 1, 4)
	c.acked(1)
	c.send("app", 2, 6)
	c.refused(relaywire.CodeKnown)
	c = dial(t, r, host)
	c.ask("app", forever)
	c.say(c.frame("app", 1, batch(texts(7, 10), nil))) // another copy of the agent writes under its name
	c.refused(relaywire.CodeKnown)
	c = dial(t, r, host)
	if tell := c.ask("app", forever); len(tell.Prints) != 1 || tell.Ends != (relaywire.Range{From: 1, To: 4}) || tell.Missing[0].From != 4 {
		t.Errorf("got %+v", tell)
	}
	want(t, r, 1, 4)
}

// More than the credit without an ack ends the connection.
func TestCreditIsKeptTo(t *testing.T) {
	r := inputtest.Start(t, Kind, "", plain+"\ncredit: 64KiB", inputtest.Setup{})
	c := dial(t, r, host)
	c.ask("app", forever)
	noise := make([]byte, 40<<10) // which does not compress, so that two are too much
	rand.NewChaCha8([32]byte{}).Read(noise)
	one := batch([]string{string(noise)}, nil)
	defer r.Sink.Hold()() // nothing is acknowledged
	c.say(c.frame("app", 1, one))
	c.say(c.frame("app", 2, one))
	if text := c.refused(relaywire.CodeMalformed); !strings.Contains(text, "credit") {
		t.Errorf("got %q", text)
	}
	if got := r.Sink.Len(); got != 1 {
		t.Errorf("%d records, want 1", got)
	}
}

// Who says nothing, half a frame, or too little of one for too long, is closed.
func TestSilentPeersAreClosed(t *testing.T) {
	r := inputtest.Start(t, with(func(o *Options) { o.patience = quick }), "", plain, inputtest.Setup{})
	f := func(first []byte, trickle bool) {
		t.Helper()
		c := newClient(t, inputtest.Dial(t, r.URL(0), ""), host)
		if trickle || len(first) > 20 {
			c.hello()
		}
		c.Write(first)
		stop, tick := make(chan struct{}), time.NewTicker(20*time.Millisecond)
		var wg sync.WaitGroup
		if trickle {
			wg.Go(func() {
				for {
					select {
					case <-tick.C:
						c.Write([]byte{0}) //nolint:errcheck // it is going to be closed
					case <-stop:
						return
					}
				}
			})
		}
		c.ends()
		close(stop)
		wg.Wait()
		tick.Stop()
		c.Close()
	}
	hello := relaywire.Append(nil, &relaywire.Hello{Writer: host, Versions: [2]uint16{1, 1}})
	f(nil, false)
	f(hello[:9], false)
	whole := relaywire.Append(nil, (&client{writer: host}).frame("app", 1, batch(texts(1, 100), nil)))
	f(whole[:len(whole)/2], false)
	f([]byte{0, 0, 4, 0, 1, 2, 3, 4, 6}, true)
	for until := time.Now().Add(inputtest.Patience); r.Count(`runnel_input_errors_total{input="in",reason="slow"}`) < 4; {
		if <-time.After(time.Millisecond); time.Now().After(until) {
			t.Fatalf("%v are counted as slow", r.Count(`runnel_input_errors_total{input="in",reason="slow"}`))
		}
	}
	if got := r.Sink.Len(); got != 0 {
		t.Errorf("%d records, want none", got)
	}
}

// Many large frames at once share a budget: who waits for room goes on when there is some.
func TestLargeFramesShareABudget(t *testing.T) {
	r := inputtest.Start(t, Kind, "", plain+"\nmax_inflight: 1MiB", inputtest.Setup{})
	message := strings.Repeat("a long story ", 1<<16)
	var wg sync.WaitGroup
	for i := range 6 {
		c := dial(t, r, relaywire.Writer{Agent: relaywire.Agent{50, byte(i)}, Epoch: 1})
		c.ask("app", forever)
		wg.Go(func() {
			for at := range uint64(4) {
				c.say(c.frame("app", at+1, batch([]string{message}, nil)))
			}
			c.acked(4)
		})
	}
	wg.Wait()
	if got := r.Sink.Len(); got != 24 {
		t.Errorf("%d records, want 24", got)
	}
	b := r.Input.(*Input).budget
	wait(t, "all of the budget is given back", func() bool { // a reader gives its last frame back as it goes on to the next
		b.mu.Lock()
		defer b.mu.Unlock()
		return b.left == 1<<20
	})
}

// agents shows certificates of one authority to an input that requires them.
type agents struct {
	testing.TB
	ca      *tlstest.Authority
	dir     string
	section string
}

func newAgents(t testing.TB) *agents {
	dir, section := inputtest.Dir(t, "listen: tls://127.0.0.1:0\nrelays: [named]\ntls: {cert: server.pem, key: server.key, client_ca: clients.pem}\n")
	a := &agents{t, tlstest.NewAuthority(t, "agents"), dir, section}
	pem, err := os.ReadFile(a.ca.File)
	if err == nil {
		err = os.WriteFile(filepath.Join(dir, "clients.pem"), pem, 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// certificate returns one with those names: URIs, or else DNS names, or else, after "CN=", a common name.
func (a *agents) certificate(names ...string) *tls.Certificate {
	return a.ca.Pair(a, func(c *x509.Certificate) {
		c.Subject.CommonName = ""
		for _, name := range names {
			uri, err := url.Parse(name)
			switch {
			case strings.HasPrefix(name, "CN="):
				c.Subject.CommonName = name[3:]
			case err == nil && uri.Scheme != "":
				c.URIs = append(c.URIs, uri)
			default:
				c.DNSNames = append(c.DNSNames, name)
			}
		}
	})
}

// dial connects with a certificate, and says hello in the name of w.
func (a *agents) dial(r *inputtest.Running, pair *tls.Certificate, w relaywire.Writer) *client {
	a.Helper()
	conn, err := inputtest.TryDial(r.URL(0), a.dir, pair)
	if err != nil {
		a.Fatal(err)
	}
	a.Cleanup(func() { conn.Close() })
	c := newClient(a, conn, w)
	c.say(&relaywire.Hello{Writer: w, Versions: [2]uint16{1, 1}, Name: c.name})
	return c
}

// An agent's id belongs to the first certificate that speaks for it, also after a
// restart; another is refused whatever it says.
func TestAnIdentityKeepsItsAgent(t *testing.T) {
	a, sink := newAgents(t), inputtest.NewSink()
	r := inputtest.Start(t, Kind, a.dir, a.section, inputtest.Setup{Sink: sink})
	if v := a.dial(r, a.certificate("CN=early"), relaywire.Writer{Agent: relaywire.Agent{3}, Epoch: 1}); v != nil {
		hears[*relaywire.Welcome](v) // and says nothing: it keeps nothing
		v.Close()
	}
	c := a.dial(r, a.certificate("runnel://agent/vm"), host)
	hears[*relaywire.Welcome](c)
	c.ask("app", forever)
	c.send("app", 1, 3)
	c.acked(1)
	stolen := func() {
		t.Helper()
		for _, names := range [][]string{{"runnel://agent/other"}, {"runnel://relay/vm"}, {"vm.example"}, {"CN=vm2"}, {"runnel://agent/other", "vm", "CN=vm"}, {"runnel://agent/r", "runnel://relay/r"}} {
			a.dial(r, a.certificate(names...), host).refused(relaywire.CodeIdentity)
			a.dial(r, a.certificate(names...), relaywire.Writer{Agent: host.Agent, Epoch: 99}).refused(relaywire.CodeIdentity)
		}
	}
	stolen()
	r.Stop(t)
	r = inputtest.Start(t, Kind, a.dir, a.section, inputtest.Setup{Sink: sink})
	stolen()
	again := a.dial(r, a.certificate("runnel://agent/vm", "renewed"), host)
	hears[*relaywire.Welcome](again)
	again.ask("app", forever)
	again.send("app", 3, 5)
	again.acked(1)
	want(t, r, 1, 5)
}

// Only a relay's certificate may bring what others have written: by its own word, or by
// the word of the configuration.
func TestOnlyRelaysSpeakForOthers(t *testing.T) {
	a := newAgents(t)
	r := inputtest.Start(t, Kind, a.dir, a.section, inputtest.Setup{})
	other := relaywire.Writer{Agent: relaywire.Agent{77}, Epoch: 5}
	n := byte(0)
	f := func(refused bool, frame func(c *client) *relaywire.Data, names ...string) {
		t.Helper()
		n++
		w := relaywire.Writer{Agent: relaywire.Agent{150, n}, Epoch: 1}
		before := r.Sink.Len()
		c := a.dial(r, a.certificate(names...), w)
		hears[*relaywire.Welcome](c)
		c.ask("app", forever)
		c.say(frame(c))
		if !refused {
			c.acked(1)
			return
		}
		c.refused(relaywire.CodeOrigin)
		if got := r.Sink.Len(); got != before {
			t.Errorf("%d records were stored", got-before)
		}
	}
	theirs := from(other, "app", 1)
	child := func(i int, r *record.Record) { theirs(i, r); r.Origin.Child = 1 }
	second := func(i int, r *record.Record) {
		if i == 1 {
			theirs(i, r)
		}
	}
	of := func(change func(int, *record.Record)) func(c *client) *relaywire.Data {
		return func(c *client) *relaywire.Data { return c.frame("app", 1, batch(texts(1, 3), change)) }
	}
	whole := func(c *client) *relaywire.Data { return c.whole(1, [2]uint64{1, 3}, other, 10) }
	f(true, of(theirs), "runnel://agent/a")
	f(true, of(child), "runnel://agent/b")
	f(true, of(second), "runnel://agent/c")
	f(true, of(theirs), "runnel://agent/d", "runnel://relay/e") // another's word
	f(true, of(theirs), "CN=relay")
	f(true, whole, "runnel://agent/h")
	f(false, func(c *client) *relaywire.Data { return of(from(c.writer, "before", 1))(c) }, "runnel://agent/f") // its own, of another line
	f(false, func(c *client) *relaywire.Data {
		return c.whole(1, [2]uint64{1, 3}, relaywire.Writer{Agent: c.writer.Agent, Epoch: 77}, 10)
	}, "runnel://agent/i")
	f(false, of(theirs), "runnel://agent/g", "runnel://relay/g")
	f(false, of(child), "CN=named")
	f(false, of(second), "named")
	f(false, whole, "runnel://agent/j", "runnel://relay/j")
	nobody := a.dial(r, a.certificate(), relaywire.Writer{Agent: relaywire.Agent{151}, Epoch: 1})
	nobody.refused(relaywire.CodeIdentity)
}

// Older TLS is not spoken, and a client without a certificate is let in nowhere.
func TestOnlyTLS13(t *testing.T) {
	a := newAgents(t)
	r := inputtest.Start(t, Kind, a.dir, a.section, inputtest.Setup{})
	conf := &tls.Config{InsecureSkipVerify: true, MaxVersion: tls.VersionTLS12, Certificates: []tls.Certificate{*a.certificate("vm")}}
	if c, err := tls.Dial("tcp", strings.TrimPrefix(r.URL(0), "tls://"), conf); err == nil {
		t.Error("TLS 1.2 was spoken")
		c.Close()
	}
}
