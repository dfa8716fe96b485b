package wasm

import (
	"errors"
	"fmt"
	"time"

	"github.com/VictoriaMetrics/metrics"
)

// Stats are a module's figures since it was loaded.
type Stats struct {
	Hash        string    // SHA-256 of the module as it was given, hexadecimal
	LastError   string    // why the guest failed last; empty if it never did
	LastErrorAt time.Time // when that was

	Records, Emitted, Dropped, Patched, Routed, Failed uint64

	Held, Released uint64 // records taken into the state, and let go
	Ticks          uint64

	Calls      uint64 // batches given to the guest, halves of a bisected one not counted
	Traps      uint64 // calls that ended in a trap, or a guest that exited
	Deadlines  uint64 // calls stopped at their time limit
	BadOutputs uint64 // calls whose output broke the ABI
	Bypassed   uint64 // records handled by on_error unseen, as the module kept failing
	Open       bool   // it is bypassed now

	LogSuppressed uint64        // lines beyond ten a second
	Recycled      uint64        // instances replaced, as their memory had grown
	Fuel          uint64        // used by guests, in units (ABI §7.2)
	Instances     int           // in being
	Memory        int64         // bytes of linear memory each may take
	Elapsed       time.Duration // between a batch's coming and its going, of all batches
	Slow          time.Duration // guest CPU of calls longer than about a millisecond
}

// counters are the module's metrics; they outlive it, as a reload loads it anew.
type counters struct {
	records, emitted, dropped, patched, routed, failed *metrics.Counter
	calls, traps, deadlines, outputs, bypassed         *metrics.Counter
	recycled                                           *metrics.Counter
	held, released, ticks                              *metrics.Counter
	seconds                                            *metrics.FloatCounter
}

func newCounters(set *metrics.Set, module string) counters {
	get := func(name, more string) *metrics.Counter {
		return set.GetOrCreateCounter(fmt.Sprintf("runnel_module_%s{module=%q%s}", name, module, more))
	}
	return counters{
		seconds:   set.GetOrCreateFloatCounter(fmt.Sprintf("runnel_module_seconds_total{module=%q}", module)),
		records:   get("records_total", ""),
		emitted:   get("emitted_records_total", ""),
		dropped:   get("dropped_records_total", ""),
		patched:   get("patched_records_total", ""),
		routed:    get("routed_records_total", ""),
		failed:    get("failed_records_total", ""),
		held:      get("held_records_total", ""),
		released:  get("released_records_total", ""),
		ticks:     get("ticks_total", ""),
		recycled:  get("recycled_instances_total", ""),
		bypassed:  get("bypassed_records_total", ""),
		calls:     get("batches_total", ""),
		traps:     get("failures_total", `,reason="trap"`),
		deadlines: get("failures_total", `,reason="deadline"`),
		outputs:   get("failures_total", `,reason="output"`),
	}
}

// spend adds the time since a batch was given to the module.
func (c *counters) spend(since time.Time) { c.seconds.Add(time.Since(since).Seconds()) }

// count adds the outcome of a batch of n records.
func (c *counters) count(n int, o *Outcome) {
	c.calls.Inc()
	c.records.Add(n)
	c.said(o)
}

// said adds an outcome, but for what was given to the guest.
func (c *counters) said(o *Outcome) {
	c.emitted.Add(o.Emitted)
	c.patched.Add(o.Patched)
	c.routed.Add(o.Routed)
	c.failed.Add(o.Failed)
	c.held.Add(o.Held)
	c.released.Add(o.Released)
	for _, d := range o.Dropped {
		c.dropped.Add(d.Count)
	}
}

// count notes the outcome of a batch of n records.
func (m *Module) count(n int, o *Outcome) {
	m.counters.count(n, o)
	m.remember(o)
}

// note notes the outcome of a call without a batch.
func (m *Module) note(o *Outcome) {
	m.counters.said(o)
	m.remember(o)
}

func (m *Module) remember(o *Outcome) {
	if o.LastError != "" {
		m.mu.Lock()
		m.lastError, m.lastErrorAt = o.LastError, time.Now()
		m.mu.Unlock()
	}
}

// failure counts a call the guest failed.
func (c *counters) failure(err error) {
	switch {
	case errors.As(err, new(errOutput)):
		c.outputs.Inc()
	case errors.Is(err, errDeadline):
		c.deadlines.Inc()
	default:
		c.traps.Inc()
	}
}

// Stats returns the module's figures. It may be called at any time.
func (m *Module) Stats() Stats {
	c := &m.counters
	m.mu.Lock()
	lastError, lastErrorAt := m.lastError, m.lastErrorAt
	m.mu.Unlock()
	return Stats{
		Hash: m.hash, LastError: lastError, LastErrorAt: lastErrorAt,
		Records: c.records.Get(), Emitted: c.emitted.Get(), Dropped: c.dropped.Get(),
		Patched: c.patched.Get(), Routed: c.routed.Get(), Failed: c.failed.Get(),
		Held: c.held.Get(), Released: c.released.Get(), Ticks: c.ticks.Get(),
		Calls: c.calls.Get(), Traps: c.traps.Get(), Deadlines: c.deadlines.Get(), BadOutputs: c.outputs.Get(),
		Bypassed: c.bypassed.Get(), Open: m.breaker.open(),
		LogSuppressed: m.said.suppressed.Load(), Instances: len(m.slots) + int(m.lined.Load()), Memory: m.options.Memory,
		Recycled: c.recycled.Get(), Fuel: m.fuel.Load(), Slow: time.Duration(m.spent.Load()), Elapsed: time.Duration(c.seconds.Get() * float64(time.Second)),
	}
}
