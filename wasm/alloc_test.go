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
