package wasm

import (
	"context"
	"encoding/binary"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/runnel-log/runnel/record"
)

// forever is a loop around body: loop; body; br 0; end.
func forever(body ...byte) []byte {
	return join([]byte{opLoop, voidBlock}, body, []byte{opBr, 0, opEnd, 0x42, 0})
}

// chain makes n functions each of which calls the next twice: 2^n calls
// without a loop and without recursion.
func chain(n int) []function {
	var list []function
	for i := range n {
		next := uint32(4 + i + 1)
		body := join(call1(next), call1(next))
		if i == n-1 {
			body = nil
		}
		list = append(list, function{typeVoid, body})
	}
	return list
}

// switching is a loop around a switch as Go makes it, whose last jump goes to
// the case given: 0 and 1 are behind it, any other the loop itself.
func switching(to int32) []byte {
	jump := func(to int32, label byte) []byte { return join(i32(to), []byte{opLocalSet, 0, opBr, label}) }
	return join([]byte{opLoop, voidBlock, opBlock, voidBlock, opBlock, voidBlock, opLocalGet, 0, opBrTable, 2, 0, 1, 2, opEnd},
		jump(1, 1), []byte{opEnd}, jump(to, 0), []byte{opEnd, 0x42, 0})
}

// heavy is a body that holds n values while it calls a function.
func heavy(n int, index uint32) []byte {
	var b []byte
	for range n { // loads, or the engine would make the same constants anew
		b = join(b, i32(0), []byte{0x28, 2, 0})
	}
	b = append(b, call1(index)...)
	for range n - 1 {
		b = append(b, opI32Sub)
	}
	return join(b, []byte{0x1a})
}

// TestRecursionIsStoppedEarly: the memory a guest that recurses takes is bounded.
func TestRecursionIsStoppedEarly(t *testing.T) {
	for _, values := range []int{1, 20, 1000} {
		m := load(t, Options{Code: assembly{extra: []function{{typeVoid, heavy(values, 4)}}, process: join(call1(4), []byte{0x42, 0})}.bytes()})
		inst, made, err := m.acquire(t.Context())
		if made != nil || err != nil {
			t.Fatal(made, err)
		}
		if _, err := inst.run(commands(t, "one"), 0); err != errRecursion {
			t.Errorf("%d values: got error %v, want %v", values, err, errRecursion)
		}
		if got := stackOf(inst.process); got == 0 || got > 32<<20 {
			t.Errorf("%d values: got a stack of %d bytes, want at most 32 MiB", values, got)
		} else {
			t.Logf("%d values: a stack of %d KiB", values, got>>10)
		}
		m.dropInstance(inst)
	}
}

