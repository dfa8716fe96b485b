package relay

import (
	"errors"
	"fmt"
	"math"
	"net"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/runnel-log/runnel/forwarders"
	"github.com/runnel-log/runnel/forwarders/forwardertest"
	"github.com/runnel-log/runnel/internal/relaywire"
)

func begin(t testing.TB, change func(*Options)) (*receiver, *sender) {
	t.Helper()
	s := startReceiver(t, "tcp", "127.0.0.1:0", nil)
	return s, newSender(t, options("tcp://"+s.address, change), nil)
}

// once checks that the receiver has the records from 1 up to, and without, to, once and in order.
func (s *receiver) once(t testing.TB, to int) {
	t.Helper()
	got := s.received()
	for i, text := range got {
		if want := fmt.Sprintf("record=%08d ", i+1); !strings.HasPrefix(text, want) {
			t.Fatalf("record %d is %q, want %q", i, text, want)
		}
	}
	if len(got) != to-1 {
		t.Errorf("%d records have come, want %d", len(got), to-1)
	}
}

// Acks that are lost with their connection: what arrived is not sent again, as the receiver's
// prints are those of the store here.
func TestLostAcksAreNoRepetition(t *testing.T) {
	s, f := begin(t, nil)
	f.acked(t, 1, 11)
	known := 0
	s.set(func() {
		s.answer = func(_ net.Conn, m relaywire.Message) bool {
			if d, ok := m.(*relaywire.Data); ok { // takes it, and is gone
				known++
				return s.visiting.keep(d) && known < 3
			}
			return s.visiting.obey(m)
		}
	})
	f.deliver(t, 11, 21)
	f.deliver(t, 21, 31)
	ack := f.deliver(t, 31, 41)
	if n, err := ack.Wait(t.Context()); n != 0 || !errors.Is(err, errHungUp) {
		t.Fatalf("Wait = %d, %v, want that the receiver hung up", n, err)
	}
	s.set(func() { s.answer = nil })
	f.tries(t, 11, 61)
	s.once(t, 61)
}

// Of a batch in several frames, those acknowledged before the end count.
func TestHalfAcknowledgedBatchCounts(t *testing.T) {
	s, f := begin(t, nil)
	for _, r := range []relaywire.Range{{From: 10, To: 20}, {From: 30, To: 40}} { // another has them
		f.source.Set(func(src *forwardertest.Source) {
			if src.Kept == nil {
				src.Kept = make(map[string][]byte)
			}
			l := line{"app", forwardertest.Epoch}
			have, _ := relaywire.ParseRanges(src.Kept[l.key("tcp://other:1")])
			src.Kept[l.key("tcp://other:1")] = have.Add(r).Append(nil)
		})
	}
	frames := 0
	s.set(func() {
		s.answer = func(c net.Conn, m relaywire.Message) bool {
			if _, ok := m.(*relaywire.Data); ok {
				if frames++; frames >= 2 {
					return frames == 2 // the last has left then
				}
			}
			return s.visiting.obey(m)
		}
	})
	n, err := f.deliver(t, 1, 51).Wait(t.Context())
	if n != 19 || err == nil { // 1 to 9, and 10 to 19 that another has
		t.Fatalf("Wait = %d, %v, want 19 and why", n, err)
	}
	s.set(func() { s.answer = nil })
	if _, err := f.Deliver(t.Context(), forwardertest.Batch(t, "app", 51, 61, nil)); err == nil {
		t.Fatal("a later batch overtakes what has to be sent again")
	}
	f.tries(t, 20, 61)
	var got []string
	for _, text := range s.received() {
		got = append(got, strings.Fields(strings.TrimLeft(strings.TrimPrefix(text, "record="), "0"))[0])
	}
	var want []string
	for _, r := range [][2]int{{1, 10}, {20, 30}, {40, 61}} {
		for i := r[0]; i < r[1]; i++ {
			want = append(want, fmt.Sprint(i))
		}
	}
	if !slices.Equal(got, want) {
		t.Errorf("received %v, want %v", got, want)
	}
}

