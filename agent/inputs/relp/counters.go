package relp

import (
	"fmt"

	"github.com/VictoriaMetrics/metrics"
)

// counters are the input's metrics, beside its server's. A reload finds those of the input it
// replaces and goes on with them.
type counters struct {
	records, bytes       *metrics.Counter
	malformed, truncated *metrics.Counter
	duplicates           *metrics.Counter
	// Messages that came and got no answer; their clients send them again.
	unansweredRefused, unansweredUnknown *metrics.Counter

	errRead, errProtocol, errSlow, errWrite *metrics.Counter
}

func newCounters(set *metrics.Set, input string) *counters {
	counter := func(name, reason string) *metrics.Counter {
		labels := fmt.Sprintf("{input=%q}", input)
		if reason != "" {
			labels = fmt.Sprintf("{input=%q,reason=%q}", input, reason)
		}
		return set.GetOrCreateCounter("runnel_input_" + name + labels)
	}
	return &counters{
		records:    counter("records_total", ""),
		bytes:      counter("bytes_total", ""),
		malformed:  counter("malformed_total", ""),
		truncated:  counter("truncated_total", ""),
		duplicates: counter("duplicates_total", ""),

		unansweredRefused: counter("unanswered_total", "not_taken"),
		unansweredUnknown: counter("unanswered_total", "outcome_unknown"),

		errRead:     counter("errors_total", "read"),
		errProtocol: counter("errors_total", "protocol"),
		errSlow:     counter("errors_total", "slow"),
		errWrite:    counter("errors_total", "write"),
	}
}
