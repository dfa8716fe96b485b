package wasm

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/runnel-log/runnel/record"
)

const joinFile = "../examples/modules/join/join.wasm"

// Docker's formats, as testdata/docker/BEHAVIOUR.md has them, framing included.
var (
	dockerBSD    = regexp.MustCompile(`(?s)^<(\d+)>\w+ +\d+ [\d:]+ (?:vm )?(\S+)\[\d+\]: (.*)$`)
	dockerSyslog = regexp.MustCompile(`(?s)^(?:\d+ )?<(\d+)>1 \S+ vm (\S+) \d+ \S+ - (.*)$`)
)

// captured reads what Docker sent in a capture.
func captured(tb testing.TB, name string) (list []record.Record) {
	tb.Helper()
	raw, err := os.ReadFile("../testdata/docker/raw/" + name)
	if err != nil {
		tb.Fatal(err)
	}
	for line := range bytes.Lines(raw) {
		line = bytes.TrimSuffix(line, []byte("\n"))
		m := dockerBSD.FindSubmatch(line)
		if m == nil {
			m = dockerSyslog.FindSubmatch(line)
		}
		if m == nil {
			tb.Fatalf("%s: not Docker's: %.80q", name, line)
		}
		pri, _ := strconv.Atoi(string(m[1]))
		var r record.Record
		r.Reset()
		r.Severity, r.Facility, r.Received = uint8(pri%8), uint8(pri/8), int64(len(list)+1)
		r.App, r.Message = m[2], m[3]
		list = append(list, r)
	}
	return list
}

// joined runs the records through the join module in batches of n, a flush
// behind them, and returns what comes out, as "severity: message".
func joined(tb testing.TB, m *Module, list []record.Record, n int) (all []string) {
	tb.Helper()
	l := m.Line(NewState())
	defer l.Close()
	take := func(out *Outcome) {
		if out.Failed > 0 {
			tb.Fatal(out.LastError)
		}
		for i := range out.Batch.Len() {
			v := out.Batch.At(i)
			all = append(all, fmt.Sprintf("%d: %s", v.Severity(), v.Message()))
		}
		l.Settle()
	}
	for part := range slices.Chunk(list, n) {
		in := new(record.Batch)
		for i := range part {
			if err := in.Append(&part[i]); err != nil {
				tb.Fatal(err)
			}
		}
		var out Outcome
		if err := l.Process(tb.Context(), in, &out); err != nil {
			tb.Fatal(err)
		}
		take(&out)
	}
	var out Outcome
	if err := l.Flush(tb.Context(), &out); err != nil {
		tb.Fatal(err)
	}
	if out.Batch != nil {
		take(&out)
	}
	return all
}

func loadJoin(tb testing.TB, config string) *Module {
	tb.Helper()
	return load(tb, Options{File: joinFile, Config: []byte(config), Grant: Grants{State: true}, Now: clock, Time: 5 * time.Second})
}

// TestJoinPieces joins the long lines that Docker really cut.
func TestJoinPieces(t *testing.T) {
	m := loadJoin(t, `{"traces":false}`)
	f := func(name string, check func(first string), want ...int) {
		t.Helper()
		for _, n := range []int{1, 3, 100} {
			all := joined(t, m, captured(t, "docker-syslog-long/"+name), n)
			var sizes []int
			longest := ""
			for _, s := range all {
				sizes = append(sizes, len(s)-3)
				if len(s) > len(longest) {
					longest = s
				}
			}
			if !slices.Equal(sizes, want) {
				t.Errorf("%s in batches of %d: got messages of %v bytes, want %v", name, n, sizes, want)
			}
			check(longest[3:])
		}
	}
	any := func(string) {}
	f("long40k_tcp_default.c001.raw", func(s string) {
		for at := 0; at+16 <= len(s); at += 16 { // position marks
			if s[at:at+15] != fmt.Sprintf("%015d", at) {
				t.Fatalf("at %d: got %q", at, s[at:at+16])
			}
		}
	}, 40000, 21)
	f("long40k_udp.dgram.raw", any, 40000, 21)
	f("longinter_udp_default.dgram.raw", any, 30, 30, 30, 30, 30, 50000)
	f("utf8split_tls_rfc5424.c001.raw", func(s string) {
		if !utf8.ValidString(s) {
			t.Error("a character that was cut is not whole again")
		}
	}, 34389)
	f("jsonlong_tcp_default.c001.raw", func(s string) {
		if !json.Valid([]byte(s)) {
			t.Errorf("%.60q… is not JSON", s)
		}
	}, 20079)
	// Whole lines of one and two pieces' length, which nobody can tell from pieces.
	f("exact_tcp_default.c001.raw", any, 16383, 32769, 65537)
}