// A receiver that was put back to before, or has lost all, is behind: the agent goes back
// to what is still here, and what is not is said to be gone.
func TestReceiverThatLostAll(t *testing.T) {
	s, f := begin(t, nil)
	f.source.Set(func(src *forwardertest.Source) {
		src.Of = map[string][]forwarders.Part{"app": {{Epoch: forwardertest.Epoch, First: 1, Next: 41}}}
	})
	f.acked(t, 1, 11)
	f.acked(t, 11, 31)
	s.set(func() { s.known, s.texts = relaywire.NewKnown(), nil })
	f.source.Set(func(src *forwardertest.Source) { src.Of["app"][0].First = 6 })
	s.cut(t)
	var behind *forwarders.Behind
	for range 2 { // as often as it is offered out of turn
		_, err := f.Deliver(t.Context(), forwardertest.Batch(t, "app", 31, 41, nil))
		for errors.Is(err, errHungUp) || errors.Is(err, os.ErrClosed) {
			_, err = f.Deliver(t.Context(), forwardertest.Batch(t, "app", 31, 41, nil))
		}
		if !errors.As(err, &behind) || behind.Stream != "app" || behind.To != 6 {
			t.Fatalf("Deliver: %v, want to go back to 6", err)
		}
	}
	f.tries(t, 6, 31)
	f.tries(t, 31, 41)
	if got := s.received(); len(got) != 35 || !strings.HasPrefix(got[0], "record=00000006 ") {
		t.Errorf("%d records from %.20q on, want 35 from 6 on", len(got), got[0])
	}
	gone := []relaywire.Gone{{Range: relaywire.Range{From: 1, To: 6}, Reason: relaywire.Retention}}
	if got := get(s, func() []relaywire.Gone { return s.gone }); !slices.Equal(got, gone) {
		t.Errorf("gone is %v, want %v", got, gone)
	}
	if got := len(get(s, func() []relaywire.Hello { return s.hellos })); got != 2 {
		t.Errorf("%d sessions, want 2: one that is behind goes on", got)
	}
}

// What is remembered of a receiver outlives a restart, so that it can be behind.
func TestReceiverThatLostAllIsNoticedAfterARestart(t *testing.T) {
	s, f := begin(t, nil)
	f.acked(t, 1, 31)
	f.Close()
	s.set(func() { s.known, s.texts = relaywire.NewKnown(), nil })
	again := newSender(t, options("tcp://"+s.address, nil), f.source)
	backs := make(chan *forwarders.Behind, 1)
	kept := make(chan struct{})
	go func() {
		again.Keep(t.Context(), func(b *forwarders.Behind) { backs <- b }, func() {}, func(error, time.Duration) {})
		close(kept)
	}()
	if b := <-backs; b.Stream != "app" || b.To != 1 {
		t.Errorf("%v, want to go back to 1", b)
	}
	again.tries(t, 1, 31)
	s.once(t, 31)
}

// Where another copy of this agent was here, nothing that may be doubled is sent: it is in doubt and
// counted, a new epoch begins, and what is written under that arrives.
func TestAnotherCopyPutsInDoubt(t *testing.T) {
	s, f := begin(t, nil)
	f.acked(t, 1, 11)
	other := newSender(t, options("tcp://"+s.address, nil), &forwardertest.Source{Kept: f.source.Kept, Texts: func(offset uint64) string {
		if offset < 11 {
			return text(offset)
		}
		return "other"
	}})
	ack, err := other.Deliver(t.Context(), forwardertest.Batch(t, "app", 11, 16, func(uint64) string { return "other" }))
	if err != nil {
		t.Fatal(err)
	}
	if n, err := ack.Wait(t.Context()); n != 5 || err != nil {
		t.Fatal(n, err)
	}
	s.cut(t)
	var last forwarders.Ack
	errs := f.triesWith(t, 11, 21, func(a forwarders.Ack) { last = a })
	if !slices.ContainsFunc(errs, func(err error) bool { return errors.Is(err, errCopied) }) {
		t.Errorf("errors %v, want that there is a copy", errs)
	}
	if n := last.(forwarders.Doubter).Doubtful(); n != 10 {
		t.Errorf("%d records are in doubt, want 10", n)
	}
	if _, epoch := f.source.Identity(); epoch != forwardertest.Epoch+1 {
		t.Errorf("epoch %d, want a new one", epoch)
	}
	b := forwardertest.Batch(t, "app", 21, 31, nil)
	b.Epoch++
	if ack, err = f.Deliver(t.Context(), b); err == nil {
		_, err = ack.Wait(t.Context())
	}
	if err != nil {
		t.Fatal(err)
	}
	if got := len(s.received()); got != 10+5+10 {
		t.Errorf("%d records, want 25", got)
	}
	// Who starts again knows it still.
	f.Close()
	again := newSender(t, options("tcp://"+s.address, nil), f.source)
	again.tries(t, 11, 21)
	if got := len(s.received()); got != 10+5+10 {
		t.Errorf("%d records after a restart, want 25", got)
	}
}

