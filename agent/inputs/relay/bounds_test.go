package relay

import (
	"strings"
	"testing"
	"time"

	"github.com/runnel-log/runnel/agent/inputs/inputtest"
	"github.com/runnel-log/runnel/internal/relaywire"
	"github.com/runnel-log/runnel/record"
)

// ownLine is this agent in another run.
var ownLine = relaywire.Writer{Agent: inputtest.AgentID, Epoch: 3}

// A record that says it was first stored here is not stored again, and is spoken of; it does not stop what comes with
// it: anybody below may have written it.
func TestRecordsThatComeBackStopNobody(t *testing.T) {
	r := inputtest.Start(t, Kind, "", plain, inputtest.Setup{})
	c := dial(t, r, host)
	c.ask("app", forever)
	b := batch(texts(1, 2), nil)
	b.AppendBatch(batch(texts(100, 103), from(ownLine, "app", 1)), 0, 3)
	b.AppendBatch(batch(texts(103, 104), func(i int, r *record.Record) {
		from(ownLine, strings.Repeat("s", 999), 1)(i, r)
		r.Origin.Child = 1
	}), 0, 1)
	b.AppendBatch(batch(texts(2, 4), from(relaywire.Writer{Agent: relaywire.Agent{8}, Epoch: 1}, "app", 5)), 0, 2)
	c.say(c.frame("app", 1, b))
	c.say(c.frame("app", 8, batch(texts(100, 102), from(ownLine, "app", 1)))) // nothing else
	c.send("app", 10, 12)
	c.acked(3)
	numbers := got(t, r)
	if len(numbers) != 5 || numbers[0] != 1 || numbers[1] != 2 || numbers[2] != 3 || numbers[3] != 10 || numbers[4] != 11 {
		t.Errorf("got %v", numbers)
	}
	counted(t, r, "looped_records_total", 6)
	counted(t, r, "known_records_total", 0)
	if said := r.Input.Status()[0].LastError; !strings.Contains(said, "in a circle") {
		t.Errorf("the status says %q", said)
	}
	again := dial(t, r, host)
	if missing := again.ask("app", forever).Missing; len(missing) != 1 || missing[0].From != 12 {
		t.Errorf("missing are %v", missing)
	}
}

// However the origins of a frame lie, finding them out takes its time once.
func TestOriginsInAnyOrderAreFoundOutAtOnce(t *testing.T) {
	const n = relaywire.MaxRecords
	r := inputtest.Start(t, Kind, "", plain, inputtest.Setup{})
	c := dial(t, r, host)
	c.ask("app", forever)
	backwards := func(i int, r *record.Record) { // and each is there twice
		r.Origin = record.Origin{Agent: host.Agent, Epoch: 9, Stream: []byte("x"), Sequence: 2 * uint64(n-i/2)}
	}
	c.say(c.frame("app", 1, batch(make([]string, n), backwards)))
	c.acked(1)
	if got := r.Sink.Len(); got != n/2 {
		t.Errorf("%d records are stored, want %d", got, n/2)
	}
	for i, v := range r.Sink.Records() {
		if o := v.Origin(); o.Sequence != 2*uint64(n-i) {
			t.Fatalf("record %d is from %d, want %d", i, o.Sequence, 2*(n-i))
		}
	}
	c.say(c.frame("app", 1+n, batch(make([]string, n), func(i int, r *record.Record) {
		r.Origin = record.Origin{Agent: host.Agent, Epoch: 9, Stream: []byte("x"), Sequence: uint64(n + i + 1)}
	})))
	c.acked(2)
	if got, want := r.Sink.Len(), n/2+n-min(mostKnown, n/2); got != want {
		t.Errorf("%d records are stored, want %d", got, want)
	}
}

// mostKnown is how many ranges of a line are remembered.
const mostKnown = 4096

// What a frame is decompressed counts towards the credit.
func TestRecordsCountTowardsTheCreditThoughTheyCompress(t *testing.T) {
	r := inputtest.Start(t, Kind, "", plain+"\ncredit: 64KiB", inputtest.Setup{})
	c := dial(t, r, host)
	c.ask("app", forever)
	release := r.Sink.Hold()
	defer release()
	large := batch([]string{strings.Repeat("x", 600<<10)}, nil)
	c.say(c.frame("app", 1, large))
	r.Sink.Wait(t, 1)
	d := c.frame("app", 2, large)
	if len(d.Payload) > 50<<10 {
		t.Fatalf("%d bytes are no small payload", len(d.Payload))
	}
	c.say(d)
	for until := time.Now().Add(inputtest.Patience); r.Count(`runnel_input_errors_total{input="in",reason="protocol"}`) == 0; {
		if <-time.After(time.Millisecond); time.Now().After(until) {
			t.Fatal("the frame is taken")
		}
		if len(r.Sink.Records()) > 1 {
			t.Fatal("the frame is stored")
		}
	}
}

