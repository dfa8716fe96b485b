package wasm

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"github.com/runnel-log/runnel/record"
)

const conformanceFolder = "../guest-sdk/go/conformance"

// clock is the batch's clock of these tests.
func clock() time.Time { return time.Unix(1_700_000_000, 5) }

// commands makes a batch with a record for each message, each of which is what
// the conformance guest is asked to do.
func commands(tb testing.TB, messages ...string) *record.Batch {
	tb.Helper()
	b := new(record.Batch)
	var r record.Record
	for i, message := range messages {
		r.Reset()
		r.Severity, r.Facility, r.Time, r.Received = 6, 1, 10, int64(100+i)
		r.Flags = record.HostFilled
		r.Host, r.App, r.ProcID, r.MsgID = []byte("h"), []byte("app"), []byte("1"), []byte("m")
		r.Input, r.Peer, r.Agent = []byte("in"), []byte("::1"), []byte("vm")
		r.SD, r.Message = []byte("[a b=\"c\"]"), []byte(message)
		r.Attrs.SetString("old", "value")
		r.Attrs.SetInt("status", 200)
		if err := b.Append(&r); err != nil {
			tb.Fatal(err)
		}
	}
	return b
}

// describe writes what differs between a record and the ones commands makes.
func describe(v record.View) string {
	var s strings.Builder
	add := func(name, got, usual string) {
		if got != usual {
			fmt.Fprintf(&s, " %s=%s", name, got)
		}
	}
	add("severity", fmt.Sprint(v.Severity()), "6")
	add("facility", fmt.Sprint(v.Facility()), "1")
	add("flags", strings.Join(v.Flags().Names(), "|"), "host_filled")
	add("time", fmt.Sprint(v.Time()), "10")
	add("host", string(v.Host()), "h")
	add("app", string(v.App()), "app")
	add("procid", string(v.ProcID()), "1")
	add("msgid", string(v.MsgID()), "m")
	add("stream", string(v.Stream()), "")
	add("from", string(v.Input())+","+string(v.Peer())+","+string(v.Agent()), "in,::1,vm")
	add("sd", string(v.SD()), "[a b=\"c\"]")
	var attrs []string
	list := v.Attrs()
	for key, value := range list.All() {
		text := string(value.Data)
		switch value.Kind {
		case record.Int:
			text = fmt.Sprint(value.Int())
		case record.Float:
			text = fmt.Sprint(value.Float())
		case record.Bool:
			text = fmt.Sprint(value.Bool())
		}
		attrs = append(attrs, fmt.Sprintf("%s:%d:%s", key, value.Kind, text))
	}
	add("attrs", strings.Join(attrs, ","), "old:1:value,status:3:200")
	first, _, _ := strings.Cut(string(v.Message()), "\n")
	return first + s.String()
}

// conforming calls f for the conformance guest of each SDK: Go's, built here, and
// those that lie in a folder dist.
func conforming(t *testing.T, f func(t *testing.T, file string)) {
	t.Helper()
	t.Run("go", func(t *testing.T) { f(t, guest(t, conformanceFolder)) })
	others, err := filepath.Glob("../guest-sdk/*/dist/conformance.wasm")
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range others {
		if name := filepath.Base(filepath.Dir(filepath.Dir(file))); name != "go" {
			t.Run(name, func(t *testing.T) { f(t, file) })
		}
	}
}

// granted is what the conformance guest wants.
func granted(tb testing.TB, o Options) Options {
	tb.Helper()
	file := filepath.Join(tb.TempDir(), "hosts.csv")
	if err := os.WriteFile(file, []byte("host,owner\nh1,ann\n"), 0o600); err != nil {
		tb.Fatal(err)
	}
	table, err := LoadTable(file, "host")
	if err != nil {
		tb.Fatal(err)
	}
	o.Grant, o.Tables = Grants{State: true, Metrics: true}, map[string]*Table{"hosts": table}
	return o
}

// placed is Process, in a line of its own if the module is ordered.
func placed(m *Module) func(ctx context.Context, in *record.Batch, out *Outcome) error {
	if !m.Ordered() {
		return m.Process
	}
	l := m.Line(NewState())
	return func(ctx context.Context, in *record.Batch, out *Outcome) error {
		err := l.Process(ctx, in, out)
		l.Settle()
		return err
	}
}

