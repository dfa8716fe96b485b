package wasm

import (
	"crypto/sha256"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/runnel-log/runnel/record"
)

// TestHostileModulesOnBothEngines: the interpreter makes of them what the compiler
// does, byte for byte; what is native, the compiler makes twice. Those without end have four quanta and a record, since the
// interpreter takes a hundred times as long for the same fuel.
func TestHostileModulesOnBothEngines(t *testing.T) {
	list, _ := realRecords(t, 18*256)
	for _, h := range hostiles(t) {
		if h.fate == "refused" {
			continue
		}
		t.Run(h.name, func(t *testing.T) {
			if h.endless {
				h.time, h.records, h.batches = 200*time.Microsecond, 1, 1
			} else {
				h.batches = min(h.batches, 6)
			}
			if h.fate == "some fail" {
				h.fate = "" // in as many batches as these
			}
			batches := repeated(batchesOf(t, list[:h.records*min(h.batches, 18)], h.records), h.batches)
			var told [2][]string
			for i, engine := range []Engine{Compiler, Interpreter} {
				if h.native {
					engine = Compiler
				}
				tr := newTrial(t, h, engine)
				m := tr.load(t, tr.options(t))
				if m == nil {
					return
				}
				tr.run(t, m, batches, func(_ *record.Batch, out *Outcome) { told[i] = append(told[i], digest(out)) })
				tr.close(t, m)
			}
			if !slices.Equal(told[0], told[1]) {
				t.Errorf("compiler    %s\ninterpreter %s", told[0], told[1])
			}
		})
	}
}

// digest tells outcomes apart, but for the words of an error.
func digest(o *Outcome) string {
	sum := sha256.New()
	for _, b := range []*record.Batch{o.Batch, o.Dead} {
		if b != nil && b.Len() > 0 {
			sum.Write(b.Bytes())
		}
		sum.Write([]byte{0})
	}
	return fmt.Sprintf("%x %v %d %d %d %d %d %d", sum.Sum(nil)[:8], o.Dropped, o.Emitted, o.Patched, o.Routed, o.Failed, o.Held, o.Released)
}
