//go:build !wasm

package runnel

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// simulate registers f and returns a host for it; both go with the test.
func simulate(t testing.TB, f func(r *Record)) *Simulation {
	t.Helper()
	t.Cleanup(func() { handler, batches, configure, ticking, flushing = nil, nil, nil, nil, nil })
	handler, configure = f, nil
	s := new(Simulation)
	if status := s.Start(""); status != 0 {
		t.Fatalf("got status %d: %v", status, s.Lines)
	}
	return s
}

func TestLettingGo(t *testing.T) {
	f := func(do func(r *Record), want ...string) {
		t.Helper()
		s := simulate(t, func(r *Record) {
			if r.Index() == 1 {
				do(r)
			}
		})
		got := verdicts(t, s.Process(batch(t, "a", "b", "c")))
		if strings.Join(got, "|") != strings.Join(want, "|") {
			t.Errorf("got %v want %v", got, want)
		}
	}
	f(func(r *Record) { r.Hold("k") }, `1 6 "k"`)
	f(func(r *Record) { r.Release("k") }, `1 8 "k"`)
	f(func(r *Record) { r.Discard("k", "old") }, `1 10 "\x01\x00\x00\x00kold"`)
	f(func(r *Record) { r.Merge("k") }, `1 9 "\x01\x00\x00\x00k"`)
	f(func(r *Record) { r.Merge("k").Join("\n").SetBool("m", true) },
		`1 9 "\x01\x00\x00\x00k\x1a\x00\x00\x00\x01\x00\x00\x00\n\x05\x00\x01\x00\x01\x00\x00\x00m\x01"`)
	f(func(r *Record) { r.Release("a"); r.Hold("b") }, `1 8 "a"`, `1 6 "b"`)
	f(func(r *Record) { r.Hold("b"); r.Release("b") }, `1 6 "b"`, `1 8 "b"`)
	f(func(r *Record) { r.Release("a"); r.Drop("x"); r.Release("b"); r.Drop("y") }, `1 8 "a"`, `1 1 "y"`, `1 8 "b"`)
	f(func(r *Record) { r.Set("k", ""); r.Release("a"); r.Remove("k") },
		`1 2 "\x01\x00\x01\x00\x00\x00\x00\x00k\a\x00\x01\x00\x00\x00\x00\x00k"`, `1 8 "a"`)
	f(func(r *Record) { // what is said of a Merge too late is not said
		m := r.Merge("k")
		r.Drop("x")
		m.Set("a", "b").Remove("c")
	}, `1 9 "\x01\x00\x00\x00k"`, `1 1 "x"`)

	order := ""
	s := simulate(t, func(r *Record) { r.Emit().Severity(1); r.Release("k"); r.Emit().Severity(2); r.Hold("k") })
	for _, v := range verdicts(t, s.Process(batch(t, "a"))) {
		order += strings.Fields(v)[1]
	}
	if order != "6585" {
		t.Errorf("got kinds %s, want HOLD first, then EMIT, RELEASE, EMIT as called", order)
	}
}

func TestTheTickSpeaksOfNoRecord(t *testing.T) {
	s := simulate(t, func(r *Record) { r.Hold("k") })
	OnTick(func(tick *Tick) {
		tick.Emit().Message([]byte("sum")).SetInt("now", tick.Now())
		tick.Merge("k").Join(" ")
		tick.Discard("other", "late")
	})
	OnFlush(func(tick *Tick) { tick.Release("k") })
	s.Process(batch(t, "a", "b"))
	if len(s.Held["k"]) != 2 {
		t.Fatalf("got %d held, want 2", len(s.Held["k"]))
	}
	s.Now = 7
	var got []string
	for _, v := range verdicts(t, s.Tick()) {
		got = append(got, strings.Join(strings.Fields(v)[:2], " "))
	}
	if want := []string{"4294967295 5", "4294967295 9", "4294967295 10"}; !slices.Equal(got, want) {
		t.Errorf("got %v want %v", got, want)
	}
	if now, _ := s.Emitted[0].AttrInt("now"); now != 7 || string(s.Emitted[0].Message()) != "sum" {
		t.Errorf("got %q at %d", s.Emitted[0].Message(), now)
	}
	if len(s.Held) != 0 {
		t.Errorf("still held: %v", s.Held)
	}
	if got := verdicts(t, s.Flush()); len(got) != 1 || got[0] != `4294967295 8 "k"` {
		t.Errorf("flush: got %v", got)
	}
	OnTick(nil)
	if s.Tick() != nil {
		t.Error("a guest that does not tick said something")
	}
}

