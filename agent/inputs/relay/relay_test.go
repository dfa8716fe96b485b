package relay

import (
	"errors"
	"math"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/runnel-log/runnel/agent/inputs/inputtest"
	"github.com/runnel-log/runnel/internal/listen"
	"github.com/runnel-log/runnel/internal/relaywire"
	"github.com/runnel-log/runnel/internal/tiers"
	"github.com/runnel-log/runnel/record"
)

const plain = "listen: tcp://127.0.0.1:0"

func TestRelay(t *testing.T) {
	inputtest.Lifecycle(t, Kind, speaker(), "tcp://127.0.0.1:0", "unix://$DIR/s")
	t.Run("strangers", func(t *testing.T) { inputtest.Strangers(t, Kind, speaker()) })
}

// got returns the numbers that have come.
func got(t *testing.T, r *inputtest.Running) (all []uint64) {
	t.Helper()
	for _, v := range r.Sink.Records() {
		n, err := strconv.ParseUint(string(v.Message()), 10, 64)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, n)
	}
	return all
}

// want checks that the numbers from one to another, exclusive, have come, in order and once.
func want(t *testing.T, r *inputtest.Running, from, to uint64) {
	t.Helper()
	var all []uint64
	for i := from; i < to; i++ {
		all = append(all, i)
	}
	if got := got(t, r); !slices.Equal(got, all) {
		t.Errorf("got %v, want %d to %d", got, from, to-1)
	}
}

// Each record that comes first from its sender has its origin: the line that it came along.
func TestRecordsHaveTheirOrigin(t *testing.T) {
	r := inputtest.Start(t, Kind, "", plain, inputtest.Setup{})
	c := dial(t, r, host)
	c.ask("app", forever)
	c.send("app", 1, 4)
	c.send("app", 4, 6)
	c.acked(2)
	want(t, r, 1, 6)
	for i, v := range r.Sink.Records() {
		o := v.Origin()
		if relaywire.Agent(o.Agent) != host.Agent || o.Epoch != host.Epoch || string(o.Stream) != "app" || o.Sequence != uint64(i+1) || o.Child != 0 {
			t.Errorf("record %d is from %+v", i, o)
		}
	}
}

// Nothing is acknowledged that is not on disk, nor said to be there.
func TestAnsweredOnlyAfterTheCommit(t *testing.T) {
	r := inputtest.Start(t, Kind, "", plain, inputtest.Setup{})
	c := dial(t, r, host)
	c.ask("app", forever)
	release := r.Sink.Hold()
	c.send("app", 1, 4)
	c.send("app", 4, 9)
	r.Sink.Wait(t, 8)
	again := dial(t, r, host) // as after a cut that this end has not seen
	again.say(&relaywire.Ask{Stream: "app", Epoch: host.Epoch, Parts: forever})
	again.say(&relaywire.Report{})
	hears[*relaywire.Path](again) // and no answer to the question before it
	release()
	if missing := hears[*relaywire.Tell](again).Missing; !slices.Equal(missing, relaywire.Ranges{{From: 9, To: math.MaxUint64}}) {
		t.Errorf("missing are %v", missing)
	}
	again.send("app", 9, 10)
	again.acked(1)
	want(t, r, 1, 10)
}

// A frame that came before is acknowledged again, once it is on disk, and not stored again.
func TestKnownFramesAreAcknowledgedAgain(t *testing.T) {
	r := inputtest.Start(t, Kind, "", plain, inputtest.Setup{})
	c := dial(t, r, host)
	c.ask("app", forever)
	release := r.Sink.Hold()
	c.send("app", 1, 4)
	c.send("app", 1, 4)
	r.Sink.Wait(t, 3)
	c.say(&relaywire.Report{})
	hears[*relaywire.Path](c) // and no ack before it
	release()
	c.acked(2)
	want(t, r, 1, 4)
	counted(t, r, "known_records_total", 3)
	counted(t, r, "records_total", 3)
}

// counted checks a counter of the input.
func counted(t *testing.T, r *inputtest.Running, name string, want float64) {
	t.Helper()
	name = strings.Replace("runnel_input_"+name, "{", `{input="in",`, 1)
	if !strings.Contains(name, "{") {
		name += `{input="in"}`
	}
	if got := r.Count(name); got != want {
		t.Errorf("%s is %v, want %v", name, got, want)
	}
}

