//go:build soak

package wasm

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"strings"
	"testing"
	"time"

	"github.com/rs/zerolog"
)

// TestGreatestModulesCompile compiles what is just within the bounds: each takes
// a few seconds at most, and the peak of the process is logged.
func TestGreatestModulesCompile(t *testing.T) {
	many := func(n int, locals uint32, body []byte) assembly {
		a := assembly{locals: locals}
		for range n {
			a.extra = append(a.extra, function{typeVoid, body})
		}
		return a
	}
	for name, a := range map[string]assembly{
		"adds":                      many(19_000, 2, repeat(28, opLocalGet, 0, opLocalGet, 1, 0x6a, opLocalSet, 0)),
		"calls":                     many(7, 0, repeat(120<<10, call1(0)...)),
		"loads":                     many(17, 2, repeat(232<<10/7, opLocalGet, 0, 0x28, 2, 0, opLocalSet, 0)),
		"20 variables, 490 loops":   many(4, 20, through(20, 490)),
		"100 variables, 50 loops":   many(300, 100, through(100, 50)),
		"9 variables, 4900 blocks":  many(11, 9, join(through(9, 0), repeat(4900, opBlock, voidBlock, opLocalGet, 0, opBrIf, 0, opEnd))),
		"1000 variables, 90 blocks": many(30, 1000, join(through(1000, 0), repeat(90, opBlock, voidBlock, opLocalGet, 0, opBrIf, 0, opEnd))),
	} {
		rt, err := NewRuntime(t.Context(), RuntimeOptions{Log: zerolog.Nop()})
		if err != nil {
			t.Fatal(err)
		}
		begin := time.Now()
		m, err := rt.Load(t.Context(), Options{Name: "great", Code: a.bytes()})
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		status, _ := os.ReadFile("/proc/self/status")
		_, peak, _ := strings.Cut(string(status), "VmHWM:")
		peak, _, _ = strings.Cut(peak, "\n")
		t.Logf("%s: %v, peak %s", name, time.Since(begin), strings.TrimSpace(peak))
		if err := m.Close(t.Context()); err != nil {
			t.Error(err)
		}
	}
}

// TestEnginesAgreeOnAMillionRecords is the long form of
// TestCompilerAndInterpreterGiveTheSameBytes.
func TestEnginesAgreeOnAMillionRecords(t *testing.T) {
	agree(t, filepath.Join("..", "testdata"), 1_000_000)
}

// TestADayOfTrafficGrowsNothing gives each SDK's guest 10^8 records, as many as a
// busy host makes in a day: neither its memory nor the process grows.
func TestADayOfTrafficGrowsNothing(t *testing.T) {
	resident := func() (bytes int64) {
		runtime.GC()
		debug.FreeOSMemory()
		statm, err := os.ReadFile("/proc/self/statm")
		if err != nil {
			t.Fatal(err)
		}
		var size, pages int64
		if _, err := fmt.Sscan(string(statm), &size, &pages); err != nil {
			t.Fatal(err)
		}
		return pages * int64(os.Getpagesize())
	}
	files := map[string]string{"go": guest(t, "../guest-sdk/go/bench")}
	for _, language := range []string{"c", "rust", "assemblyscript"} {
		files[language] = filepath.Join("..", "guest-sdk", language, "dist", "bench.wasm")
	}
	const day, warm = 100_000_000, 1_000_000
	for language, file := range files {
		for _, do := range []string{"keepdrop", "route"} {
			m := load(t, Options{File: file, Config: []byte(`{"do":"` + do + `"}`), KnownStream: known})
			in := quarterDebug(t, 256)
			var out Outcome
			pass := func(records int) {
				for n := 0; n < records; n += in.Len() {
					if err := m.Process(t.Context(), in, &out); err != nil || out.Failed > 0 {
						t.Fatal(err, out.LastError)
					}
					out.release(in)
				}
			}
			pass(warm)
			memory, rss := m.MemoryInUse(), resident()
			begun := time.Now()
			pass(day)
			t.Logf("%s/%s: %v; linear memory %d before and %d after, resident %d and %d MiB", language, do,
				time.Since(begun).Round(time.Second), memory, m.MemoryInUse(), rss>>20, resident()>>20)
			if m.MemoryInUse() != memory {
				t.Errorf("%s/%s: the guest's memory grew from %d to %d", language, do, memory, m.MemoryInUse())
			}
			if grown := resident() - rss; grown > 8<<20 {
				t.Errorf("%s/%s: the process grew by %d bytes", language, do, grown)
			}
		}
	}
}
