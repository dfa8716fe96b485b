package syslog

import (
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/runnel-log/runnel/internal/testkit"
	"github.com/runnel-log/runnel/record"
)

var update = flag.Bool("update", false, "accept the outcomes as they are")

// A verdict of the judge: what became of one message of a corpus.
//
//	same     every field that the source states came out as it says
//	flagged  something differs, but the record says so itself and no byte is lost
//	other    something differs for a reason of the table below, and no byte is lost
//
// testdata/judge.txt counts the outcomes of every file exactly, so that no
// reason can come to cover more than it did when somebody looked.
const judgeTable = "testdata/judge.txt"

// difference is one field that came out otherwise than the source states.
type difference struct{ field, got, want string }

// reasons are the differences we stand by. Each is the first that explains all
// differences of a case.
var reasons = []struct {
	name    string
	explain func(c *testkit.Case, r *record.Record, d difference) bool
}{
	// Some take a leading BOM off (RFC 5424 §6.4), some leave it; a program in a
	// container may have written it, so it stays.
	{"a leading bom stays", func(_ *testkit.Case, _ *record.Record, d difference) bool {
		return d.field == "msg" && d.got == bom+d.want
	}},
	// rsyslog counts the blank after "tag:" to the message, others trim all
	// blanks; we take off one, and Docker's truth is on our side.
	{"one blank is taken off, no more and no less", func(_ *testkit.Case, _ *record.Record, d difference) bool {
		return d.field == "msg" && strings.TrimSpace(d.got) == strings.TrimSpace(d.want)
	}},
	// vrl takes "[origin …]" out of an RFC 3164 message as structured data.
	{"brackets in an RFC 3164 message are text", func(_ *testkit.Case, r *record.Record, d difference) bool {
		return (d.field == "msg" && strings.HasSuffix(d.got, d.want) && strings.Contains(d.got, "[")) || (d.field == "sd" && len(r.SD) == 0)
	}},
	// The RFC says error; we read it because real software sends it, and every byte is in a field.
	{"read although the source refuses it", func(_ *testkit.Case, _ *record.Record, d difference) bool {
		return d.field == "error"
	}},
	// syslog-ng cuts APP-NAME to 48 and MSGID to 32; Docker sends 64 digits.
	{"long fields are kept whole", func(_ *testkit.Case, _ *record.Record, d difference) bool {
		return (d.field == "app" || d.field == "msgid" || d.field == "sd_raw") && len(d.want) >= 32 &&
			strings.HasPrefix(d.got, strings.TrimSuffix(d.want, `"]`))
	}},
	// syslog-ng's test is told that the first word is no host, or what a program may be called.
	{"the source is told what host or program may be", func(c *testkit.Case, _ *record.Record, _ difference) bool {
		flags := string(c.Opts["flags"])
		return c.Opts["bad_hostname_re"] != nil || flags == `"0"` || strings.Contains(flags, "LP_CHECK_PROGRAM")
	}},
	// Splunk's per-vendor rules look for the device in the text; the header names none, or a relay.
	{"the device's name is in the text", func(c *testkit.Case, r *record.Record, d difference) bool {
		return d.field == "host" && strings.HasPrefix(c.Source, "splunk/") &&
			(bytes.Contains(r.Message, []byte(d.want)) || string(r.App) == d.want)
	}},
}

func judged(c *testkit.Case, r *record.Record) (outcome string, diffs []difference) {
	if diffs = differences(c, r); len(diffs) == 0 {
		return "same", nil
	}
	if r.Flags&(record.Malformed|record.BestEffort) != 0 {
		return "flagged", diffs
	}
	for _, reason := range reasons {
		if !slices.ContainsFunc(diffs, func(d difference) bool { return !reason.explain(c, r, d) }) {
			return "other: " + reason.name, diffs
		}
	}
	return "", diffs
}

