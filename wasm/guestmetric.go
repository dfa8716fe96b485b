package wasm

import (
	"context"
	"fmt"
	"math"
	"sync"

	"github.com/VictoriaMetrics/metrics"
	"github.com/tetratelabs/wazero/api"
)

// Bounds on the counters of a module's own (ABI §5.4).
const (
	maxMetrics    = 64
	maxMetricName = 64
)

// guestCounters are the counters a module has made, shared by its instances.
type guestCounters struct {
	set    *metrics.Set
	module string
	events events
	said   sync.Once // that something was not added

	mu     sync.Mutex
	byName map[string]*metrics.FloatCounter // guarded by mu
}

// counter returns the counter of a name, made when first asked for; nil if the
// module may not have it.
func (g *guestCounters) counter(name []byte) *metrics.FloatCounter {
	g.mu.Lock()
	defer g.mu.Unlock()
	if c, ok := g.byName[string(name)]; ok {
		return c
	}
	if !metricName(name) || len(g.byName) >= maxMetrics {
		return nil
	}
	if g.byName == nil {
		g.byName = map[string]*metrics.FloatCounter{}
	}
	c := g.set.GetOrCreateFloatCounter(fmt.Sprintf("runnel_guest_%s{module=%q}", name, g.module))
	g.byName[string(name)] = c
	return c
}

// metricName reports whether a guest may name a counter so: [a-z][a-z0-9_]*.
func metricName(name []byte) bool {
	if len(name) == 0 || len(name) > maxMetricName || name[0] < 'a' || name[0] > 'z' {
		return false
	}
	for _, c := range name {
		if (c < 'a' || c > 'z') && (c < '0' || c > '9') && c != '_' {
			return false
		}
	}
	return true
}

// refuse says once why something is not added.
func (g *guestCounters) refuse(name []byte, why string) {
	g.said.Do(func() { g.events.metricRefused(name[:min(len(name), maxMetricName)], why) })
}

// added is what a call has added to counters. It is counted when the call has
// gone well, and forgotten when it has not.
type added struct {
	index map[string]int // of each counter the instance has used, in sums
	sums  []sum
	any   bool // a sum is not nought
}

type sum struct {
	counter *metrics.FloatCounter
	value   float64
}

// start forgets what was not counted.
func (a *added) start() {
	if !a.any {
		return
	}
	a.any = false
	for i := range a.sums {
		a.sums[i].value = 0
	}
}

// count adds to the counters what the call has.
func (a *added) count() {
	if !a.any {
		return
	}
	for i := range a.sums {
		if s := &a.sums[i]; s.value != 0 {
			s.counter.Add(s.value)
		}
	}
	a.start()
}

// hostMetricAdd is runnel.metric_add(name, value f64) (ABI §5.4).
func hostMetricAdd(ctx context.Context, stack []uint64) {
	in := caller(ctx)
	name, value := in.region(uint32(stack[0]), uint32(stack[1])), api.DecodeF64(stack[2])
	name = name[:min(len(name), maxMetricName+1)] // too long already
	in.served(len(name))
	guests := &in.module.guests
	if !(value >= 0) || math.IsInf(value, 0) {
		guests.refuse(name, "the value is negative or not finite")
		return
	}
	a := &in.added
	i, ok := a.index[string(name)]
	if !ok {
		c := guests.counter(name)
		if c == nil {
			guests.refuse(name, "a name is [a-z][a-z0-9_]*, at most 64 bytes, and a module has at most 64")
			return
		}
		if a.index == nil {
			a.index = map[string]int{}
		}
		i = len(a.sums)
		a.index[string(name)] = i
		a.sums = append(a.sums, sum{counter: c})
	}
	a.sums[i].value += value
	a.any = true
}
