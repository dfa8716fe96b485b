package wasm

import (
	"bytes"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"
)

// audit checks a state against itself: sums, order and journals.
func audit(tb testing.TB, s *State) {
	tb.Helper()
	var total, heavy int64
	held := 0
	var keys []string
	for key, e := range s.values {
		if e.key != key || e.record || e.tried.at != 0 {
			tb.Errorf("entry %q is kept as %q", e.key, key)
		}
		if e.value != nil {
			keys = append(keys, key)
			total += int64(len(key) + len(e.value))
		} else if e.settled.at == 0 {
			tb.Errorf("entry %q has no value, and no journal knows it", key)
		}
	}
	for key, h := range s.holds {
		if h.key != key || len(h.records) == 0 || h.stale || !slices.IsSortedFunc(h.records, byNumber) {
			tb.Errorf("what is held under %q is out of order", key)
		}
		for _, e := range h.records {
			if e.value == nil || e.key != key || !e.record {
				tb.Errorf("under %q is held what is not", key)
			}
			held++
			heavy += int64(len(key) + len(e.value))
		}
	}
	slices.Sort(keys)
	var listed []string
	for key, ok := s.keys.after(""); ok; key, ok = s.keys.after(key) {
		listed = append(listed, key)
	}
	if !slices.Equal(keys, listed) {
		tb.Errorf("keys are listed as %q, want %q", listed, keys)
	}
	if s.count != len(keys) || s.held != held || s.heavy != heavy || s.bytes != total+heavy+entryCost*int64(len(keys)+held) {
		tb.Errorf("got %d keys, %d held, %d and %d bytes; counted %d, %d, %d and %d", s.count, s.held, s.heavy, s.bytes, len(keys), held, heavy, total+heavy+entryCost*int64(len(keys)+held))
	}
	if records, bytes := s.Held(); records != held || bytes != heavy {
		tb.Errorf("Held says %d records of %d bytes, want %d of %d", records, bytes, held, heavy)
	}
	if len(s.tried) != 0 {
		tb.Error("a call's journal is not empty")
	}
	for i, e := range s.touched {
		if e.settled.at != i+1 {
			tb.Errorf("entry %d of the journal says it is at %d", i, e.settled.at)
		}
	}
}

// dump writes all of a state.
func dump(s *State) string {
	var b strings.Builder
	for key, ok := s.keys.after(""); ok; key, ok = s.keys.after(key) {
		fmt.Fprintf(&b, "%s=%s\n", key, s.get(key))
	}
	for _, e := range s.all() {
		fmt.Fprintf(&b, "%s: %x\n", e.key, e.value)
	}
	return b.String()
}

// save puts what changed where a store would.
func save(store map[string][]byte, changes []Change) {
	for _, c := range changes {
		if c.Value == nil {
			delete(store, c.Key)
		} else {
			store[c.Key] = bytes.Clone(c.Value)
		}
	}
}

// restored makes a state of what was stored, in no order.
func restored(tb testing.TB, store map[string][]byte) *State {
	tb.Helper()
	s := NewState()
	for key, value := range store {
		if err := s.Restore(key, value); err != nil {
			tb.Fatal(err)
		}
	}
	return s
}

// TestStateGoesBackToItsMarks: whatever was set, deleted, held and let go, undo
// gives back what was, and what Changes gave is all of the state.
func TestStateGoesBackToItsMarks(t *testing.T) {
	in := commands(t, "a", "bb", "ccc", "dddd")
	for seed := range uint64(200) {
		r := rand.New(rand.NewPCG(seed, 1))
		s, store := NewState(), map[string][]byte{}
		settled := dump(s)
		for range 30 {
			before := dump(s)
			s.begin()
			for range r.IntN(40) {
				key := fmt.Sprintf("k%d", r.IntN(12))
				switch r.IntN(6) {
				case 0, 1, 2:
					s.set(key, bytes.Repeat([]byte{'v'}, r.IntN(100)))
				case 3:
					s.remove(key)
				case 4:
					if why := s.take([]byte(key), in.At(r.IntN(4))); why != "" {
						t.Fatal(why)
					}
				case 5:
					s.letGo(key)
				}
			}
			if r.IntN(3) > 0 {
				s.keep()
			} else if s.undo(); dump(s) != before {
				t.Fatalf("seed %d: undone to\n%s\nwant\n%s", seed, dump(s), before)
			}
			audit(t, s)
			switch r.IntN(6) {
			case 0:
				s.undoAll()
				if audit(t, s); dump(s) != settled {
					t.Fatalf("seed %d: undone to\n%s\nwhat was settled is\n%s", seed, dump(s), settled)
				}
			case 1, 2:
				save(store, s.Changes(nil))
				s.Settle()
				settled = dump(s)
				again := restored(t, store)
				if audit(t, again); dump(again) != settled {
					t.Fatalf("seed %d: restored\n%s\nwant\n%s", seed, dump(again), settled)
				}
				if r.IntN(2) == 0 {
					s = again
				}
			}
			if t.Failed() {
				t.Fatalf("seed %d", seed)
			}
		}
	}
}