// differences compares what the source states with what was read.
func differences(c *testkit.Case, r *record.Record) (diffs []difference) {
	add := func(field, got, want string) {
		if got != want {
			diffs = append(diffs, difference{field, got, want})
		}
	}
	for field, got := range map[string]uint8{"facility": r.Facility, "severity": r.Severity} {
		if want, ok := c.Number(field); ok {
			add(field, fmt.Sprint(got), fmt.Sprint(want))
		}
	}
	for field, got := range map[string][]byte{"host": r.Host, "app": r.App, "procid": r.ProcID, "msgid": r.MsgID, "sd_raw": r.SD} {
		if want, ok := c.Text(field); ok && want != "$RS_HOSTNAME" {
			if want == "-" {
				want = ""
			}
			add(field, string(got), want)
		}
	}
	if want, ok := c.Text("msg"); ok {
		add("msg", string(r.Message), want)
	}
	if raw, ok := c.Expect["error"]; ok && r.Flags&(record.Malformed|record.BestEffort) == 0 {
		add("error", "read", string(raw))
	}
	diffs = append(diffs, timeDifference(c, r)...)
	return append(diffs, sdDifference(c, r)...)
}

func timeDifference(c *testkit.Case, r *record.Record) []difference {
	got := record.TimeOf(r.Time)
	if want, ok := c.Text("timestamp"); ok {
		if strings.Contains(want, "local time zone") {
			return nil
		}
		if strings.HasPrefix(want, "--") || strings.HasPrefix(want, "0000-") {
			if text := got.Format("01-02T15:04:05.999999999Z"); text != strings.TrimLeft(strings.TrimPrefix(want, "0000"), "-") {
				return []difference{{"timestamp", text, want}}
			}
			return nil
		}
		at, err := time.Parse(time.RFC3339Nano, want)
		if err != nil || at.Equal(got) {
			return nil
		}
		// A year that is not in the message was made up by the source's test.
		if at.Format("01-02T15:04:05") == got.Format("01-02T15:04:05") && !bytes.Contains(c.Raw, []byte(at.Format("2006"))) {
			return nil
		}
		if _, ok := c.Opts["tz"]; ok && at.Format("01-02T15:04:05") == got.Format("01-02T15:04:05") {
			return nil // the source's test runs in another zone
		}
		return []difference{{"timestamp", got.Format(time.RFC3339Nano), want}}
	}
	if want, ok := c.Text("timestamp_text"); ok {
		if _, err := time.Parse(time.Stamp, want); err == nil && got.Format(time.Stamp) != want {
			if zoned := regexp.MustCompile(`T(\d\d:\d\d:\d\d)\S*[+-]`).FindSubmatch(c.Raw); zoned == nil || !strings.HasSuffix(want, string(zoned[1])) {
				return []difference{{"timestamp_text", got.Format(time.Stamp), want}}
			}
		}
	}
	return nil
}