// TestHostileGuests: whatever a guest does, the host goes on, every record is
// handled by on_error, and a call ends soon after its time.
func TestHostileGuests(t *testing.T) {
	bulk := []byte{opPrefix, bulkMemoryFill, 0}
	whole := join(i32(0), i32(7), i32(32*pageSize))
	const late = "not done after 30ms " // worth of fuel, or of CPU time, whichever is used up first
	recursion := assembly{extra: []function{{typeVoid, call1(4)}}, process: join(call1(4), []byte{0x42, 0})}
	mutual := assembly{extra: []function{{typeVoid, call1(5)}, {typeVoid, call1(4)}}, process: join(call1(4), []byte{0x42, 0})}
	indirect := assembly{extra: []function{{typeVoid, join(i32(0), []byte{opCallIndirect, typeVoid, 0})}}, table: []byte{0, 1},
		elements: join([]byte{1, 0}, i32(0), []byte{opEnd, 1, 4}), process: join(call1(4), []byte{0x42, 0})}
	wide := assembly{extra: []function{{typeVoid, heavy(400, 4)}}, process: join(call1(4), []byte{0x42, 0})}
	logging := [][2]string{{"runnel", "log"}}
	for _, c := range []struct {
		name string
		code []byte
		want string // how the last error begins
	}{
		{"endless loop", assembly{process: forever()}.bytes(), late},
		{"endless loop in a loop", assembly{process: forever(opLoop, voidBlock, opBrIf-1, 0, opEnd)}.bytes(), late},
		{"2^40 calls without a loop", assembly{extra: chain(41), process: join(call1(4), []byte{0x42, 0})}.bytes(), late},
		{"endless fills", assembly{process: forever(join(whole, bulk)...)}.bytes(), late},
		{"endless copies", assembly{process: forever(join(i32(0), i32(1), i32(31*pageSize), []byte{opPrefix, bulkMemoryCopy, 0, 0})...)}.bytes(), late},
		{"endless memory.grow", assembly{process: forever(join(i32(1), []byte{0x40, 0, 0x1a})...)}.bytes(), late},
		{"endless log", assembly{imports: logging, process: forever(join(i32(1), i32(0), i32(9), call1(0))...)}.bytes(), late},
		{"endless log of everything", assembly{imports: logging, process: forever(join(i32(1), i32(0), i32(32*pageSize), call1(0))...)}.bytes(), late},
		{"recursion", recursion.bytes(), errRecursion.Error()},
		{"mutual recursion", mutual.bytes(), errRecursion.Error()},
		{"recursion through a table", indirect.bytes(), errRecursion.Error()},
		{"recursion with many variables", wide.bytes(), ""}, // its time or its stack, whichever is used up first
		{"endless switch back", assembly{process: switching(0)}.bytes(), late},
		{"endless switch ahead", assembly{process: switching(1)}.bytes(), late},
		{"endless switch to itself", assembly{process: switching(7)}.bytes(), late},
		{"trap", assembly{process: []byte{0}}.bytes(), "guest trapped: unreachable"},
		{"division by zero", assembly{process: join(i32(1), i32(0), []byte{0x6d, 0x1a, 0x42, 0})}.bytes(), "guest trapped: integer divide by zero"},
		{"load out of bounds", assembly{process: join(i32(-1), []byte{0x28, 2, 0, 0x1a, 0x42, 0})}.bytes(), "guest trapped: out of bounds memory access"},
		{"fill out of bounds", assembly{process: join(i32(-8), i32(0), i32(-1), bulk, []byte{0x42, 0})}.bytes(), "guest trapped: out of bounds memory access"},
		{"indirect call of nothing", assembly{table: []byte{0, 4}, process: join(i32(0), []byte{opCallIndirect, typeVoid, 0, 0x42, 0})}.bytes(), "guest trapped: invalid table access"},
		{"log beyond memory", assembly{imports: logging, process: join(i32(1), i32(-1), i32(-1), call1(0), []byte{0x42, 0})}.bytes(), errMisuse.Error()},
		{"alloc without room", assembly{alloc: i32(32*pageSize - 10)}.bytes(), "runnel_alloc gave address"},
		{"output beyond memory", returns(0xfffffff0, 64, nil), "guest's output is malformed: 64 bytes at address 4294967280"},
		{"huge output", returns(0, 32*pageSize, nil), "guest's output is malformed: 2097152 bytes for a batch of"},
		{"output wraps around", returns(0xffffffff, 0xffffffff, nil), "guest's output is malformed: 4294967295 bytes for a batch of"},
		{"output of one byte", returns(0, 1, nil), "guest's output is malformed: 1 bytes, shorter than its header"},
	} {
		t.Run(c.name, func(t *testing.T) {
			m := load(t, Options{Code: c.code, Time: 30 * time.Millisecond})
			in := commands(t, "one", "two")
			var out Outcome
			before := threadTime()
			runtime.LockOSThread()
			err := m.Process(t.Context(), in, &out)
			runtime.UnlockOSThread()
			spent := threadTime() - before
			if err != nil {
				t.Fatal(err)
			}
			defer out.release(in)
			if !strings.HasPrefix(out.LastError, c.want) || out.LastError == "" {
				t.Errorf("got error %q, want one beginning %q", out.LastError, c.want)
			}
			if out.Failed != 2 || out.Batch.Len() != 2 || out.Batch.At(0).Flags()&record.ModuleFailed == 0 {
				t.Errorf("got %d failed and %d kept, want both kept and flagged", out.Failed, out.Batch.Len())
			}
			// Three calls: both records, and each alone.
			if limit := 3 * (30 + 50) * time.Millisecond; spent > limit {
				t.Errorf("took %v of CPU time, want at most %v", spent, limit)
			}
		})
	}
}

