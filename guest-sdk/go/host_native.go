//go:build !wasm

package runnel

// Simulated is what a guest did under Simulate.
type Simulated struct {
	Status   uint32   // of runnel_init; not 0: the guest refused its config
	Verdicts []byte   // the output of the last batch (ABI §4); nil if it kept all
	Lines    []string // what it logged, over all calls
}

// simulation stands in for the host where there is none.
var simulation struct {
	now   int64
	lines []string
}

func hostLog(_ uint32, line string) { simulation.lines = append(simulation.lines, line) }
func hostNow() int64                { return simulation.now }

// Simulate runs the registered handler natively, so that a guest can be tested
// with `go test`: config as JSON, the batch's clock in nanoseconds, and encoded
// batches (ABI §3). It is not safe for concurrent use.
func Simulate(config string, now int64, encoded ...[]byte) Simulated {
	simulation.now, simulation.lines = now, nil
	s := Simulated{Status: initialise([]byte(config))}
	if s.Status == 0 {
		for _, batch := range encoded {
			s.Verdicts = nil
			if process(pointerTo(batch)) {
				s.Verdicts = append([]byte(nil), out.buf...)
			}
		}
	}
	s.Lines = simulation.lines
	return s
}