// A sender that is cut anywhere, and asks when it is back, has each record stored once, in order;
// also over restarts that know only what is on disk.
func TestOnceOverCutsAndRestarts(t *testing.T) {
	const records = 3000
	rng := rand.New(rand.NewPCG(1, 2))
	sockets, sink := listen.NewSockets(), inputtest.NewSink()
	defer sockets.Close()
	start := func() *inputtest.Running {
		return inputtest.Start(t, Kind, "", plain, inputtest.Setup{Sockets: sockets, Sink: sink}) // with a new Memory
	}
	r := start()
	for next, tries := uint64(1), 0; next <= records; tries++ {
		if tries%10 == 9 {
			r.Stop(t)
			r = start()
		}
		if tries > records {
			t.Fatalf("after %d connections %d is next", tries, next)
		}
		c := dial(t, r, host)
		tell := c.ask("app", forever)
		if len(tell.Missing) != 1 || tell.Missing[0].From < next {
			t.Fatalf("missing are %v, and all before %d was acknowledged", tell.Missing, next)
		}
		if next = tell.Missing[0].From; next > records {
			break
		}
		var wire []byte
		for at := next; at <= records && len(wire) < 4<<10; {
			to := min(at+1+rng.Uint64N(40), records+1)
			wire = relaywire.Append(wire, c.frame("app", at, batch(texts(at, to), nil)))
			at = to
		}
		cut := 1 + rng.IntN(len(wire)+len(wire)/4)
		if _, err := c.Write(wire[:min(cut, len(wire))]); err != nil {
			t.Fatal(err)
		}
		if rng.IntN(2) == 0 && cut >= len(wire) {
			c.acked(c.number)
		}
		c.Close()
	}
	want(t, r, 1, records+1)
}

// The newest connection of a run is the only one that may say anything.
func TestAnOlderConnectionIsFenced(t *testing.T) {
	r := inputtest.Start(t, Kind, "", plain, inputtest.Setup{})
	old := dial(t, r, host)
	old.ask("app", forever)
	old.send("app", 1, 3)
	old.acked(1)
	c := dial(t, r, host)
	old.refused(relaywire.CodeFenced)
	c.ask("app", forever)
	c.send("app", 3, 5)
	c.acked(1)
	other := dial(t, r, relaywire.Writer{Agent: host.Agent, Epoch: 71}) // another run of the agent is another author
	other.ask("app", forever)
	other.send("app", 1, 2)
	other.acked(1)
	c.send("app", 5, 6)
	c.acked(2)
	if got := r.Sink.Len(); got != 6 {
		t.Errorf("%d records, want 6", got)
	}
	counted(t, r, `errors_total{reason="fenced"}`, 1)
}

// from gives records an origin.
func from(w relaywire.Writer, stream string, first uint64) func(int, *record.Record) {
	return func(i int, r *record.Record) {
		r.Origin = record.Origin{Agent: w.Agent, Epoch: w.Epoch, Stream: []byte(stream), Sequence: first + uint64(i)}
	}
}

// What came by one way is not stored again when it comes by another.
func TestRecordsThatComeTwoWaysAreStoredOnce(t *testing.T) {
	r := inputtest.Start(t, Kind, "", plain, inputtest.Setup{})
	one := dial(t, r, relaywire.Writer{Agent: relaywire.Agent{1, 1}, Epoch: 11})
	two := dial(t, r, relaywire.Writer{Agent: relaywire.Agent{2, 2}, Epoch: 22})
	direct := dial(t, r, host)
	one.ask("app", forever)
	two.ask("app", forever)
	two.ask("other", forever)
	if missing := direct.ask("app", forever).Missing; len(missing) != 1 {
		t.Errorf("missing are %v", missing)
	}
	one.say(one.frame("app", 1, batch(texts(1, 6), from(host, "app", 1))))
	one.acked(1)
	two.say(two.frame("app", 1, batch(texts(4, 9), from(host, "app", 4)))) // 4 and 5 are known
	two.acked(1)
	want(t, r, 1, 9)
	direct.say(&relaywire.Ask{Stream: "app", Epoch: host.Epoch, Parts: forever})
	if missing := hears[*relaywire.Tell](direct).Missing; !slices.Equal(missing, relaywire.Ranges{{From: 9, To: math.MaxUint64}}) {
		t.Errorf("missing are %v", missing)
	}
	direct.send("app", 9, 11)
	direct.acked(1)
	two.say(two.frame("app", 6, batch(texts(9, 12), from(host, "app", 9)))) // 9 and 10 came directly
	two.acked(2)
	want(t, r, 1, 12)
	two.say(two.frame("other", 1, batch(texts(12, 14), from(host, "app", 1)))) // that stream has not had them
	two.acked(3)
	twice := batch(texts(14, 15), from(host, "app", 20))
	twice.AppendBatch(batch(texts(20, 21), from(host, "app", 20)), 0, 1)
	twice.AppendBatch(batch(texts(15, 16), nil), 0, 1)
	one.say(one.frame("app", 6, twice))
	one.acked(2)
	want(t, r, 1, 16)
	last := r.Sink.Records()[14].Origin()
	if relaywire.Agent(last.Agent) != one.writer.Agent || last.Sequence != 8 {
		t.Errorf("the last is from %+v, want the third of its frame", last)
	}
}

