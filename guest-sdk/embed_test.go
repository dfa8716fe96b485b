package guestsdk

import (
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

func TestEveryLanguageHasItsFiles(t *testing.T) {
	f := func(language string, want ...string) {
		t.Helper()
		sdk, err := SDK(language)
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		err = fs.WalkDir(sdk, ".", func(path string, d fs.DirEntry, err error) error {
			if err == nil && !d.IsDir() {
				got = append(got, path)
			}
			return err
		})
		if err != nil {
			t.Error(err)
		}
		for _, path := range want {
			if !slices.Contains(got, path) {
				t.Errorf("%s: got %v, want %s among them", language, got, path)
			}
		}
		for _, path := range got {
			if strings.Contains(path, "_test.") || strings.Contains(path, "conformance") {
				t.Errorf("%s: has %s, which no project needs", language, path)
			}
		}
	}
	f("go", "doc.go", "record.go", "simulate.go", "tick/tick.go", "tick/export_wasm.go")
	f("c", "runnel.h")
	f("rust", "Cargo.toml", "src/lib.rs")
	f("assemblyscript", "assembly/runnel.ts")
	if _, err := SDK("cobol"); err == nil || !strings.Contains(err.Error(), `no SDK for "cobol"; there is one for assemblyscript, c, go, rust`) {
		t.Errorf("got %v", err)
	}
}

// TestAProjectBuildsWithTheCopy: the Go SDK stands alone, as `module new` leaves it.
func TestAProjectBuildsWithTheCopy(t *testing.T) {
	dir := t.TempDir()
	sdk, err := SDK("go")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.CopyFS(filepath.Join(dir, "runnel"), sdk); err != nil {
		t.Fatal(err)
	}
	const path = "github.com/runnel-log/runnel/guest-sdk/go"
	for name, text := range map[string]string{
		"runnel/go.mod": "module " + path + "\n\ngo 1.24\n",
		"go.mod":        "module mine\n\ngo 1.24\n\nrequire " + path + " v1.0.0\n\nreplace " + path + " => ./runnel\n",
		"main.go": "package main\n\nimport (\n\trunnel \"" + path + "\"\n\t\"" + path + "/tick\"\n)\n\n" +
			"func init() { runnel.Handle(func(r *runnel.Record) { r.Hold(`k`) }); tick.Every(func(t *runnel.Tick) { t.Release(`k`) }) }\n\nfunc main() {}\n",
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for _, environment := range [][]string{{"GOOS=wasip1", "GOARCH=wasm"}, {}} {
		cmd := exec.Command("go", "vet", "./...")
		cmd.Dir = dir
		cmd.Env = append(append(os.Environ(), "GOFLAGS=-mod=mod", "GOPROXY=off"), environment...)
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Errorf("%v: %v\n%s", environment, err, out)
		}
	}
}