func TestLiesEndTheSession(t *testing.T) {
	f := func(name, want string, change func(s *receiver)) {
		t.Helper()
		t.Run(name, func(t *testing.T) {
			s, f := begin(t, nil)
			s.set(func() { change(s) })
			ack, err := f.Deliver(t.Context(), forwardertest.Batch(t, "app", 5, 11, nil))
			n := 0
			if err == nil {
				n, err = ack.Wait(t.Context())
			}
			if n != 0 || err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("%d records delivered, and %v, want %q in it", n, err, want)
			}
			if len(ackedOf(f)) > 0 {
				t.Errorf("%v counts as acknowledged", ackedOf(f))
			}
			s.set(func() { s.welcome, s.tell, s.answer, s.above = nil, nil, nil, nil })
			f.tries(t, 5, 11)
			if got := len(s.received()); got != 6 {
				t.Errorf("%d records afterwards, want 6", got)
			}
		})
	}
	data := func(answer func(d *relaywire.Data) relaywire.Message) func(*receiver) {
		return func(s *receiver) {
			s.answer = func(c net.Conn, m relaywire.Message) bool {
				if d, ok := m.(*relaywire.Data); ok {
					return s.visiting.say(answer(d))
				}
				return s.visiting.obey(m)
			}
		}
	}
	f("ack beyond", "was the last", data(func(d *relaywire.Data) relaywire.Message { return &relaywire.Ack{Number: d.Number + 1} }))
	f("endless ack", "was the last", data(func(*relaywire.Data) relaywire.Message { return &relaywire.Ack{Number: math.MaxUint64} }))
	f("tell unasked", "to no question", data(func(*relaywire.Data) relaywire.Message { return &relaywire.Tell{Stream: "app"} }))
	f("second welcome", "*relaywire.Welcome from a receiver", data(func(*relaywire.Data) relaywire.Message {
		return &relaywire.Welcome{Version: 1, Session: 1}
	}))
	f("hello", "*relaywire.Hello from a receiver", data(func(*relaywire.Data) relaywire.Message { return &relaywire.Hello{Versions: [2]uint16{1, 1}} }))
	f("nack", `(full): "no room"`, data(func(*relaywire.Data) relaywire.Message {
		return &relaywire.Nack{Code: relaywire.CodeFull, Text: "no room"}
	}))
	f("identity", "give this agent the certificate that it had", data(func(*relaywire.Data) relaywire.Message {
		return &relaywire.Nack{Code: relaywire.CodeIdentity}
	}))
	f("fenced", "a second forwarder to this receiver", data(func(*relaywire.Data) relaywire.Message {
		return &relaywire.Nack{Code: relaywire.CodeFenced}
	}))
	f("origin", "--relay", data(func(*relaywire.Data) relaywire.Message { return &relaywire.Nack{Code: relaywire.CodeOrigin} }))
	f("bye", "says that it ends", data(func(*relaywire.Data) relaywire.Message { return new(relaywire.Bye) }))
	f("another stream", "the answer is of", func(s *receiver) { s.tell = func(t *relaywire.Tell) { t.Stream = "other" } })
	f("another epoch", "breaks the rules", func(s *receiver) { s.tell = func(t *relaywire.Tell) { t.Epoch++ } })
	f("not asked for", "was not asked for", func(s *receiver) { s.tell = func(t *relaywire.Tell) { t.Missing = relaywire.Ranges{{From: 0, To: 9}} } })
	f("has it and knows nothing", "said to be there", func(s *receiver) { s.tell = func(t *relaywire.Tell) { t.Missing = nil } })
	f("version", "version 2", func(s *receiver) { s.welcome = func(w *relaywire.Welcome) { w.Version = 2 } })
	f("no session", "session 0", func(s *receiver) { s.welcome = func(w *relaywire.Welcome) { w.Session = 0 } })
	f("itself", "circle", func(s *receiver) { s.welcome = func(w *relaywire.Welcome) { w.Agent = forwardertest.ID() } })
	f("circle", "circle", func(s *receiver) { s.above = []relaywire.Hop{{Agent: receiverID}, {Agent: forwardertest.ID()}} })
	f("hangs up", "closed the connection", func(s *receiver) { s.answer = func(net.Conn, relaywire.Message) bool { return false } })
	f("stranger", "breaks the rules", func(s *receiver) {
		s.answer = func(c net.Conn, _ relaywire.Message) bool {
			c.Write([]byte("HTTP/1.1 400 Bad Request\r\n\r\n"))
			return true
		}
	})
}

