package relay

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/klauspost/compress/s2"

	"github.com/runnel-log/runnel/agent/inputs/inputtest"
	"github.com/runnel-log/runnel/internal/relaywire"
	"github.com/runnel-log/runnel/record"
)

// whole returns the next frame: numbered records at from and behind, which says for all of them that they are from first
// on of another's stream app, and none says so itself.
func (c *client) whole(from uint64, numbers [2]uint64, w relaywire.Writer, first uint64) *relaywire.Data {
	d := c.frame("app", from, batch(texts(numbers[0], numbers[1]), nil))
	d.Origin = record.Origin{Agent: w.Agent, Epoch: w.Epoch, Stream: []byte("app"), Sequence: first}
	d.Sum = sumOf(d, batch(texts(numbers[0], numbers[1]), nil))
	return d
}

// sumOf is what a frame has to say of the last of its records.
func sumOf(d *relaywire.Data, b *record.Batch) uint64 {
	last := d.Origin
	last.Sequence += uint64(b.Len() - 1)
	return record.DigestOf(b.At(b.Len()-1), &last).Sum(d.To - 1)
}

// wantOrigins looks whether records, from the ith on, are from one line in order.
func wantOrigins(t *testing.T, r *inputtest.Running, i int, w relaywire.Writer, first uint64, n int) {
	t.Helper()
	for k, v := range r.Sink.Records()[i : i+n] {
		if o := v.Origin(); relaywire.Agent(o.Agent) != w.Agent || o.Epoch != w.Epoch || string(o.Stream) != "app" || o.Sequence != first+uint64(k) || o.Child != 0 {
			t.Fatalf("record %d is from %+v, want offset %d of %v", i+k, o, first+uint64(k), w)
		}
	}
}

// What is new as a whole is taken as it came, and from where it came or where the frame says.
func TestFramesAreTakenWhole(t *testing.T) {
	r := inputtest.Start(t, Kind, "", plain, inputtest.Setup{})
	c := dial(t, r, relaywire.Writer{Agent: relaywire.Agent{1, 1}, Epoch: 11})
	c.ask("app", forever)
	c.send("app", 1, 101)
	c.say(c.whole(101, [2]uint64{101, 201}, host, 7))
	c.say(c.frame("app", 201, batch(texts(201, 301), from(host, "app", 107)))) // each says so itself
	c.acked(3)
	if got := r.Sink.Whole(); got != 3 {
		t.Errorf("%d came whole, want 3", got)
	}
	wantOrigins(t, r, 0, c.writer, 1, 100)
	wantOrigins(t, r, 100, host, 7, 100)
	wantOrigins(t, r, 200, host, 107, 100)
	mixed := batch(texts(301, 302), nil)
	mixed.AppendBatch(batch(texts(302, 303), from(host, "app", 9999)), 0, 1)
	mixed.AppendBatch(batch(texts(303, 304), nil), 0, 1)
	d := c.frame("app", 301, mixed)
	d.Origin = record.Origin{Agent: host.Agent, Epoch: host.Epoch, Stream: []byte("app"), Sequence: 500}
	d.Sum = sumOf(d, mixed)
	c.say(d)
	c.acked(4)
	wantOrigins(t, r, 300, host, 500, 1)
	wantOrigins(t, r, 301, host, 9999, 1)
	wantOrigins(t, r, 302, host, 502, 1)
	want(t, r, 1, 304)
	c.say(c.whole(304, [2]uint64{1, 51}, relaywire.Writer{Agent: inputtest.AgentID, Epoch: 3}, 1)) // back to where it began
	c.acked(5)
	want(t, r, 1, 304)
	counted(t, r, "looped_records_total", 50)
}

// By whichever ways, and however their frames say where records are from, each is there once, and from there.
func TestWholeFramesAndOthersAreStoredOnce(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 1))
	r := inputtest.Start(t, Kind, "", plain, inputtest.Setup{})
	const ways, last = 3, 1200
	var clients [ways]*client
	var at, next [ways]uint64 // of its own line, and of the host's records
	for i := range clients {
		clients[i] = dial(t, r, relaywire.Writer{Agent: relaywire.Agent{1, byte(i)}, Epoch: 11})
		clients[i].ask("app", forever)
		at[i], next[i] = 1, 1
	}
	for slices.Min(next[:]) < last {
		i := random.IntN(ways)
		n := min(uint64(1+random.IntN(200)), last-next[i])
		if next[i] == last {
			continue
		}
		if back := uint64(random.IntN(100)); random.IntN(4) == 0 && back < next[i] { // as after a disk below was put back
			next[i] -= back
			n = min(n+back, last-next[i])
		}
		c, numbers := clients[i], [2]uint64{next[i], next[i] + n}
		if random.IntN(2) == 0 {
			c.say(c.whole(at[i], numbers, host, numbers[0]))
		} else {
			c.say(c.frame("app", at[i], batch(texts(numbers[0], numbers[1]), from(host, "app", numbers[0]))))
		}
		c.acked(c.number)
		at[i], next[i] = at[i]+n, numbers[1]
	}
	var got []int
	for _, v := range r.Sink.Records() {
		o := v.Origin()
		if fmt.Sprint(o.Sequence) != string(v.Message()) {
			t.Fatalf("%s is from offset %d", v.Message(), o.Sequence)
		}
		got = append(got, int(o.Sequence))
	}
	slices.Sort(got)
	if len(got) != last-1 || got[0] != 1 || got[len(got)-1] != last-1 || len(slices.Compact(got)) != last-1 {
		t.Errorf("%d records, from %d to %d", len(got), got[0], got[len(got)-1])
	}
	if r.Sink.Whole() == 0 || r.Sink.Whole() == r.Sink.Batches() {
		t.Errorf("%d of %d came whole", r.Sink.Whole(), r.Sink.Batches())
	}
}

