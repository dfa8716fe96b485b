package wasm

import (
	"os"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"github.com/runnel-log/runnel/internal/syslog"
	"github.com/runnel-log/runnel/internal/testkit"
	"github.com/runnel-log/runnel/record"
)

// hostile is a module of testdata/hostile, and what the first lines of its source
// say must become of it.
type hostile struct {
	name, file string

	fate, why   string // "refused" by Load, "fails" on every record, "some fail", or "sound"; and what the error says
	tick, flush string // the errors of these calls
	keeps       bool   // the records come out as they went in
	endless     bool   // only its bounds stop it
	native      bool   // what it says depends on the engine and the processor
	blind       bool   // it is as hostile to batches that are not poisoned
	batches     int
	records     int // of a batch
	state       int64
	time        time.Duration
	resident    int // MiB that memory may grow by
}

// hostiles reads what the sources say.
func hostiles(tb testing.TB) (list []hostile) {
	tb.Helper()
	sources, _ := filepath.Glob("testdata/hostile/*.wat")
	more, _ := filepath.Glob("testdata/hostile/*.c")
	all := append(sources, more...)
	if raced { // it sees the host alone, and makes guests ten times slower
		few := all[:0:0]
		for i := 0; i < len(all); i += 6 {
			few = append(few, all[i])
		}
		all = few
	}
	for _, source := range all {
		text, err := os.ReadFile(source)
		if err != nil {
			tb.Fatal(err)
		}
		kind := filepath.Ext(source)
		name := strings.TrimSuffix(filepath.Base(source), kind)
		h := hostile{name: name, file: strings.TrimSuffix(source, kind) + ".wasm", blind: kind == ".wat",
			records: 256, state: 4 << 20, time: 30 * time.Millisecond, resident: 32}
		for line := range strings.Lines(string(text)) {
			mark, rest, _ := strings.Cut(strings.TrimSuffix(line, "\n"), " ")
			if mark != "//" && mark != ";;" {
				break
			}
			h.read(tb, rest)
		}
		if h.batches == 0 {
			h.batches = 2
			if h.endless {
				h.batches = 1
			}
		}
		if h.fate == "" {
			tb.Fatalf("%s does not say what must become of it", source)
		}
		list = append(list, h)
	}
	if len(list) < 30 && !raced {
		tb.Fatalf("got %d hostile modules, want 30 and more", len(list))
	}
	return list
}

// read takes in one line of what a source says. Other lines are for people.
func (h *hostile) read(tb testing.TB, line string) {
	tb.Helper()
	var err error
	key, value, _ := strings.Cut(line, ":")
	value = strings.TrimPrefix(value, " ")
	switch key {
	case "refused", "fails", "some fail", "sound":
		h.fate, h.why = key, value
	case "tick fails":
		h.tick = value
	case "flush fails":
		h.flush = value
	case "keeps":
		h.keeps = true
	case "endless":
		h.endless = true
	case "native":
		h.native = true
	case "blind":
		h.blind = true
	case "batches":
		h.batches, err = strconv.Atoi(value)
	case "records":
		h.records, err = strconv.Atoi(value)
	case "resident":
		h.resident, err = strconv.Atoi(value)
	case "state":
		h.state, err = strconv.ParseInt(value, 10, 64)
	case "time":
		h.time, err = time.ParseDuration(value)
	}
	if err != nil {
		tb.Fatalf("%s: %v", h.name, err)
	}
}

const anyError = "any" // of a tick or flush that may fail or not

const poison = "POISON!" // what a module looks for that has it as its config

