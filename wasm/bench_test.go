package wasm

import (
	"fmt"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/VictoriaMetrics/metrics"
	"github.com/rs/zerolog"

	"github.com/runnel-log/runnel/record"
)

// sample makes a batch as a web host sends it: messages of 200 bytes, three
// attributes, one in sixteen an error.
func sample(tb testing.TB, n int) *record.Batch {
	tb.Helper()
	b := record.NewBatch()
	var r record.Record
	for i := range n {
		r.Reset()
		r.Time, r.Received = int64(i)*1e6, int64(i)*1e6+5
		r.Severity, r.Facility = 6, 3
		if i%16 == 3 {
			r.Severity = 3
		}
		r.Host, r.App, r.ProcID = []byte("vm-17"), []byte("shop"), []byte("2833")
		r.Input, r.Peer, r.Agent = []byte("docker"), []byte("127.0.0.1"), []byte("vm-17")
		r.Message = fmt.Appendf(nil, "GET /cart/%d 200 %s", i, strings.Repeat("abcdefgh ", 20))
		r.Attrs.SetInt("status", 200)
		r.Attrs.SetString("path", "/cart")
		r.Attrs.SetString("method", "GET")
		if err := b.Append(&r); err != nil {
			tb.Fatal(err)
		}
	}
	return b
}

// quarterDebug is sample with every fourth record a debug one.
func quarterDebug(tb testing.TB, n int) *record.Batch {
	tb.Helper()
	in, out := sample(tb, n), record.NewBatch()
	var r record.Record
	for i := range n {
		in.At(i).Decode(&r)
		if i%4 == 1 {
			r.Severity = 7
		}
		if err := out.Append(&r); err != nil {
			tb.Fatal(err)
		}
	}
	in.Release()
	return out
}

func load(tb testing.TB, o Options) *Module {
	tb.Helper()
	return loadIn(tb, o, nil)
}

// loadIn is load with the metrics in a set.
func loadIn(tb testing.TB, o Options, set *metrics.Set) *Module {
	tb.Helper()
	rt, err := NewRuntime(tb.Context(), RuntimeOptions{CacheDir: filepath.Join(built.dir, "cache"), Log: zerolog.Nop(), Metrics: set})
	if err != nil {
		tb.Fatal(err)
	}
	if o.Name == "" {
		o.Name = "test"
	}
	m, err := rt.Load(tb.Context(), o)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		if err := m.Close(tb.Context()); err != nil && tb.Context().Err() == nil {
			tb.Error(err)
		}
	})
	return m
}

// BenchmarkProcess is the host's and the guest's work over a batch of 256, in
// ns a record. It says nothing of parsing, storing or forwarding. keep-all is a
// guest that does nothing: the host's share. keepdrop drops debug records, a
// quarter of them; route reads three fields, adds one and routes. native rows are
// the same work and classify's, written against package record, for comparison in
// the same run.
//
//	go test -run '^$' -bench BenchmarkProcess -count 6 ./wasm
func BenchmarkProcess(b *testing.B) {
	for _, c := range []struct {
		name    string
		options Options
	}{
		{"keep-all", Options{Code: assembly{}.bytes()}},
		{"go/keepdrop", Options{File: "../guest-sdk/go/bench", Config: []byte(`{"do":"keepdrop"}`)}},
		{"go/route", Options{File: "../guest-sdk/go/bench", Config: []byte(`{"do":"route"}`)}},
		{"c/keepdrop", Options{File: "../guest-sdk/c/dist/bench.wasm", Config: []byte(`{"do":"keepdrop"}`)}},
		{"c/route", Options{File: "../guest-sdk/c/dist/bench.wasm", Config: []byte(`{"do":"route"}`)}},
		{"rust/keepdrop", Options{File: "../guest-sdk/rust/dist/bench.wasm", Config: []byte(`{"do":"keepdrop"}`)}},
		{"rust/route", Options{File: "../guest-sdk/rust/dist/bench.wasm", Config: []byte(`{"do":"route"}`)}},
		{"assemblyscript/keepdrop", Options{File: "../guest-sdk/assemblyscript/dist/bench.wasm", Config: []byte(`{"do":"keepdrop"}`)}},
		{"assemblyscript/route", Options{File: "../guest-sdk/assemblyscript/dist/bench.wasm", Config: []byte(`{"do":"route"}`)}},
		{"classify", Options{Config: []byte(`{"drop_debug":true,"errors_stream":"errors"}`)}},
		{"classify+redact", Options{Config: []byte(`{"drop_debug":true,"errors_stream":"errors","redact":true}`)}},
	} {
		b.Run(c.name, func(b *testing.B) {
			switch { // a File that is a folder is a Go guest's, to be built
			case c.options.Code != nil:
			case c.options.File == "":
				c.options.File = guest(b, classifyFolder)
			case filepath.Ext(c.options.File) == "":
				c.options.File = guest(b, c.options.File)
			}
			c.options.Time, c.options.KnownStream = time.Second, known
			m := load(b, c.options)
			in := sample(b, 256)
			if strings.HasSuffix(c.name, "keepdrop") {
				in = quarterDebug(b, 256)
			}
			var out Outcome
			b.SetBytes(int64(in.Size()))
			b.ReportAllocs()
			cpu := cpuMeter(b)
			for b.Loop() {
				if err := m.Process(b.Context(), in, &out); err != nil {
					b.Fatal(err)
				}
				out.release(in)
			}
			cpu(256)
		})
	}
	for _, c := range []struct {
		name string
		in   *record.Batch
		work func(in, out *record.Batch)
	}{{"native/keepdrop", quarterDebug(b, 256), nativeKeepDrop}, {"native/route", sample(b, 256), nativeRoute}, {"native/classify", sample(b, 256), native}} {
		b.Run(c.name, func(b *testing.B) {
			b.SetBytes(int64(c.in.Size()))
			b.ReportAllocs()
			cpu := cpuMeter(b)
			for b.Loop() {
				out := record.NewBatch()
				c.work(c.in, out)
				out.Release()
			}
			cpu(256)
		})
	}
}

