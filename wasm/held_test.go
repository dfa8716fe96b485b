package wasm

import (
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/runnel-log/runnel/record"
)

// hands are a host that applies verdicts, without a guest.
type hands struct {
	state *State
	a     applier
}

func newHands(s *State, policy OnError) *hands {
	m := &Module{streams: map[string]string{}}
	m.options = Options{Name: "test", Agent: "here", OnError: policy, KnownStream: known}
	h := &hands{state: s}
	h.a.in = &instance{module: m, state: s}
	return h
}

// apply is what try does with an output.
func (h *hands) apply(in *record.Batch, said []byte, out *Outcome) error {
	h.state.begin()
	err := h.a.verdicts(in, said, out)
	if err != nil {
		out.release(in)
		h.state.undo()
		return err
	}
	h.state.keep()
	return nil
}

// model is what should become of records, by their messages.
type model struct {
	policy  OnError
	held    []heldText
	out     []string
	dead    []string
	dropped map[string]int
}

type heldText struct{ key, text string }

func (m *model) takeAll(key string) (texts []string) {
	m.held = slices.DeleteFunc(m.held, func(h heldText) bool {
		if h.key == key {
			texts = append(texts, h.text)
		}
		return h.key == key
	})
	return texts
}

func (m *model) fail(text string) {
	switch m.policy {
	case Keep:
		m.out = append(m.out, text+"!")
	case Drop:
		m.dropped[reasonFailed]++
	case DeadLetter:
		m.dead = append(m.dead, text+"!")
	}
}

// keyed is the payload of a MERGE or DISCARD.
func keyed(key string, rest ...byte) []byte {
	b := binary.LittleEndian.AppendUint16(nil, uint16(len(key)))
	return append(append(append(b, 0, 0), key...), rest...)
}

// letGo makes a random RELEASE, MERGE or DISCARD and does it in the model.
func (m *model) letGo(r *rand.Rand, index uint32) []byte {
	key := string(rune('a' + r.IntN(3)))
	texts := m.takeAll(key)
	switch r.IntN(4) {
	case 0:
		if len(texts) > 0 {
			m.dropped["noise"] += len(texts)
		}
		return verdict(index, kindDiscard, keyed(key, []byte("noise")...)...)
	case 1:
		m.out = append(m.out, texts...)
		return verdict(index, kindRelease, []byte(key)...)
	}
	ops, text, unknown := op(opJoin, "", '+'), strings.Join(texts, "+"), false
	switch r.IntN(4) {
	case 0:
		ops, text = join(ops, op(opMessage, "", []byte("new")...)), "new"
	case 1:
		ops = join(op(opMessage, "", []byte("new")...), ops)
	case 2:
		ops, unknown = join(ops, op(opStream, "", []byte("nowhere")...)), true
	}
	if len(texts) > 0 {
		if len(texts) > 1 {
			m.dropped[reasonMerged] += len(texts) - 1
		}
		if unknown {
			m.fail(text)
		} else {
			m.out = append(m.out, text)
		}
	}
	return verdict(index, kindMerge, keyed(key, ops...)...)
}

// verdicts makes a random output for a batch, in which every rule of ABI §4.1 is
// kept, and does it in the model.
func (m *model) verdicts(r *rand.Rand, texts []string) []byte {
	m.out, m.dead, m.dropped = nil, nil, map[string]int{}
	var list [][]byte
	for i, text := range texts {
		index := uint32(i)
		for r.IntN(4) == 0 {
			list = append(list, m.letGo(r, index))
		}
		switch r.IntN(7) {
		case 0:
			list = append(list, verdict(index, kindDrop, []byte("why")...))
			m.dropped["why"]++
		case 1:
			list = append(list, verdict(index, kindFail, []byte("no")...))
			m.fail(text)
		case 2, 3:
			key := string(rune('a' + r.IntN(3)))
			list = append(list, verdict(index, kindHold, []byte(key)...))
			m.held = append(m.held, heldText{key, text})
		default:
			m.out = append(m.out, text)
			if r.IntN(2) == 0 {
				continue // or it would have to be said where it goes
			}
			list = append(list, verdict(index, kindPatch, op(1, "k", 'v')...))
		}
		for r.IntN(5) == 0 {
			list = append(list, m.letGo(r, index))
		}
	}
	return output(list...)
}

// TestEveryRecordIsAccountedFor compares random lists of verdicts with a model
// that knows no more than the ABI, over batches that are stored, undone, and
// restored from what was stored.
func TestEveryRecordIsAccountedFor(t *testing.T) {
	for seed := range uint64(300) {
		r := rand.New(rand.NewPCG(seed, 2))
		m := &model{policy: OnError(r.IntN(3))}
		s, store := NewState(), map[string][]byte{}
		h := newHands(s, m.policy)
		for batch := range 12 {
			texts := make([]string, 1+r.IntN(12))
			for i := range texts {
				texts[i] = fmt.Sprintf("%d.%d", batch, i)
			}
			in := commands(t, texts...)
			heldBefore, before := slices.Clone(m.held), dump(s)
			said := m.verdicts(r, texts)
			var out Outcome
			if r.IntN(5) == 0 { // something at the end breaks the ABI
				m.held = heldBefore
				if h.apply(in, append(said, 0), &out) == nil {
					t.Fatalf("seed %d: a malformed output was taken", seed)
				}
			} else {
				if err := h.apply(in, said, &out); err != nil {
					t.Fatalf("seed %d: %v", seed, err)
				}
				balanced(t, in.Len(), &out)
				m.compare(t, &out)
				out.release(in)
				if r.IntN(4) == 0 {
					m.held = heldBefore
					s.undoAll()
				}
			}
			if len(m.held) == len(heldBefore) && slices.Equal(m.held, heldBefore) && dump(s) != before {
				t.Errorf("seed %d: undone to\n%s\nwant\n%s", seed, dump(s), before)
			}
			m.compareHeld(t, s)
			save(store, s.Changes(nil))
			if s.Settle(); r.IntN(3) == 0 {
				s = restored(t, store)
				h = newHands(s, m.policy)
			}
			if audit(t, s); t.Failed() {
				t.Fatalf("seed %d batch %d: % x", seed, batch, said)
			}
		}
	}
}