func known(name string) bool { return name == "errors" || name == "audit" }

func TestEveryVerdict(t *testing.T) { conforming(t, everyVerdict) }

func everyVerdict(t *testing.T, file string) {
	process := placed(load(t, granted(t, Options{File: file, KnownStream: known, Now: clock})))
	f := func(message string, want ...string) {
		t.Helper()
		in := commands(t, "keep", message, "keep")
		before := bytes.Clone(in.Bytes())
		var out Outcome
		if err := process(t.Context(), in, &out); err != nil {
			t.Fatal(err)
		}
		defer out.release(in)
		var got []string
		for i := range out.Batch.Len() {
			got = append(got, describe(out.Batch.At(i)))
		}
		for _, d := range out.Dropped {
			got = append(got, fmt.Sprintf("dropped %s %d", d.Reason, d.Count))
		}
		if out.LastError != "" {
			got = append(got, fmt.Sprintf("failed %d: %s", out.Failed, out.LastError))
		}
		if g, w := strings.Join(got, "\n"), strings.Join(want, "\n"); g != w {
			t.Errorf("%q:\ngot\n%s\nwant\n%s", message, g, w)
		}
		if !bytes.Equal(in.Bytes(), before) {
			t.Errorf("%q: the input was changed", message)
		}
		dropped := 0
		for _, d := range out.Dropped {
			dropped += d.Count
		}
		if got, want := out.Batch.Len()+dropped, in.Len()+out.Emitted; got != want {
			t.Errorf("%q: %d records out, %d in and emitted", message, got, want)
		}
	}
	f("keep", "keep", "keep", "keep")
	f("drop noise", "keep", "keep", "dropped noise 1")
	f("drop", "keep", "keep", "dropped module 1")
	f("set class web", "keep", "set class web attrs=old:1:value,status:3:200,class:1:web", "keep")
	f("set a 1\nset b a-text-of-more-than-sixteen-bytes\nset c\nset dd 22\nset eeeee 4444",
		"keep", "set a 1 attrs=old:1:value,status:3:200,a:1:1,b:1:a-text-of-more-than-sixteen-bytes,c:1:,dd:1:22,eeeee:1:4444", "keep")
	f("set old new", "keep", "set old new attrs=status:3:200,old:1:new", "keep")
	f("set a 1\nset a 2", "keep", "set a 1 attrs=old:1:value,status:3:200,a:1:2", "keep")
	f("copy old again", "keep", "copy old again attrs=old:1:value,status:3:200,again:1:value", "keep")
	f("int n 123", "keep", "int n 123 attrs=old:1:value,status:3:200,n:3:-3", "keep")
	f("float n 12", "keep", "float n 12 attrs=old:1:value,status:3:200,n:4:2.5", "keep")
	f("bool ok true", "keep", "bool ok true attrs=old:1:value,status:3:200,ok:5:true", "keep")
	f("json j [1]", "keep", "json j [1] attrs=old:1:value,status:3:200,j:6:[1]", "keep")
	f("remove old", "keep", "remove old attrs=status:3:200", "keep")
	f("remove none", "keep", "remove none", "keep")
	f("message hello", "keep", "hello", "keep")
	f("severity 3", "keep", "severity 3 severity=3", "keep")
	f("facility 9", "keep", "facility 9 facility=9", "keep")
	f("time", "keep", "time time=1700000000000000005", "keep")
	f("host a\napp b\nprocid c\nmsgid d\nsd [e]\nmessage f", "keep", "f host=a app=b procid=c msgid=d sd=[e]", "keep")
	f("route errors", "keep", "route errors stream=errors", "keep")
	f("route errors\nset class web", "keep", "route errors stream=errors attrs=old:1:value,status:3:200,class:1:web", "keep")
	f("set class web\nroute audit", "keep", "set class web stream=audit attrs=old:1:value,status:3:200,class:1:web", "keep")
	f("replace this", "keep", "this severity=255 facility=255 time=-9223372036854775808 host=new app= procid= msgid= sd= attrs=n:3:1", "keep")
	f("emit child", "keep", "emit child", "child attrs=old:1:value,status:3:200,child:1:yes", "keep")
	f("drop x\nemit a\nemit b", "keep", "a attrs=old:1:value,status:3:200,child:1:yes",
		"b attrs=old:1:value,status:3:200,child:1:yes", "keep", "dropped x 1")
	f("emit a\nset k v", "keep", "emit a attrs=old:1:value,status:3:200,k:1:v", "a attrs=old:1:value,status:3:200,child:1:yes", "keep")
	f("replace x\ndrop y", "keep", "keep", "dropped y 1")
	f("set k v\ndrop y\nset l w", "keep", "keep", "dropped y 1")
	f("emit-to errors bad", "keep", "emit-to errors bad",
		"bad severity=3 facility=255 time=-9223372036854775808 host= app= procid= msgid= stream=errors sd= attrs=", "keep")
	f("fail no luck", "keep", "fail no luck flags=host_filled|module_failed", "keep", "failed 1: no luck")
	f("route elsewhere", "keep", "route elsewhere flags=host_filled|module_failed", "keep",
		`failed 1: routed to "elsewhere", which is no stream of the config`)
	const misspelt = `failed 1: routed to "errros", which is no stream of the config`
	f("set class web\nroute errros", "keep",
		"set class web flags=host_filled|module_failed attrs=old:1:value,status:3:200,class:1:web", "keep", misspelt)
	f("message hidden\nroute errros", "keep", "hidden flags=host_filled|module_failed", "keep", misspelt)
}

