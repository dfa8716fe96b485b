package relaywire

import (
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"reflect"
	"runtime"
	"slices"
	"strings"
	"testing"
)

// told is a receiver, a session with it, and the marks that its disk has.
type told struct {
	*Known
	w    Writer
	disk map[string][]byte
}

func newTold(t *testing.T) *told {
	t.Helper()
	k := &told{NewKnown(), Writer{host, 3}, map[string][]byte{}}
	k.Begin(k.w, 1)
	k.ask(t, 1, "app", Ranges{{1, never}})
	return k
}

func (k *told) ask(t *testing.T, s Session, stream string, parts Ranges) *Tell {
	t.Helper()
	tell, err := k.Ask(k.w, s, &Ask{Stream: stream, Epoch: k.w.Epoch, Parts: parts})
	if err != nil {
		t.Fatal(err)
	}
	return tell
}

func (k *told) frame(from, to, sum uint64, origins ...Part) *Data {
	return &Data{Part: Part{Line{k.w, "app"}, Range{from, to}}, Sum: sum, Origins: origins}
}

// take has a frame judged, taken, and its marks kept.
func (k *told) take(s Session, d *Data, idle ...Agent) (*Verdict, error) {
	v, err := k.Judge(k.w, s, d, idle...)
	if err == nil {
		for _, m := range v.Marks() {
			if k.disk[m.Key] = m.Value; m.Value == nil {
				delete(k.disk, m.Key)
			}
		}
		k.Take(v)
	}
	return v, err
}