// sdDifference looks for each stated element, name and value in the raw text.
func sdDifference(c *testkit.Case, r *record.Record) []difference {
	var want map[string]map[string]string
	if json.Unmarshal(c.Expect["sd"], &want) != nil {
		return nil
	}
	escape := strings.NewReplacer(`\`, `\\`, `"`, `\"`, `]`, `\]`)
	for id, parameters := range want {
		if !bytes.Contains(r.SD, []byte("["+id)) {
			return []difference{{"sd", string(r.SD), id}}
		}
		for name, value := range parameters {
			if !bytes.Contains(r.SD, []byte(name)) || (!bytes.Contains(r.SD, []byte(escape.Replace(value))) && !bytes.Contains(r.SD, []byte(value))) {
				return []difference{{"sd", string(r.SD), name + "=" + value}}
			}
		}
	}
	return nil
}

// header is what may stand before the first field: blanks, version, time.
var header = regexp.MustCompile(`^ *([1-9]\d{0,2} )?(\d{4}-\d\d-\d\d[T ][0-9:.,+\-Zz]*|[A-Za-z]{3} +\d{1,2} (\d{4} )?\d\d:\d\d:\d\d([.,]\d*)?( (UTC|GMT))?|-( |$))?`)

// lost returns what stands in msg and nowhere in r; "" if nothing is lost.
func lost(msg []byte, r *record.Record) string {
	if !bytes.HasSuffix(msg, r.Message) {
		return fmt.Sprintf("message %q is not the end of the input", r.Message)
	}
	rest := msg[:len(msg)-len(r.Message)]
	if r.Severity != record.Absent {
		rest = rest[bytes.IndexByte(rest, '>')+1:]
	}
	if prefix, ok := r.Attrs.Get(AttrPrefix); ok {
		if i := bytes.Index(rest, prefix.Data); i >= 0 {
			rest = slices.Concat(rest[:i], rest[i+len(prefix.Data):])
		}
	}
	if zone, ok := r.Attrs.Get(AttrZone); ok {
		rest = bytes.Replace(rest, zone.Data, nil, 1)
	}
	if at := header.FindIndex(rest); at != nil && (r.Time != record.NoTime || r.Attrs.Len() > 0 || len(bytes.TrimLeft(rest[:at[1]], "0123456789 -")) == 0) {
		rest = rest[at[1]:]
	}
	prefix, _ := r.Attrs.Get(AttrPrefix)
	for n, field := range [][]byte{r.Host, r.App, r.ProcID, r.MsgID, r.SD} {
		i := bytes.Index(rest, field)
		if i < 0 && n == 0 && bytes.Contains(prefix.Data, field) {
			continue // Cisco's name stands before the time
		}
		if i < 0 {
			return fmt.Sprintf("%q is not in the header", field)
		}
		if junk := bytes.Trim(rest[:i], " :[]-"); len(junk) > 0 {
			return string(junk)
		}
		rest = rest[i+len(field):]
	}
	return string(bytes.Trim(rest, " :[]-"))
}

// TestJudge reads every single message of every corpus.
func TestJudge(t *testing.T) {
	var files []string
	for _, pattern := range []string{"testdata/docker/*.jsonl", "../shared/corpora/parser/*.jsonl", "../shared/corpora/vendor/*.jsonl"} {
		found, err := filepath.Glob(testkit.Path(t, pattern))
		if err != nil {
			t.Fatal(err)
		}
		files = append(files, found...)
	}
	counts := map[string]int{}
	read := map[string]bool{}
	for _, file := range files {
		short := filepath.Base(filepath.Dir(file)) + "/" + filepath.Base(file)
		read[short] = true
		judgeFile(t, file, short, counts)
	}
	compareCounts(t, counts, read)
}

func judgeFile(t *testing.T, file, short string, counts map[string]int) {
	docker := strings.HasPrefix(short, "docker/")
	p := parserAt(moment, time.UTC)
	for _, c := range testkit.Cases(t, file) {
		if c.Framing != "message" && c.Framing != "datagram" && !docker {
			continue // a stream: TestFramesOfTheCorpora
		}
		msg := TrimDatagram(c.Raw)
		if docker {
			msg = withoutLF(c.Raw)
		}
		var r record.Record
		p.Parse(msg, &r)
		outcome, diffs := judged(&c, &r)
		if outcome == "" {
			t.Errorf("%s %s: %q\n%s", short, c.Name, c.Raw, show(&r))
			for _, d := range diffs {
				t.Errorf("  %s: got %q want %q", d.field, d.got, d.want)
			}
			continue
		}
		counts[short+": "+outcome]++
		if left := lost(msg, &r); left != "" {
			t.Errorf("%s %s: %q\n%s\nlost: %s", short, c.Name, c.Raw, show(&r), left)
		}
	}
}

// compareCounts holds the outcomes against the table, line by line.
func compareCounts(t *testing.T, counts map[string]int, read map[string]bool) {
	var lines []string
	for what, n := range counts {
		lines = append(lines, fmt.Sprintf("%s: %d", what, n))
	}
	slices.Sort(lines)
	if *update {
		if err := os.WriteFile(judgeTable, []byte(strings.Join(lines, "\n")+"\n"), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	table, err := os.ReadFile(judgeTable)
	if err != nil {
		t.Fatal(err)
	}
	var want []string
	for line := range strings.Lines(string(table)) {
		if file, _, _ := strings.Cut(line, ":"); read[file] {
			want = append(want, strings.TrimSpace(line))
		}
	}
	if !slices.Equal(lines, want) {
		t.Errorf("outcomes differ from %s; read the difference, then -update\ngot\n%s\nwant\n%s", judgeTable, strings.Join(lines, "\n"), strings.Join(want, "\n"))
	}
}
