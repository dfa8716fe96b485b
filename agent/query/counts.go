package query

import (
	"fmt"

	"github.com/VictoriaMetrics/metrics"
)

// counts are the API's own metrics; docs/metrics.md lists them.
type counts struct {
	set       *metrics.Set
	routes    map[string]route
	strangers *metrics.Counter
	refused   *metrics.Counter
	damaged   *metrics.Counter
	scanned   *metrics.Counter
	took      *metrics.FloatCounter       // seconds, all questions together
	dropped   map[string]*metrics.Counter // tails by reason
}

func newCounts(set *metrics.Set, routes map[string]route, tails func() float64) counts {
	// A server that takes another's place must not leave its gauge behind.
	set.UnregisterMetric(`runnel_tail_clients`)
	set.NewGauge(`runnel_tail_clients`, tails)
	return counts{
		set: set, routes: routes,
		strangers: set.GetOrCreateCounter(`runnel_api_auth_failures_total`),
		refused:   set.GetOrCreateCounter(`runnel_api_refused_requests_total`),
		damaged:   set.GetOrCreateCounter(`runnel_query_damaged_records_total`),
		scanned:   set.GetOrCreateCounter(`runnel_query_scanned_bytes_total`),
		took:      set.GetOrCreateFloatCounter(`runnel_query_seconds_total`),
		dropped: map[string]*metrics.Counter{
			"slow": set.GetOrCreateCounter(`runnel_tail_dropped_clients_total{reason="slow"}`),
			"full": set.GetOrCreateCounter(`runnel_tail_dropped_clients_total{reason="full"}`),
		},
	}
}

// answered counts one request. The label is a path that exists, or anyone could
// fill the memory with names of their own.
func (c counts) answered(path string, code int) {
	if _, known := c.routes[path]; !known {
		path = "other"
	}
	c.set.GetOrCreateCounter(fmt.Sprintf(`runnel_api_requests_total{path=%q,code="%d"}`, path, code)).Inc()
}