// nativeKeepDrop is what the guests' keepdrop does.
func nativeKeepDrop(in, out *record.Batch) {
	kept := 0
	for i := range in.Len() {
		if in.At(i).Severity() == 7 {
			out.AppendBatch(in, kept, i)
			kept = i + 1
		}
	}
	out.AppendBatch(in, kept, in.Len())
}

// nativeRoute is what the guests' route does.
func nativeRoute(in, out *record.Batch) {
	attr := append(append([]byte{byte(record.String), 0, 5, 0, 3, 0, 0, 0}, "class"...), "web"...)
	for i := range in.Len() {
		v := in.At(i)
		var stream []byte
		if v.Severity() <= 3 && len(v.App())+len(v.Host())+len(v.Message()) > 0 {
			stream = []byte("errors")
		}
		if err := out.AppendExtended(v, stream, attr, 1); err != nil {
			panic(err)
		}
	}
}

// native is the example module's work without a guest.
func native(in, out *record.Batch) {
	var r record.Record
	for i := range in.Len() {
		v := in.At(i)
		if v.Severity() == 7 {
			continue
		}
		v.Decode(&r)
		class := "text"
		switch string(r.App) {
		case "sshd", "sudo", "su", "login":
			class = "auth"
		case "nginx", "apache2", "httpd", "haproxy", "caddy":
			class = "web"
		}
		if len(r.Message) > 0 && r.Message[0] == '{' {
			class = "json"
		}
		r.Attrs.SetString("class", class)
		if r.Severity <= 3 {
			r.Stream = []byte("errors")
		}
		if err := out.Append(&r); err != nil {
			panic(err)
		}
	}
}

// BenchmarkLoad is a start from the cache of compiled code, the guest's own
// start-up included.
//
//	go test -run '^$' -bench BenchmarkLoad ./wasm
func BenchmarkLoad(b *testing.B) {
	file, dir := guest(b, classifyFolder), b.TempDir()
	start := func() {
		rt, err := NewRuntime(b.Context(), RuntimeOptions{CacheDir: dir, Log: zerolog.Nop()})
		if err != nil {
			b.Fatal(err)
		}
		m, err := rt.Load(b.Context(), Options{Name: "classify", File: file})
		if err != nil {
			b.Fatal(err)
		}
		if err := m.Close(b.Context()); err != nil {
			b.Fatal(err)
		}
		if err := rt.Close(b.Context()); err != nil {
			b.Fatal(err)
		}
	}
	start()
	for b.Loop() {
		start()
	}
}

// cpuMeter measures the CPU time of the benchmark's thread, since the wall
// clock of a shared machine says little; what it returns reports it.
func cpuMeter(b *testing.B) func(records int) {
	runtime.LockOSThread()
	from := threadTime()
	return func(records int) {
		spent := threadTime() - from
		runtime.UnlockOSThread()
		b.ReportMetric(float64(spent.Nanoseconds())/float64(b.N)/float64(records), "cpu-ns/record")
	}
}
