package wasm

import (
	"bytes"
	"context"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"github.com/runnel-log/runnel/record"
)

// on loads a module to be run by an engine.
func on(tb testing.TB, e Engine, o Options) *Module {
	tb.Helper()
	o.Name = "test"
	rt, err := NewRuntime(tb.Context(), RuntimeOptions{Engine: e, Log: zerolog.Nop()})
	if err != nil {
		tb.Fatal(err)
	}
	m, err := rt.Load(tb.Context(), o)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { _ = m.Close(context.Background()) })
	return m
}

func TestInterpreterIsRecognised(t *testing.T) {
	var log bytes.Buffer
	rt, err := NewRuntime(t.Context(), RuntimeOptions{Engine: Interpreter, Log: zerolog.New(&log)})
	if err != nil {
		t.Fatal(err)
	}
	for range 2 {
		m, err := rt.Load(t.Context(), Options{Name: "x", Code: assembly{}.bytes()})
		if err != nil {
			t.Fatal(err)
		}
		if !m.interpreted {
			t.Error("an interpreted module is taken for a compiled one")
		}
	}
	if got := strings.Count(log.String(), "slower"); got != 1 {
		t.Errorf("said %d times that it is slower, want once: %s", got, log.String())
	}
	if on(t, Compiler, Options{Code: assembly{}.bytes()}).interpreted {
		t.Error("a compiled module is taken for an interpreted one")
	}
	for _, e := range []Engine{Auto, Compiler, Interpreter} {
		if got, err := ParseEngine(e.String()); got != e || err != nil {
			t.Errorf("got %v, %v want %v", got, err, e)
		}
	}
	if _, err := ParseEngine("jit"); err == nil {
		t.Error("jit is no engine")
	}
}

// messages are the lines of real programs in a folder, at most 4 KiB of each.
func messages(tb testing.TB, folder string) [][]byte {
	tb.Helper()
	var list [][]byte
	err := filepath.WalkDir(folder, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || !strings.Contains(path, "raw") {
			return err
		}
		text, err := os.ReadFile(path)
		for line := range bytes.SplitSeq(text[:min(len(text), 256<<10)], []byte("\n")) {
			if len(line) > 0 {
				list = append(list, line[:min(len(line), 4096)])
			}
		}
		return err
	})
	if err != nil || len(list) < 1000 {
		tb.Fatalf("got %d messages in %s: %v", len(list), folder, err)
	}
	return list
}

// fill makes the nth batch of messages.
func fill(tb testing.TB, list [][]byte, nth int) *record.Batch {
	tb.Helper()
	b := record.NewBatch()
	var r record.Record
	for i := range 256 {
		r.Reset()
		n := nth*256 + i
		r.Severity, r.Facility, r.Time, r.Received = uint8(n%8), uint8(n%24), int64(n), int64(n)+5
		r.App, r.Host, r.Message = []byte([]string{"nginx", "sshd", "app"}[n%3]), []byte("vm"), list[n%len(list)]
		r.Attrs.SetInt("status", int64(n%600))
		if err := b.Append(&r); err != nil {
			tb.Fatal(err)
		}
	}
	return b
}

// TestCompilerAndInterpreterGiveTheSameBytes on real messages and on everything a
// conformance guest can be asked to do.
func TestCompilerAndInterpreterGiveTheSameBytes(t *testing.T) {
	agree(t, "../testdata", 4096)
	verbs := []string{"keep", "drop noise", "set a b", "copy message m", "int n 7", "float f 1.5", "bool b true", "json j [1]", "remove old", "message new",
		"severity 3", "facility 4", "time 5", "host h", "app a", "procid 9", "msgid m", "sd [x]", "replace", "emit one", "route errors", "fail no", "panic", "index",
		"hold k", "release k", "hold k\nhold k", "merge k ,", "hold d", "discard d why", "put a 1", "get a", "count c", "keys", "forget a", "heldcount k",
		"metric n 2", "lookup hosts vm-1", "find keep"}
	conforming(t, func(t *testing.T, file string) {
		compare(t, granted(t, Options{File: file, KnownStream: known, Now: clock}), 4, func(int) *record.Batch { return commands(t, verbs...) })
	})
}

// agree compares the engines on n records of real messages through classify.
func agree(t *testing.T, folder string, n int) {
	t.Helper()
	list := messages(t, folder)
	o := Options{File: guest(t, classifyFolder), Config: []byte(`{"drop_debug":true,"errors_stream":"errors","redact":true}`), KnownStream: known, Now: clock, Time: time.Second}
	compare(t, o, n/256, func(nth int) *record.Batch { return fill(t, list, nth) })
}

// compare gives the same batches to both engines.
func compare(t *testing.T, o Options, batches int, batch func(nth int) *record.Batch) {
	t.Helper()
	compiled, interpreted := placed(on(t, Compiler, o)), placed(on(t, Interpreter, o))
	for nth := range batches {
		in := batch(nth)
		var a, b Outcome
		if err := compiled(t.Context(), in, &a); err != nil {
			t.Fatal(err)
		}
		if err := interpreted(t.Context(), in, &b); err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(a.Batch.Bytes(), b.Batch.Bytes()) {
			t.Fatalf("batch %d: the engines differ: %d and %d records", nth, a.Batch.Len(), b.Batch.Len())
		}
		if a.Failed != b.Failed || a.Emitted != b.Emitted || a.LastError != b.LastError || len(a.Dropped) != len(b.Dropped) {
			t.Fatalf("batch %d: the engines differ:\n%+v\n%+v", nth, a, b)
		}
		a.release(in)
		b.release(in)
		in.Release()
	}
}

// TestFuelDecides: how much a guest may do is the same to the turn on both
// engines, whatever calls came before.
func TestFuelDecides(t *testing.T) {
	turns := func(n int32) []byte { // a loop of n turns
		return assembly{process: join(i32(n), []byte{opLocalSet, 0, opLoop, voidBlock, opLocalGet, 0}, i32(1),
			[]byte{opI32Sub, 0x22, 0, opBrIf, 0, opEnd, 0x42, 0})}.bytes()
	}
	fails := func(e Engine, n int32) bool {
		m := on(t, e, Options{Code: turns(n), Time: 2 * quantumTime})
		in := commands(t, "one")
		for range 3 {
			var out Outcome
			if err := m.Process(t.Context(), in, &out); err != nil {
				t.Fatal(err)
			}
			if out.Failed > 0 {
				return true
			}
			out.release(in)
		}
		return false
	}
	low, high := int32(1), int32(8*quantum)
	for low+1 < high {
		if middle := low + (high-low)/2; fails(Interpreter, middle) {
			high = middle
		} else {
			low = middle
		}
	}
	if low < quantum || fails(Compiler, low) || !fails(Compiler, high) {
		t.Errorf("interpreted, %d turns are the last that pass; compiled, %d fail: %v, %d fail: %v", low, low, fails(Compiler, low), high, fails(Compiler, high))
	}
}
