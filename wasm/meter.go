package wasm

import (
	"runtime"
	"time"

	"github.com/tetratelabs/wazero/api"
)

// What a call may do is counted in fuel, which is the same on every machine, and
// that decides when it is stopped: the same batch then has the same verdicts
// everywhere. The CPU time it takes is the backstop, for a guest whose
// instructions are slower than most, and looked at when fuel is asked for.
// docs/rationale.md "Why does fuel decide, and not time?"

// quantumTime is what a quantum of fuel stands for: `time` in a module's config
// buys one for each.
const quantumTime = 50 * time.Microsecond

// interpretedTime is how many times as long a guest may take where it is
// interpreted: its fuel is what it is, and takes up to a hundred times as long.
const interpretedTime = 100

// callCost is what a call of the host costs in units, beside the bytes it works
// on, 8 of which are a unit as they are to bulk memory operations (fuel.go).
const callCost = 64

// meter counts what a call does.
type meter struct {
	time time.Duration // that the fuel is for
	cpu  time.Duration // that it may take
	most uint32        // quanta for a call
	fuel api.MutableGlobal

	quanta uint32 // begun by the call at hand
	look   uint32 // how many there are when the clock and the stack are looked at next
	host   uint32 // units used by its calls of the host since the last quantum
	clock  stopwatch
}

// allow sets what the next calls may do.
func (m *meter) allow(t time.Duration, interpreted bool) {
	m.time, m.cpu, m.most = t, t, max(1, uint32(min(t/quantumTime, 1<<31)))
	if interpreted {
		m.cpu *= interpretedTime
	}
}

// start begins a call with a full quantum, whatever the last one left.
func (m *meter) start() {
	m.quanta, m.host, m.look = 0, 0, lookEvery
	m.fuel.Set(quantum)
}

// stop ends the call and returns what it used, in units, and the CPU time of all
// but its first quantum.
func (m *meter) stop() (fuel uint64, cpu time.Duration) {
	left := min(max(int32(m.fuel.Get()), 0), quantum)
	return uint64(m.quanta)*quantum + uint64(quantum-left) + uint64(m.host), m.clock.stop()
}

// yield begins another quantum, or stops the guest; debt are the units that the
// last one was exceeded by. It reports whether it is time to look at what takes
// longer to look at.
func (m *meter) yield(debt uint32) bool {
	if m.quanta += 1 + debt/quantum; m.quanta >= m.most {
		panic(errFuel)
	}
	if m.quanta < m.look {
		return false
	}
	m.look = m.quanta + lookEvery
	return true
}

// lookEvery is how many quanta go by between two looks at the clock and the stack.
const lookEvery = 2

// charge takes what a call of the host costs and reports whether that uses up a
// quantum.
func (m *meter) charge(bytes int) bool {
	m.host += callCost + uint32(bytes)/8
	return m.host >= quantum
}

// stopwatch measures the CPU time of one call. It starts at the call's first
// yield, since the system call costs more than many a call: a quantum, well under
// a millisecond, is not counted.
type stopwatch struct {
	started bool
	from    time.Duration
}

// running returns the CPU time since the first call of it.
func (s *stopwatch) running() time.Duration {
	if !s.started {
		runtime.LockOSThread() // or the time of two threads would be compared
		s.started, s.from = true, threadTime()
		return 0
	}
	return threadTime() - s.from
}

// stop ends the measurement and returns it.
func (s *stopwatch) stop() time.Duration {
	if !s.started {
		return 0
	}
	s.started = false
	spent := threadTime() - s.from
	runtime.UnlockOSThread()
	return spent
}
