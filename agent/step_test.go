package agent

import (
	"testing"
	"time"

	"github.com/runnel-log/runnel/internal/expression"
	"github.com/runnel-log/runnel/record"
)

func condition(t testing.TB, src string) *expression.Program {
	t.Helper()
	p, err := expression.Condition(src)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// applied returns what one step makes of messages.
func applied(t *testing.T, s step, messages ...string) (*record.Batch, tally) {
	t.Helper()
	counts := tally{stream: "app"}
	b, err := s.apply(t.Context(), batchOf(t, messages...), &counts)
	if err != nil {
		t.Fatal(err)
	}
	return b, counts
}

func TestDropLeavesOutAndCounts(t *testing.T) {
	f := func(when string, want int) {
		t.Helper()
		b, counts := applied(t, newDropStep(condition(t, when)), "a", "b", "b", "c", "b")
		if b.Len() != want || counts.dropped["drop"] != 5-want {
			t.Errorf("drop %q: %d left, %d counted; want %d and %d", when, b.Len(), counts.dropped["drop"], want, 5-want)
		}
	}
	f(`message == "x"`, 5)
	f(`message == "b"`, 2)
	f(`true`, 0)
	f(`attrs.status >= 500`, 5) // absent is false, never an error
}

func TestRouteMovesTheFirstMatch(t *testing.T) {
	s := newRouteStep([]Route{{Stream: "one", When: condition(t, `message contains "1"`)}, {Stream: "both", When: condition(t, `message contains "2"`)}})
	b, _ := applied(t, s, "none", "1", "2", "12")
	out := splitByStream(b, "app")
	got := map[string][]string{}
	for _, sb := range out {
		for i := range sb.Records.Len() {
			got[sb.Stream] = append(got[sb.Stream], string(sb.Records.At(i).Message()))
		}
	}
	checkMessages(t, got["app"], []string{"none"})
	checkMessages(t, got["one"], []string{"1", "12"})
	checkMessages(t, got["both"], []string{"2"})
}

func TestUnroutedBatchIsNotCopied(t *testing.T) {
	b := batchOf(t, "a", "b")
	out := splitByStream(b, "app")
	if len(out) != 1 || out[0].Records != b || out[0].Stream != "app" {
		t.Errorf("got %+v, want the batch itself in app", out)
	}
}

func TestParseJSONMapsLevelAndTime(t *testing.T) {
	f := func(message string, severity record.Severity, when string) {
		t.Helper()
		b, _ := applied(t, parseStep{parse: parseJSON, mapFields: true}, message)
		v := b.At(0)
		got := ""
		if v.Time() != record.NoTime {
			got = record.TimeOf(v.Time()).Format(time.RFC3339Nano)
		}
		if v.Severity() != severity || got != when || string(v.Message()) != message {
			t.Errorf("%s: severity %d, time %q, message %q; want %d, %q and the message as it was", message, v.Severity(), got, v.Message(), severity, when)
		}
	}
	const when = "2026-11-22T10:07:05.25Z"
	f(`{"level":"warn","time":"2026-11-22T10:07:05.25Z"}`, 4, when)
	f(`{"level":"ERROR","ts":1795342025.25}`, 3, when)
	f(`{"severity":"Informational","ts":1795342025250}`, 6, when)
	f(`{"level":60,"time":1795342025250000}`, 2, when)
	f(`{"level":20,"time":1795342025250000000}`, 7, when)
	f(`{"level":"1795342025.25","time":"1795342025.25"}`, 6, when)
	f(`{"level":"chatty","time":"yesterday"}`, 6, "")
	f(`{"level":99,"time":5}`, 6, "")
	f(`plain text`, 6, "")
	f(`{"level":"error"`, 6, "") // not JSON: nothing is mapped
}

func TestSetAddsAttributes(t *testing.T) {
	value, err := expression.Value(`"eu-1"`)
	if err != nil {
		t.Fatal(err)
	}
	absent, err := expression.Value(`attrs.nothing`)
	if err != nil {
		t.Fatal(err)
	}
	b, _ := applied(t, newSetStep([]SetField{{Key: "cluster", Value: value}, {Key: "gone", Value: absent}}), "m")
	got, ok := b.At(0).Attr("cluster")
	if !ok || string(got.Data) != "eu-1" {
		t.Errorf("cluster is %q, want eu-1", got.Data)
	}
	if _, ok := b.At(0).Attr("gone"); ok {
		t.Error("an absent value was set")
	}
}

// BenchmarkParseStep is the parse step over lines as services write them; per record.
//
//	go test ./agent -run '^$' -bench ParseStep
func BenchmarkParseStep(b *testing.B) {
	const line = `{"ts":"2026-11-22T10:09:12.878831Z","level":"notice","svc":"cart","msg":"lease renewed","trace_id":"87a7403f0ec3fdc3","http":{"method":"GET","path":"/api/v1/orders","status":204,"bytes":10417},"dur_ms":393.47,"pod":"telemetry-a8842"}`
	lines := make([]string, 256)
	for i := range lines {
		lines[i] = line
	}
	in := batchOf(b, lines...)
	s := parseStep{parse: parseJSON, mapFields: true}
	b.ReportAllocs()
	for b.Loop() {
		given := record.NewBatch()
		given.AppendBatch(in, 0, in.Len())
		out, err := s.apply(b.Context(), given, nil)
		if err != nil {
			b.Fatal(err)
		}
		out.Release()
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/256, "ns/record")
}