// An origin that says next to nothing is one like any other.
func TestAnOriginOfNobody(t *testing.T) {
	r := inputtest.Start(t, Kind, "", plain, inputtest.Setup{})
	c := dial(t, r, host)
	c.ask("app", forever)
	nobody := batch(texts(1, 2), nil)
	nobody.AppendBatch(batch(texts(2, 4), from(relaywire.Writer{}, "app", 7)), 0, 2)
	c.say(c.frame("app", 1, nobody))
	c.say(c.frame("app", 4, batch(texts(4, 5), from(relaywire.Writer{}, "app", 8))))
	c.acked(2)
	want(t, r, 1, 4)
}

// What a module made of a record has the record's origin and a number, and is not compared.
func TestChildrenAreNotTakenForTheirParents(t *testing.T) {
	r := inputtest.Start(t, Kind, "", plain, inputtest.Setup{})
	c := dial(t, r, relaywire.Writer{Agent: relaywire.Agent{1, 1}, Epoch: 11})
	c.ask("app", forever)
	c.say(c.frame("app", 1, batch(texts(1, 2), from(host, "app", 1))))
	c.say(c.frame("app", 2, batch(texts(2, 5), func(i int, r *record.Record) {
		from(host, "app", 1)(0, r)
		r.Origin.Child = uint32(i%2) + 1
	})))
	c.acked(2)
	want(t, r, 1, 5)
}

// A frame may say that offsets have no record: left out by a filter, or gone.
func TestOffsetsWithoutRecords(t *testing.T) {
	r := inputtest.Start(t, Kind, "", plain, inputtest.Setup{})
	c := dial(t, r, host)
	c.ask("app", forever)
	d := c.frame("app", 1, batch(texts(1, 4), nil))
	d.To, d.Offsets = 10, relaywire.Ranges{{From: 3, To: 4}, {From: 8, To: 10}}
	d.Sum = relaywire.Sum(9, batch(texts(1, 4), nil).At(2))
	d.Gone = []relaywire.Gone{{Range: relaywire.Range{From: 4, To: 6}, Reason: relaywire.Retention}, {Range: relaywire.Range{From: 6, To: 7}, Reason: relaywire.Damage}}
	c.say(d)
	c.number++
	c.say(&relaywire.Data{Number: c.number, Part: relaywire.Part{Line: d.Line, Range: relaywire.Range{From: 10, To: 1000}}})
	c.send("app", 1000, 1001)
	c.acked(3)
	for i, at := range []uint64{3, 8, 9, 1000} {
		if got := r.Sink.Records()[i].Origin().Sequence; got != at {
			t.Errorf("record %d is from offset %d, want %d", i, got, at)
		}
	}
	counted(t, r, `gone_records_total{reason="retention"}`, 2)
	counted(t, r, `gone_records_total{reason="damage"}`, 1)
	if missing := dial(t, r, host).ask("app", forever).Missing; !slices.Equal(missing, relaywire.Ranges{{From: 1001, To: math.MaxUint64}}) {
		t.Errorf("missing are %v", missing)
	}
}

// A stream that a record was routed to before is none here: what it arrived in is.
func TestRoutesOfOthersAreForgotten(t *testing.T) {
	r := inputtest.Start(t, Kind, "", plain, inputtest.Setup{})
	c := dial(t, r, host)
	c.ask("app", forever)
	c.say(c.frame("app", 1, batch(texts(1, 3), func(_ int, r *record.Record) { r.Stream = []byte("routed") })))
	c.say(c.frame("app", 3, batch(texts(3, 5), func(i int, r *record.Record) {
		from(host, "elsewhere", 3)(i, r)
		r.Stream = []byte("routed")
	})))
	c.acked(2)
	for _, v := range r.Sink.Records() {
		if len(v.Stream()) > 0 {
			t.Errorf("%s is routed to %q", v.Message(), v.Stream())
		}
	}
	want(t, r, 1, 5)
}

// A sender that says goodbye has its acks first.
func TestGoodbye(t *testing.T) {
	r := inputtest.Start(t, Kind, "", plain, inputtest.Setup{})
	c := dial(t, r, host)
	c.ask("app", forever)
	release := r.Sink.Hold()
	c.send("app", 1, 4)
	c.say(&relaywire.Bye{})
	r.Sink.Wait(t, 3)
	release()
	c.acked(1)
	hears[*relaywire.Bye](c)
	c.ends()
}

