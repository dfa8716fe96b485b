package wasm

import (
	"bytes"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/VictoriaMetrics/metrics"
	"github.com/rs/zerolog"
	"github.com/tetratelabs/wazero/api"
)

// idle returns an instance to call host functions of, as a guest would.
func idle(tb testing.TB, m *Module) *instance {
	tb.Helper()
	in, made, err := m.acquire(tb.Context())
	if made != nil || err != nil {
		tb.Fatal(made, err)
	}
	tb.Cleanup(func() { m.putBack(in) })
	return in
}

// asks calls a host function with texts, each at its own place in memory, and
// then numbers, and returns its result.
func asks(in *instance, f api.GoFunc, texts []string, more ...uint64) int32 {
	var stack []uint64
	for i, text := range texts {
		at := uint32(10_000 * (i + 1))
		in.memory.Write(at, []byte(text))
		stack = append(stack, uint64(at), uint64(len(text)))
	}
	stack = append(stack, more...)
	f(&in.call, stack)
	return int32(stack[0])
}

func TestScanFindsWhatBytesIndexDoes(t *testing.T) {
	in := idle(t, load(t, Options{Code: assembly{}.bytes(), Time: time.Hour}))
	defer in.meter.clock.stop()
	f := func(text, word string) {
		t.Helper()
		if got, want := in.find([]byte(text), []byte(word)), strings.Index(text, word); got != want {
			t.Errorf("%d bytes, %d: got %d want %d", len(text), len(word), got, want)
		}
	}
	f("", "")
	f("abc", "")
	f("", "a")
	f("abc", "c")
	f("abc", "abcd")
	long := strings.Repeat("ab", scanPiece)
	for _, n := range []int{1, 2, scanWord - 1, scanWord, scanWord + 1, 200, scanPiece, scanPiece + 3} {
		word := strings.Repeat("ab", n)[:n-1] + "x"
		f(long, word)
		for _, at := range []int{0, 1, scanPiece - n, scanPiece - 1, scanPiece, scanPiece + 1, len(long) - n} {
			at = max(at, 0)
			f(long[:at]+word+long[at:], word)
		}
		f(long+word, word)
	}
	if got := asks(in, hostScan, []string{"GET /cart", "/cart"}); got != 4 {
		t.Errorf("got %d want 4", got)
	}
	if got := asks(in, hostScan, []string{"GET /cart", "/x"}); got != -1 {
		t.Errorf("got %d want -1", got)
	}
}