func TestStateBounds(t *testing.T) {
	s := NewState()
	s.limit = 1000 + entryCost
	s.begin()
	f := func(got, want bool, what string) {
		t.Helper()
		if got != want {
			t.Errorf("%s: got %v want %v", what, got, want)
		}
	}
	f(s.set("", nil), false, "the empty key")
	f(s.set(strings.Repeat("k", 256), nil), false, "a key of 256 bytes")
	f(s.set(strings.Repeat("k", 255), nil), true, "a key of 255 bytes")
	f(s.remove(strings.Repeat("k", 255)), true, "delete it")
	f(s.remove("k"), false, "delete nothing")
	f(s.set("k", make([]byte, 1000)), false, "1001 bytes")
	f(s.set("k", make([]byte, 999)), true, "1000 bytes")
	f(s.set("l", nil), false, "a byte more")
	f(s.set("k", []byte("less")), true, "less")
	f(s.set("l", nil), true, "an empty value")
	f(s.get("l") != nil, true, "it is there")
	s.limit = 64 << 20
	f(s.set("k", make([]byte, maxStateValue+1)), false, "a value too long")
	f(s.set("k", make([]byte, maxStateValue)), true, "a value as long as may be")
	for i := s.count; i < maxStateKeys; i++ {
		if !s.set(fmt.Sprint("key ", i), nil) {
			t.Fatalf("key %d was refused", i)
		}
	}
	f(s.set("one more", nil), false, "a key too many")
	f(s.set("k", []byte("v")), true, "one that is there")
	s.keep()
	audit(t, s)
}

func TestHeldBounds(t *testing.T) {
	in := commands(t, "one")
	s := NewState()
	s.begin()
	for range maxHeld {
		if why := s.take([]byte("k"), in.At(0)); why != "" {
			t.Fatal(why)
		}
	}
	if got, want := s.take([]byte("k"), in.At(0)), "4096 records are held already, the most there may be"; got != want {
		t.Errorf("got %q want %q", got, want)
	}
	s.letGo("k")
	s.limit = int64(len(in.At(0)))
	if got := s.take([]byte("k"), in.At(0)); !strings.HasPrefix(got, "state is full: 0 bytes beside the") {
		t.Errorf("got %q", got)
	}
	s.keep()
	if len(s.Changes(nil)) != 0 {
		t.Errorf("got %d changes of what came and went, want none", len(s.Changes(nil)))
	}
	audit(t, s)
}

func TestRestoreRefusesWhatIsNoState(t *testing.T) {
	v := commands(t, "one").At(0)
	f := func(key string, value []byte, want string) {
		t.Helper()
		s := NewState()
		got := ""
		if err := s.Restore(key, value); err != nil {
			got = err.Error()
		}
		if got != want {
			t.Errorf("%q: got %q want %q", key, got, want)
		}
		if audit(t, s); want != "" && dump(s) != "" {
			t.Errorf("%q: got %q of it", key, dump(s))
		}
	}
	f("sk", nil, "")
	f("h\x01k\x00\x00\x00\x00\x00\x00\x00\x09", v, "")
	f("", nil, `restore state: "" is not a key of a module's state`)
	f("s", nil, `restore state: "s" is not a key of a module's state`)
	f("x1", nil, `restore state: "x1" is not a key of a module's state`)
	f("h\x02k\x00\x00\x00\x00\x00\x00\x00\x09", v, `restore state: "h\x02k\x00\x00\x00\x00\x00\x00\x00\t" is not a key of a module's state`)
	f("h\x01k\x00\x00\x00\x00\x00\x00\x00\x09", v[:len(v)-1], `restore a record held under "k": record 0: malformed record encoding`)
}

// TestOrderSurvivesRestore: what is held after a restart is behind what was held
// before, whatever the order in which the store gave it back.
func TestOrderSurvivesRestore(t *testing.T) {
	in := commands(t, "a", "b", "c", "d")
	s, store := NewState(), map[string][]byte{}
	for i := range in.Len() {
		s.begin()
		s.take([]byte{byte('k' + i%2)}, in.At(i))
		s.keep()
		save(store, s.Changes(nil))
		s.Settle()
		s = restored(t, store)
	}
	var got []byte
	for _, e := range s.all() {
		for i := range in.Len() {
			if bytes.Equal(in.At(i), e.value) {
				got = append(got, e.key[0], in.At(i).Message()[0])
			}
		}
	}
	if string(got) != "kalbkcld" {
		t.Errorf("got %s want kalbkcld", got)
	}
}

