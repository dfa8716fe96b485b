package wasm

import (
	"fmt"
	"strings"
	"testing"

	"github.com/rs/zerolog"

	"github.com/runnel-log/runnel/record"
)

// watGuest is written in WebAssembly text, by the ABI's page alone.
const watGuest = "../guest-sdk/wat/dist/filter.wasm"

// severities makes a batch with a record of each severity given.
func severities(tb testing.TB, list ...record.Severity) *record.Batch {
	tb.Helper()
	b := new(record.Batch)
	var r record.Record
	for i, s := range list {
		r.Reset()
		r.Severity = s
		r.Message = fmt.Appendf(nil, "%d", i)
		if err := b.Append(&r); err != nil {
			tb.Fatal(err)
		}
	}
	return b
}

func TestGuestWithoutSDK(t *testing.T) {
	m := load(t, Options{File: watGuest, KnownStream: known})
	f := func(want string, list ...record.Severity) {
		t.Helper()
		in := severities(t, list...)
		var out Outcome
		if err := m.Process(t.Context(), in, &out); err != nil {
			t.Fatal(err)
		}
		defer out.release(in)
		var got []string
		for i := range out.Batch.Len() {
			v := out.Batch.At(i)
			got = append(got, string(v.Message())+string(v.Stream()))
		}
		for _, d := range out.Dropped {
			got = append(got, fmt.Sprintf("%s:%d", d.Reason, d.Count))
		}
		if g := strings.Join(got, " "); g != want || out.Failed > 0 {
			t.Errorf("%v: got %q want %q (%s)", list, g, want, out.LastError)
		}
	}
	f("0 1", 6, record.Absent)                 // an output of length 0
	f("0 2 3 debug:1", 6, 7, 5, 4)             // a filter
	f("debug:2", 7, 7)                         // a filter that drops all
	f("0errors 2 3errors debug:1", 3, 7, 4, 0) // a list
	f("0errors", 0)
	large := make([]record.Severity, 20_000) // a batch beyond the buffer that it gave at first
	for i := range large {
		large[i] = 7
	}
	f("debug:20000", large...)
	large[19_999] = 3
	f("19999errors debug:19999", large...)
}

func TestGuestWithoutSDKRefusesAConfig(t *testing.T) {
	rt, err := NewRuntime(t.Context(), RuntimeOptions{Log: zerolog.Nop()})
	if err != nil {
		t.Fatal(err)
	}
	_, err = rt.Load(t.Context(), Options{Name: "filter", File: watGuest, Config: []byte(`{"a":1}`)})
	if want := "this guest takes no config"; err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("got %v want %s", err, want)
	}
}