func TestLookupGivesRows(t *testing.T) {
	file := filepath.Join(t.TempDir(), "hosts.csv")
	if err := os.WriteFile(file, []byte("host,owner\nvm-1,anna\nvm-2,\"b \"\"o\"\" <b>\"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	table, err := LoadTable(file, "")
	if err != nil {
		t.Fatal(err)
	}
	in := idle(t, load(t, Options{Code: assembly{}.bytes(), Tables: map[string]*Table{"hosts": table}}))
	f := func(name, key string, room uint64, want int32, row string) {
		t.Helper()
		in.memory.Write(9000, make([]byte, 100))
		got := asks(in, hostLookup, []string{name, key}, 9000, room)
		text, _ := in.memory.Read(9000, 100)
		if text = bytes.TrimRight(text, "\x00"); got != want || string(text) != row {
			t.Errorf("%s %s: got %d %s want %d %s", name, key, got, text, want, row)
		}
	}
	f("hosts", "vm-1", 100, 30, `{"host":"vm-1","owner":"anna"}`)
	f("hosts", "vm-1", 30, 30, `{"host":"vm-1","owner":"anna"}`)
	f("hosts", "vm-1", 29, 30, "")
	f("hosts", "vm-2", 100, 37, `{"host":"vm-2","owner":"b \"o\" <b>"}`)
	f("hosts", "vm-3", 100, -1, "")
	f("other", "vm-1", 100, -1, "")
}

// TestWrongNamesAreLogged: a table or stream that the config does not have is
// told of, but not for every record.
func TestWrongNamesAreLogged(t *testing.T) {
	var log bytes.Buffer
	rt, err := NewRuntime(t.Context(), RuntimeOptions{Log: zerolog.New(&log)})
	if err != nil {
		t.Fatal(err)
	}
	defer rt.Close(t.Context())
	now := clock()
	m, err := rt.Load(t.Context(), granted(t, Options{Name: "x", File: guest(t, conformanceFolder), KnownStream: known, Now: func() time.Time { return now }}))
	if err != nil {
		t.Fatal(err)
	}
	process := placed(m)
	f := func(message string, want ...string) {
		t.Helper()
		log.Reset()
		in := commands(t, message, message)
		var out Outcome
		if err := process(t.Context(), in, &out); err != nil {
			t.Fatal(err)
		}
		out.release(in)
		if got := strings.Count(log.String(), "\n"); got != len(want) {
			t.Errorf("%s: got %d lines, want %d: %s", message, got, len(want), log.String())
		}
		for _, w := range want {
			if !strings.Contains(log.String(), w) {
				t.Errorf("%s: got %s, want %s", message, log.String(), w)
			}
		}
	}
	f("lookup hosts h1")
	f("lookup host h1", `"level":"warn","module":"x","table":"host","known":["hosts"],"message":"module looks into a table`)
	f("lookup host h2")
	f("lookup owners h1", `"table":"owners"`)
	f("route errors")
	f("route errros", `"level":"warn","module":"x","error":"routed to \"errros\", which is no stream of the config","records":2,"on_error":"keep"`)
	f("route errros")
	now = now.Add(time.Minute)
	f("fail no luck", `"error":"no luck","records":4`)
	for i := range 100 {
		m.absent.note(m, fmt.Append(nil, i))
	}
	if got := strings.Count(log.String(), `"table":`); got != maxAbsent-2 {
		t.Errorf("got %d more names told of, want %d", got, maxAbsent-2)
	}
}

func TestMetricsCountWhatWentWell(t *testing.T) {
	set := metrics.NewSet()
	var log bytes.Buffer
	rt, err := NewRuntime(t.Context(), RuntimeOptions{Log: zerolog.New(&log), Metrics: set})
	if err != nil {
		t.Fatal(err)
	}
	m, err := rt.Load(t.Context(), Options{Name: "x", Code: assembly{}.bytes(), Grant: Grants{Metrics: true}})
	if err != nil {
		t.Fatal(err)
	}
	in := idle(t, m)
	add := func(name string, value float64) { asks(in, hostMetricAdd, []string{name}, math.Float64bits(value)) }
	value := func(name string) float64 {
		return set.GetOrCreateFloatCounter(fmt.Sprintf("runnel_guest_%s{module=%q}", name, "x")).Get()
	}
	add("bytes", 2.5)
	add("bytes", 2)
	in.added.start() // the call failed
	add("bytes", 1)
	add("lines", 3)
	if got := value("bytes"); got != 0 {
		t.Errorf("got %v before the call ended, want 0", got)
	}
	in.added.count()
	in.added.count()
	if b, l := value("bytes"), value("lines"); b != 1 || l != 3 {
		t.Errorf("got %v and %v, want 1 and 3", b, l)
	}
	for _, name := range []string{"", "Big", "9x", "a-b", "é", strings.Repeat("a", 65), strings.Repeat("a", 5000)} {
		add(name, 1)
	}
	for _, v := range []float64{-1, math.NaN(), math.Inf(1)} {
		add("bytes", v)
	}
	for i := range 100 {
		add(fmt.Sprintf("n%d", i), 1)
	}
	in.added.count()
	if got := len(m.guests.byName); got != maxMetrics {
		t.Errorf("got %d counters, want %d", got, maxMetrics)
	}
	if got := value("bytes"); got != 1 {
		t.Errorf("got %v, want 1 still", got)
	}
	if got := strings.Count(log.String(), "said once"); got != 1 {
		t.Errorf("said %d times, want once: %s", got, log.String())
	}
}

// calling is a guest that calls a host service of a type a thousand times for a batch.
func calling(service string, kind []byte, arguments ...byte) []byte {
	body := join(i32(1000), []byte{opLocalSet, 0, opLoop, voidBlock}, arguments, call1(0))
	if services[service].results != "" {
		body = append(body, 0x1a)
	}
	body = join(body, []byte{opLocalGet, 0}, i32(1), []byte{opI32Sub, 0x22, 0, opBrIf, 0, opEnd, 0x42, 0})
	return assembly{imports: [][2]string{{"runnel", service}}, types: kind, more: 1, importAs: firstType, process: body,
		data: []byte("hosts vm-1 GET /cart/17 200 abcdefgh abcdefgh abcdefgh /cart")}.bytes()
}

// callers has a guest for each service that is not of state.
func callers() map[string][]byte {
	i := byte(typeI32)
	return map[string][]byte{
		"now":        calling("now", []byte{0x60, 0, 1, typeI64}),
		"scan":       calling("scan", []byte{0x60, 4, i, i, i, i, 1, i}, join(i32(dataAt), i32(60), i32(dataAt+11), i32(4))...),
		"lookup":     calling("lookup", []byte{0x60, 6, i, i, i, i, i, i, 1, i}, join(i32(dataAt), i32(5), i32(dataAt+6), i32(4), i32(8192), i32(100))...),
		"metric_add": calling("metric_add", []byte{0x60, 3, i, i, 0x7c, 0}, join(i32(dataAt), i32(5), []byte{0x44, 0, 0, 0, 0, 0, 0, 0xf0, 0x3f})...),
		"log":        calling("log", []byte{0x60, 3, i, i, i, 0}, join(i32(1), i32(dataAt), i32(60))...),
	}
}

// calledBy loads one of callers, and grants it everything.
func calledBy(tb testing.TB, code []byte) *Module {
	tb.Helper()
	file := filepath.Join(tb.TempDir(), "hosts.csv")
	if err := os.WriteFile(file, []byte("host,owner\nvm-1,anna\n"), 0o600); err != nil {
		tb.Fatal(err)
	}
	table, err := LoadTable(file, "host")
	if err != nil {
		tb.Fatal(err)
	}
	return load(tb, Options{Code: code, Grant: Grants{Metrics: true}, Tables: map[string]*Table{"hosts": table}})
}

func TestHostCallsDoNotAllocate(t *testing.T) {
	in := commands(t, "one")
	for name, code := range callers() {
		m := calledBy(t, code)
		var out Outcome
		got := testing.AllocsPerRun(20, func() {
			if err := m.Process(t.Context(), in, &out); err != nil || out.Failed > 0 {
				t.Fatal(err, out.LastError)
			}
			out.release(in)
		})
		most := 2.0
		if name == "log" {
			most = 30 // the text of ten lines a second is kept
		}
		if got > most {
			t.Errorf("%s: got %v allocations for 1000 calls, want none", name, got)
		}
	}
}

// BenchmarkHostCall is one call of a host service by a guest that loops around it,
// in ns, the loop included.
//
//	go test -run '^$' -bench BenchmarkHostCall ./wasm
func BenchmarkHostCall(b *testing.B) {
	in := commands(b, "one")
	for name, code := range callers() {
		b.Run(name, func(b *testing.B) {
			m := calledBy(b, code)
			var out Outcome
			b.ReportAllocs()
			cpu := cpuMeter(b)
			for b.Loop() {
				if err := m.Process(b.Context(), in, &out); err != nil {
					b.Fatal(err)
				}
				out.release(in)
			}
			cpu(1000)
		})
	}
}