// A host's frame has records of so many lines and no more; a relay's has those of several
// frames of a host, all of which it has taken.
func TestLinesOfAFrame(t *testing.T) {
	a := newAgents(t)
	r := inputtest.Start(t, Kind, a.dir, a.section, inputtest.Setup{})
	f := func(agent byte, lines int, taken bool, names ...string) {
		t.Helper()
		w := relaywire.Writer{Agent: relaywire.Agent{agent}, Epoch: 1}
		c := a.dial(r, a.certificate(names...), w)
		hears[*relaywire.Welcome](c)
		c.ask("app", forever)
		c.say(c.frame("app", 1, batch(texts(0, uint64(lines)), func(i int, r *record.Record) {
			r.Origin = record.Origin{Agent: w.Agent, Epoch: uint32(2 + i), Stream: []byte("app"), Sequence: 1}
		})))
		if taken {
			c.acked(1)
			return
		}
		if text := c.refused(relaywire.CodeMalformed); !strings.Contains(text, "more than 1024 lines") {
			t.Errorf("it is told %q", text)
		}
	}
	f(1, mostLines, true, "runnel://agent/vm")
	f(2, mostLines+1, false, "runnel://agent/vm")
	f(3, 4*mostLines, true, "runnel://agent/cluster", "runnel://relay/cluster")
}

// An agent that says hello and nothing else leaves nothing behind.
func TestNothingIsKeptOfAgentsThatSayNothing(t *testing.T) {
	r := inputtest.Start(t, Kind, "", plain, inputtest.Setup{})
	for i := range byte(50) {
		dial(t, r, relaywire.Writer{Agent: relaywire.Agent{5, i}, Epoch: 1}).Close()
	}
	in := r.Input.(*Input)
	for until := time.Now().Add(inputtest.Patience); in.known.Agents() > 0; {
		if <-time.After(time.Millisecond); time.Now().After(until) {
			t.Fatalf("%d agents are kept", in.known.Agents())
		}
	}
}

// One certificate speaks for so many agents, and no more; those that it has go on.
func TestAnIdentityHasABoundedNumberOfAgents(t *testing.T) {
	a := newAgents(t)
	r := inputtest.Start(t, Kind, a.dir, a.section, inputtest.Setup{})
	in := r.Input.(*Input)
	for i := range mostOwned - 1 {
		if err := in.known.speaks(identity{name: "vm"}, relaywire.Agent{1, byte(i), byte(i >> 8)}); err != nil {
			t.Fatal(err)
		}
	}
	pair := a.certificate("runnel://agent/vm")
	c := a.dial(r, pair, host)
	hears[*relaywire.Welcome](c)
	one := relaywire.Writer{Agent: relaywire.Agent{2}, Epoch: 1}
	if text := a.dial(r, pair, one).refused(relaywire.CodeIdentity); !strings.Contains(text, "64 others") {
		t.Errorf("it is told %q", text)
	}
	hears[*relaywire.Welcome](a.dial(r, a.certificate("runnel://agent/other"), one))
	hears[*relaywire.Welcome](a.dial(r, pair, relaywire.Writer{Agent: host.Agent, Epoch: 71})) // another run of one that it has
}

// Whatever one certificate's agents say, little is kept of it, in memory and on disk, and of others nothing is
// forgotten for it; also after a restart.
func TestACertificateHasItsShareOfWhatIsKnown(t *testing.T) {
	const room, lines, frames = 1 << 20, 50, 20
	a := newAgents(t)
	r := inputtest.Start(t, Kind, a.dir, a.section, inputtest.Setup{})
	r.Input.(*Input).known.Bound(room)
	other := a.certificate("runnel://agent/other")
	c := a.dial(r, other, host)
	hears[*relaywire.Welcome](c)
	c.ask("app", forever)
	c.send("app", 1, 4)
	c.acked(1)
	pair := a.certificate("runnel://agent/vm")
	for id := range byte(6) {
		w := relaywire.Writer{Agent: relaywire.Agent{1, id}, Epoch: 1}
		c := a.dial(r, pair, w)
		hears[*relaywire.Welcome](c)
		c.ask("app", forever)
		for i := range uint64(frames) {
			c.say(c.frame("app", 1+i*lines, batch(texts(0, lines), func(n int, r *record.Record) {
				r.Origin = record.Origin{Agent: w.Agent, Epoch: uint32(2 + int(i)*lines + n), Stream: []byte("app"), Sequence: 1}
			})))
			c.acked(i + 1)
		}
		if !c.ask("db", forever).Forgot {
			t.Error("it is not told that something was forgotten")
		}
	}
	marks := func() (n int) {
		r.Sink.Marks(func(string, []byte) { n++ })
		return n
	}
	if n := marks(); n < 6*lines || n > room/4/400+6*2*lines { // a quarter of the room, and of each agent about what one frame brings
		t.Errorf("%d marks are kept of %d lines", n, 6*lines*frames)
	}
	r.Stop(t)
	r = inputtest.Start(t, Kind, a.dir, a.section, inputtest.Setup{Sink: r.Sink})
	c = a.dial(r, other, host)
	hears[*relaywire.Welcome](c)
	if tell := c.ask("app", forever); tell.Forgot || len(tell.Missing) != 1 || tell.Missing[0].From != 4 {
		t.Errorf("another is told %+v", tell)
	}
	c = a.dial(r, pair, relaywire.Writer{Agent: relaywire.Agent{1, 0}, Epoch: 1})
	hears[*relaywire.Welcome](c)
	if !c.ask("app", forever).Forgot {
		t.Error("it is not told after a restart that something was forgotten")
	}
}

