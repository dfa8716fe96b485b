package workbench

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/runnel-log/runnel/internal/config"
)

func parseOne(t *testing.T, text string) *Case {
	t.Helper()
	cases, err := ParseCases("x.yaml", []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	if len(cases) != 1 {
		t.Fatalf("got %d cases, want 1", len(cases))
	}
	return cases[0]
}

func TestCaseKeepsWhatIsWritten(t *testing.T) {
	c := parseOne(t, `
name: all of it
config: {b: 1.0, a: [x, true]}
state: {a: text, b: {hex: "00 ff"}}
tables: {hosts: {rows: {vm: {team: shop, n: 1}}}}
records:
  - {message: "${HOME} 1", severity: err, procid: 12, attrs: {f: 1.0, i: 1, n: {k: ~}, t: "1"}}
want:
  dropped: {debug: 0}
  records:
    - {like: 1, message: ~, attrs: {i: ~, f: 2}, stream: errors}
`)
	if got := string(c.Config); got != `{"b":1.0,"a":["x",true]}` {
		t.Errorf("config %s", got)
	}
	if string(c.State["b"]) != "\x00\xff" || string(c.State["a"]) != "text" {
		t.Errorf("state %q", c.State)
	}
	if got := string(c.Tables["hosts"].Rows); got != `{"vm":{"team":"shop","n":1}}` {
		t.Errorf("rows %s", got)
	}
	in := fieldsOf(c.Steps[0].Records.At(0))
	for name, want := range map[string]string{"message": `"${HOME} 1"`, "severity": "3", "procid": `"12"`, "attrs.f": "1.0", "attrs.i": "1",
		"attrs.n": `{"k":null}`, "attrs.t": `"1"`, "received": `"2026-11-22T10:00:00Z"`} {
		if in[name] != want {
			t.Errorf("%s is %s, want %s", name, in[name], want)
		}
	}
	want := c.Steps[0].Want.Records[0]
	if got := want.yaml(); got != `{stream: errors, severity: 3, procid: '12', attrs: {f: 2, 'n': {k: null}, t: '1'}}` {
		t.Errorf("wanted %s", got)
	}
	if d := want.differences(in); strings.Join(d, " ") != "stream message attrs.f attrs.i" {
		t.Errorf("differs in %s", d)
	}
}

func TestStepsHaveTheirClock(t *testing.T) {
	c := parseOne(t, `
now: 2026-01-01T00:00:00Z
steps:
  - {records: [{message: a}], want: {records: same}}
  - {records: [{message: b}], now: +5s, want: {records: same}}
  - {tick: +1m, want: {records: [{like: 2}]}}
  - {restart: true}
`)
	if got := c.Steps[2].Now; !got.Equal(time.Date(2026, 1, 1, 0, 1, 5, 0, time.UTC)) {
		t.Errorf("the tick is at %s", got)
	}
	if got := c.Steps[2].Want.Records[0]["message"]; got != `"b"` {
		t.Errorf("record 2 of the case is %s", got)
	}
	if c.Steps[3].Want == nil {
		t.Error("a restart wants nothing unless it says so")
	}
}

// Every mistake is named with its line, also in a later document of the file.
func TestCaseMistakes(t *testing.T) {
	f := func(text string, want ...string) {
		t.Helper()
		_, err := ParseCases("x.yaml", []byte(text))
		var ps config.Problems
		if !errors.As(err, &ps) {
			t.Errorf("%s: no problem found", text)
			return
		}
		for _, w := range want {
			if !strings.Contains(err.Error(), w) {
				t.Errorf("%s\ngot  %v\nwant %s", text, err, w)
			}
		}
	}
	f("records: [{mesage: x}]", `x.yaml:1:`, `"mesage": unknown field`)
	f("name: a\nrecords: [{message: x}]\nwant: {records: same}\n---\nnmae: b", "x.yaml:5:1: nmae", "did you mean name?", "neither records nor steps")
	f("records: [{message: x}]\nwant: {records: [{like: 2}]}", "x.yaml:2:", "a number from 1 to 1")
	f("records: x\nwant: {}", "holds no list of records")
	f("steps:\n  - {tick: soon}", "x.yaml:2:", `"soon" is no time`)
	f("steps:\n  - {tick: +1s, flush: true}", "is 2 steps in one")
	f("state: {a: {hex: 0x}}\nrecords: [{message: x}]", "not hexadecimal")
	f("tables: {t: {key: a}}\nrecords: [{message: x}]", "rows and file, or neither")
	f("want: {refused: no, held: 1}", "does nothing else")
	f("records: [{attrs: {a: 1}, severity: 9}]", `"severity"`)
}

func TestDocsCasesParse(t *testing.T) {
	text, err := os.ReadFile("../../docs/modules.md")
	if err != nil {
		t.Fatal(err)
	}
	_, section, _ := strings.Cut(string(text), "\n## Cases\n")
	section, _, _ = strings.Cut(section, "\n## ")
	yamls, archives := 0, 0
	for i, block := range strings.Split(section, "```") {
		language, body, _ := strings.Cut(block, "\n")
		switch {
		case i%2 == 0:
		case language == "yaml":
			yamls++
			parseOne(t, body)
		default:
			archives++
			path := filepath.Join(t.TempDir(), "x.txtar")
			if err := os.WriteFile(path, []byte(body), 0o600); err != nil {
				t.Fatal(err)
			}
			cases, err := ReadCases(path)
			if err != nil {
				t.Fatal(err)
			}
			if c := cases[0]; c.Name != "errors go to their own stream" || c.Steps[0].Want.Records[0]["stream"] != `"errors"` {
				t.Errorf("read %+v", c)
			}
		}
	}
	if yamls != 2 || archives != 1 {
		t.Errorf("found %d cases in YAML and %d in txtar", yamls, archives)
	}
}