// TestJoinTraces joins the traces that real programs wrote in containers. With
// patience it does not matter how the lines fall into batches, and in no case
// is a byte lost, or the order of a stream.
func TestJoinTraces(t *testing.T) {
	patient, usual := loadJoin(t, `{"patient":true}`), loadJoin(t, `{}`)
	indented := regexp.MustCompile(`^\d: [ \t]`)
	f := func(name string, alone, want int) {
		t.Helper()
		list := captured(t, "docker-realapps/"+name)
		first := joined(t, patient, list, 1)
		for _, n := range []int{2, 7, 256, 4000} {
			got := sorted(joined(t, patient, list, n))
			if !slices.Equal(got, sorted(first)) {
				t.Errorf("%s: other records in batches of %d than of one: got %d, want %d", name, n, len(got), len(first))
			}
		}
		for _, n := range []int{1, 7, 4000} {
			if got, want := streams(joined(t, usual, list, n)), streams(plain(list)); got != want {
				t.Errorf("%s in batches of %d: not the same lines in the same order", name, n)
			}
		}
		got := 0
		for _, s := range first {
			if indented.MatchString(s) {
				got++
			}
		}
		if got != alone || len(first) != want {
			t.Errorf("%s: got %d records of %d, %d of them indented; want %d, %d of them indented", name, len(first), len(list), got, want, alone)
		}
	}
	f("java_tcp_default.c001.raw", 0, 85)
	f("node_tcp_rfc5424micro.c001.raw", 0, 29)
	f("python_tls_rfc5424.c001.raw", 0, 15)
	f("php_udp_default.dgram.raw", 0, 8)
}

func sorted(list []string) []string { return slices.Sorted(slices.Values(list)) }

func plain(list []record.Record) (all []string) {
	for _, r := range list {
		all = append(all, fmt.Sprintf("%d: %s", r.Severity, r.Message))
	}
	return all
}

// streams is what each of stdout and stderr said, line for line.
func streams(all []string) string {
	said := map[string]*strings.Builder{"3": {}, "6": {}}
	for _, s := range all {
		said[s[:1]].WriteString(s[3:] + "\n")
	}
	return said["3"].String() + said["6"].String()
}

// BenchmarkJoin is the host's and the module's work in a line: over records of
// which none is joined, the same while another source's trace is held, and what
// Java wrote in a container, most of it one trace of 1024 lines and another. It
// says nothing of storing what is held.
//
//	go test -run '^$' -bench BenchmarkJoin -count 6 ./wasm
func BenchmarkJoin(b *testing.B) {
	f := func(name string, before, list *record.Batch) {
		b.Run(name, func(b *testing.B) {
			l := loadJoin(b, `{}`).Line(NewState())
			defer l.Close()
			process := func(in *record.Batch) {
				var out Outcome
				if err := l.Process(b.Context(), in, &out); err != nil || out.Failed > 0 {
					b.Fatal(err, out.LastError)
				}
				l.Settle()
				out.release(in)
			}
			if before != nil {
				process(before)
			}
			b.ReportAllocs()
			cpu := cpuMeter(b)
			for b.Loop() {
				process(list)
			}
			cpu(list.Len())
		})
	}
	trace, java := new(record.Batch), new(record.Batch)
	list := captured(b, "docker-realapps/java_tcp_default.c001.raw")
	for i := range list {
		if err := java.Append(&list[i]); err != nil {
			b.Fatal(err)
		}
	}
	var head record.Record
	head.Reset()
	head.Message = []byte("Error: broken")
	if err := trace.Append(&head); err != nil {
		b.Fatal(err)
	}
	f("nothing", nil, sample(b, 256))
	f("waiting", trace, sample(b, 256))
	f("java", nil, java)
}
