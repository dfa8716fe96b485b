package workbench

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/runnel-log/runnel/wasm"
)

const conformance = "../../guest-sdk/c/dist/conformance.wasm"

func openDesk(t *testing.T, file string) *Desk {
	t.Helper()
	t.Setenv("XDG_CACHE_HOME", t.TempDir())
	d, err := NewDesk(t.Context(), file, DeskOptions{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := d.Close(t.Context()); err != nil {
			t.Error(err)
		}
	})
	return d
}

// runAll runs the cases of a file.
func runAll(t *testing.T, d *Desk, file string) (results []*Result) {
	t.Helper()
	cases, err := ReadCases(file)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range cases {
		r, err := d.Run(t.Context(), c)
		if err != nil {
			t.Fatalf("%s: %v", c.Name, err)
		}
		results = append(results, r)
	}
	return results
}

func printed(findings []Finding) string {
	var parts []string
	for _, f := range findings {
		parts = append(parts, f.What+" -"+f.Want+" +"+f.Got)
	}
	return strings.Join(parts, " / ")
}

func TestCasesPass(t *testing.T) {
	d := openDesk(t, conformance)
	for _, r := range runAll(t, d, "testdata/pass.yaml") {
		if !r.Passed() {
			t.Errorf("%s: %s", r.Case.Name, printed(r.Diff))
		}
	}
}

// A case that is wrong fails, and says how: nothing passes by accident.
func TestCasesFail(t *testing.T) {
	d := openDesk(t, conformance)
	for _, r := range runAll(t, d, "testdata/fail.yaml") {
		if got := printed(r.Diff); got != r.Case.Name {
			t.Errorf("got  %s\nwant %s", got, r.Case.Name)
		}
	}
}

// What --update writes passes, and what passed before is left as it was written.
func TestUpdatedCasesPass(t *testing.T) {
	d := openDesk(t, conformance)
	dir := t.TempDir()
	for _, name := range []string{"fail.yaml", "pass.yaml", "hosts.csv"} {
		text, err := os.ReadFile(filepath.Join("testdata", name))
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, name), text, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	path := filepath.Join(dir, "fail.yaml")
	changed, err := Update(append(runAll(t, d, path), runAll(t, d, filepath.Join(dir, "pass.yaml"))...))
	if err == nil || !strings.Contains(err.Error(), "refused -drop_debgu +: the module takes a config that it should refuse") || strings.Contains(err.Error(), "\n") {
		t.Errorf("got %v, want that of the case that cannot be written", err)
	}
	if len(changed) != 1 || changed[0] != path {
		t.Errorf("changed %v, want fail.yaml alone", changed)
	}
	for _, r := range runAll(t, d, path) {
		if !r.Passed() && r.Diff[0].What != "refused" {
			t.Errorf("%s: still %s", r.Case.Name, printed(r.Diff))
		}
	}
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if !strings.HasPrefix(string(text), "# Cases that fail") || strings.Count(string(text), "\n---\n") != 14 {
		t.Errorf("the rest of the file is not as it was:\n%s", text)
	}
}

// Keys with a colon in them are read back as they were written.
func TestUpdateQuotesKeys(t *testing.T) {
	d := openDesk(t, conformance)
	path := filepath.Join(t.TempDir(), "x.yaml")
	text := "records: [{message: 'put h:a 1'}, {message: 'json s:t {\"u:v\":1}'}]\nwant:\n  records: []\n  state: {}\n"
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Update(runAll(t, d, path)); err != nil {
		t.Fatal(err)
	}
	written, err := os.ReadFile(path)
	if err != nil || !strings.Contains(string(written), "state: {'h:a': '1'}") || !strings.Contains(string(written), `'s:t': {'u:v': 1}`) {
		t.Errorf("wrote %s, %v", written, err)
	}
	if r := runAll(t, d, path)[0]; !r.Passed() {
		t.Errorf("still %s", printed(r.Diff))
	}
}

// A guest that remembers in its memory what belongs in the state is found out.
func TestStrictFindsWhatDependsOnBatches(t *testing.T) {
	d := openDesk(t, conformance)
	f := func(text, want string) {
		t.Helper()
		r, err := d.Run(t.Context(), parseOne(t, text))
		if err != nil {
			t.Fatal(err)
		}
		findings, err := d.CheckBatching(t.Context(), r)
		if err != nil {
			t.Fatal(err)
		}
		if got := printed(findings); !strings.Contains(got, want) || (want == "") != (got == "") {
			t.Errorf("got %q, want %q", got, want)
		}
	}
	f("records: [{message: 'count n'}, {message: 'count n'}, {message: 'hold a'}, {message: 'release a'}]", "")
	f("state: {n: x}\nrecords: [{message: 'put n 5'}, {message: 'get n'}]", "")
	// HOLD takes effect after the call: held does not show it during the call.
	f("records: [{message: 'hold a'}, {message: 'heldcount a'}]", "with each record a batch of its own: record 1: attrs.held -0 +1")
}

