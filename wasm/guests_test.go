package wasm

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"
)

// Guests are built once for the whole run, by the Go that runs the tests.
var built struct {
	sync.Mutex
	dir   string
	paths map[string]string
}

func TestMain(m *testing.M) {
	dir, err := os.MkdirTemp("", "runnel-guests")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	built.dir, built.paths = dir, map[string]string{}
	code := m.Run()
	_ = os.RemoveAll(dir)
	os.Exit(code)
}

// guest builds the Go guest in a folder, relative to this one, and returns its file.
func guest(tb testing.TB, folder string) string {
	tb.Helper()
	built.Lock()
	defer built.Unlock()
	if path, ok := built.paths[folder]; ok {
		return path
	}
	path := filepath.Join(built.dir, filepath.Base(folder)+".wasm")
	cmd := exec.Command("go", "build", "-buildmode=c-shared", "-trimpath", "-ldflags=-s -w", "-o", path, ".")
	cmd.Dir = folder
	cmd.Env = append(os.Environ(), "GOOS=wasip1", "GOARCH=wasm")
	if out, err := cmd.CombinedOutput(); err != nil {
		tb.Fatalf("build guest %s: %v\n%s", folder, err, out)
	}
	built.paths[folder] = path
	return path
}

const classifyFolder = "../examples/modules/classify"
