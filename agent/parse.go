package agent

import (
	"bytes"
	"context"
	"math"
	"strconv"
	"time"

	"github.com/runnel-log/runnel/record"
)

// parseStep turns the fields of a structured message into attributes. The
// message itself stays as it was.
type parseStep struct {
	parse     func(msg []byte, attrs *record.Attrs) bool
	mapFields bool // level and time of the line onto the record
}

func parseJSON(msg []byte, attrs *record.Attrs) bool {
	trimmed := bytes.TrimLeft(msg, " \t")
	if len(trimmed) == 0 || trimmed[0] != '{' {
		return false // most lines of most programs; not worth a scan
	}
	return record.FlattenJSON(msg, attrs)
}

func (s parseStep) apply(_ context.Context, b *record.Batch, _ *tally) (*record.Batch, error) {
	return edit(b, func(_ record.View, r *record.Record) {
		if s.parse(r.Message, &r.Attrs) && s.mapFields {
			mapSeverity(r)
			mapTime(r)
		}
	}), nil
}

// mapSeverity takes the severity the program itself stated: Docker's is only
// the stream it wrote to.
func mapSeverity(r *record.Record) {
	for _, key := range [...]string{"level", "severity"} {
		value, ok := r.Attrs.Get(key)
		if !ok {
			continue
		}
		if s, ok := severityOf(value); ok {
			r.Severity = s
			return
		}
	}
}

// severityOf reads a level as programs write it: a name, a syslog number, or
// the tens of bunyan and pino (10 trace … 60 fatal).
func severityOf(value record.Value) (record.Severity, bool) {
	switch value.Kind {
	case record.String:
		return record.SeverityNamed(string(value.Data))
	case record.Int:
		switch n := value.Int(); {
		case n >= 0 && n <= 7:
			return record.Severity(n), true
		case n == 10 || n == 20:
			return 7, true
		case n == 30:
			return 6, true
		case n == 40:
			return 4, true
		case n == 50:
			return 3, true
		case n == 60:
			return 2, true
		}
	}
	return record.Absent, false
}

// mapTime takes the time the program itself stated: the header's is when
// dockerd sent the line.
func mapTime(r *record.Record) {
	for _, key := range [...]string{"time", "ts", "timestamp", "@timestamp"} {
		value, ok := r.Attrs.Get(key)
		if !ok {
			continue
		}
		if ns, ok := timeOf(value); ok {
			r.Time = ns
			return
		}
	}
}

// timeOf reads a time: RFC 3339, or seconds, milliseconds, microseconds or
// nanoseconds since 1970, told apart by their size.
func timeOf(value record.Value) (int64, bool) {
	switch value.Kind {
	case record.String:
		t, err := time.Parse(time.RFC3339Nano, string(value.Data))
		if err == nil && t.Year() > 1677 && t.Year() < 2262 {
			return t.UnixNano(), true
		}
		if f, err := strconv.ParseFloat(string(value.Data), 64); err == nil {
			return epoch(f)
		}
	case record.Int:
		return epochInt(value.Int())
	case record.Float:
		return epoch(value.Float())
	}
	return 0, false
}

// The bounds lie so that each unit covers 1973 to 5138.
func epochInt(n int64) (int64, bool) {
	switch {
	case n < 1e8:
		return 0, false
	case n < 1e11:
		if n > math.MaxInt64/1e9 {
			return 0, false
		}
		return n * 1e9, true
	case n < 1e14:
		if n > math.MaxInt64/1e6 {
			return 0, false
		}
		return n * 1e6, true
	case n < 1e17:
		if n > math.MaxInt64/1e3 {
			return 0, false
		}
		return n * 1e3, true
	}
	return n, true
}

func epoch(f float64) (int64, bool) {
	switch {
	case math.IsNaN(f) || f < 1e8 || f > 9.2e18:
		return 0, false
	case f < 9.2e9:
		seconds := math.Floor(f)
		return int64(seconds)*1e9 + int64(math.Round((f-seconds)*1e6))*1e3, true
	}
	return epochInt(int64(f))
}