// ackedOf returns what is remembered of all receivers.
func ackedOf(f *sender) (all []relaywire.Range) {
	f.memory.mu.Lock()
	defer f.memory.mu.Unlock()
	for _, lines := range f.memory.acked {
		for _, ranges := range lines {
			all = append(all, ranges...)
		}
	}
	return all
}

// A receiver that takes everything and acknowledges nothing, or says nothing at all, is given up for the next.
func TestSilentReceiverIsLeft(t *testing.T) {
	t.Parallel()
	f := func(want error, answer func(s *receiver) func(net.Conn, relaywire.Message) bool) {
		t.Helper()
		first, second := startReceiver(t, "tcp", "127.0.0.1:0", nil), startReceiver(t, "tcp", "127.0.0.1:0", nil)
		first.set(func() { first.answer = answer(first) })
		f := newSender(t, options("tcp://"+first.address, func(o *Options) {
			o.Timeout, o.To = 2*time.Second, append(o.To, "tcp://"+second.address)
		}), nil)
		if errs := f.tries(t, 1, 21); !errors.Is(errs[0], want) {
			t.Errorf("errors %v, want %v", errs, want)
		}
		second.once(t, 21)
		f.acked(t, 21, 31) // and stays there
		second.once(t, 31)
	}
	f(errStuck, func(s *receiver) func(net.Conn, relaywire.Message) bool {
		return func(_ net.Conn, m relaywire.Message) bool {
			if _, ok := m.(*relaywire.Data); ok {
				return true
			}
			return s.visiting.obey(m)
		}
	})
	f(errSilent, func(s *receiver) func(net.Conn, relaywire.Message) bool {
		return func(_ net.Conn, m relaywire.Message) bool {
			if _, ok := m.(*relaywire.Hello); ok {
				return s.visiting.obey(m)
			}
			return true
		}
	})
}

// One that is idle is kept up by reports, and noticed when it says nothing any more.
func TestReportsKeepAnIdleSession(t *testing.T) {
	t.Parallel()
	s, f := begin(t, func(o *Options) { o.Timeout = 4 * time.Second })
	s.set(func() {
		s.above = []relaywire.Hop{{Agent: receiverID, Name: "above"}, {Agent: relaywire.Agent{1}, Name: "top"}}
	})
	f.acked(t, 1, 11)
	forwardertest.Eventually(t, "reports", func() bool { return get(s, func() bool { return s.reports > 2 }) })
	if got := len(get(s, func() []relaywire.Hello { return s.hellos })); got != 1 {
		t.Errorf("%d sessions, want 1", got)
	}
	if above := f.tiers.Above(); len(above) != 3 || above[2].Name != "top" {
		t.Errorf("above are %v, want this, above and top", above)
	}
	c := f.conn
	s.set(func() { s.answer = func(net.Conn, relaywire.Message) bool { return true } })
	<-c.ended
	if err := c.broken(); !errors.Is(err, errSilent) {
		t.Errorf("it ended with %v, want that it is silent", err)
	}
	f.Close()
}

