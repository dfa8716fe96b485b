package agent

import (
	"bytes"
	"context"
	"math"
	"strconv"
	"time"

	"github.com/runnel-log/runnel/internal/syslog"
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
	ok, _ := record.FlattenJSON(msg, attrs, record.FlattenOptions{})
	return ok
}

func (s parseStep) apply(_ context.Context, b *record.Batch, _ *tally) (*record.Batch, error) {
	return edit(b, func(_ record.View, r *record.Record) {
		if s.parse(r.Message, &r.Attrs) && s.mapFields {
			mapLine(r)
		}
	}), nil
}

// Where programs state their level and the time, most telling first.
var (
	levelKeys = [...]string{"level", "severity"}
	timeKeys  = [...]string{"time", "ts", "timestamp", "@timestamp"}
)

// mapLine takes the severity and the time that the program itself stated:
// Docker's severity is only the stream it wrote to, and the header's time is when
// dockerd sent the line.
func mapLine(r *record.Record) {
	level, stamp := len(levelKeys), len(timeKeys) // the best found so far
	for key, value := range r.Attrs.All() {
		if i := keyAmong(levelKeys[:level], key); i >= 0 {
			if s, ok := severityOf(value); ok {
				r.Severity, level = s, i
			}
		} else if i := keyAmong(timeKeys[:stamp], key); i >= 0 {
			if ns, ok := timeOf(value); ok {
				r.Time, stamp = ns, i
			}
		}
	}
}

// keyAmong returns which of the names key is, -1 if none.
func keyAmong(names []string, key []byte) int {
	for i, name := range names {
		if name == string(key) {
			return i
		}
	}
	return -1
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

// timeOf reads a time: RFC 3339, or seconds, milliseconds, microseconds or
// nanoseconds since 1970, told apart by their size.
func timeOf(value record.Value) (int64, bool) {
	switch value.Kind {
	case record.String:
		if ns, ok := syslog.ParseTime(value.Data); ok {
			return ns, true
		}
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

// epochInt takes n for the unit that puts it between 1973 and 5138; no other
// reading of it is likely. Nanoseconds end in 2262.
func epochInt(n int64) (int64, bool) {
	const lastSecond = math.MaxInt64 / 1_000_000_000
	switch {
	case n < 1e8:
		return 0, false
	case n < 1e11:
		return n * 1_000_000_000, n <= lastSecond
	case n < 1e14:
		return n * 1_000_000, n/1_000 <= lastSecond
	case n < 1e17:
		return n * 1_000, n/1_000_000 <= lastSecond
	}
	return n, true
}

// epoch reads a time with a fraction, to the microsecond.
func epoch(f float64) (int64, bool) {
	switch {
	case math.IsNaN(f) || f < 1e8 || f > 9.2e18:
		return 0, false
	case f < 9.2e9:
		seconds := math.Floor(f)
		return int64(seconds)*1_000_000_000 + int64(math.Round((f-seconds)*1e6))*1_000, true
	}
	return epochInt(int64(f))
}
