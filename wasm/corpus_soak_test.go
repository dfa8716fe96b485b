//go:build soak

package wasm

import (
	"testing"

	"github.com/runnel-log/runnel/record"
)

// TestHostileModulesForLong runs each as a config without bounds of its own would,
// over ten batches, poisoned and not, under each policy.
func TestHostileModulesForLong(t *testing.T) {
	plain, poisoned := realRecords(t, 18*256)
	for _, h := range hostiles(t) {
		if h.fate == "refused" {
			continue
		}
		t.Run(h.name, func(t *testing.T) {
			h.state, h.time = DefaultState, DefaultTime
			for _, policy := range []OnError{Keep, Drop, DeadLetter} {
				tr := newTrial(t, h, Auto)
				o := tr.options(t)
				o.Memory, o.OnError = DefaultMemory, policy
				m := tr.load(t, o)
				if m == nil {
					return
				}
				tr.base = watchMemory()
				for _, list := range [][]*record.Record{plain, poisoned} {
					tr.run(t, m, repeated(batchesOf(t, list[:min(len(list), 18*h.records)], h.records), 5), func(*record.Batch, *Outcome) {})
				}
				tr.growth = peakMemory() - tr.base
				tr.close(t, m)
				t.Logf("%s: memory grew by %d KiB", policy, tr.growth>>10)
			}
		})
	}
}