// verdict encodes one verdict (ABI §4.2).
func verdict(index uint32, kind byte, payload ...byte) []byte {
	b := binary.LittleEndian.AppendUint32(nil, uint32(verdictHeader+len(payload)))
	b = binary.LittleEndian.AppendUint32(b, index)
	return append(append(b, kind, 0, 0, 0), payload...)
}

// output encodes a list of verdicts (ABI §4.1).
func output(verdicts ...[]byte) []byte {
	b := []byte{formList, 0, 0, 0}
	b = binary.LittleEndian.AppendUint32(b, uint32(len(verdicts)))
	return append(b, join(verdicts...)...)
}

func op(code byte, key string, value ...byte) []byte {
	b := []byte{code, 0}
	b = binary.LittleEndian.AppendUint16(b, uint16(len(key)))
	b = binary.LittleEndian.AppendUint32(b, uint32(len(value)))
	return append(append(b, key...), value...)
}

// TestMalformedOutput: an output that breaks the ABI in any way costs the
// records it was for, and says what was wrong.
func TestMalformedOutput(t *testing.T) {
	in := commands(t, "one", "two")
	f := func(out []byte, want string) {
		t.Helper()
		m := load(t, Options{Code: answers(out), KnownStream: known})
		inst, made, err := m.acquire(t.Context())
		if made != nil || err != nil {
			t.Fatal(made, err)
		}
		defer m.putBack(inst)
		raw, err := inst.run(in, 0)
		if err != nil {
			t.Fatal(err)
		}
		var o Outcome
		err = inst.apply.verdicts(in, raw, &o)
		got := ""
		if err != nil {
			got = strings.TrimPrefix(err.Error(), "guest's output is malformed: ")
		}
		if got != want {
			t.Errorf("output % x:\ngot  %q\nwant %q", out, got, want)
		}
		o.release(in)
	}
	whole := in.At(0)
	f(output(), "")
	f(output(verdict(0, kindDrop), verdict(1, kindDrop, []byte("why")...)), "")
	f([]byte{3, 0, 0, 0, 0, 0, 0, 0}, "form 3; 1 and 2 are known")
	f([]byte{1, 1, 0, 0, 0, 0, 0, 0}, "reserved bytes of the header are not zero")
	f([]byte{1, 0, 0, 0, 255, 255, 255, 255}, "4294967295 verdicts in 0 bytes")
	f([]byte{2, 0, 0, 0, 2, 0, 0, 0, 1, 0, 'n'}, "")
	f([]byte{2, 0, 0, 0, 2, 0, 0, 0, 1, 2}, "a filter byte of 2 for record 1")
	f([]byte{2, 0, 0, 0, 3, 0, 0, 0, 1, 0, 0}, "a filter of 3 records for a batch of 2")
	f([]byte{2, 0, 0, 0, 2, 0, 0, 0, 1}, "a filter of 2 records for a batch of 2")
	f(output(verdict(2, kindDrop)), "a verdict on record 2 of a batch of 2")
	f(output(verdict(1, kindDrop), verdict(0, kindDrop)), "a verdict on record 0 after one on 1")
	f(output(verdict(0, kindDrop), verdict(0, kindFail)), "two verdicts on record 0")
	f(output(verdict(0, kindEmit, whole...), verdict(0, kindDrop)), "a verdict on record 0 after its EMIT; EMIT comes last")
	f(output(verdict(0, 0)), "a verdict of kind 0 on record 0")
	f(output(verdict(0, 11)), "a verdict of kind 11 on record 0")
	f(output(verdict(0, kindHold)), "a key of 0 bytes in a verdict on record 0")
	f(output(verdict(0, kindHold, make([]byte, 256)...)), "a key of 256 bytes in a verdict on record 0")
	f(output(verdict(0, kindHold, 'k'), verdict(0, kindDrop)), "two verdicts on record 0")
	f(output(verdict(0, kindRelease)), "a key of 0 bytes in a verdict on record 0")
	f(output(verdict(0, kindMerge, 1, 0, 0)), "the key in a verdict on record 0 is cut off")
	f(output(verdict(0, kindDiscard, 2, 0, 0, 0, 'k')), "the key in a verdict on record 0 is cut off")
	f(output(verdict(0, kindDiscard, 1, 0, 0, 1, 'k')), "the key in a verdict on record 0 is cut off")
	f(output(verdict(0, kindDiscard, append([]byte{1, 0, 0, 0, 'k'}, make([]byte, 256)...)...)), "a text of 256 bytes in the verdict on record 0")
	f(output(verdict(1, kindRelease, 'k'), verdict(1, kindDrop), verdict(1, kindRelease, 'k')), "")
	f(output(verdict(noRecord, kindRelease, 'k')), "a verdict on record 4294967295 of a batch of 2")
	f(output(verdict(0, kindPatch, op(opJoin, "")...)), "operation 0 of the PATCH of record 0: code 26 with a key of 0 and a value of 0 bytes")
	f(append(output(verdict(0, kindDrop)), 0), "1 bytes after the last verdict")
	f(output(verdict(0, kindDrop, make([]byte, 256)...)), "a text of 256 bytes in the verdict on record 0")
	f(output([]byte{255, 255, 255, 255, 0, 0, 0, 0, 1, 0, 0, 0}), "a verdict of 4294967295 bytes with 12 left")
	f(output([]byte{11, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0}), "a verdict of 11 bytes with 12 left")
	f(output([]byte{12, 0, 0, 0, 0, 0, 0, 0, 1, 1, 0, 0}), "a verdict of 12 bytes with 12 left")
	f(output(verdict(0, kindPatch, 1, 0, 0)), "operation 0 of the PATCH of record 0")
	f(output(verdict(0, kindPatch, op(1, "k", 'v')[:9]...)), "operation 0 of the PATCH of record 0 is cut off")
	f(output(verdict(0, kindPatch, op(3, "k", 1, 2)...)), "operation 0 of the PATCH of record 0: code 3 with a key of 1 and a value of 2 bytes")
	f(output(verdict(0, kindPatch, op(5, "k", 2)...)), "operation 0 of the PATCH of record 0: code 5 with a key of 1 and a value of 1 bytes")
	f(output(verdict(0, kindPatch, op(opRemove, "k", 2)...)), "operation 0 of the PATCH of record 0: code 7 with a key of 1 and a value of 1 bytes")
	f(output(verdict(0, kindPatch, op(opSeverity, "", 8)...)), "operation 0 of the PATCH of record 0: code 16 with a key of 0 and a value of 1 bytes")
	f(output(verdict(0, kindPatch, op(opFacility, "", 24)...)), "operation 0 of the PATCH of record 0: code 17 with a key of 0 and a value of 1 bytes")
	f(output(verdict(0, kindPatch, op(opHost, "k", 'h')...)), "operation 0 of the PATCH of record 0: code 19 with a key of 1 and a value of 1 bytes")
	f(output(verdict(0, kindPatch, op(99, "", 'h')...)), "operation 0 of the PATCH of record 0: code 99 with a key of 0 and a value of 1 bytes")
	f(output(verdict(0, kindPatch, op(opHost, "", make([]byte, 65536)...)...)), "operation 0 of the PATCH of record 0: code 19 with a key of 0 and a value of 65536 bytes")
	f(output(verdict(0, kindReplace, 1, 2, 3)), "the record in the verdict on record 0: batch header of 1 records does not fit 19 bytes")
	f(output(verdict(0, kindReplace, whole[:len(whole)-1]...)), "the record in the verdict on record 0: record 0: malformed record encoding")
	f(output(verdict(0, kindReplace, append(append([]byte{}, whole...), 0)...)), "the record in the verdict on record 0: 1 bytes after the last record")
}