// Nor does it remember across a restart where it keeps no state at all.
func TestRestartForgetsVariables(t *testing.T) {
	d := openDesk(t, "testdata/remember.wasm")
	run := func(text string) *Result {
		t.Helper()
		r, err := d.Run(t.Context(), parseOne(t, text))
		if err != nil {
			t.Fatal(err)
		}
		return r
	}
	f := func(text, want string) {
		t.Helper()
		if got := printed(run(text).Diff); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
	const first, second = "  - {records: [{message: a}], want: {records: [{like: 1, attrs: {n: 1}}]}}\n", "  - {records: [{message: b}], want: {records: [{like: 2, attrs: {n: 2}}]}}\n"
	f("steps:\n"+first+second, "")
	f("steps:\n"+first+"  - {restart: true}\n"+second, "record 1: attrs.n -2 +1")

	r := run("records: [{message: a}, {message: b}]\nwant: {records: [{like: 1, attrs: {n: 1}}, {like: 2, attrs: {n: 2}}]}")
	findings, err := d.CheckBatching(t.Context(), r)
	if got, want := printed(r.Diff)+printed(findings), "with each record a batch of its own, and a restart before each: record 2: attrs.n -2 +1"; err != nil || got != want {
		t.Errorf("got %q, %v, want %q", got, err, want)
	}
}

func TestRestartKeepsWhatIsHeld(t *testing.T) {
	d := openDesk(t, conformance)
	f := func(last, want string) {
		t.Helper()
		r, err := d.Run(t.Context(), parseOne(t, "steps:\n  - {records: [{message: 'hold a'}], want: {held: 1}}\n"+last))
		if err != nil {
			t.Fatal(err)
		}
		if got := printed(r.Diff); got != want {
			t.Errorf("%s: got %q, want %q", last, got, want)
		}
	}
	f("  - {restart: true}\n", "")
	f("  - {restart: true}\n  - {restart: true}\n", "")
	f("  - {restart: true, want: {}}\n", "held -0 +1")
}

func TestArchiveCases(t *testing.T) {
	d := openDesk(t, conformance)
	path := filepath.Join(t.TempDir(), "x.txtar")
	write := func(text string) {
		t.Helper()
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	const head = "a name\n-- case.yaml --\nwant: {dropped: {x: 1}}\n-- in --\n{\"message\":\"drop x\"}\n{\"message\":\"set a b\"}\n"
	write(head)
	results := runAll(t, d, path)
	if got := printed(results[0].Diff); got != "record 1 is too much - +{message: set a b, attrs: {a: b}}" {
		t.Error(got)
	}
	if _, err := Update(results); err != nil {
		t.Fatal(err)
	}
	text, _ := os.ReadFile(path)
	if want := head + "-- want --\n{\"message\":\"set a b\",\"attrs\":{\"a\":\"b\"}}\n"; string(text) != want {
		t.Errorf("got\n%s\nwant\n%s", text, want)
	}
	if r := runAll(t, d, path)[0]; !r.Passed() || r.Case.Name != "a name" {
		t.Errorf("%s: %s", r.Case.Name, printed(r.Diff))
	}
	write("-- in --\n{\"massage\":1}\n-- out --\n")
	if _, err := ReadCases(path); err == nil || !strings.Contains(err.Error(), `line 1 of in is no record: "massage": unknown field`) || !strings.Contains(err.Error(), `a file "out"`) {
		t.Errorf("got %v", err)
	}
}

func TestBenchMeasures(t *testing.T) {
	d := openDesk(t, conformance)
	batches, err := Batches(Generated(100), 32)
	if err != nil || len(batches) != 4 || batches[3].Len() != 4 {
		t.Fatalf("%d batches, %v", len(batches), err)
	}
	o := BenchOptions{Batch: 32, Time: 1, Batches: batches}
	m, err := d.Bench(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	base, err := Baseline(t.Context(), o, wasm.Interpreter)
	if err != nil {
		t.Fatal(err)
	}
	first := m
	for _, m := range []*Measure{m, base} {
		if m.Records != 4*100 || m.Kept != m.Records || m.NsRecord <= 0 || m.Memory < 64<<10 || m == first && m.Fuel <= 0 {
			t.Errorf("got %+v", m)
		}
	}
}
