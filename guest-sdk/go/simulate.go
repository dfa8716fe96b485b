//go:build !wasm

package runnel

// Simulation stands in for the host where there is none, so that a guest can be
// tested with `go test`. It keeps state and held records as a host does, and
// shows them; it bounds neither time nor memory, and a panic fails the test. Of
// records it makes nothing: for those, `runnel module test` runs the module
// itself. It is not safe for concurrent use.
type Simulation struct {
	Now    int64                        // the clock, in nanoseconds since 1970 UTC; set it as you please
	Tables map[string]map[string]string // of Lookup: rows as JSON, by table and key

	State   map[string]string   // of the module, as the last call left it
	Held    map[string][][]byte // encoded records, by key
	Metrics map[string]float64  // what Metric counted
	Lines   []string            // what it logged, over all calls
	Emitted []View              // the records that the last call made, by Emit and Replace

	starting bool
}

// simulation is the one that runs.
var simulation *Simulation

// Start gives the guest its config, as JSON, and returns the status of
// runnel_init: not 0 refuses it, and Lines says why. Started again with the
// state it had, it does what a restart of the agent does.
func (s *Simulation) Start(config string) uint32 {
	simulation, s.starting = s, true
	defer func() { s.starting = false }()
	return initialise([]byte(config))
}

// Process gives the guest an encoded batch (ABI §3) and returns its verdicts
// (ABI §4); nil: it keeps all.
func (s *Simulation) Process(batch []byte) []byte {
	simulation = s
	return s.apply(process(pointerTo(batch)), batch)
}

// Tick and Flush call what package tick registered.
func (s *Simulation) Tick() []byte {
	simulation = s
	return s.apply(tick(ticking, s.Now), nil)
}

// Flush is explained at Tick.
func (s *Simulation) Flush() []byte {
	simulation = s
	return s.apply(tick(flushing, s.Now), nil)
}

// apply does what the verdicts say of held records.
func (s *Simulation) apply(some bool, batch []byte) []byte {
	s.Emitted = nil
	if !some {
		return nil
	}
	verdicts := append([]byte(nil), out.buf...)
	for rest := verdicts[outHeader:]; len(rest) > 0; {
		n := load32(pointerTo(rest), 0)
		index, kind, body := load32(pointerTo(rest), 4), rest[8], rest[verdHeader:n]
		rest = rest[n:]
		switch kind {
		case kindHold:
			if s.Held == nil {
				s.Held = map[string][][]byte{}
			}
			s.Held[string(body)] = append(s.Held[string(body)], recordAt(batch, index))
		case kindRelease:
			delete(s.Held, string(body))
		case kindMerge, kindDiscard:
			delete(s.Held, string(body[keyHeader:keyHeader+load16(pointerTo(body), 0)]))
		case kindEmit, kindReplace:
			var v View
			v.point(pointerTo(body))
			s.Emitted = append(s.Emitted, v)
		}
	}
	return verdicts
}

func recordAt(batch []byte, index uint32) []byte {
	rest := batch[batchHeader:]
	for range index {
		rest = rest[load32(pointerTo(rest), recSize):]
	}
	return append([]byte(nil), rest[:load32(pointerTo(rest), recSize)]...)
}

// Simulated is what a guest did under Simulate.
type Simulated struct {
	Status   uint32   // of runnel_init; not 0: the guest refused its config
	Verdicts []byte   // the output of the last batch (ABI §4); nil if it kept all
	Lines    []string // what it logged, over all calls
}

// Simulate runs the registered handler over batches: a Simulation in one call,
// for a guest without state.
func Simulate(config string, now int64, encoded ...[]byte) Simulated {
	s := Simulation{Now: now}
	done := Simulated{Status: s.Start(config)}
	if done.Status == 0 {
		for _, batch := range encoded {
			done.Verdicts = s.Process(batch)
		}
	}
	done.Lines = s.Lines
	return done
}