// TestPoisonIsFoundAlone gives a guest one record in 64 that it cannot survive:
// on_error decides on that one, and every other has its verdict.
func TestPoisonIsFoundAlone(t *testing.T) { conforming(t, poisonIsFoundAlone) }

func poisonIsFoundAlone(t *testing.T, file string) {
	for _, c := range []struct{ verb, want string }{
		{"panic", `guest trapped: unreachable; it wrote "panic: asked to"`},
		{"index", `guest trapped: unreachable; it wrote "panic: runtime error: index out of range [0] with length 0"`},
		{"loop", "not done after 50ms "}, // worth of fuel, or of CPU time, whichever is used up first
		{"memory", `guest trapped: unreachable; it wrote "runtime: out of memory`},
		{"recurse", ""},
		{"block", `guest trapped: unreachable; it wrote "fatal error: all goroutines are asleep - deadlock!"`},
		{"flood", "guest's output is malformed: more than 64 records emitted for record 0"},
	} {
		t.Run(c.verb, func(t *testing.T) {
			if file != guest(t, conformanceFolder) {
				if c.want = ""; c.verb == "index" || c.verb == "block" {
					c.verb = "panic" // not every language knows the difference
				}
			}
			process := placed(load(t, granted(t, Options{File: file, Time: 50 * time.Millisecond, OnError: DeadLetter, Now: clock})))
			messages := make([]string, 64)
			for i := range messages {
				messages[i] = "set class web"
			}
			messages[37] = c.verb
			in := commands(t, messages...)
			var out Outcome
			if err := process(t.Context(), in, &out); err != nil {
				t.Fatal(err)
			}
			defer out.release(in)
			if out.Dead == nil || out.Dead.Len() != 1 || string(out.Dead.At(0).Message()) != c.verb {
				t.Fatalf("got %d dead letters, want the poison alone (%s)", out.Failed, out.LastError)
			}
			if out.Dead.At(0).Flags()&record.ModuleFailed == 0 {
				t.Error("the dead letter is not flagged")
			}
			if !strings.HasPrefix(out.LastError, c.want) {
				t.Errorf("got error %q want %q", out.LastError, c.want)
			}
			if out.Batch.Len() != 63 || out.Patched != 63 {
				t.Errorf("got %d records of which %d patched, want 63", out.Batch.Len(), out.Patched)
			}
			for i := range out.Batch.Len() {
				if v, want := out.Batch.At(i), int64(100+i+i/37); v.Received() != want {
					t.Errorf("record %d: got the one received at %d, want %d", i, v.Received(), want)
				}
			}
		})
	}
}

