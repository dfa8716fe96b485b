package workbench

import (
	"encoding/json"
	"os"
	"reflect"
	"strings"
	"testing"

	"github.com/runnel-log/runnel/record"
)

// A filter ticks and flushes, and counts what became of the records.
func TestFilterTicksAndFlushes(t *testing.T) {
	d := openDesk(t, conformance)
	f, err := d.Filter(t.Context(), FilterOptions{OnError: "drop"})
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close(t.Context())
	if !f.Ticks() {
		t.Error("the conformance guest ticks")
	}
	var got []string
	emit := func(v record.View) error {
		got = append(got, string(v.Message()))
		return nil
	}
	b := new(record.Batch)
	for _, message := range []string{"keep", "drop x", "hold a", "panic"} {
		var r record.Record
		r.Reset()
		r.Message = []byte(message)
		if err := b.Append(&r); err != nil {
			t.Fatal(err)
		}
	}
	for _, call := range []error{f.Process(t.Context(), b, emit), f.Tick(t.Context(), emit), f.Flush(t.Context(), emit)} {
		if call != nil {
			t.Error(call)
		}
	}
	if want := "keep tick flush hold a"; strings.Join(got, " ") != want {
		t.Errorf("got %v, want %s", got, want)
	}
	want := Counts{In: 4, Out: 4, Failed: 1, Dropped: map[string]int{"x": 1, "module_failed": 1}, LastError: f.LastError}
	if !reflect.DeepEqual(f.Counts, want) || f.LastError == "" {
		t.Errorf("got %+v", f.Counts)
	}
}

func TestConfigOfTheCommandLine(t *testing.T) {
	f := func(text, want string) {
		t.Helper()
		got, err := ParseConfig(text)
		if err != nil || string(got) != want {
			t.Errorf("%s: got %s, %v", text, got, err)
		}
	}
	f("", "{}")
	f("{team: shop, n: 1.0, on: yes}", `{"team":"shop","n":1.0,"on":"yes"}`)
	f(`{"a":{"b":[null]}}`, `{"a":{"b":[null]}}`)
	if _, err := ParseConfig("[1]"); err == nil || !strings.Contains(err.Error(), "write a mapping") {
		t.Errorf("got %v", err)
	}
}

// What compilers are told is what the SDKs tell them.
func TestTemplatesBuildAsTheSDKsDo(t *testing.T) {
	read := func(file string) string {
		t.Helper()
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		return string(text)
	}
	flags := func(text string) (lines []string) {
		for line := range strings.Lines(text) {
			if strings.HasPrefix(line, "[target") || strings.HasPrefix(line, "rustflags") {
				lines = append(lines, strings.TrimSpace(line))
			}
		}
		return lines
	}
	mine, theirs := flags(read("templates/rust/dot.cargo/config.toml")), flags(read("../../guest-sdk/rust/.cargo/config.toml"))
	if len(mine) < 6 || !reflect.DeepEqual(mine, theirs) {
		t.Errorf("Rust: got %v, want %v", mine, theirs)
	}
	var project struct {
		Targets struct{ Release map[string]any }
	}
	var sdk struct{ Options map[string]any }
	if err := json.Unmarshal([]byte(read("templates/assemblyscript/asconfig.json")), &project); err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal([]byte(read("../../guest-sdk/assemblyscript/asconfig.json")), &sdk); err != nil {
		t.Fatal(err)
	}
	if len(sdk.Options) == 0 || !reflect.DeepEqual(project.Targets.Release, sdk.Options) {
		t.Errorf("AssemblyScript: got %v, want %v", project.Targets.Release, sdk.Options)
	}
	makefile := read("../../guest-sdk/c/Makefile")
	p := newProject(t, "c")
	c, err := p.command()
	if err != nil {
		t.Fatal(err)
	}
	for _, flag := range c.args[1:] {
		if strings.HasPrefix(flag, "-m") || strings.HasPrefix(flag, "-O") || strings.HasPrefix(flag, "-std") || strings.HasPrefix(flag, "-Wl,") {
			if !strings.Contains(makefile, flag) {
				t.Errorf("C: %s is not in the SDK's Makefile", flag)
			}
		}
	}
}
