package wasm

import (
	"bytes"
	"context"
	"fmt"
	"maps"
	"strings"
	"testing"
	"time"

	"github.com/VictoriaMetrics/metrics"
)

// told writes an outcome: the records that go on, and what became of the others.
func told(o *Outcome) string {
	var got []string
	if o.Batch != nil {
		for i := range o.Batch.Len() {
			got = append(got, describe(o.Batch.At(i)))
		}
	}
	for _, d := range o.Dropped {
		got = append(got, fmt.Sprintf("dropped %s %d", d.Reason, d.Count))
	}
	if o.Failed > 0 {
		got = append(got, fmt.Sprintf("failed %d", o.Failed))
	}
	return strings.Join(got, "\n")
}

// balanced checks that every record is accounted for.
func balanced(tb testing.TB, in int, o *Outcome) {
	tb.Helper()
	came, went := in+o.Emitted+o.Released, o.Held
	if o.Batch != nil {
		went += o.Batch.Len()
	}
	if o.Dead != nil {
		went += o.Dead.Len()
	}
	for _, d := range o.Dropped {
		went += d.Count
	}
	if came != went {
		tb.Errorf("%d in, %d emitted, %d released, but %d out, dropped and held: %+v", in, o.Emitted, o.Released, went, o)
	}
}

// TestStateAndHeldRecords runs one story over each conformance guest: going on,
// and with everything but what was stored forgotten after each step. Both must
// come to the same.
func TestStateAndHeldRecords(t *testing.T) {
	conforming(t, func(t *testing.T, file string) {
		t.Run("going on", func(t *testing.T) { stateAndHeldRecords(t, file, false) })
		t.Run("starting anew", func(t *testing.T) { stateAndHeldRecords(t, file, true) })
	})
}

func stateAndHeldRecords(t *testing.T, file string, anew bool) {
	const tick = "tick severity=255 facility=255 flags= time=-9223372036854775808 host= app= procid= msgid= from=test,,here sd= attrs=now:3:1700000000000000005"
	set := metrics.NewSet()
	m := loadIn(t, granted(t, Options{File: file, KnownStream: known, Now: clock, Agent: "here"}), set)
	state, store := NewState(), map[string][]byte{}
	l := m.Line(state)
	next := func(in int, o *Outcome, want []string) {
		t.Helper()
		balanced(t, in, o)
		got := told(o)
		if len(want) > 1 && want[0] == tick && strings.HasSuffix(got, tick) { // either may come first
			want = append(want[1:], tick)
		}
		if want := strings.Join(want, "\n"); got != want {
			t.Errorf("got\n%s\nwant\n%s\n%s", got, want, o.LastError)
		}
		save(store, l.Changes(nil))
		l.Settle()
		audit(t, state)
		if anew {
			l.Close()
			state = restored(t, store)
			l = m.Line(state)
		}
	}
	f := func(messages, want []string) {
		t.Helper()
		in := commands(t, messages...)
		var out Outcome
		if err := l.Process(t.Context(), in, &out); err != nil {
			t.Fatal(err)
		}
		next(in.Len(), &out, want)
		out.release(in)
	}
	say := func(call func(context.Context, *Outcome) error, want ...string) {
		t.Helper()
		var out Outcome
		if err := call(t.Context(), &out); err != nil {
			t.Fatal(err)
		}
		next(0, &out, want)
		out.release(nil)
	}
	type l_ = []string
	const usual = " attrs=old:1:value,status:3:200,"
	f(l_{"hold a", "keep"}, l_{"keep"})
	f(l_{"heldcount a", "heldcount b"}, l_{"heldcount a" + usual + "held:3:1", "heldcount b" + usual + "held:3:0"})
	f(l_{"keep", "hold a", "release a", "keep"}, l_{"keep", "hold a", "hold a", "release a", "keep"})
	f(l_{"hold m", "hold m"}, nil)
	f(l_{"hold m", "merge m |"}, l_{"hold m|hold m|hold m" + usual + "merged:5:true", "merge m |", "dropped merged 2"})
	f(l_{"merge m |", "release a", "discard a x"}, l_{"merge m |", "release a", "discard a x"})
	f(l_{"hold d", "keep", "discard d noise"}, l_{"keep", "discard d noise", "dropped noise 1"})
	f(l_{"put k v", "get k", "forget k", "get k"}, l_{"put k v", "get k" + usual + "k:1:v", "forget k", "get k" + usual + "k:1:none"})
	f(l_{"count c", "count c"}, l_{"count c" + usual + "c:3:1", "count c" + usual + "c:3:2"})
	f(l_{"count c", "panic", "count c", "hold p"}, l_{"count c" + usual + "c:3:3", "panic flags=host_filled|module_failed", "count c" + usual + "c:3:4", "failed 1"})
	f(l_{"heldcount p", "put b 1", "put a 2", "keys"}, l_{"heldcount p" + usual + "held:3:1", "put b 1", "put a 2", "keys" + usual + "keys:1:a,b,c"})
	f(l_{"lookup hosts h1", "lookup hosts h2", "lookup none h1"}, l_{`lookup hosts h1` + usual + `row:6:{"host":"h1","owner":"ann"}`,
		"lookup hosts h2" + usual + "row:1:none", "lookup none h1" + usual + "row:1:none"})
	f(l_{"find the needle", "find"}, l_{"find the needle" + usual + "at:3:5", "find" + usual + "at:3:0"})
	f(l_{"metric hits 2", "metric hits 3"}, l_{"metric hits 2", "metric hits 3"})
	f(l_{"metric hits 100", "panic"}, l_{"metric hits 100", "panic flags=host_filled|module_failed", "failed 1"})
	if got := set.GetOrCreateFloatCounter(`runnel_guest_hits{module="test"}`).Get(); got != 105 {
		t.Errorf("got %v counted, want 105: a call that fails counts nothing", got)
	}
	say(l.Tick, tick)
	f(l_{"hold tick", "hold tick"}, nil)
	say(l.Tick, tick, "hold tick", "hold tick")
	f(l_{"hold z", "hold y", "hold z"}, nil)
	say(l.Flush, "flush severity=255 facility=255 flags= time=-9223372036854775808 host= app= procid= msgid= from=test,,here sd= attrs=", "hold p", "hold z", "hold y", "hold z")
	if records, size := state.Held(); records != 0 || size != 0 {
		t.Errorf("got %d records of %d bytes still held", records, size)
	}
	if s := m.Stats(); s.Held != s.Released || s.Held != 12 || s.Ticks != 2 {
		t.Errorf("got %d held, %d released and %d ticks counted, want 12, 12 and 2", s.Held, s.Released, s.Ticks)
	}
}