func texts(b *record.Batch) (list []string) {
	if b == nil {
		return nil
	}
	for i := range b.Len() {
		text := string(b.At(i).Message())
		if b.At(i).Flags()&record.ModuleFailed != 0 {
			text += "!"
		}
		list = append(list, text)
	}
	return list
}

func (m *model) compare(t *testing.T, out *Outcome) {
	t.Helper()
	if got := texts(out.Batch); !slices.Equal(got, m.out) {
		t.Errorf("got %q want %q", got, m.out)
	}
	if got := texts(out.Dead); !slices.Equal(got, m.dead) {
		t.Errorf("got dead %q want %q", got, m.dead)
	}
	if len(out.Dropped) != len(m.dropped) {
		t.Errorf("got dropped %v want %v", out.Dropped, m.dropped)
	}
	for _, d := range out.Dropped {
		if m.dropped[d.Reason] != d.Count {
			t.Errorf("got dropped %v want %v", out.Dropped, m.dropped)
		}
	}
}

func (m *model) compareHeld(t *testing.T, s *State) {
	t.Helper()
	var got []heldText
	for _, e := range s.all() {
		got = append(got, heldText{e.key, string(record.View(e.value).Message())})
	}
	if !slices.Equal(got, m.held) {
		t.Errorf("got held %v want %v", got, m.held)
	}
}

// TestMergeTooLargeReleases: where the joined record would be larger than a record
// can be, the held ones go on as they came.
func TestMergeTooLargeReleases(t *testing.T) {
	big := commands(t, strings.Repeat("x", 33<<20))
	s := NewState()
	s.limit = 1 << 30
	h := newHands(s, Keep)
	s.begin()
	s.take([]byte("k"), big.At(0))
	s.take([]byte("k"), big.At(0))
	s.keep()
	var out Outcome
	in := commands(t, "one")
	if err := h.apply(in, output(verdict(0, kindMerge, keyed("k", op(opJoin, "")...)...)), &out); err != nil {
		t.Fatal(err)
	}
	balanced(t, 1, &out)
	if out.Batch.Len() != 3 || out.Released != 2 || len(out.Dropped) != 0 || len(out.Batch.At(1).Message()) != 33<<20 {
		t.Errorf("got %d records, %d released, dropped %v", out.Batch.Len(), out.Released, out.Dropped)
	}
	if h.a.joined != nil {
		t.Error("the buffer is kept")
	}
}

// FuzzHeldVerdicts: whatever a guest says, every record is accounted for, and an
// output that is not taken has changed nothing.
func FuzzHeldVerdicts(f *testing.F) {
	f.Add(output(verdict(0, kindHold, 'a'), verdict(1, kindRelease, 'a'), verdict(2, kindMerge, keyed("b", op(opJoin, "", '\n')...)...)))
	f.Add(output(verdict(0, kindDiscard, keyed("a", 'x')...), verdict(0, kindHold, 'b'), verdict(0, kindEmit)))
	f.Add(output(verdict(noRecord, kindRelease, 'a'), verdict(noRecord, kindMerge, keyed("b", op(opStream, "", 'x')...)...)))
	in := commands(f, "one", "two", "three")
	f.Add(output(verdict(0, kindHold, 'a'), verdict(0, kindEmit, in.At(1)...), verdict(1, kindFail)))
	f.Add(output(verdict(noRecord, kindEmit, in.At(1)...)))
	f.Fuzz(func(t *testing.T, said []byte) {
		s, store := NewState(), map[string][]byte{}
		s.limit = 3 * (entryCost + int64(len(in.At(0))))
		h := newHands(s, DeadLetter)
		s.begin()
		for i, key := range []string{"a", "b", "a"} {
			s.take([]byte(key), in.At(i%2))
		}
		s.keep()
		save(store, s.Changes(nil))
		s.Settle()
		for _, alone := range []bool{false, true} {
			before := dump(s)
			var out Outcome
			n, err := in.Len(), error(nil)
			if alone {
				n = 0
				s.begin()
				if err = h.a.alone(said, &out); err != nil {
					out.release(nil)
					s.undo()
				} else {
					s.keep()
				}
			} else {
				err = h.apply(in, said, &out)
			}
			if err != nil && dump(s) != before {
				t.Errorf("%v, but the state has changed", err)
			}
			if err == nil {
				balanced(t, n, &out)
				out.release(in)
			}
			save(store, s.Changes(nil))
			s.Settle()
			audit(t, s)
			if dump(restored(t, store)) != dump(s) {
				t.Error("what was stored is not what there is")
			}
		}
	})
}
