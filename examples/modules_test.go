//go:build integration

package examples

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// TestEveryModule builds, tests, measures and describes each of the example
// modules, as a user would: its cases pass, also with every record in a batch of
// its own, and a host would run it.
func TestEveryModule(t *testing.T) {
	built, err := buildOnce()
	if err != nil {
		t.Fatal(err)
	}
	folders, err := filepath.Glob("modules/*/module.yaml")
	if err != nil || len(folders) < 6 {
		t.Fatalf("%d modules, want at least 6: %v", len(folders), err)
	}
	for _, file := range folders {
		folder := filepath.Dir(file)
		t.Run(filepath.Base(folder), func(t *testing.T) {
			f := func(want string, args ...string) {
				t.Helper()
				cmd := exec.Command(filepath.Join(built, "runnel"), append([]string{"module"}, args...)...)
				cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
				out, err := cmd.CombinedOutput()
				if err != nil || !strings.Contains(string(out), want) {
					t.Errorf("runnel module %s: %v, want %q in\n%s", strings.Join(args, " "), err, want, out)
				}
			}
			wasm := filepath.Join(folder, filepath.Base(folder)+".wasm")
			if _, err := os.Stat(wasm); err != nil { // Go guests are not kept
				f("built in", "build", folder)
			}
			f("cases passed", "test", "--no-build", "--strict", folder)
			f("ns/record", "bench", "--time", "100ms", folder)
			f(filepath.Base(folder), "inspect", folder)
		})
	}
}

// TestARustPanicSaysWhy: what a new project's module was stopped by stands in the
// log, and not only where, which may be a line of the library.
func TestARustPanicSaysWhy(t *testing.T) {
	built, err := buildOnce()
	if err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(t.TempDir(), "p")
	runnel := func(in string, args ...string) string {
		t.Helper()
		cmd := exec.Command(filepath.Join(built, "runnel"), append([]string{"module"}, args...)...)
		cmd.Stdin = strings.NewReader(in)
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Fatalf("runnel module %s: %v\n%s", strings.Join(args, " "), err, out)
		}
		return string(out)
	}
	runnel("", "new", "--lang", "rust", "p", "--dir", dir)
	const source = `#![cfg_attr(target_arch = "wasm32", no_std)]
runnel::module!(init, process);
fn init(_: &runnel::Config) {}
fn process(_: &mut (), r: &mut runnel::Record) {
    let m = r.message();
    if m == b"own" {
        panic!("my own panic,\nat {}", r.index())
    }
    r.set("cut", &m[5..m.len() - 3]);
}
`
	if err := os.WriteFile(filepath.Join(dir, "src/lib.rs"), []byte(source), 0o600); err != nil {
		t.Fatal(err)
	}
	runnel("", "build", dir)
	said := runnel("own\nslip\n", "run", "--plain", dir)
	for _, want := range []string{"my own panic, at 0", "src/lib.rs:7", "slice index starts at 5 but ends at 1"} {
		if !strings.Contains(said, want) {
			t.Errorf("got %s, want %s in it", said, want)
		}
	}
}
