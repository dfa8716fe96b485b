package syslog

import (
	"bytes"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/leodido/go-syslog/v4/rfc3164"
	"github.com/rogpeppe/go-internal/txtar"

	"github.com/runnel-log/runnel/internal/testkit"
	"github.com/runnel-log/runnel/record"
)

// TestCases reads testdata/*.txtar: in each file, "in" holds messages as Go
// strings, one a line, with comments after '#', and "want" what becomes of
// each, one a line.
func TestCases(t *testing.T) {
	files, err := filepath.Glob("testdata/*.txtar")
	if err != nil || len(files) == 0 {
		t.Fatalf("no cases (%v)", err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txtar"), func(t *testing.T) { runCases(t, file) })
	}
}

func runCases(t *testing.T, file string) {
	archive, err := txtar.ParseFile(file)
	if err != nil || len(archive.Files) != 2 || archive.Files[0].Name != "in" || archive.Files[1].Name != "want" {
		t.Fatalf("%v; want the files in and want", err)
	}
	p := parserAt(moment, time.UTC)
	var got strings.Builder
	for line := range strings.Lines(string(archive.Files[0].Data)) {
		line = strings.TrimSpace(line)
		if line == "" || line[0] == '#' {
			got.WriteString(line + "\n")
			continue
		}
		msg, err := strconv.Unquote(line)
		if err != nil {
			t.Fatalf("%s: %v", line, err)
		}
		var r record.Record
		p.Parse([]byte(msg), &r)
		got.WriteString(show(&r) + "\n")
		if left := lost([]byte(msg), &r); left != "" && r.Flags&record.Malformed == 0 {
			t.Errorf("%s loses %q", line, left)
		}
	}
	if got.String() == string(archive.Files[1].Data) {
		return
	}
	if *update {
		archive.Files[1].Data = []byte(got.String())
		if err := os.WriteFile(file, txtar.Format(archive), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	in := strings.Split(string(archive.Files[0].Data), "\n")
	want := strings.Split(string(archive.Files[1].Data), "\n")
	for i, line := range strings.Split(got.String(), "\n") {
		if i >= len(want) || line != want[i] {
			t.Errorf("%s\n got %s\nwant %s", in[i], line, want[min(i, len(want)-1)])
		}
	}
}

// TestHostileMessages sends the datagrams of testdata/hostile.
func TestHostileMessages(t *testing.T) {
	for _, c := range testkit.Cases(t, testkit.Path(t, "testdata/hostile/hostile.jsonl")) {
		if c.Framing != "datagram" {
			continue
		}
		now := moment
		if at, ok := c.Check["clock"]; ok {
			text, _ := strconv.Unquote(string(at))
			now, _ = time.Parse(time.RFC3339, text)
		}
		msg := TrimDatagram(c.Sent())
		var r record.Record
		parserAt(now, time.UTC).Parse(msg, &r)
		if at, ok := c.Check["timestamp"]; ok {
			if got := strconv.Quote(record.TimeOf(r.Time).Format(time.RFC3339)); got != string(at) {
				t.Errorf("%s: time %s want %s", c.Name, got, at)
			}
		}
		if r.Flags&record.Malformed != 0 {
			if !bytes.Equal(r.Message, msg) {
				t.Errorf("%s: %q became %q", c.Name, msg, r.Message)
			}
		} else if left := lost(msg, &r); left != "" {
			t.Errorf("%s loses %q\n%.500s", c.Name, left, show(&r))
		}
	}
}

// TestDatagramsOfTheSenders reads what real programs sent: a priority, a time
// and a tag each, except where the program writes none.
func TestDatagramsOfTheSenders(t *testing.T) {
	p := parserAt(moment, time.UTC)
	n := 0
	for _, c := range testkit.Captures(t, testkit.Path(t, "testdata/senders/raw")) {
		for _, datagram := range c.Datagrams {
			msg := TrimDatagram(datagram)
			var r record.Record
			p.Parse(msg, &r)
			n++
			if r.Flags&record.Malformed != 0 || r.Severity == record.Absent {
				t.Errorf("%s: %q is malformed", c.Name, datagram)
			}
			headless := strings.HasPrefix(c.Name, "python_sysloghandler") || strings.HasPrefix(c.Name, "rsyslog_udp") || strings.HasPrefix(c.Name, "sng_udp")
			if r.Flags != 0 && !headless {
				t.Errorf("%s: %q\n%s", c.Name, datagram, show(&r))
			}
			if bytes.HasSuffix(r.Message, []byte{0}) || bytes.HasSuffix(r.Message, []byte("\n")) {
				t.Errorf("%s: %q keeps its delimiter", c.Name, r.Message)
			}
			if left := lost(msg, &r); left != "" {
				t.Errorf("%s: %q loses %q", c.Name, datagram, left)
			}
		}
	}
	if n < 50 {
		t.Errorf("only %d datagrams", n)
	}
}

// TestGrammarReadsNoMore is why go-syslog's RFC 3164 machine is not asked: of
// all our messages there is none that it accepts and of which it reads a field
// that loose3164 leaves in the text, but for those that it misreads: "CEF:0|…"
// and "1,10:11:12" are no tags, "2607:f0d0::4" is an address, and what follows
// two blanks is no host.
func TestGrammarReadsNoMore(t *testing.T) {
	machine := rfc3164.NewMachine(rfc3164.WithYear(rfc3164.Year{YYYY: moment.Year()}), rfc3164.WithRFC3339(),
		rfc3164.WithSecondFractions(), rfc3164.WithLenientDay())
	files, _ := filepath.Glob(testkit.Path(t, "testdata/docker/*.jsonl"))
	others, _ := filepath.Glob(testkit.Path(t, "../shared/corpora/[pv]*/*.jsonl"))
	accepted := 0
	for _, file := range append(files, others...) {
		for _, c := range testkit.Cases(t, file) {
			msg := TrimDatagram(c.Raw)
			parsed, err := machine.Parse(msg)
			m, ok := parsed.(*rfc3164.SyslogMessage)
			if err != nil || !ok || m == nil {
				continue
			}
			accepted++
			var r record.Record
			parserAt(moment, time.UTC).Parse(msg, &r)
			f := func(field string, theirs *string, ours []byte) {
				if theirs != nil && len(ours) == 0 {
					t.Errorf("%s: %s is %q, we have %s", c.Name, field, *theirs, show(&r))
				}
			}
			if m.Hostname != nil && isHost([]byte(*m.Hostname)) && !bytes.Contains(msg, []byte("  "+*m.Hostname)) {
				f("host", m.Hostname, r.Host)
			}
			if m.Appname != nil && (bytes.Contains(msg, []byte(" "+*m.Appname+": ")) || bytes.Contains(msg, []byte(*m.Appname+"["))) {
				f("app", m.Appname, r.App)
			}
			f("procid", m.ProcID, r.ProcID)
			if m.Timestamp != nil && r.Time == record.NoTime {
				t.Errorf("%s: %q has a time", c.Name, msg)
			}
		}
	}
	if accepted < 100 {
		t.Errorf("go-syslog accepted only %d messages", accepted)
	}
}