// TestUndoneIsAsIfItHadNotBeen: a batch whose output was not stored is given
// again, and counted once.
func TestUndoneIsAsIfItHadNotBeen(t *testing.T) {
	conforming(t, func(t *testing.T, file string) {
		l := load(t, granted(t, Options{File: file, Now: clock})).Line(NewState())
		in := commands(t, "count c", "hold h", "heldcount h")
		var first string
		for try := range 3 {
			var out Outcome
			if err := l.Process(t.Context(), in, &out); err != nil {
				t.Fatal(err)
			}
			if got := told(&out); try == 0 {
				first = got
			} else if got != first {
				t.Errorf("got\n%s\nwant\n%s", got, first)
			}
			out.release(in)
			l.Undo()
			if len(l.Changes(nil)) != 0 || dump(l.state) != "" {
				t.Errorf("got a state of %q after it was undone", dump(l.state))
			}
		}
	})
}

// TestLinesShareAState: the old and the new build of a module take turns.
func TestLinesShareAState(t *testing.T) {
	m := load(t, granted(t, Options{File: guest(t, conformanceFolder), Now: clock}))
	s := NewState()
	lines := []*Line{m.Line(s), m.Line(s)}
	for i := range 6 {
		in := commands(t, "count c")
		var out Outcome
		if err := lines[i%2].Process(t.Context(), in, &out); err != nil {
			t.Fatal(err)
		}
		if v, _ := out.Batch.At(0).Attr("c"); v.Int() != int64(i+1) {
			t.Errorf("got %d want %d", v.Int(), i+1)
		}
		out.release(in)
		lines[i%2].Settle()
	}
	if got := m.Stats().Instances; got != 2 {
		t.Errorf("got %d instances, want 2", got)
	}
	for _, l := range lines {
		l.Close()
	}
	if got := m.Stats().Instances; got != 0 {
		t.Errorf("got %d instances of closed lines, want none", got)
	}
	if err := lines[0].Process(t.Context(), commands(t, "keep"), new(Outcome)); err != ErrClosed {
		t.Errorf("got %v want %v", err, ErrClosed)
	}
}