func (k *told) must(t *testing.T, d *Data) *Verdict {
	t.Helper()
	v, err := k.take(1, d)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

func TestWhatIsKnownIsNotNew(t *testing.T) {
	k := newTold(t)
	f := func(d *Data, want error, missing ...Range) {
		t.Helper()
		v, err := k.take(1, d)
		if !errors.Is(err, want) || want == nil && !slices.Equal(v.Missing, missing) {
			t.Errorf("%v: got %+v, %v want %v, %v", d.Range, v, err, missing, want)
		}
	}
	f(k.frame(1, 4, 11), nil, Range{1, 4})
	f(k.frame(1, 4, 11), nil)             // again, acknowledged again
	f(k.frame(1, 4, 12), ErrKnown)        // of another copy
	f(k.frame(1, 3, 11), ErrKnown)        // in other pieces
	f(k.frame(3, 6, 13), ErrKnown)        // some of it
	f(k.frame(5, 6, 13), ErrHole)         // 4 is left out
	f(k.frame(4, 9, 0), nil, Range{4, 9}) // all filtered
	f(k.frame(4, 9, 0), nil)
	f(k.frame(8, 12, 0), nil, Range{9, 12}) // without records nothing can be twice
	f(k.frame(12, 13, 5), nil, Range{12, 13})
	other := k.frame(1, 2, 5)
	other.Stream = "else"
	f(other, ErrHole) // nobody asked
	tell := k.ask(t, 1, "app", Ranges{{2, 5}, {9, never}})
	want := &Tell{Stream: "app", Epoch: 3, Missing: Ranges{{13, never}}, Ends: Range{1, 13}, Prints: []Print{{Range{1, 4}, 11}, {Range{12, 13}, 5}}}
	if !reflect.DeepEqual(tell, want) {
		t.Errorf("got %+v want %+v", tell, want)
	}
}

func TestANewSessionFencesTheOneBefore(t *testing.T) {
	k := newTold(t)
	k.must(t, k.frame(1, 4, 11))
	k.Begin(k.w, 2)
	if _, err := k.take(1, k.frame(4, 5, 12)); err != ErrFenced {
		t.Errorf("got %v", err)
	}
	if _, err := k.Ask(k.w, 1, &Ask{Stream: "app", Epoch: 3, Parts: Ranges{{1, 2}}}); err != ErrFenced {
		t.Errorf("got %v", err)
	}
	k.End(k.w, 1) // which is not its own any more
	k.ask(t, 2, "app", Ranges{{4, never}})
	if _, err := k.take(2, k.frame(4, 5, 12)); err != nil {
		t.Error(err)
	}
	// Another run of the same agent is another matter.
	k.Begin(Writer{host, 4}, 3)
	if _, err := k.take(2, k.frame(5, 6, 12)); err != nil {
		t.Error(err)
	}
	k.End(k.w, 2)
	if _, err := k.take(2, k.frame(6, 7, 12)); err != ErrFenced {
		t.Errorf("got %v", err)
	}
}

// TestThePlanIsHeldAgainstTheSender: what others have may be left out, and nothing else.
func TestThePlanIsHeldAgainstTheSender(t *testing.T) {
	k := newTold(t)
	k.ask(t, 1, "app", Ranges{{1, 5}, {10, 20}}) // others have 5 to 9
	f := func(from, to uint64, want error) {
		t.Helper()
		if _, err := k.take(1, k.frame(from, to, from)); !errors.Is(err, want) {
			t.Errorf("[%d, %d): got %v want %v", from, to, err, want)
		}
	}
	f(2, 3, ErrHole)
	f(1, 3, nil)
	f(10, 12, ErrHole)
	f(3, 5, nil)
	f(11, 12, ErrHole)
	f(10, 12, nil)
	f(21, 22, ErrHole) // what is to come is meant too
	f(12, 21, nil)
	f(22, 23, ErrHole)
	f(21, 23, nil)
}

// TestOriginsAreKnownHoweverTheyCome: along one line or another, once.
func TestOriginsAreKnownHoweverTheyCome(t *testing.T) {
	k := newTold(t)
	line := Line{Writer{Agent{9}, 8}, "app"}
	f := func(d *Data, want ...[]Range) {
		t.Helper()
		if v := k.must(t, d); !reflect.DeepEqual(v.Origins, want) {
			t.Errorf("got %v want %v", v.Origins, want)
		}
	}
	f(k.frame(1, 4, 1, Part{line, Range{5, 7}}, Part{line, Range{9, 10}}), []Range{{5, 7}}, []Range{{9, 10}})
	f(k.frame(4, 8, 2, Part{line, Range{6, 10}}), []Range{{7, 9}})
	// Under another name they are others: a tier sends pieces of one line along several streams.
	line.Stream = "named"
	f(k.frame(8, 9, 3, Part{line, Range{6, 10}}), []Range{{6, 10}})
	// The agent itself has come by, on its own connection.
	k.w = Writer{Agent{9}, 8}
	k.Begin(k.w, 1)
	if tell := k.ask(t, 1, "app", Ranges{{5, never}}); !slices.Equal(tell.Missing, []Range{{10, never}}) || tell.Prints != nil {
		t.Errorf("got %+v", tell)
	}
	if tell := k.ask(t, 1, "named", Ranges{{6, 10}}); len(tell.Missing) != 1 {
		t.Errorf("got %+v", tell)
	}
}

// TestMarksAreAllThatIsKnown: at any time a receiver that reads its marks is the one that wrote them.
func TestMarksAreAllThatIsKnown(t *testing.T) {
	for seed := range uint64(20) {
		random := rand.New(rand.NewPCG(seed, 0))
		k := newTold(t)
		k.ask(t, 1, "app", Ranges{{never - 1, never}}) // anything goes
		at := uint64(1)
		for n := range 200 {
			from := at + random.Uint64N(3)
			d := k.frame(from, from+1+random.Uint64N(5), random.Uint64N(4))
			for range random.IntN(3) {
				o := random.Uint64N(50)
				d.Origins = append(d.Origins, Part{Line{Writer{Agent{byte(random.IntN(3))}, 7}, fmt.Sprint("s", random.IntN(2))}, Range{o, o + 1 + random.Uint64N(9)}})
			}
			if _, err := k.take(1, d); err == nil {
				at = d.To
			}
			if n%20 > 0 {
				continue
			}
			again := NewKnown()
			for key, value := range k.disk {
				if err := again.Load(key, value); err != nil {
					t.Fatal(err)
				}
			}
			for id, a := range k.agents {
				b := again.agent(id)
				if !maps.EqualFunc(a.lines, b.lines, func(x, y line) bool { return reflect.DeepEqual(x, y) }) || a.used != b.used {
					t.Fatalf("seed %d: got %+v want %+v", seed, b.lines, a.lines)
				}
			}
		}
	}
}

func TestMarksBelongToJudgeAndChangeNothing(t *testing.T) {
	k := newTold(t)
	k.must(t, k.frame(1, 4, 11, Part{Line{Writer{Agent{9}, 8}, "x"}, Range{5, 7}}))
	d := k.frame(4, 8, 12, Part{Line{Writer{Agent{9}, 8}, "x"}, Range{7, 9}})
	v, err := k.Judge(k.w, 1, d)
	if err != nil || len(v.Marks()) != 2 {
		t.Fatalf("got %+v, %v", v, err)
	}
	if tell := k.ask(t, 1, "app", Ranges{{1, never}}); tell.Ends.To != 4 { // it was not taken
		t.Errorf("got %+v", tell)
	}
	k.must(t, d)
	if v := k.must(t, d); len(v.Marks()) != 0 {
		t.Errorf("known, and %d marks", len(v.Marks()))
	}
	k.Drop(host)
	if _, err := k.take(1, d); err != ErrFenced {
		t.Errorf("got %v", err)
	}
	for key, value := range k.disk {
		if err := k.Load(key, value); err != nil {
			t.Error(err)
		}
	}
	k.Begin(k.w, 1)
	if tell := k.ask(t, 1, "app", Ranges{{1, never}}); tell.Ends != (Range{1, 8}) || len(tell.Prints) != 2 {
		t.Errorf("got %+v", tell)
	}
}

// TestWhatIsKeptIsBounded: the oldest is forgotten first.
func TestWhatIsKeptIsBounded(t *testing.T) {
	k := newTold(t)
	origin := Line{Writer{Agent{9}, 8}, "x"}
	at := uint64(1)
	for i := range uint64(mostRanges + 10) {
		k.must(t, k.frame(at, at+1, 5, Part{origin, Range{2 * i, 2*i + 1}}))
		at++
	}
	l := k.agent(origin.Agent).lines[arrival{8, "x", "app"}]
	if len(l.ranges) != mostRanges || l.ranges[0].From != 20 {
		t.Errorf("%d ranges from %d", len(l.ranges), l.ranges[0].From)
	}
	if l := k.agent(host).lines[arrival{epoch: 3, stream: "app"}]; len(l.ranges) != 1 || len(l.last) != prints || l.last[prints-1].To != at {
		t.Errorf("got %d ranges, %d prints", len(l.ranges), len(l.last))
	}
	before := len(k.disk)
	for i := range uint32(mostLines + 9) {
		k.must(t, k.frame(at, at+2, 5, Part{Line{Writer{origin.Agent, 100 + i}, "y"}, Range{1, 2}}, Part{Line{Writer{origin.Agent, 100 + i}, "z"}, Range{1, 2}}))
		at += 2
	}
	lines := k.agent(origin.Agent).lines
	if len(lines) > mostLines || len(lines) < mostLines*15/16 || len(k.disk) != before+len(lines)-1 {
		t.Errorf("%d lines, %d marks", len(lines), len(k.disk))
	}
	if _, there := lines[arrival{8, "x", "app"}]; there {
		t.Error("what was not used for longest is there")
	}
	if _, there := lines[arrival{100 + mostLines + 8, "z", "app"}]; !there {
		t.Error("the newest is not")
	}
}

// TestAnAnswerAlwaysFitsInAFrame: whatever is known, and however it is asked.
func TestAnAnswerAlwaysFitsInAFrame(t *testing.T) {
	k := newTold(t)
	for i := range uint64(mostRanges) {
		at := uint64(never)>>3 + 4*i
		k.ask(t, 1, "app", Ranges{{at, at + 1}})
		k.must(t, k.frame(at, at+1, 1))
	}
	q := &Ask{Stream: "app", Epoch: k.w.Epoch, Parts: every(1<<45, MaxParts-1)}
	q.Parts = append(q.Parts, Range{q.Parts.End() + 1, never})
	asked, err := refused(Append(nil, q))
	if err != nil {
		t.Fatal(err)
	}
	tell, err := k.Ask(k.w, 1, asked.(*Ask))
	if err != nil || len(tell.Missing) != MaxParts+mostRanges {
		t.Fatalf("got %d ranges, %v", len(tell.Missing), err)
	}
	if got, err := refused(Append(nil, tell)); err != nil || !same(got, tell) {
		t.Errorf("got %.100v, %v", got, err)
	}
	beyond := &Ask{Stream: "app", Epoch: k.w.Epoch, Parts: append(every(2, MaxRanges), Range{1 << 20, never})} // no frame, but nobody relies on that
	if _, err := k.Ask(k.w, 1, beyond); !errors.Is(err, ErrMalformed) {
		t.Errorf("got %v", err)
	}
}

// TestPlansAreBounded: what was asked for long ago is to be asked for again.
func TestPlansAreBounded(t *testing.T) {
	k := newTold(t)
	c := k.agents[host].current[k.w.Epoch]
	ask := func(name string, i int, parts Ranges) {
		t.Helper()
		k.ask(t, 1, fmt.Sprint(name, i), parts)
		all := c.parts
		if i < 10 || i%1000 == 0 || i >= mostPlans-1 {
			all = 0
			for _, p := range c.plans {
				all += len(p.parts)
			}
		}
		if len(c.plans) > mostPlans || all > MaxRanges || all != c.parts {
			t.Fatalf("%d plans of %d parts, counted as %d", len(c.plans), all, c.parts)
		}
		if _, kept := c.plans[Line{k.w, fmt.Sprint(name, i)}]; !kept {
			t.Fatalf("what was asked for last is not planned")
		}
	}
	k.must(t, k.frame(1, 4, 11))
	for i := range mostPlans - 1 {
		ask("line", i, Ranges{{1, never}})
	}
	k.must(t, k.frame(4, 5, 12)) // it is in use
	ask("line", mostPlans, Ranges{{1, never}})
	k.must(t, k.frame(5, 6, 13))
	other := k.frame(1, 2, 1)
	other.Stream = "line0"
	if _, err := k.take(1, other); !errors.Is(err, ErrHole) {
		t.Errorf("got %v", err)
	}
	k.ask(t, 1, "line0", Ranges{{1, never}})
	if _, err := k.take(1, other); err != nil {
		t.Error(err)
	}
	for i := range 10 {
		ask("long", i, every(2, MaxParts))
		ask("long", i, every(2, MaxParts)) // in the place of the one before
	}
}

// TestNothingIsKeptOfWhoSaidNothing, nor a lock lost on the way.
func TestNothingIsKeptOfWhoSaidNothing(t *testing.T) {
	k := NewKnown()
	w := Writer{host, 1}
	unlock := k.Lock(host, relay)
	k.Begin(w, 1)
	unlock()
	if len(k.agents) != 1 {
		t.Errorf("%d agents are kept, want the one with a session", len(k.agents))
	}
	unlock = k.Lock(host)
	waits := make(chan int)
	go func() {
		defer k.Lock(host)()
		waits <- len(k.agents)
	}()
	for held := 0; held < 2; {
		k.mu.Lock()
		held = k.agents[host].holders
		k.mu.Unlock()
		runtime.Gosched()
	}
	k.End(w, 1)
	unlock()
	if got := <-waits; got != 1 {
		t.Errorf("%d agents while somebody holds one", got)
	}
	unlock = k.Lock(host)
	unlock()
	if len(k.agents) != 0 {
		t.Errorf("%d agents are kept", len(k.agents))
	}
}

// TestWhatIsForgottenIsSaid: of an agent with too many lines, or a line with too many ranges, and also
// when it is loaded again; of others not. Prints are kept of the lines that were used last.
func TestWhatIsForgottenIsSaid(t *testing.T) {
	few, many := newTold(t), newTold(t)
	other := Writer{Agent{9}, 1}
	many.Begin(other, 7)
	for epoch := range uint32(mostLines + 1) {
		if tell := many.ask(t, 1, "app", Ranges{{1, never}}); tell.Forgot {
			t.Fatalf("something was forgotten after %d lines", epoch)
		}
		many.End(many.w, 1)
		many.w.Epoch = 100 + epoch
		many.Begin(many.w, 1)
		many.ask(t, 1, "app", Ranges{{1, never}})
		many.must(t, many.frame(1, 4, 5))
	}
	for i := range uint64(mostRanges + 1) {
		few.ask(t, 1, "app", Ranges{{2 * i, never}})
		few.must(t, few.frame(2*i, 2*i+1, 5))
	}
	for _, k := range []*told{few, many} {
		again := NewKnown()
		for key, value := range k.disk {
			if err := again.Load(key, value); err != nil {
				t.Errorf("%q: %v", key, err)
			}
		}
		if !reflect.DeepEqual(again.agent(host).lines, k.agent(host).lines) || again.agent(host).proven != k.agent(host).proven {
			t.Error("what was loaded is not what was kept")
		}
		again.Begin(k.w, 2)
		if tell := k.ask(t, 1, "app", Ranges{{1, never}}); !tell.Forgot {
			t.Error("what was forgotten is not said")
		}
		if tell, err := again.Ask(k.w, 2, &Ask{Stream: "app", Epoch: 3, Parts: Ranges{{1, never}}}); err != nil || !tell.Forgot {
			t.Errorf("what was forgotten is not said once loaded: %v", err)
		}
	}
	if tell, err := many.Ask(other, 7, &Ask{Stream: "app", Epoch: 1, Parts: Ranges{{1, never}}}); err != nil || tell.Forgot {
		t.Errorf("something was forgotten of another agent: %v", err)
	}
	a, proven := many.agent(host), 0
	for _, l := range a.lines {
		proven += min(1, len(l.last))
	}
	if proven != a.proven || proven > mostProven || proven < mostProven*15/16 || len(a.lines[arrival{epoch: many.w.Epoch, stream: "app"}].last) != 1 {
		t.Errorf("%d lines have prints, %d by count", proven, a.proven)
	}
}

func TestMalformedMarksAreRefused(t *testing.T) {
	k := newTold(t)
	k.must(t, k.frame(1, 4, 11, Part{Line{Writer{Agent{9}, 8}, "x"}, Range{5, 7}}))
	f := func(key string, value []byte) {
		t.Helper()
		if err := NewKnown().Load(key, value); err == nil {
			t.Errorf("%q = %x was read", key, value)
		}
	}
	if err := NewKnown().Load("who\x00abc", nil); err != nil {
		t.Errorf("the key of others: %v", err)
	}
	for key, value := range k.disk {
		for n := range value {
			f(key, value[:n])
		}
		f(key, append(slices.Clone(value), 0))
		f(forgotPrefix+key[len(MarkPrefix):][:16], value)
		f(key, append([]byte{9}, value[1:]...))
		stream := len(MarkPrefix) + 20
		for n := len(MarkPrefix); n <= stream; n++ {
			f(key[:n], value)
		}
		f(key[:stream]+"\x04"+key[stream+1:], value[:0])
		f(key[:stream]+"\x7f"+key[stream+1:], value)
		f(key[:stream]+"\x03appapp", value) // as what it is
	}
	for range 2 { // and the same again is the same
		for key, value := range k.disk {
			if err := k.Load(key, value); err != nil {
				t.Errorf("%q: %v", key, err)
			}
		}
	}
}

func TestLocksAreTakenInOneOrder(t *testing.T) {
	k := NewKnown()
	done := make(chan int)
	count := 0
	for i := range 4 {
		go func() {
			n := 0
			for range 1000 {
				ids := []Agent{host, relay, host}
				if i%2 == 0 {
					slices.Reverse(ids)
					ids[0] = relay
				}
				unlock := k.Lock(ids...)
				count++
				n++
				unlock()
			}
			done <- n
		}()
	}
	for range 4 {
		if n := <-done; n != 1000 {
			t.Errorf("got %d", n)
		}
	}
	if count != 4000 {
		t.Errorf("got %d want 4000", count)
	}
}

// FuzzLoad: a damaged mark is an error, or what it says.
func FuzzLoad(f *testing.F) {
	c := change{lineKey: lineKey{host, arrival{3, "app", "errors"}}, line: line{ranges: Ranges{{1, 5}, {9, never}}, last: []Print{{Range{1, 5}, 7}}, used: 300}}
	f.Add(c.key(), c.line.append(nil))
	c.at.as = ""
	f.Add(c.key(), c.line.append(nil))
	f.Add(strings.TrimSuffix(c.key(), "p"), []byte{markVersion, 1, 1, 1, 1, 0})
	f.Fuzz(func(t *testing.T, key string, value []byte) {
		k := NewKnown()
		if k.Load(key, value) != nil || !strings.HasPrefix(key, MarkPrefix) {
			return
		}
		for id, a := range k.agents {
			for at, l := range a.lines {
				c := change{lineKey: lineKey{id, at}, line: l}
				if got := c.line.append(nil); c.key() != key || !slices.Equal(got, value) {
					t.Fatalf("%q = %x was read as %q = %x", key, value, c.key(), got)
				}
			}
		}
	})
}