// Of who asks and does not read, nothing more is read while a few answers wait; then all are given.
func TestAnswersThatNobodyReadsAreFew(t *testing.T) {
	const most = 60
	r := inputtest.Start(t, Kind, "", plain, inputtest.Setup{})
	c := dial(t, r, host)
	var parts relaywire.Ranges
	for i := range uint64(relaywire.MaxParts) { // far apart, so that each takes many bytes
		parts = append(parts, relaywire.Range{From: i<<48 | 1<<47, To: i<<48 | 1<<47 + 1<<46})
	}
	question := relaywire.Append(nil, &relaywire.Ask{Stream: "app", Epoch: host.Epoch, Parts: parts})
	known := r.Input.(*Input).known
	known.mu.Lock()
	x := known.sessions[host]
	known.mu.Unlock()
	few := func() {
		t.Helper()
		if due := x.due.Load(); due > mostDue+3<<20/2 {
			t.Fatalf("%d bytes of answers wait", due)
		}
	}
	asks, left := 0, []byte(nil)
	for ; asks < most && len(left) == 0; asks++ {
		_ = c.SetWriteDeadline(time.Now().Add(time.Second)) // then nothing is read
		n, err := c.Write(question)
		if left = question[n:]; err == nil {
			few()
		}
	}
	few()
	_ = c.SetWriteDeadline(time.Now().Add(inputtest.Patience))
	asked := make(chan error, 1)
	go func() {
		_, err := c.Write(left)
		asked <- err
	}()
	for range asks {
		if tell := hears[*relaywire.Tell](c); len(tell.Missing) != relaywire.MaxParts {
			t.Fatalf("%d ranges are missing", len(tell.Missing))
		}
		few()
	}
	if err := <-asked; err != nil {
		t.Error(err)
	}
	wait(t, "nothing waits any more", func() bool { return x.due.Load() == 0 })
	c.send("app", 1<<47, 1<<47+2)
	c.acked(1)
}

// A relay may bring records of any number of agents: room is made in what is kept, in memory and on disk, and it and
// who comes back after that go on.
func TestRoomIsMadeForTheAgentsOfARelay(t *testing.T) {
	const room, agents, frames = 1 << 20, 400, 20
	a := newAgents(t)
	r := inputtest.Start(t, Kind, a.dir, a.section, inputtest.Setup{})
	known := r.Input.(*Input).known
	known.Bound(room)
	vm := a.certificate("runnel://agent/vm")
	early := a.dial(r, vm, host)
	hears[*relaywire.Welcome](early)
	early.ask("app", forever)
	early.send("app", 1, 4)
	early.acked(1)
	c := a.dial(r, a.certificate("runnel://agent/cluster", "runnel://relay/cluster"), relaywire.Writer{Agent: relaywire.Agent{1}, Epoch: 1})
	hears[*relaywire.Welcome](c)
	c.ask("app", forever)
	for i := range uint64(frames) {
		c.say(c.frame("app", 1+i*agents, batch(texts(0, agents), func(n int, r *record.Record) {
			r.Origin = record.Origin{Agent: relaywire.Agent{2, byte(i), byte(n), byte(n >> 8)}, Epoch: 1, Stream: []byte("app"), Sequence: 1}
		})))
		c.acked(i + 1)
	}
	marks := 0
	r.Sink.Marks(func(string, []byte) { marks++ })
	if n := known.Agents(); n > room/400 || marks > 2*n+8 { // of each line, of who forgot it, and of who speaks
		t.Errorf("%d agents and %d marks are kept of %d", n, marks, frames*agents)
	}
	early.send("app", 4, 6)
	early.acked(2)
	early = a.dial(r, vm, host)
	hears[*relaywire.Welcome](early)
	if tell := early.ask("app", forever); !tell.Forgot {
		t.Errorf("who came back is told %+v", tell)
	}
	if got, want := r.Sink.Len(), frames*agents+5; got != want {
		t.Errorf("%d records are stored, want %d", got, want)
	}
}