// TestClosedModuleEndsItsLines: the state stays, and another module goes on with it.
func TestClosedModuleEndsItsLines(t *testing.T) {
	o := granted(t, Options{File: guest(t, conformanceFolder), Now: clock})
	first, second := load(t, o), load(t, o)
	s := NewState()
	l := first.Line(s)
	in := commands(t, "hold k")
	if err := l.Process(t.Context(), in, new(Outcome)); err != nil {
		t.Fatal(err)
	}
	if err := first.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := l.Process(t.Context(), in, new(Outcome)); err != ErrClosed {
		t.Errorf("got %v want %v", err, ErrClosed)
	}
	l.Settle()
	var out Outcome
	if err := second.Line(s).Process(t.Context(), commands(t, "release k"), &out); err != nil {
		t.Fatal(err)
	}
	if got := told(&out); got != "hold k\nrelease k" {
		t.Errorf("got %q", got)
	}
	if err := second.Process(t.Context(), in, &out); err != ErrOrdered {
		t.Errorf("got %v want %v", err, ErrOrdered)
	}
}

// The types of functions that stateful takes besides those of assembly.
const (
	typeTick = firstType + iota // (i64) → i64
	typeFour                    // (i32, i32, i32, i32) → i32
)

// stateful is a guest of those types, whose imports are typeFour.
func stateful(a assembly) []byte {
	a.types, a.more = []byte{0x60, 1, typeI64, 1, typeI64, 0x60, 4, typeI32, typeI32, typeI32, typeI32, 1, typeI32}, 2
	a.importAs = typeFour
	return a.bytes()
}

// TestTickThatFailsSaysNothing: state as it was, the failure told, and after five
// of them the module is bypassed and its ticks are skipped.
func TestTickThatFailsSaysNothing(t *testing.T) {
	now := clock()
	code := stateful(assembly{also: map[string]uint32{tickName: 4}, extra: []function{{kind: typeTick, body: []byte{0}}}})
	m := load(t, Options{Code: code, Now: func() time.Time { return now }})
	l := m.Line(NewState())
	l.state.begin()
	l.state.take([]byte("k"), commands(t, "held").At(0))
	l.state.keep()
	l.Settle()
	before := dump(l.state)
	var out Outcome
	for range openAfter + 1 {
		if err := l.Tick(t.Context(), &out); err != nil {
			t.Fatal(err)
		}
		if out.Batch != nil || out.Failed != 0 || out.LastError != "runnel_tick: guest trapped: unreachable" {
			t.Errorf("got %+v", out)
		}
	}
	if !m.Stats().Open {
		t.Error("the module is not bypassed")
	}
	if err := l.Tick(t.Context(), &out); err != nil || out.LastError != "" {
		t.Errorf("got %v, %q of a tick that is skipped", err, out.LastError)
	}
	if got := m.Stats().Ticks; got != openAfter+1 {
		t.Errorf("got %d ticks, want %d", got, openAfter+1)
	}
	if dump(l.state) != before || len(l.Changes(nil)) != 0 {
		t.Error("the state has changed")
	}
	if err := l.Flush(t.Context(), &out); err != nil || told(&out) != "held" || out.Released != 1 {
		t.Errorf("got %v and %q of a flush, want what was held", err, told(&out))
	}
	out.release(nil)
}

// TestWhatATickMaySay: lists of EMIT, RELEASE, MERGE and DISCARD on no record.
func TestWhatATickMaySay(t *testing.T) {
	whole := commands(t, "made").At(0)
	f := func(said []byte, want string) {
		t.Helper()
		s := NewState()
		h := newHands(s, Keep)
		in := commands(t, "one", "two")
		s.begin()
		s.take([]byte("k"), in.At(0))
		s.take([]byte("k"), in.At(1))
		s.keep()
		var out Outcome
		s.begin()
		err := h.a.alone(said, &out)
		got := told(&out)
		if err != nil {
			s.undo()
			got = strings.TrimPrefix(err.Error(), "guest's output is malformed: ")
		} else {
			s.keep()
			balanced(t, 0, &out)
		}
		if got != want {
			t.Errorf("% x:\ngot  %s\nwant %s", said, got, want)
		}
		audit(t, s)
		out.release(nil)
	}
	many := make([][]byte, maxAloneVerdicts+1)
	for i := range many {
		many[i] = verdict(noRecord, kindRelease, 'x')
	}
	f(nil, "")
	f(output(), "")
	f(output(verdict(noRecord, kindRelease, 'k')), "one\ntwo")
	f(output(verdict(noRecord, kindRelease, 'k'), verdict(noRecord, kindRelease, 'k')), "one\ntwo")
	f(output(verdict(noRecord, kindDiscard, 1, 0, 0, 0, 'k', 'w')), "dropped w 2")
	f(output(verdict(noRecord, kindMerge, append([]byte{1, 0, 0, 0, 'k'}, op(opJoin, "", '+')...)...)), "one+two\ndropped merged 1")
	f(output(verdict(noRecord, kindMerge, append([]byte{1, 0, 0, 0, 'k'}, op(opJoin, "", make([]byte, 17)...)...)...)), "operation 0 of the PATCH of record 4294967295: code 26 with a key of 0 and a value of 17 bytes")
	f(output(verdict(noRecord, kindEmit, whole...)), "made flags= from=test,,here")
	f(output(verdict(noRecord, kindDrop)), "a verdict of kind 1 on no record")
	f(output(verdict(noRecord, 11)), "a verdict of kind 11 on record 4294967295")
	f(output(verdict(0, kindRelease, 'k')), "a verdict on record 0, but there is no batch")
	f(output(many...), "4097 verdicts without a batch, more than the limit of 4096")
	f(output(many[1:]...), "")
	f([]byte{formFilter, 0, 0, 0, 0, 0, 0, 0}, "it is no list of verdicts")
	f(append(output(), 0), "1 bytes after the last verdict")
	f([]byte{formList, 0, 0, 0, 1, 0, 0, 0}, "ends within a verdict")
}

