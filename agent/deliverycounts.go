package agent

import (
	"fmt"
	"sync"
	"sync/atomic"

	"github.com/VictoriaMetrics/metrics"

	"github.com/runnel-log/runnel/storage"
)

// deliveryCounts outlive a reload.
type deliveryCounts struct {
	set       *metrics.Set
	name      string
	delivered atomic.Uint64 // of all streams together
	retries   *metrics.Counter
	running   atomic.Pointer[delivery] // that counts here; nil when none does

	mu sync.Mutex
	// streams by name; guarded by mu.
	streams map[string]*streamCounts
}

// streamCounts are one forwarder's part of the ledger for one stream: what was
// stored is delivered, filtered, expired, damaged, dead or still pending. They
// move with the cursor, and only then, so that nothing is counted twice.
type streamCounts struct {
	delivered, filtered, expired, damaged, dead, repeated *metrics.Counter
	outlook                                               outlook
	top                                                   atomic.Uint64 // where the cursor had come to when it was set back by hand; 0: it was not
	trimmed                                               uint64        // behind the last that was trimmed early: noteEnds' own
}

// pass counts what a cursor passed.
func (c *deliveryCounts) pass(stream string, p storage.Passed) {
	counts := c.of(stream)
	counts.delivered.Add(int(p.Delivered))
	counts.filtered.Add(int(p.Filtered))
	counts.expired.Add(int(p.Expired))
	counts.damaged.Add(int(p.Damaged))
	counts.dead.Add(int(p.Dead))
	counts.repeated.Add(int(p.Repeated))
	c.delivered.Add(p.Delivered)
}

// passAgain counts what a redrive passed.
func (c *deliveryCounts) passAgain(stream string, p storage.Passed) {
	c.set.GetOrCreateCounter(fmt.Sprintf(`runnel_forwarder_redriven_records_total{forwarder=%q,stream=%q}`, c.name, stream)).Add(int(p.Delivered))
	c.set.GetOrCreateCounter(fmt.Sprintf(`runnel_forwarder_dead_records_total{forwarder=%q,stream=%q}`, c.name, stream)).Add(int(p.Dead))
	c.delivered.Add(p.Delivered)
}

func newDeliveryCounts(set *metrics.Set, name string) *deliveryCounts {
	return &deliveryCounts{set: set, name: name, streams: make(map[string]*streamCounts),
		retries: set.GetOrCreateCounter(fmt.Sprintf(`runnel_forwarder_retries_total{forwarder=%q}`, name))}
}

func (c *deliveryCounts) of(stream string) *streamCounts {
	c.mu.Lock()
	defer c.mu.Unlock()
	counts := c.streams[stream]
	if counts == nil {
		counter := func(what string) *metrics.Counter {
			return c.set.GetOrCreateCounter(fmt.Sprintf(`runnel_forwarder_%s_records_total{forwarder=%q,stream=%q}`, what, c.name, stream))
		}
		counts = &streamCounts{delivered: counter("delivered"), filtered: counter("filtered"), expired: counter("expired"), damaged: counter("damaged"),
			dead: counter("dead"), repeated: counter("repeated")}
		c.streams[stream] = counts
		gauge := func(what string, f func(d *delivery) float64) {
			c.set.GetOrCreateGauge(fmt.Sprintf(`runnel_forwarder_%s{forwarder=%q,stream=%q}`, what, c.name, stream), func() float64 {
				if d := c.running.Load(); d != nil {
					return f(d)
				}
				return 0
			})
		}
		gauge("pending_records", func(d *delivery) float64 { return float64(d.pending(stream)) })
		gauge("unended_records", func(d *delivery) float64 { return float64(d.unended(stream)) })
		gauge("lag_bytes", func(d *delivery) float64 { return float64(d.backlog(stream).Bytes) })
		gauge("lag_seconds", func(d *delivery) float64 { return d.backlog(stream).Age.Seconds() })
		gauge("full_seconds", func(d *delivery) float64 { return counts.outlook.fullSeconds(d.maxSize) })
	}
	return counts
}
