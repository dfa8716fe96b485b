//go:build !race

package wasm

import (
	"context"
	"testing"
	"time"
)

// TestProcessAllocatesNothing has no meaning under the race detector, which
// empties pools at random.
func TestProcessAllocatesNothing(t *testing.T) {
	m := load(t, Options{File: guest(t, classifyFolder), Config: []byte(`{"drop_debug":true,"errors_stream":"errors"}`),
		KnownStream: known, Time: time.Second})
	in := sample(t, 256)
	var out Outcome
	ctx := context.Background()
	got := testing.AllocsPerRun(50, func() {
		if err := m.Process(ctx, in, &out); err != nil {
			t.Fatal(err)
		}
		out.release(in)
	})
	// The pools may be emptied by a collection in between, so not quite none.
	if got > 2 {
		t.Errorf("got %v allocations for a batch of 256, want none", got)
	}
}

// TestLineAllocatesNothing: nor does an ordered module whose state is not touched.
func TestLineAllocatesNothing(t *testing.T) {
	said := output(verdict(0, kindDrop), verdict(1, kindPatch, op(1, "class", 'w', 'e', 'b')...), verdict(2, kindRelease, 'k'))
	body := append([]byte{0x42}, appendS64(nil, int64(uint64(dataAt)<<32|uint64(len(said))))...)
	code := stateful(assembly{imports: [][2]string{{"runnel", "state_get"}}, process: body, data: said})
	l := load(t, Options{Code: code, Grant: Grants{State: true}}).Line(NewState())
	in := sample(t, 256)
	var out Outcome
	ctx := context.Background()
	got := testing.AllocsPerRun(50, func() {
		if err := l.Process(ctx, in, &out); err != nil || out.Failed > 0 {
			t.Fatal(err, out.LastError)
		}
		l.Settle()
		out.release(in)
	})
	if got > 0 {
		t.Errorf("got %v allocations for a batch of 256, want none", got)
	}
}
