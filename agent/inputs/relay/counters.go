package relay

import (
	"fmt"

	"github.com/VictoriaMetrics/metrics"
)

// counters are the input's metrics, beside its server's. A reload finds those of the input it
// replaces and goes on with them.
type counters struct {
	records, bytes *metrics.Counter // that were new here
	known          *metrics.Counter // that were not, and are not stored a second time
	looped         *metrics.Counter // that this agent had stored first, and are not stored again
	frames         *metrics.Counter

	goneRetention, goneDamage, goneDoubt *metrics.Counter // what senders had no more

	failed map[string]*metrics.Counter // by reason
}

// reasons are those for which a session ends.
var reasons = []string{"read", "slow", "write", "not_taken", "outcome_unknown",
	"protocol", "version", "identity", "origin", "loop", "fenced", "known", "hole"}

func newCounters(set *metrics.Set, input string) *counters {
	counter := func(name, reason string) *metrics.Counter {
		labels := fmt.Sprintf("{input=%q}", input)
		if reason != "" {
			labels = fmt.Sprintf("{input=%q,reason=%q}", input, reason)
		}
		return set.GetOrCreateCounter("runnel_input_" + name + labels)
	}
	c := &counters{
		records: counter("records_total", ""),
		bytes:   counter("bytes_total", ""),
		known:   counter("known_records_total", ""),
		looped:  counter("looped_records_total", ""),
		frames:  counter("frames_total", ""),

		goneRetention: counter("gone_records_total", "retention"),
		goneDamage:    counter("gone_records_total", "damage"),
		goneDoubt:     counter("gone_records_total", "doubt"),

		failed: make(map[string]*metrics.Counter, len(reasons)),
	}
	for _, reason := range reasons {
		c.failed[reason] = counter("errors_total", reason)
	}
	return c
}

// errors returns the counter of one of reasons.
func (c *counters) errors(reason string) *metrics.Counter { return c.failed[reason] }
