package wasm

import (
	"runtime"
	"strings"
	"testing"
	"time"
)

// straight are guests that do much without a loop, each in a function as large as
// there may be.
func straight() map[string]assembly {
	// Loads from all over the memory, each from where the last one says: cheaper than
	// what its callers pay for it, and as slow as there is.
	var loads []byte
	for range 110 {
		loads = join(loads, []byte{opGlobalGet, 0}, i32(1664525), []byte{0x6c}, i32(1013904223), []byte{0x6a, opGlobalSet, 0},
			[]byte{opGlobalGet, 0}, i32(0x1ffff8), []byte{0x71, 0x28, 2, 0, 0x1a})
	}
	of := func(n int, code []byte) assembly {
		big := function{typeVoid, repeat(n, code...)}
		return assembly{extra: []function{{typeVoid, loads}, big}, process: join(repeat(200, call1(5)...), []byte{0x42, 0}),
			globals: []byte{1, typeI32, 1, opI32Const, 0, opEnd}, table: []byte{0, 0x90, 0x4e}, elements: join([]byte{1, 0}, i32(0), []byte{opEnd, 1, 4})}
	}
	table := func(sub byte, more ...byte) []byte { return append([]byte{opPrefix, sub}, more...) }
	return map[string]assembly{
		"calls":          of(100_000, call1(4)),
		"indirect calls": of(1200, join(i32(0), []byte{opCallIndirect, typeVoid, 0})),
		"table fills":    of(1600, join(i32(0), []byte{0xd0, 0x70}, i32(10_000), table(17, 0))),
		"table copies":   of(1600, join(i32(0), i32(1), i32(9_999), table(14, 0, 0))),
		"memory growth":  of(4900, join(i32(0), []byte{opMemoryGrow, 0, 0x1a})),
		"memory fills":   of(1600, join(i32(0), i32(0), i32(32*pageSize), []byte{opPrefix, bulkMemoryFill, 0})),
	}
}

// TestStraightGuestsAreStopped: what has no loop, and calls nothing twice, is
// stopped in time too.
func TestStraightGuestsAreStopped(t *testing.T) {
	for name, a := range straight() {
		m := load(t, Options{Code: a.bytes(), Time: 20 * time.Millisecond})
		inst, made, err := m.acquire(t.Context())
		if made != nil || err != nil {
			t.Fatal(made, err)
		}
		runtime.LockOSThread()
		from := threadTime()
		_, err = inst.run(commands(t, "one"), 0)
		spent := threadTime() - from
		runtime.UnlockOSThread()
		m.dropInstance(inst)
		if err == nil || spent > 70*time.Millisecond {
			t.Errorf("%s: took %v of CPU time, with a limit of 20ms (%v)", name, spent, err)
		}
	}
}

// TestJumpBombsAreRefused: 60 KiB of jumps back took the compiler 41 s, 240 KiB of
// fills a minute.
func TestJumpBombsAreRefused(t *testing.T) {
	f := func(name string, body []byte) {
		t.Helper()
		list, err := sections(assembly{extra: []function{{typeVoid, body}}, locals: 1}.bytes())
		if err != nil {
			t.Fatal(err)
		}
		_, err = rewrite(list, examine(nil, list, &Options{Memory: DefaultMemory}))
		if err == nil || !strings.Contains(err.Error(), "more than the limit of 5000; split it") {
			t.Errorf("%s: got %v", name, err)
		}
	}
	f("jumps back", join([]byte{opLoop, voidBlock}, repeat(1300, opLocalGet, 0, opBrIf, 0), []byte{opEnd}))
	f("jumps ahead", repeat(5001, opLocalGet, 0, opBrIf, 0))
	f("fills", repeat(1700, join(i32(0), i32(0), i32(9), []byte{opPrefix, bulkMemoryFill, 0})...))
	f("calls through a table", repeat(1300, join(i32(0), []byte{opCallIndirect, typeVoid, 0})...))
}