// TestNoStateIsSetWhileStarting: runnel_init may read the state only.
func TestNoStateIsSetWhileStarting(t *testing.T) {
	set := assembly{imports: [][2]string{{"runnel", "state_set"}}, data: []byte("kv"),
		init: join(i32(dataAt), i32(1), i32(dataAt+1), i32(1), call1(0))} // its answer is the status
	if got := refusal(t, Options{Code: stateful(set), Grant: Grants{State: true}}); !strings.Contains(got, "runnel_init returned 4294967295") {
		t.Errorf("got %q", got)
	}
	get := set
	get.imports = [][2]string{{"runnel", "state_get"}}
	get.init = join(get.init, i32(1), []byte{opI32Sub}, i32(-2), []byte{opI32Sub}) // −1 − 1 + 2
	m := load(t, Options{Code: stateful(get), Grant: Grants{State: true}})
	s := NewState()
	s.begin()
	s.set("k", []byte("v")) // 1 − 1 + 2: now its config is refused
	s.keep()
	in := commands(t, "one")
	var out Outcome
	if err := m.Line(s).Process(t.Context(), in, &out); err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(out.LastError, "refused its config") {
		t.Errorf("got %q: the instance that saw no state was used with one that has some", out.LastError)
	}
	out.release(in)
}

// TestStateCallsAreCharged: a guest that does nothing but ask for state is stopped.
func TestStateCallsAreCharged(t *testing.T) {
	for _, name := range []string{"state_get", "state_set", "state_next", "held"} {
		code := assembly{imports: [][2]string{{"runnel", name}}, data: []byte("k"),
			process: forever(join(i32(dataAt), i32(1), i32(0), i32(8), call1(0), []byte{0x1a})...)}
		l := load(t, Options{Code: stateful(code), Grant: Grants{State: true}, Time: 30 * time.Millisecond}).Line(NewState())
		in := commands(t, "one")
		var out Outcome
		if err := l.Process(t.Context(), in, &out); err != nil {
			t.Fatal(err)
		}
		if !strings.HasPrefix(out.LastError, "not done after 30ms") || dump(l.state) != "" {
			t.Errorf("%s: got %q and a state of %q", name, out.LastError, dump(l.state))
		}
		out.release(in)
	}
}

// TestRestoredIsEqual compares what two lines make of the same batches, one of
// them restored from its changes before each.
func TestRestoredIsEqual(t *testing.T) {
	m := load(t, granted(t, Options{File: guest(t, conformanceFolder), Now: clock}))
	one := m.Line(NewState())
	store := map[string][]byte{}
	for i := range 40 {
		key := string(rune('a' + i%3))
		messages := []string{"count " + key, "hold " + key, "keys"}
		if i%4 == 3 {
			messages = append(messages, "merge "+key, "forget "+key, "hold x")
		}
		in := commands(t, messages...)
		two := m.Line(restored(t, store))
		var a, b Outcome
		if err := one.Process(t.Context(), in, &a); err != nil {
			t.Fatal(err)
		}
		if err := two.Process(t.Context(), in, &b); err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(a.Batch.Bytes(), b.Batch.Bytes()) || dump(one.state) != dump(two.state) {
			t.Fatalf("batch %d: got\n%s\nwant\n%s", i, told(&b), told(&a))
		}
		before := maps.Clone(store)
		save(store, one.Changes(nil))
		save(before, two.Changes(nil))
		if len(store) != len(before) {
			t.Errorf("batch %d: %d keys stored, %d of the restored line", i, len(store), len(before))
		}
		one.Settle()
		two.Close()
		a.release(in)
		b.release(in)
	}
}