// What is on its way is bounded by what the receiver grants; one frame always goes.
func TestCreditBoundsWhatIsOnItsWay(t *testing.T) {
	s, f := begin(t, func(o *Options) { o.Compress = compressNone })
	const credit = 8 << 10
	s.set(func() { s.credit = credit })
	var open, most int
	s.set(func() {
		s.answer = func(c net.Conn, m relaywire.Message) bool {
			if d, ok := m.(*relaywire.Data); ok {
				open += len(d.Payload)
				most = max(most, open)
				if !s.visiting.keep(d) || open <= credit/2 {
					return true
				}
				open = 0
				return s.visiting.say(&relaywire.Ack{Number: d.Number}) // late, and of all at once
			}
			return s.visiting.obey(m)
		}
	})
	var acks []forwarders.Ack
	for i := range uint64(40) {
		acks = append(acks, f.deliver(t, 1+i*10, 11+i*10))
	}
	s.set(func() { s.answer = nil })
	acks = append(acks, f.deliver(t, 401, 500))
	for _, ack := range acks {
		if _, err := ack.Wait(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if most > credit+credit/2 {
		t.Errorf("%d bytes were on their way with a credit of %d", most, credit)
	}
}

// The end is said, once nothing is open.
func TestCloseSaysBye(t *testing.T) {
	s, f := begin(t, nil)
	f.acked(t, 1, 11)
	f.Close()
	forwardertest.Eventually(t, "a bye", func() bool { return get(s, func() bool { return s.byes == 1 }) })
}

// A session over TLS shows who we are, and nothing below 1.3 is spoken.
func TestTLSIsMutual(t *testing.T) {
	shown := forwardertest.NewShown(t)
	secure := shown.Config()
	s := startReceiver(t, "tcp", "127.0.0.1:0", secure)
	cert, key := shown.CA.Issue(t, "vm-17", time.Now().Add(time.Hour))
	f := newSender(t, options("tls://"+s.address, func(o *Options) { o.TLS.CA, o.TLS.Cert, o.TLS.Key = shown.CA.File, cert, key }), nil)
	if got := f.to[0].tls.MinVersion; got != 0x304 {
		t.Errorf("TLS %x is spoken", got)
	}
	f.acked(t, 1, 11)
	s.once(t, 11)
}

func TestSampleIsTheDefault(t *testing.T) {
	shown := forwardertest.NewShown(t)
	cert, key := shown.CA.Issue(t, "vm-17", time.Now().Add(time.Hour))
	forwardertest.Sample(t, Kind, strings.NewReplacer(" ca.pem", " "+shown.CA.File, " vm-17.pem", " "+cert, " vm-17.key", " "+key),
		"to", "tls.ca", "tls.cert", "tls.key", "tls.min_version")
}

func TestCheckSaysWhatIsWrong(t *testing.T) {
	forwardertest.ConfigErrors(t, Kind, map[string]string{
		"to: udp://h:1": "to: a relay needs a connection",
		"to: [tcp://127.0.0.1:1, 'tcp://10.0.0.1:6515']": "to[1]: write tls://10.0.0.1:6515",
		"to: tcp://localhost:0":                          "to: names no port; 6515 is usual",
		"to: [unix:///s, unix:///s]":                     "to[1]: is there twice",
		"to: tls://h:1":                                  "tls.cert: runnel pki issue",
		"to: unix:///s\ntls: {ca: x}":                    "tls: no destination is encrypted",
		"to: unix:///s\ntimeout: 0s":                     "timeout: 0s is no time",
		"to: unix:///s\nconnect_timeout: 1h":             "connect_timeout: 1h",
		"compress: fast":                                 "to: is missing",
		"to: []":                                         "to: is empty; write tls://HOST:6515",
		"to: tls://c":                                    `to: "tls://c" has no port; write "tls://c:6515"`,
		"to: c:6515\ntls: {server_name: c}":              `to: "c:6515" has no scheme; write "tls://c:6515"`,
		"to: tcp://10.0.0.1:1\ntls: {server_name: c}":    "to: write tls://10.0.0.1:1",
	})
}