// A frame that came before is acknowledged again whichever way it comes: its record has one sum.
func TestAFrameIsOneHoweverItSaysItsOrigin(t *testing.T) {
	r := inputtest.Start(t, Kind, "", plain, inputtest.Setup{})
	w := relaywire.Writer{Agent: relaywire.Agent{1, 1}, Epoch: 11}
	for round := range 4 {
		c := dial(t, r, w)
		tell := c.ask("app", forever)
		if round > 0 && (len(tell.Prints) != 2 || tell.Prints[0].Sum != c.whole(1, [2]uint64{1, 101}, host, 1).Sum) {
			t.Errorf("the prints are %+v", tell.Prints)
		}
		c.number = 0
		c.say(&relaywire.Ask{Stream: "app", Epoch: w.Epoch, Parts: forever})
		hears[*relaywire.Tell](c)
		for i, numbers := range [][2]uint64{{1, 101}, {101, 201}} {
			if (round+i)%2 == 0 {
				c.say(c.whole(numbers[0], numbers, host, numbers[0]))
			} else {
				c.say(c.frame("app", numbers[0], batch(texts(numbers[0], numbers[1]), from(host, "app", numbers[0]))))
			}
		}
		c.acked(2)
		want(t, r, 1, 201)
		c.Close()
	}
}

// Who lies about the records of a whole frame loses its connection, and nothing of it is stored.
func TestLiesAboutWholeFrames(t *testing.T) {
	r := inputtest.Start(t, Kind, "", plain, inputtest.Setup{})
	lies := byte(0)
	three := batch(texts(1, 4), nil)
	f := func(lie func(d *relaywire.Data)) {
		t.Helper()
		lies++
		c := dial(t, r, relaywire.Writer{Agent: relaywire.Agent{100, lies}, Epoch: 1})
		c.ask("app", forever)
		d := c.whole(1, [2]uint64{1, 4}, host, 7)
		lie(d)
		c.say(d)
		c.refused(relaywire.CodeMalformed)
		c.Close()
		after := dial(t, r, c.writer)
		if missing := after.ask("app", forever).Missing; len(missing) != 1 || missing[0].From != 1 {
			t.Errorf("after a lie %v are missing", missing)
		}
		after.Close()
	}
	raw := func(change func(raw []byte) []byte) func(d *relaywire.Data) {
		return func(d *relaywire.Data) {
			b := change(bytes.Clone(three.Bytes()))
			d.Payload, d.Raw = s2.Encode(nil, b), uint32(len(b))
		}
	}
	f(func(d *relaywire.Data) { d.Sum = relaywire.Sum(d.To-1, three.At(2)) }) // of the record without the origin
	f(func(d *relaywire.Data) { d.Origin.Sequence++ })
	f(func(d *relaywire.Data) { d.Origin.Agent[15]++ })
	f(func(d *relaywire.Data) { d.Origin = record.Origin{} })
	f(func(d *relaywire.Data) { d.Origin.Stream = []byte("../etc"); d.Sum = sumOf(d, three) })
	f(func(d *relaywire.Data) { d.Origin.Sequence = math.MaxUint64 - 2; d.Sum = sumOf(d, three) })
	f(func(d *relaywire.Data) { d.Raw++ })
	f(func(d *relaywire.Data) { d.Payload = d.Payload[:len(d.Payload)-1] })
	f(func(d *relaywire.Data) { d.Payload = append(bytes.Clone(d.Payload), 0) })
	f(func(d *relaywire.Data) { d.To++; d.Offsets = relaywire.Ranges{d.Range}; d.Sum = sumOf(d, three) })
	f(func(d *relaywire.Data) { d.Payload = s2.Encode(nil, make([]byte, 64<<20)) })
	f(func(d *relaywire.Data) { d.Payload, d.Raw = s2.Encode(nil, make([]byte, 64<<20)), 64<<20 })
	f(raw(func(b []byte) []byte { return append(b, make([]byte, 64<<20)...) }))
	f(raw(func(b []byte) []byte { binary.LittleEndian.PutUint32(b[8:], 4); return b })) // records of the batch
	f(raw(func(b []byte) []byte { binary.LittleEndian.PutUint32(b[4:], 1); return b })) // its size
	for at := range record.BatchHeaderSize + 56 {                                       // of the first record, too
		if at >= 20 && at < 40 { // flags and times may be anything
			continue
		}
		for _, bit := range []byte{1, 128} {
			f(raw(func(b []byte) []byte { b[at] ^= bit; return b }))
		}
	}
	if got := r.Sink.Len(); got != 0 {
		t.Errorf("%d records are stored", got)
	}
}