// TestReasonOfAPanicIsKept: where a guest cannot write to stderr, what its SDK
// logged as an error says why it stopped. C has no text for a trap.
func TestReasonOfAPanicIsKept(t *testing.T) { conforming(t, reasonOfAPanicIsKept) }

func reasonOfAPanicIsKept(t *testing.T, file string) {
	want := `"panic: asked to"`
	switch filepath.Base(filepath.Dir(filepath.Dir(file))) {
	case "assemblyscript":
		want = `it logged "asked to`
	case "rust":
		want = `it logged "panic`
	case "c":
		want = "guest trapped: unreachable"
	}
	process := placed(load(t, granted(t, Options{File: file, Now: clock})))
	in := commands(t, "panic")
	var out Outcome
	if err := process(t.Context(), in, &out); err != nil {
		t.Fatal(err)
	}
	defer out.release(in)
	if !strings.HasPrefix(out.LastError, "guest trapped: unreachable") || !strings.Contains(out.LastError, want) {
		t.Errorf("got %q, want it to contain %q", out.LastError, want)
	}
}

func TestSameBatchGivesSameBytes(t *testing.T) {
	f := func(folder, config string, in *record.Batch) {
		t.Helper()
		var first []byte
		for range 3 {
			process := placed(load(t, granted(t, Options{File: guest(t, folder), Config: []byte(config), Now: clock})))
			for range 2 {
				var out Outcome
				if err := process(t.Context(), in, &out); err != nil {
					t.Fatal(err)
				}
				if first == nil {
					first = bytes.Clone(out.Batch.Bytes())
				}
				if !bytes.Equal(out.Batch.Bytes(), first) {
					t.Error("the same batch gave other bytes")
				}
				out.release(in)
			}
		}
	}
	f(classifyFolder, `{"redact":true,"errors_stream":"errors"}`, sample(t, 200))
	f(conformanceFolder, `{}`, commands(t, "time", "emit x", "replace y", "set a b", "drop"))
}

func TestConcurrentCallsShareAModule(t *testing.T) {
	m := load(t, Options{File: guest(t, classifyFolder), Time: 5 * time.Second})
	errs := make(chan error, 8)
	for range 8 {
		go func() {
			in := sample(t, 50)
			for range 20 {
				var out Outcome
				if err := m.Process(context.Background(), in, &out); err != nil || out.Patched != 50 {
					errs <- fmt.Errorf("patched %d: %v %s", out.Patched, err, out.LastError)
					return
				}
				out.release(in)
			}
			errs <- nil
		}()
	}
	for range 8 {
		if err := <-errs; err != nil {
			t.Error(err)
		}
	}
	if n := m.Stats().Records; n != 8*20*50 {
		t.Errorf("got %d records counted, want %d", n, 8*20*50)
	}
}

func TestGuestLogIsBounded(t *testing.T) {
	var log bytes.Buffer
	rt, err := NewRuntime(t.Context(), RuntimeOptions{Log: zerolog.New(&log)})
	if err != nil {
		t.Fatal(err)
	}
	m, err := rt.Load(t.Context(), granted(t, Options{Name: "x", File: guest(t, conformanceFolder), Now: clock}))
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close(t.Context())
	messages := make([]string, 100)
	for i := range messages {
		messages[i] = fmt.Sprintf("log line %d\nprint printed", i)
	}
	var out Outcome
	if err := placed(m)(t.Context(), commands(t, messages...), &out); err != nil {
		t.Fatal(err)
	}
	if got := strings.Count(log.String(), `"module says"`); got != logRate {
		t.Errorf("got %d lines in the log, want %d:\n%s", got, logRate, log.String())
	}
	if got := m.Stats().LogSuppressed; got != 190 {
		t.Errorf("got %d lines counted as suppressed, want 190", got)
	}
	for _, want := range []string{`"guest":"line 0"`, `"guest":"printed"`, `"module":"x"`} {
		if !strings.Contains(log.String(), want) {
			t.Errorf("log has no %s:\n%s", want, log.String())
		}
	}
}