// realRecords are what Docker and the senders' captures hold, as records, over
// and over until there are n; the message of every hundredth is poisoned.
func realRecords(tb testing.TB, n int) (plain, poisoned []*record.Record) {
	tb.Helper()
	parser := syslog.Parser{Location: time.UTC, Now: clock}
	var messages [][]byte
	for _, file := range []string{"cases-docker-app.jsonl", "cases-docker.jsonl"} {
		for _, c := range testkit.Cases(tb, testkit.Path(tb, "testdata", "docker", file)) {
			messages = append(messages, c.Raw)
		}
	}
	for _, c := range testkit.Captures(tb, testkit.Path(tb, "testdata", "senders", "raw")) {
		messages = append(messages, c.Datagrams...)
	}
	for i := range n {
		r, bad := new(record.Record), new(record.Record)
		for _, one := range []*record.Record{r, bad} {
			one.Reset()
			parser.Parse(messages[i%len(messages)], one)
			one.Received, one.Input = int64(i), []byte("real")
		}
		if i%100 == 17 {
			bad.Message = append(append([]byte{}, bad.Message...), poison...)
		}
		plain, poisoned = append(plain, r), append(poisoned, bad)
	}
	return plain, poisoned
}

// batchesOf cuts records into batches of n.
func batchesOf(tb testing.TB, list []*record.Record, n int) (batches []*record.Batch) {
	tb.Helper()
	for at := 0; at+n <= len(list); at += n {
		b := new(record.Batch)
		for _, r := range list[at : at+n] {
			if err := b.Append(r); err != nil {
				tb.Fatal(err)
			}
		}
		batches = append(batches, b)
	}
	return batches
}

// trial is one module under test and what it was seen to do.
type trial struct {
	hostile
	now  atomic.Int64 // its clock, in nanoseconds; 20 seconds a batch, so that it is never bypassed
	rt   *Runtime
	base int64 // resident memory before it ran

	worst  time.Duration // CPU time of a call beyond what it may take
	growth int64         // of resident memory
	failed int
}

// options are those of the trial: everything is granted.
func (tr *trial) options(tb testing.TB) Options {
	o := granted(tb, Options{Name: "hostile", File: tr.file, Memory: 6 << 20, State: tr.state, Time: tr.time, KnownStream: known,
		Agent: "here", Now: func() time.Time { return time.Unix(0, tr.now.Load()) }})
	if strings.Contains(tr.name, "unordered") {
		o.Grant.State = false
	}
	return o
}

func newTrial(tb testing.TB, h hostile, engine Engine) *trial {
	tb.Helper()
	rt, err := NewRuntime(tb.Context(), RuntimeOptions{Log: zerolog.Nop(), Engine: engine})
	if err != nil {
		tb.Fatal(err)
	}
	tr := &trial{hostile: h, rt: rt}
	tr.now.Store(clock().UnixNano())
	return tr
}

func (tr *trial) close(tb testing.TB, m *Module) {
	tb.Helper()
	if m != nil {
		if err := m.Close(tb.Context()); err != nil {
			tb.Error(err)
		}
	}
	if err := tr.rt.Close(tb.Context()); err != nil {
		tb.Error(err)
	}
}

// load loads the module; nil if it is refused, as it must be then.
func (tr *trial) load(tb testing.TB, o Options) *Module {
	tb.Helper()
	begin := process()
	m, err := tr.rt.Load(tb.Context(), o)
	if err == nil && tr.fate == "refused" {
		tb.Errorf("loaded, want it refused as %q", tr.why)
	}
	if err != nil {
		if tr.fate != "refused" || !strings.Contains(err.Error(), tr.why) {
			tb.Errorf("refused: %v; want %s %q", err, tr.fate, tr.why)
		}
		if took := process() - begin; took > time.Second+tr.allowance(time.Second/2) {
			tb.Errorf("took %v of CPU time to refuse", took)
		}
	}
	return m
}

// allowance is more where the race detector slows the host down.
func (tr *trial) allowance(d time.Duration) time.Duration {
	if racing() {
		return 10 * d
	}
	return d
}

// racing reports whether the race detector is at work, which takes several times
// the memory and time.
func racing() bool {
	info, _ := debug.ReadBuildInfo()
	for _, s := range info.Settings {
		if s.Key == "-race" {
			return s.Value == "true"
		}
	}
	return false
}