func TestState(t *testing.T) {
	s := simulate(t, func(r *Record) {
		var key []byte
		key = append(append(key, "n/"...), r.Message()...)
		value, _ := StateGet(Key(key))
		if !StateSet(Key(key), append(value, 'x')) {
			r.Fail("no")
		}
	})
	s.Process(batch(t, "b", "a", "b", strings.Repeat("k", 254)))
	s.State["zebra"], s.State["n/"] = strings.Repeat("long", 1000), "the prefix itself"
	var got []string
	for key := range StateKeys("n/") {
		value, ok := StateGet(key)
		got = append(got, fmt.Sprint(key, " ", string(value), " ", ok))
		if !StateDelete(key) || StateDelete(key) {
			t.Errorf("%s: deleted not once", key)
		}
	}
	if want := []string{"n/a x true", "n/b xx true"}; !slices.Equal(got, want) {
		t.Errorf("got %v want %v", got, want)
	}
	if value, _ := StateGet("zebra"); len(value) != 4000 {
		t.Errorf("got %d bytes of a long value", len(value))
	}
	if _, ok := StateGet("none"); ok {
		t.Error("found what is not there")
	}
	if next, _ := StateNext(""); next != "n/" {
		t.Errorf("got %q first", next)
	}
	if StateSet("", nil) || StateSet(strings.Repeat("k", 256), nil) || StateSet("k", make([]byte, 65537)) {
		t.Error("a bound was not held")
	}
	Configure(func(*Config) {
		if StateSet("k", nil) || StateDelete("n/") {
			t.Error("state was changed at the start")
		}
	})
	s.Start("")
}

func TestHeldRecordsCanBeRead(t *testing.T) {
	var got []string
	s := simulate(t, func(r *Record) {
		for v := range Held("k").All {
			got = append(got, string(v.Message())+v.AttrString("k"))
		}
		r.Hold("k")
	})
	s.Process(batch(t, "a", "b"))
	s.Process(batch(t, strings.Repeat("c", 300)))
	s.Process(batch(t, "d"))
	if want := []string{"av", "bv", "av", "bv", strings.Repeat("c", 300) + "v"}; !slices.Equal(got, want) {
		t.Errorf("got %v want %v", got, want)
	}
	if n := Held("none").Len(); n != 0 {
		t.Errorf("got %d under a key that holds none", n)
	}
}

func TestServices(t *testing.T) {
	s := simulate(t, func(r *Record) {
		Metric("seen", 1.5)
		row, ok := Lookup("hosts", Key(r.Message()))
		r.Set("team", row.Text("team"))
		r.SetBool("ok", ok)
		r.SetInt("at", int64(Scan(r.Message(), "m")))
		r.Set("n", row.Text("n")+row.Raw("team")+row.Text("none"))
	})
	s.Tables = map[string]map[string]string{"hosts": {"vm": `{"team":"a\"b","n":4}`}}
	got := strings.Join(verdicts(t, s.Process(batch(t, "vm", "x"))), "")
	for _, want := range []string{`team` + `a\"b`, `n4\"a\\\"b\"`} {
		if !strings.Contains(got, want) {
			t.Errorf("got %s, want %s in it", got, want)
		}
	}
	if s.Metrics["seen"] != 3 {
		t.Errorf("got %v", s.Metrics)
	}
}

func TestAWarmGuestWithStateAllocatesNothing(t *testing.T) {
	encoded := batch(t, "a", "b", "c", "d")
	simulate(t, func(r *Record) {
		r.Release("before")
		r.Hold("k")
		r.Merge("k").Join("\n").SetBool("m", true)
		r.Discard("k", "old")
	})
	if got := testing.AllocsPerRun(100, func() { process(pointerTo(encoded)) }); got != 0 {
		t.Errorf("got %v allocations a batch, want none", got)
	}
}

// TestAGuestImportsOnlyWhatItCalls: else every Go guest would be ordered and
// need every grant.
func TestAGuestImportsOnlyWhatItCalls(t *testing.T) {
	dir := t.TempDir()
	f := func(body string, imports, exports []string) {
		t.Helper()
		source := filepath.Join(dir, "main.go")
		if err := os.WriteFile(source, []byte("package main\n\n"+body+"\n\nfunc main() {}\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		cmd := exec.Command("go", "build", "-buildmode=c-shared", "-o", filepath.Join(dir, "a.wasm"), source)
		cmd.Env = append(os.Environ(), "GOOS=wasip1", "GOARCH=wasm")
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
		code, err := os.ReadFile(filepath.Join(dir, "a.wasm"))
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range []string{"log", "now", "state_get", "state_set", "state_delete", "state_next", "held", "metric_add", "lookup", "scan"} {
			has := strings.Contains(string(code), "\x06runnel"+string(rune(len(name)))+name)
			if want := slices.Contains(imports, name); has != want {
				t.Errorf("imports %s: got %v want %v", name, has, want)
			}
		}
		for _, name := range []string{"runnel_process", "runnel_tick", "runnel_flush"} {
			has := strings.Contains(string(code), string(rune(len(name)))+name+"\x00")
			if want := slices.Contains(exports, name); has != want {
				t.Errorf("exports %s: got %v want %v", name, has, want)
			}
		}
	}
	const sdk = `import runnel "github.com/runnel-log/runnel/guest-sdk/go"`
	f(sdk+"\nfunc init() { runnel.Handle(func(r *runnel.Record) { r.Drop(`x`) }) }", []string{"log"}, []string{"runnel_process"})
	f(sdk+"\nimport \"github.com/runnel-log/runnel/guest-sdk/go/tick\"\n"+
		"func init() { tick.Every(func(*runnel.Tick) { runnel.Metric(`x`, 1); runnel.StateDelete(`k`) }) }",
		[]string{"log", "now", "state_delete", "metric_add"}, []string{"runnel_process", "runnel_tick", "runnel_flush"})
}
