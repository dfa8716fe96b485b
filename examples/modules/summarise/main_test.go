//go:build !wasm

package main

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	runnel "github.com/runnel-log/runnel/guest-sdk/go"
	"github.com/runnel-log/runnel/record"
)

const start = 1_700_000_000 * second // 20 s into a minute

// batch encodes records written as "app status ms"; - leaves one out.
func batch(t testing.TB, lines ...string) []byte {
	t.Helper()
	var b record.Batch
	var r record.Record
	for _, line := range lines {
		r.Reset()
		var app, status, ms string
		if _, err := fmt.Sscan(line, &app, &status, &ms); err != nil {
			t.Fatal(err)
		}
		r.Severity, r.App, r.Host = 6, []byte(app), []byte("vm")
		if status != "-" {
			r.Attrs.SetString("status", status)
		}
		if ms != "-" {
			var f float64
			if _, err := fmt.Sscan(ms, &f); err != nil {
				t.Fatal(err)
			}
			r.Attrs.SetFloat("ms", f)
		}
		if err := b.Append(&r); err != nil {
			t.Fatal(err)
		}
	}
	return slices.Clone(b.Bytes())
}

func begin(t testing.TB, s *runnel.Simulation, config string) {
	t.Helper()
	if s.Start(config) != 0 {
		t.Fatalf("%s: refused: %v", config, s.Lines)
	}
}

// said are the summaries of the last call: message and attributes.
func said(s *runnel.Simulation) []string {
	var list []string
	for _, v := range s.Emitted {
		text := string(v.Message())
		for key, value := range v.Attrs {
			switch value.Kind {
			case runnel.Int:
				text += fmt.Sprintf(" %s=%d", key, value.Int())
			case runnel.Float:
				text += fmt.Sprintf(" %s=%v", key, value.Float())
			case runnel.Bool:
				text += fmt.Sprintf(" %s=%v", key, value.Bool())
			default:
				text += fmt.Sprintf(" %s=%s", key, value.Data)
			}
		}
		list = append(list, text)
	}
	return list
}