// TestModuleThatKeepsNoStateCannotHold: its HOLD fails the record, and nothing is
// lost; that it lets something go does nothing.
func TestModuleThatKeepsNoStateCannotHold(t *testing.T) {
	m := load(t, Options{Code: answers(output(verdict(0, kindHold, 'k'), verdict(1, kindRelease, 'k'))), OnError: Drop})
	in := commands(t, "one", "two")
	var out Outcome
	if err := m.Process(t.Context(), in, &out); err != nil {
		t.Fatal(err)
	}
	defer out.release(in)
	if !strings.HasPrefix(out.LastError, "HOLD in a module that is not ordered") || out.Batch.Len() != 1 || out.Held+out.Released != 0 ||
		len(out.Dropped) != 1 || out.Dropped[0] != (Dropped{"module_failed", 1}) {
		t.Errorf("got %+v", out)
	}
}

// TestRunningGuestDoesNotStallTheCollector runs collections while a guest loops.
func TestRunningGuestDoesNotStallTheCollector(t *testing.T) {
	m := load(t, Options{Code: assembly{process: forever()}.bytes(), Time: 300 * time.Millisecond})
	in := commands(t, "one")
	done := make(chan struct{})
	go func() {
		defer close(done)
		var out Outcome
		if err := m.Process(context.Background(), in, &out); err != nil {
			t.Error(err)
		}
	}()
	collections := 0
	for {
		runtime.GC()
		select {
		case <-done:
			if collections < 3 {
				t.Errorf("got %d collections while the guest ran, want at least 3", collections)
			}
			return
		default:
			collections++
		}
	}
}

