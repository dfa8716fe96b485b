package wasm

import (
	"testing"
	"time"

	"github.com/runnel-log/runnel/record"
)

// FuzzHostileModules changes the hostile modules, and runs what is still one: the
// host must not fail, nor lose a record, nor be kept.
func FuzzHostileModules(f *testing.F) {
	for _, h := range hostiles(f) {
		if h.fate != "refused" { // the others take a second each, or nothing
			f.Add(hostileCode(f, h.name))
		}
	}
	plain, _ := realRecords(f, 4)
	in := batchesOf(f, plain, 4)[0]
	f.Fuzz(func(t *testing.T, code []byte) {
		if len(code) > 64<<10 {
			return
		}
		tr := newTrial(t, hostile{time: time.Millisecond, state: 1 << 20}, Auto)
		begin := process()
		bounded(t, tr, code, in)
		tr.close(t, nil)
		if took := process() - begin; took > 10*time.Second {
			t.Errorf("took %v of CPU time", took)
		}
	})
}

// FuzzOutput gives the host any output for a batch, and for a tick, of a module that
// holds records and keeps state, and holds the two to each other: no record is
// lost, what fails has changed nothing, and what has changed is what is told.
func FuzzOutput(f *testing.F) {
	plain, _ := realRecords(f, 8)
	in := batchesOf(f, plain, 8)[0]
	f.Add(output(verdict(0, kindDrop), verdict(1, kindHold, 'k'), verdict(3, kindRelease, 'k')), output(verdict(noRecord, kindRelease, 'k')))
	f.Add(output(verdict(0, kindPatch, op(1, "k", 'v')...), verdict(0, kindEmit, in.At(0)...)), output(verdict(noRecord, kindEmit, in.At(1)...)))
	f.Add(output(verdict(2, kindReplace, in.At(0)...), verdict(4, kindRoute, []byte("errors")...), verdict(5, kindFail, 'x')), []byte{2, 0, 0, 0, 0, 0, 0, 0})
	f.Add([]byte{2, 0, 0, 0, 8, 0, 0, 0, 0, 1, 0, 1, 0, 1, 0, 1, 'n'}, output(verdict(noRecord, kindMerge, keyed("k", op(opJoin, "", '\n')...)...)))
	f.Fuzz(func(t *testing.T, said, ticked []byte) {
		for _, policy := range []OnError{Keep, Drop, DeadLetter} {
			s, store := NewState(), map[string][]byte{}
			h := newHands(s, policy)
			for range 2 {
				before := dump(s)
				var out Outcome
				if err := h.apply(in, said, &out); err == nil {
					balanced(t, in.Len(), &out)
					checked(t, out.Batch)
					checked(t, out.Dead)
					out.release(in)
				} else if dump(s) != before {
					t.Errorf("%v, but the state has changed", err)
				}
				before = dump(s)
				var tick Outcome
				s.begin()
				if err := h.a.alone(ticked, &tick); err == nil {
					s.keep()
					balanced(t, 0, &tick)
					checked(t, tick.Batch)
					tick.release(nil)
				} else {
					tick.release(nil)
					s.undo()
					if dump(s) != before {
						t.Errorf("%v, but the state has changed", err)
					}
				}
				save(store, s.Changes(nil))
				s.Settle()
				audit(t, s)
			}
			if got, want := dump(restored(t, store)), dump(s); got != want {
				t.Errorf("what was stored is\n%s, want\n%s", got, want)
			}
		}
	})
}

// checked holds a batch to its format: what reads it next trusts it.
func checked(tb testing.TB, b *record.Batch) {
	tb.Helper()
	if b == nil || b.Len() == 0 {
		return
	}
	if err := new(record.Batch).Decode(b.Bytes()); err != nil {
		tb.Errorf("what goes on cannot be read: %v", err)
	}
}