// calls gives the batches to instances of the module as Process does, but one
// call after another, and measures each by the CPU time of its thread: the clock
// on the wall would measure what else this machine does.
func (tr *trial) calls(tb testing.TB, m *Module, batches []*record.Batch) {
	tb.Helper()
	state := m.blank()
	var in *instance
	call := func(what string, f func(out *Outcome) error) {
		if in == nil {
			var err error
			if in, err = m.newInstance(state); err != nil {
				tb.Fatal(err)
			}
		}
		var out Outcome
		runtime.LockOSThread()
		from := threadTime()
		err := f(&out)
		spent := threadTime() - from
		runtime.UnlockOSThread()
		tr.worst = max(tr.worst, spent-tr.time)
		if spent > tr.time+tr.allowance(50*time.Millisecond) {
			tb.Errorf("%s took %v of CPU time, want at most %v and 50ms", what, spent, tr.time)
		}
		if err != nil {
			in.discard()
			in = nil
		}
		out.release(nil)
	}
	for _, b := range batches {
		now := tr.now.Add(20e9)
		call("a batch", func(out *Outcome) error {
			err := in.try(b, now, out)
			if out.Batch == b {
				out.Batch = nil
			}
			return err
		})
		if m.ticks {
			call("a tick", func(out *Outcome) error { return in.speak(tickName, now, out) })
		}
	}
	if m.flushes {
		call("a flush", func(out *Outcome) error { return in.speak(flushName, tr.now.Load(), out) })
	}
	if in != nil {
		in.discard()
	}
}

// run gives the batches to the module as a pipeline does, and checks that every
// record is accounted for, and that what was said of the module is so.
func (tr *trial) run(tb testing.TB, m *Module, batches []*record.Batch, each func(in *record.Batch, out *Outcome)) {
	tb.Helper()
	var l *Line
	if m.Ordered() {
		l = m.Line(NewState())
		defer l.Close()
	}
	for _, in := range batches {
		tr.now.Add(20e9)
		sum := string(in.Bytes())
		var out Outcome
		var err error
		if l == nil {
			err = m.Process(tb.Context(), in, &out)
		} else {
			err = l.Process(tb.Context(), in, &out)
		}
		if err != nil {
			tb.Fatal(err)
		}
		if string(in.Bytes()) != sum {
			tb.Error("the batch that it was given has changed")
		}
		tr.failed += out.Failed
		balanced(tb, in.Len(), &out)
		each(in, &out)
		out.release(in)
		tr.spoken(tb, l, false)
	}
	tr.spoken(tb, l, true)
}

// spoken lets a line settle and speak without a batch, and checks that.
func (tr *trial) spoken(tb testing.TB, l *Line, last bool) {
	tb.Helper()
	if l == nil {
		return
	}
	audit(tb, l.state)
	if n := len(l.Changes(nil)); n > maxStateKeys+2*maxHeld+2*256 {
		tb.Errorf("got %d changes", n)
	}
	l.Settle()
	var out Outcome
	err, what, want := error(nil), "tick", tr.tick
	if last {
		what, want = "flush", tr.flush
		err = l.Flush(tb.Context(), &out)
		if n, size := l.state.Held(); n != 0 || size != 0 {
			tb.Errorf("%d records of %d bytes are held after the flush", n, size)
		}
	} else {
		err = l.Tick(tb.Context(), &out)
	}
	if err != nil {
		tb.Fatal(err)
	}
	if want != anyError && ((want == "") != (out.LastError == "") || !strings.Contains(out.LastError, want)) {
		tb.Errorf("%s: got error %q, want %q", what, out.LastError, want)
	}
	balanced(tb, 0, &out)
	l.Settle()
	audit(tb, l.state)
	out.release(nil)
}

