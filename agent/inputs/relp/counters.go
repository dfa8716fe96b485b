package relp

import (
	"fmt"

	"github.com/VictoriaMetrics/metrics"
)

// counters are the input's metrics. A reload finds those of the input it
// replaces and goes on with them.
type counters struct {
	records, bytes       *metrics.Counter
	malformed, truncated *metrics.Counter
	duplicates           *metrics.Counter
	connections          *metrics.Gauge // open now

	deniedAllow, deniedTotal, deniedAddress *metrics.Counter
	// Messages that came and got no answer; their clients send them again.
	unansweredRefused, unansweredUnknown *metrics.Counter

	errAccept, errRead, errPlainText, errHandshake, errProtocol, errSlow, errWrite *metrics.Counter
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
		records:     counter("records_total", ""),
		bytes:       counter("bytes_total", ""),
		malformed:   counter("malformed_total", ""),
		truncated:   counter("truncated_total", ""),
		duplicates:  counter("duplicates_total", ""),
		connections: set.GetOrCreateGauge(fmt.Sprintf("runnel_input_connections{input=%q}", input), nil),

		deniedAllow:       counter("denied_total", "allow"),
		deniedTotal:       counter("denied_total", "max_connections"),
		deniedAddress:     counter("denied_total", "per_address"),
		unansweredRefused: counter("unanswered_total", "not_taken"),
		unansweredUnknown: counter("unanswered_total", "outcome_unknown"),

		errAccept:    counter("errors_total", "accept"),
		errRead:      counter("errors_total", "read"),
		errPlainText: counter("errors_total", "plain_text"),
		errHandshake: counter("errors_total", "handshake"),
		errProtocol:  counter("errors_total", "protocol"),
		errSlow:      counter("errors_total", "slow"),
		errWrite:     counter("errors_total", "write"),
	}
}
