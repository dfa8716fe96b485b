package syslog

import (
	"fmt"

	"github.com/VictoriaMetrics/metrics"
)

// counters are the input's metrics. A reload finds those of the input it
// replaces and goes on with them.
type counters struct {
	records, bytes       *metrics.Counter
	malformed, truncated *metrics.Counter
	kernelDrops          *metrics.Counter
	connections          *metrics.Gauge // open now

	// Peers refused, connections or datagrams.
	deniedAllow, deniedTotal, deniedAddress *metrics.Counter
	// Records lost here: when nothing takes them, or their source sends too many.
	droppedRing, droppedEmit, droppedRate *metrics.Counter
	// Frames and datagrams with nothing in them.
	ignoredEmpty *metrics.Counter

	errAccept, errRead, errPlainText, errHandshake, errFrameCount, errMemory, errUnstored *metrics.Counter
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
		kernelDrops: counter("kernel_drops_total", ""),
		connections: set.GetOrCreateGauge(fmt.Sprintf("runnel_input_connections{input=%q}", input), nil),

		deniedAllow:   counter("denied_total", "allow"),
		deniedTotal:   counter("denied_total", "max_connections"),
		deniedAddress: counter("denied_total", "per_address"),
		droppedRing:   counter("dropped_total", "ring_full"),
		droppedRate:   counter("dropped_total", "rate"),
		droppedEmit:   counter("dropped_total", "not_taken"),
		ignoredEmpty:  counter("ignored_total", "empty"),

		errAccept:     counter("errors_total", "accept"),
		errRead:       counter("errors_total", "read"),
		errPlainText:  counter("errors_total", "plain_text"),
		errHandshake:  counter("errors_total", "handshake"),
		errFrameCount: counter("errors_total", "octet_count"),
		errMemory:     counter("errors_total", "memory"),
		errUnstored:   counter("errors_total", "outcome_unknown"),
	}
}