// TestHostileModules: whatever a module does, the host goes on, no record is lost,
// each call ends soon after its time, and the memory it took comes back.
func TestHostileModules(t *testing.T) {
	plain, poisoned := realRecords(t, 18*256)
	rt := newTrial(t, hostile{}, Auto)
	rt.close(t, nil) // what is made once for all is there
	goroutines, maps := runtime.NumGoroutine(), mappings()
	for _, h := range hostiles(t) {
		t.Run(h.name, func(t *testing.T) {
			tr := newTrial(t, h, Auto)
			m := tr.load(t, tr.options(t))
			defer func() { tr.close(t, m) }()
			if m == nil {
				return
			}
			n := max(1, min(h.batches, len(plain)/h.records))
			batches := repeated(batchesOf(t, plain[:n*h.records], h.records), h.batches)
			tr.base = watchMemory()
			tr.calls(t, m, batches)
			if tr.blind || !tr.endless || tr.fate != "fails" { // or the search for its poison is enough
				tr.run(t, m, batches, func(in *record.Batch, out *Outcome) { tr.judge(t, in, out, false) })
			}
			if h.fate == "some fail" && tr.failed == 0 {
				t.Error("nothing failed")
			}
			if !tr.blind || !tr.endless {
				tr.close(t, m)
				o := tr.options(t)
				o.Config, o.OnError = []byte(`{"only":"`+poison+`"}`), DeadLetter
				tr.rt = newTrial(t, h, Auto).rt
				if m = tr.load(t, o); m == nil {
					return
				}
				sick := batchesOf(t, poisoned[:256], 256)
				tr.run(t, m, sick, func(in *record.Batch, out *Outcome) { tr.judge(t, in, out, true) })
			}
			tr.grown(t)
			t.Logf("%-9s a call takes at most %v more than its %v; memory grew by %d KiB", h.fate, tr.worst.Round(time.Millisecond/10), tr.time, tr.growth>>10)
		})
	}
	runtime.GC()
	if n := runtime.NumGoroutine(); n > goroutines {
		t.Errorf("%d goroutines more than before", n-goroutines)
	}
	if n := mappings() - maps; n > 40 {
		t.Errorf("%d mappings more than before", n)
	}
}

// grown checks how much memory the module took.
func (tr *trial) grown(tb testing.TB) {
	tb.Helper()
	tr.growth = peakMemory() - tr.base
	if most := int64(tr.resident) << 20; tr.growth > most && !racing() {
		tb.Errorf("resident memory grew by %d KiB, want at most %d", tr.growth>>10, most>>10)
	}
}

// repeated gives n batches, the same ones again and again.
func repeated(batches []*record.Batch, n int) (list []*record.Batch) {
	for i := range n {
		list = append(list, batches[i%len(batches)])
	}
	return list
}

// judge holds the outcome of a batch against what was said of the module. sick:
// the module was told to attack poisoned batches only, of which this is one.
func (tr *trial) judge(t *testing.T, in *record.Batch, out *Outcome, sick bool) {
	t.Helper()
	bad := in.Len()
	if sick && !tr.blind {
		bad = 3
	}
	switch {
	case tr.fate == "sound" && out.Failed > 0:
		t.Errorf("%d records failed: %s", out.Failed, out.LastError)
	case tr.fate == "fails" && !strings.Contains(out.LastError, tr.why):
		t.Errorf("got error %q, want one with %q", out.LastError, tr.why)
	case tr.fate == "some fail" && out.Failed > 0 && !strings.Contains(out.LastError, tr.why):
		t.Errorf("got error %q, want one with %q", out.LastError, tr.why)
	case tr.fate == "fails" && (out.Failed < bad || out.Failed > bad && !tr.endless):
		t.Errorf("%d records failed, want %d", out.Failed, bad)
	}
	if sick && out.Failed > 0 && (out.Dead == nil || out.Dead.Len() != out.Failed) {
		t.Errorf("%d records failed, but they are not the dead", out.Failed)
	}
	if !tr.keeps && (tr.fate != "fails" || sick) {
		return
	}
	if out.Batch.Len() != in.Len() {
		t.Fatalf("got %d records of %d", out.Batch.Len(), in.Len())
	}
	for i := range in.Len() {
		if got, want := out.Batch.At(i), in.At(i); string(got.Message()) != string(want.Message()) || got.Received() != want.Received() {
			t.Fatalf("record %d has changed or moved", i)
		}
	}
}
