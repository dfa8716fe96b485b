package syslog

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/runnel-log/runnel/record"
)

// moment is when the corpora were captured.
var moment = time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)

func parserAt(now time.Time, loc *time.Location) *Parser {
	return &Parser{Location: loc, Now: func() time.Time { return now }}
}

// show writes a record as the tests state it: only what is there.
func show(r *record.Record) string {
	var b strings.Builder
	if r.Facility != record.Absent {
		fmt.Fprintf(&b, "facility=%d severity=%d ", r.Facility, r.Severity)
	}
	if r.Time != record.NoTime {
		fmt.Fprintf(&b, "time=%s ", record.TimeOf(r.Time).Format(time.RFC3339Nano))
	}
	for _, f := range []struct {
		name string
		text []byte
	}{{"host", r.Host}, {"app", r.App}, {"procid", r.ProcID}, {"msgid", r.MsgID}, {"sd", r.SD}} {
		if len(f.text) > 0 {
			fmt.Fprintf(&b, "%s=%q ", f.name, f.text)
		}
	}
	for key, value := range r.Attrs.All() {
		fmt.Fprintf(&b, "%s=%q ", key, value.Data)
	}
	if names := r.Flags.Names(); len(names) > 0 {
		fmt.Fprintf(&b, "flags=%s ", strings.Join(names, ","))
	}
	fmt.Fprintf(&b, "message=%q", r.Message)
	return b.String()
}

func TestYearIsTheNearestToNow(t *testing.T) {
	f := func(now, stamp, want string) {
		t.Helper()
		at, err := time.Parse(time.RFC3339, now)
		if err != nil {
			t.Fatal(err)
		}
		var r record.Record
		parserAt(at, time.UTC).Parse([]byte("<13>"+stamp+" h a: m"), &r)
		if got := record.TimeOf(r.Time).Format(time.RFC3339); got != want {
			t.Errorf("%s read at %s: got %s want %s", stamp, now, got, want)
		}
	}
	f("2027-01-01T00:00:05Z", "Dec 31 23:59:59", "2026-12-31T23:59:59Z")
	f("2026-12-31T23:59:58Z", "Jan  1 00:00:01", "2027-01-01T00:00:01Z")
	f("2026-11-22T12:00:00Z", "Nov 22 11:59:59", "2026-11-22T11:59:59Z")
	f("2025-02-28T12:00:00Z", "Feb 29 11:00:00", "2024-02-29T11:00:00Z")
	f("2026-06-01T00:00:00Z", "Dec 31 00:00:00", "2025-12-31T00:00:00Z")
	f("2026-07-15T00:00:00Z", "Jan  1 00:00:00", "2027-01-01T00:00:00Z")
}

func TestZoneOfRFC3164IsTheLocation(t *testing.T) {
	f := func(zone, stamp, want string) {
		t.Helper()
		loc, err := time.LoadLocation(zone)
		if err != nil {
			t.Fatal(err)
		}
		var r record.Record
		p := parserAt(moment, loc)
		for range 2 { // the second from the remembered second
			p.Parse([]byte("<13>"+stamp+" h a: m"), &r)
			if got := record.TimeOf(r.Time).Format(time.RFC3339); got != want {
				t.Errorf("%s in %s: got %s want %s", stamp, zone, got, want)
			}
		}
	}
	f("Europe/Berlin", "Nov 22 10:00:00", "2026-11-22T09:00:00Z")
	f("Europe/Berlin", "Jul  1 10:00:00", "2026-07-01T08:00:00Z")
	f("America/New_York", "Nov 22 10:00:00", "2026-11-22T15:00:00Z")
	f("Asia/Kolkata", "Nov 22 00:10:00", "2026-11-21T18:40:00Z")
}

func TestFormatForbidsTheOther(t *testing.T) {
	f := func(format Format, msg, want string) {
		t.Helper()
		p := parserAt(moment, time.UTC)
		p.Format = format
		var r record.Record
		p.Parse([]byte(msg), &r)
		if got := show(&r); got != want {
			t.Errorf("%s: %q\n got %s\nwant %s", format, msg, got, want)
		}
	}
	const new, old = "<13>1 2026-11-22T11:00:00Z h a - - - m", "<13>Nov 22 11:00:00 h a: m"
	f(RFC3164, new, `facility=1 severity=5 flags=best_effort message="1 2026-11-22T11:00:00Z h a - - - m"`)
	f(RFC5424, old, `facility=1 severity=5 flags=best_effort message="Nov 22 11:00:00 h a: m"`)
	f(RFC5424, new, `facility=1 severity=5 time=2026-11-22T11:00:00Z host="h" app="a" message="m"`)
	f(RFC3164, old, `facility=1 severity=5 time=2026-11-22T11:00:00Z host="h" app="a" message="m"`)
	f("", old, `facility=1 severity=5 time=2026-11-22T11:00:00Z host="h" app="a" message="m"`)
}

func TestFieldsOfTheLastMessageAreGone(t *testing.T) {
	p := parserAt(moment, time.UTC)
	var r record.Record
	p.Parse([]byte(`<13>Feb 30 10:00:00 h a[1]: m`), &r)
	p.Parse([]byte(`<13>1 - - - - - - `), &r)
	if got, want := show(&r), `facility=1 severity=5 message=""`; got != want {
		t.Errorf("got %s want %s", got, want)
	}
	p.Parse([]byte(`x`), &r)
	if got, want := show(&r), `flags=malformed message="x"`; got != want {
		t.Errorf("got %s want %s", got, want)
	}
}

func TestHeaderFieldTooLongToEncodeIsKeptWhole(t *testing.T) {
	app := strings.Repeat("a", record.MaxField+1)
	for _, msg := range []string{
		"<13>1 2026-11-22T11:00:00Z h " + app + " - - - m",
		"<13>2 2026-11-22T11:00:00Z h " + app + " - - - m",
		"<13>Nov 22 11:00:00 h " + app + ": m",
		app,
	} {
		var r record.Record
		var b record.Batch
		parserAt(moment, time.UTC).Parse([]byte(msg), &r)
		if err := b.Append(&r); err != nil {
			t.Errorf("%.30q…: %v", msg, err)
		}
		if !strings.HasSuffix(string(r.Message), msg[max(0, len(msg)-len(app)):]) || r.Flags&(record.BestEffort|record.Malformed) == 0 {
			t.Errorf("%.30q…: kept %d bytes of %d with flags %v", msg, len(r.Message), len(msg), r.Flags.Names())
		}
	}
}

func TestTrimDatagram(t *testing.T) {
	f := func(in, want string) {
		t.Helper()
		if got := string(TrimDatagram([]byte(in))); got != want {
			t.Errorf("%q: got %q want %q", in, got, want)
		}
	}
	f("", "")
	f("a\n", "a")
	f("a\x00", "a")
	f("a\n\x00", "a")
	f("a\x00\n", "a\x00") // Docker: the NUL is the program's
	f("a\r\n", "a\r")
	f("a\n\n", "a\n")
	f("\n", "")
	f("\n\x00", "")
}

func TestParsingDoesNotAllocate(t *testing.T) {
	p := parserAt(moment, time.UTC)
	var r record.Record
	for _, msg := range []string{msg5424SD, msg5424, msg3164, msgDocker} {
		b := []byte(msg)
		if n := testing.AllocsPerRun(100, func() { p.Parse(b, &r) }); n != 0 {
			t.Errorf("%.40q…: %v allocations", msg, n)
		}
		if r.Flags != 0 {
			t.Errorf("%.40q…: flags %v", msg, r.Flags.Names())
		}
	}
}