// A stop acknowledges what is on disk, says goodbye, and does not wait for what never will be.
func TestStopSaysGoodbye(t *testing.T) {
	r := inputtest.Start(t, Kind, "", plain, inputtest.Setup{})
	c := dial(t, r, host)
	c.ask("app", forever)
	c.send("app", 1, 4)
	c.acked(1)
	began := time.Now()
	r.Stop(t)
	if took := time.Since(began); took > 5*time.Second {
		t.Errorf("stopping took %s", took)
	}
	hears[*relaywire.Bye](c)
	c.ends()

	r = inputtest.Start(t, Kind, "", plain, inputtest.Setup{})
	c = dial(t, r, host)
	c.ask("app", forever)
	r.Sink.Hold()
	c.send("app", 1, 4)
	r.Sink.Wait(t, 3)
	began = time.Now()
	r.Stop(t)
	if took := time.Since(began); took > 10*time.Second {
		t.Errorf("stopping took %s", took)
	}
	c.ends()
}

// Where nothing is taken the sender is told so, and what it sends later is taken.
func TestFullIsSaidAndNothingIsTaken(t *testing.T) {
	r := inputtest.Start(t, Kind, "", plain, inputtest.Setup{})
	c := dial(t, r, host)
	c.ask("app", forever)
	c.send("app", 1, 4)
	c.acked(1)
	r.Sink.Refuse(errors.New("store is full"))
	c.send("app", 4, 6)
	if n := hears[*relaywire.Nack](c); n.Code != relaywire.CodeFull || n.After <= 0 {
		t.Errorf("got %v after %s", n, n.After)
	}
	c.ends()
	r.Sink.Refuse(nil)
	again := dial(t, r, host)
	if missing := again.ask("app", forever).Missing; !slices.Equal(missing, relaywire.Ranges{{From: 4, To: math.MaxUint64}}) {
		t.Errorf("missing are %v", missing)
	}
	again.send("app", 4, 6)
	again.acked(1)
	want(t, r, 1, 6)
	if s := r.Input.Status()[0]; !strings.Contains(s.LastError, "store is full") {
		t.Errorf("the status says %+v", s)
	}
}

// Who is above is said, also when that changes, and who is below is heard of.
func TestTiersHearOfEachOther(t *testing.T) {
	own := relaywire.Hop{Agent: inputtest.AgentID, Name: inputtest.Agent}
	above := relaywire.Hop{Agent: relaywire.Agent{99}, Name: "central"}
	all := tiers.New(own)
	r := inputtest.Start(t, Kind, "", plain, inputtest.Setup{Tiers: all})
	c := newClient(t, inputtest.Dial(t, r.URL(0), ""), host)
	w := c.hello()
	if w.Agent != own.Agent || w.Name != own.Name || w.Build != "test" || w.Version != relaywire.Version || w.Credit != 32<<20 || !slices.Equal(w.Above, []relaywire.Hop{own}) {
		t.Errorf("the welcome is %+v", w)
	}
	all.Told("up", []relaywire.Hop{above})
	lag := relaywire.Lag{Records: 7, Bytes: 700, Oldest: 3 * time.Second, Lost: 2}
	deep := relaywire.Hop{Agent: relaywire.Agent{55}, Name: "deep"}
	c.say(&relaywire.Report{Lag: lag, Below: []relaywire.Below{{Hop: deep, Build: "1", Via: 1, Seen: time.Now().Add(-time.Minute), Lag: relaywire.Lag{Lost: 5}}}})
	if path := hears[*relaywire.Path](c); !slices.Equal(path.Above, []relaywire.Hop{own, above}) {
		t.Errorf("the path is %+v", path)
	}
	below := all.Below()
	if len(below) != 2 || below[0].Name != "vm" || below[0].Connections != 1 || below[0].Lag != lag || below[0].Via != 1 || below[0].Input != "in" ||
		below[1].Name != "deep" || below[1].Through.Name != "vm" || below[1].Via != 2 || below[1].Lag.Lost != 5 {
		t.Errorf("below are %+v", below)
	}
	c.Close()
	for until := time.Now().Add(inputtest.Patience); all.Below()[0].Connections > 0; {
		if <-time.After(time.Millisecond); time.Now().After(until) {
			t.Fatal("the connection is still counted")
		}
	}
	circle := newClient(t, inputtest.Dial(t, r.URL(0), ""), relaywire.Writer{Agent: above.Agent, Epoch: 1})
	circle.say(&relaywire.Hello{Writer: circle.writer, Versions: [2]uint16{1, 1}, Name: "central"})
	circle.refused(relaywire.CodeLoop)
}
