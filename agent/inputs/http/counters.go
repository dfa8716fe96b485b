package http

import (
	"fmt"
	"strconv"

	"github.com/VictoriaMetrics/metrics"
)

// counters are the input's metrics. A reload finds those of the input it
// replaces and goes on with them.
type counters struct {
	records, bytes       *metrics.Counter
	malformed, truncated *metrics.Counter
	connections          *metrics.Gauge // open now
	repeated             *metrics.Counter
	requests             func(code int) *metrics.Counter

	deniedAllow, deniedTotal, deniedAddress *metrics.Counter
	ignoredEmpty                            *metrics.Counter

	errAccept, errPlainText, errHandshake, errUnstored *metrics.Counter
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
		repeated:    counter("repeated_requests_total", ""),
		connections: set.GetOrCreateGauge(fmt.Sprintf("runnel_input_connections{input=%q}", input), nil),
		requests: func(code int) *metrics.Counter {
			return set.GetOrCreateCounter(fmt.Sprintf("runnel_input_requests_total{input=%q,code=%q}", input, strconv.Itoa(code)))
		},

		deniedAllow:   counter("denied_total", "allow"),
		deniedTotal:   counter("denied_total", "max_connections"),
		deniedAddress: counter("denied_total", "per_address"),
		ignoredEmpty:  counter("ignored_total", "empty"),

		errAccept:    counter("errors_total", "accept"),
		errPlainText: counter("errors_total", "plain_text"),
		errHandshake: counter("errors_total", "handshake"),
		errUnstored:  counter("errors_total", "outcome_unknown"),
	}
}

// publish shows what the input remembers of requests.
func (c *counters) publish(set *metrics.Set, input string, k *keys) {
	set.GetOrCreateGauge(fmt.Sprintf("runnel_input_keys{input=%q}", input), func() float64 { return float64(k.kept()) })
	k.evicted(set.GetOrCreateCounter(fmt.Sprintf("runnel_input_keys_evicted_total{input=%q}", input)))
}

// took counts what is stored.
func (c *counters) took(records int, d *decoder) {
	c.records.Add(records)
	c.bytes.Add(d.bytes)
	c.malformed.Add(d.malformed)
	c.truncated.Add(d.truncated)
	c.ignoredEmpty.Add(d.empty)
}
