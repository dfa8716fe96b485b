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
