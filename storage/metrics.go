package storage

import (
	"fmt"

	"github.com/VictoriaMetrics/metrics"
)

// meters are the store's metrics; without a set they count for nobody.
type meters struct {
	set *metrics.Set

	commits, commitErrors, bytes, damaged *metrics.Counter
	commitSeconds                         *metrics.Summary
	gauges                                []string
}

func newMeters(set *metrics.Set) *meters {
	if set == nil {
		set = metrics.NewSet()
	}
	return &meters{
		set:           set,
		commits:       set.GetOrCreateCounter("runnel_store_commits_total"),
		commitErrors:  set.GetOrCreateCounter("runnel_store_commit_errors_total"),
		bytes:         set.GetOrCreateCounter("runnel_store_bytes_total"),
		damaged:       set.GetOrCreateCounter("runnel_store_blocks_damaged_total"),
		commitSeconds: set.GetOrCreateSummary("runnel_store_commit_seconds"),
	}
}

func (m *meters) ofStream(name, stream string) *metrics.Counter {
	return m.set.GetOrCreateCounter(fmt.Sprintf("%s{stream=%q}", name, stream))
}

func (m *meters) records(stream string) *metrics.Counter {
	return m.ofStream("runnel_stream_records_total", stream)
}

func (m *meters) expired(stream string) *metrics.Counter {
	return m.ofStream("runnel_stream_expired_total", stream)
}

func (m *meters) lost(stream string) *metrics.Counter {
	return m.ofStream("runnel_stream_damaged_total", stream)
}

func (m *meters) dropped(stream string) *metrics.Counter {
	return m.ofStream("runnel_stream_dropped_total", stream)
}

// gauge publishes a number that is asked for when someone scrapes.
func (m *meters) gauge(name string, f func() float64) {
	m.set.UnregisterMetric(name) // of an earlier store on the same set
	m.set.NewGauge(name, f)
	m.gauges = append(m.gauges, name)
}

// forget takes the gauges back, so that a closed store can be collected.
func (m *meters) forget() {
	for _, name := range m.gauges {
		m.set.UnregisterMetric(name)
	}
}

// publish registers what a scrape asks the store for.
func (s *Store) publishGauges() {
	s.metrics.gauge("runnel_store_segments", func() float64 {
		s.mu.RLock()
		defer s.mu.RUnlock()
		return float64(len(s.segments))
	})
	s.metrics.gauge("runnel_store_disk_bytes", func() float64 {
		s.mu.RLock()
		defer s.mu.RUnlock()
		sum := int64(0)
		for _, g := range s.segments {
			sum += g.size.Load()
		}
		return float64(sum)
	})
	s.metrics.gauge("runnel_store_refusing", func() float64 {
		if s.Trouble() != nil {
			return 1
		}
		return 0
	})
	s.metrics.gauge("runnel_store_staged_bytes", func() float64 { return float64(s.intake.staged()) })
}

// publishStream registers one stream's gauges.
func (s *Store) publishStream(st *stream) {
	number := func(name string, f func() float64) {
		s.metrics.gauge(fmt.Sprintf("%s{stream=%q}", name, st.name), func() float64 {
			s.mu.RLock()
			defer s.mu.RUnlock()
			return f()
		})
	}
	number("runnel_stream_bytes", func() float64 { return float64(st.bytes) })
	number("runnel_stream_raw_bytes", func() float64 { return float64(st.raw) })
	number("runnel_stream_records", func() float64 { return float64(st.records) })
}