func TestKeysAreInOrder(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	var list keyList
	there := map[string]bool{}
	for range 20_000 {
		key := fmt.Sprint(r.IntN(6000))
		if there[key] {
			list.remove(key)
			delete(there, key)
		} else {
			list.insert(key)
			there[key] = true
		}
	}
	want := slices.Sorted(maps.Keys(there))
	var got []string
	for key, ok := list.after(""); ok; key, ok = list.after(key) {
		got = append(got, key)
	}
	if !slices.Equal(got, want) {
		t.Errorf("got %d keys, want %d", len(got), len(want))
	}
	for range 1000 {
		key := fmt.Sprint(r.IntN(6000))
		i, found := slices.BinarySearch(want, key)
		if found {
			i++
		}
		next, ok := list.after(key)
		if ok != (i < len(want)) || ok && next != want[i] {
			t.Errorf("after %s: got %q, %v", key, next, ok)
		}
	}
}

// TestStateStaysSmall: a guest that writes without end does not fill the host's
// memory, neither with what has come and gone nor with what it was before.
func TestStateStaysSmall(t *testing.T) {
	s := NewState()
	begin := time.Now()
	for call := range 20 {
		s.begin()
		for i := range 10_000 {
			key := fmt.Sprint("new ", call, i)
			s.set(key, nil)
			s.remove(key)
			s.set("same", fmt.Append(nil, i))
		}
		if len(s.tried) > 1 || len(s.values) > 2 {
			t.Fatalf("got %d entries in the journal of a call, %d in all, want one and two", len(s.tried), len(s.values))
		}
		s.set(fmt.Sprint("left ", call), nil)
		s.remove(fmt.Sprint("left ", call-1))
		s.keep()
		if len(s.touched) > 2 || len(s.values) > 2 {
			t.Fatalf("got %d entries in the journal, %d in all, want two of each", len(s.touched), len(s.values))
		}
	}
	audit(t, s)
	t.Logf("600 000 changes in %v", time.Since(begin))
}

// TestLargeStateIsNotQuadratic guards against it by the work done, not the time.
func TestLargeStateIsNotQuadratic(t *testing.T) {
	s := NewState()
	s.limit = 64 << 20
	s.begin()
	for i := range maxStateKeys {
		if !s.set(fmt.Sprintf("%08x", uint32(i)*2654435761), make([]byte, 100)) {
			t.Fatal("refused")
		}
	}
	s.keep()
	longest := 0
	for _, run := range s.keys.runs {
		longest = max(longest, len(run))
	}
	if longest > maxRun || len(s.keys.runs) > 4*maxStateKeys/maxRun {
		t.Errorf("got %d runs of up to %d keys", len(s.keys.runs), longest)
	}
	changes := s.Changes(nil)
	again := NewState()
	for _, c := range changes {
		if err := again.Restore(c.Key, c.Value); err != nil {
			t.Fatal(err)
		}
	}
	if len(changes) != maxStateKeys || dump(again) != dump(s) {
		t.Error("what was restored differs")
	}
}

// BenchmarkState is the host's work for one state_get, state_set of a counter, and
// state_next among 100 000 keys, without the call. It says nothing of storing.
//
//	go test -run '^$' -bench BenchmarkState ./wasm
func BenchmarkState(b *testing.B) {
	keys := make([]string, maxStateKeys)
	s := NewState()
	s.begin()
	for i := range keys {
		keys[i] = fmt.Sprintf("client %d", i)
		s.set(keys[i], []byte("10000"))
	}
	s.keep()
	s.Settle()
	run := func(name string, f func(key string, i int)) {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			i := 0
			for b.Loop() {
				if i++; i%512 == 0 {
					s.keep()
					s.Settle()
					s.begin()
				}
				f(keys[i*7919%len(keys)], i)
			}
			s.keep()
			s.Settle()
		})
	}
	run("get", func(key string, _ int) { s.get(key) })
	value := []byte("10000")
	run("set", func(key string, i int) { value[4] = byte('0' + i%10); s.set(key, value) })
	run("next", func(key string, _ int) { s.keys.after(key) })
	run("delete and set", func(key string, _ int) { s.remove(key); s.set(key, value) })
}