// TestNoCallStallsTheCollectorLong: the world stops within 10 ms while a guest does
// the slowest there is of each kind. The middle of many stops is asked for, since
// others use this machine too.
func TestNoCallStallsTheCollectorLong(t *testing.T) {
	for _, c := range loops() {
		t.Run(c.name, func(t *testing.T) {
			m := load(t, Options{Code: c.code, Time: 60 * time.Millisecond, Memory: 16 << 20})
			in := commands(t, "one")
			done := make(chan struct{})
			go func() {
				defer close(done)
				var out Outcome
				if err := m.Process(context.Background(), in, &out); err != nil {
					t.Error(err)
				}
			}()
			var waits []time.Duration
			var stats runtime.MemStats
			for running := true; running; {
				begin := time.Now()
				runtime.ReadMemStats(&stats) // which stops the world, as a collection does twice
				waits = append(waits, time.Since(begin))
				select {
				case <-done: // which the guest may have been before it was looked at
					running = false
				default:
				}
			}
			slices.Sort(waits)
			middle := waits[len(waits)/2]
			t.Logf("the world stopped %d times: after %v in the middle, %v at most", len(waits), middle, waits[len(waits)-1])
			if middle > 10*time.Millisecond {
				t.Errorf("the world stopped after %v, want at most 10ms", middle)
			}
		})
	}
}

// TestBreaker: a module that keeps failing is bypassed, tried again after a
// while, and used again once it works.
func TestBreaker(t *testing.T) {
	now := clock()
	m := load(t, granted(t, Options{File: guest(t, conformanceFolder), OnError: Drop, Now: func() time.Time { return now }}))
	process := placed(m)
	step := func(message string, failed int, open bool) {
		t.Helper()
		in := commands(t, message)
		var out Outcome
		if err := process(t.Context(), in, &out); err != nil {
			t.Fatal(err)
		}
		if out.Failed != failed || m.Stats().Open != open {
			t.Errorf("%s: got %d failed, open %v; want %d, %v", message, out.Failed, m.Stats().Open, failed, open)
		}
		out.release(in)
	}
	for range openAfter {
		step("panic", 1, false)
	}
	step("panic", 1, true)
	step("keep", 1, true) // bypassed, unseen
	now = now.Add(minWait)
	step("panic", 1, true) // on trial, and failed again: twice the wait
	now = now.Add(minWait)
	step("keep", 1, true)
	now = now.Add(minWait)
	step("keep", 0, false)
	step("panic", 1, false)
	if s := m.Stats(); s.Bypassed != 2 {
		t.Errorf("got %d records bypassed, want 2", s.Bypassed)
	}
}