func expect(t *testing.T, s *runnel.Simulation, want ...string) {
	t.Helper()
	if got := said(s); !slices.Equal(got, want) {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

const minute = " from=2023-11-14T22:13:00Z to=2023-11-14T22:14:00Z"

func TestAWindowIsSummarisedWhenItEnds(t *testing.T) {
	s := &runnel.Simulation{Now: start}
	begin(t, s, `{"by":["app","attrs.status"],"value":"ms"}`)
	if v := s.Process(batch(t, "web 200 1.5", "web 200 2.5", "web 500 -", "db - -4")); v != nil {
		t.Errorf("something was said of a record: %q", v)
	}
	s.Now = start + 39*second
	s.Tick()
	expect(t, s)
	s.Now = start + 40*second
	s.Process(batch(t, "web 200 9")) // of the next window already
	s.Tick()
	expect(t, s,
		"2 records in 60s: app=web attrs.status=200 status=200 count=2"+minute+" sum=4 min=1.5 max=2.5 avg=2",
		"1 records in 60s: app=db count=1"+minute+" sum=-4 min=-4 max=-4 avg=-4",
		"1 records in 60s: app=web attrs.status=500 status=500 count=1"+minute)
	if app := string(s.Emitted[0].App()); app != "web" {
		t.Errorf("got app %q", app)
	}
	if len(s.State) != 1 || s.Metrics["summarised_records_total"] != 5 {
		t.Errorf("got state %v, metrics %v", s.State, s.Metrics)
	}
	s.Now += 10 * second
	s.Flush()
	expect(t, s, "1 records in 10s: app=web attrs.status=200 status=200 count=1 from=2023-11-14T22:14:00Z to=2023-11-14T22:14:10Z sum=9 min=9 max=9 avg=9")
	if len(s.State) != 0 {
		t.Errorf("state is left: %v", s.State)
	}
}

// TestARestartNeitherLosesNorRepeats restarts between all batches, at times with
// another config, and adds up what all summaries say.
func TestARestartNeitherLosesNorRepeats(t *testing.T) {
	s := &runnel.Simulation{Now: start}
	configs := []string{`{"by":"app"}`, `{"by":["host","attrs.status"],"every":"5s"}`, `{"value":"ms"}`, `{"by":"app","keys":1,"top":1}`}
	counted, total := map[string]int64{}, int64(0)
	collect := func() {
		for _, v := range s.Emitted {
			n, _ := v.AttrInt("count")
			total += n
			counted[string(v.App())] += n
		}
	}
	for i := range 400 {
		begin(t, s, configs[i/7%len(configs)])
		s.Process(batch(t, "web 200 1", fmt.Sprintf("a%d - 2", i%3)))
		s.Now += second / 2
		s.Tick()
		collect()
	}
	s.Flush()
	collect()
	if total != 800 {
		t.Errorf("got %d records in all summaries (%v), want 800", total, counted)
	}
	if len(s.State) != 0 {
		t.Errorf("state is left: %v", slices.Collect(maps.Keys(s.State)))
	}
}

func TestTopAndBound(t *testing.T) {
	f := func(config string, want ...string) {
		t.Helper()
		s := &runnel.Simulation{Now: start}
		begin(t, s, config)
		s.Process(batch(t, "a - 1", "b - 2", "b - 2", "c - 3", "c - 3", "c - 3"))
		s.Now += 60 * second
		s.Tick()
		var got []string
		for _, line := range said(s) {
			got = append(got, strings.Replace(line, minute, "", 1))
		}
		if !slices.Equal(got, want) {
			t.Errorf("%s:\ngot\n%s\nwant\n%s", config, strings.Join(got, "\n"), strings.Join(want, "\n"))
		}
	}
	f(`{"by":"app"}`, "3 records in 60s: app=c count=3", "2 records in 60s: app=b count=2", "1 records in 60s: app=a count=1")
	f(`{"by":"app","top":1,"value":"attrs.ms"}`, "3 records in 60s: app=c count=3 sum=9 min=3 max=3 avg=3",
		"3 records in 60s, other keys other=true count=3 sum=5 min=1 max=2 avg=1.6666666666666667")
	f(`{"by":"app","keys":2}`, "2 records in 60s: app=b count=2", "1 records in 60s: app=a count=1",
		"3 records in 60s, other keys other=true count=3")
	f(`{}`, "6 records in 60s count=6")
	f(`{"by":["severity","facility","host"]}`, "6 records in 60s: severity=6 host=vm count=6")
}

func TestDrop(t *testing.T) {
	s := &runnel.Simulation{Now: start}
	begin(t, s, `{"drop":true}`)
	if got := s.Process(batch(t, "a - -", "b - -")); strings.Count(string(got), "summarised") != 2 {
		t.Errorf("got %q", got)
	}
}

// TestEverythingFitsIntoATick fills several windows to their bounds.
func TestEverythingFitsIntoATick(t *testing.T) {
	s := &runnel.Simulation{Now: start}
	begin(t, s, `{"by":"app","keys":4000,"every":"1s"}`)
	for range 3 {
		for i := range 5 {
			var lines []string
			for j := range 1000 {
				lines = append(lines, fmt.Sprintf("%s%d-%d - -", strings.Repeat("x", 50), i, j))
			}
			s.Process(batch(t, lines...))
		}
		s.Now += second
	}
	total := int64(0)
	collect := func(verdicts []byte) {
		if len(s.Emitted) > 4096 || len(verdicts) > 4<<20 {
			t.Errorf("%d records of %d bytes, more than a tick may have", len(s.Emitted), len(verdicts))
		}
		for _, v := range s.Emitted {
			n, _ := v.AttrInt("count")
			total += n
		}
	}
	collect(s.Tick())
	collect(s.Flush())
	if total != 15000 {
		t.Errorf("got %d, want all of 15000", total)
	}
}

func TestConfigIsChecked(t *testing.T) {
	f := func(config, want string) {
		t.Helper()
		var s runnel.Simulation
		if s.Start(config) == 0 || !strings.Contains(strings.Join(s.Lines, "|"), want) {
			t.Errorf("%s: got %v, want %s", config, s.Lines, want)
		}
	}
	f(`{"every":"1d"}`, `every is "1d", not a time`)
	f(`{"every":"0s"}`, `every is "0s"`)
	f(`{"every":"25h"}`, `every is "25h"`)
	f(`{"by":"color"}`, "by names color; known are")
	f(`{"by":["app","app"]}`, "by names app twice")
	f(`{"by":["attrs.count"]}`, "a summary has an attribute of its own")
	f(`{"by":["host","app","procid","msgid","severity"]}`, "more than 4")
	f(`{"keys":0}`, "keys is 0")
	f(`{"top":5000}`, "top is 5000")
	f(`{"evry":"1s"}`, `unknown key "evry"`)
}

func TestClock(t *testing.T) {
	f := func(seconds int64, want string) {
		t.Helper()
		if got := clock(seconds * second); got != want {
			t.Errorf("got %s want %s", got, want)
		}
	}
	f(0, "1970-01-01T00:00:00Z")
	f(951782399, "2000-02-28T23:59:59Z")
	f(951782400, "2000-02-29T00:00:00Z")
	f(1709251200, "2024-03-01T00:00:00Z")
	f(1798761599, "2026-12-31T23:59:59Z")
	f(4102444800, "2100-01-01T00:00:00Z")
}
