package wasm

import (
	"crypto/sha256"
	"encoding/hex"
	"os"
	"strings"
	"testing"
)

func TestStatsNameTheModuleAndItsLastFailure(t *testing.T) {
	file := guest(t, conformanceFolder)
	code, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	sum := sha256.Sum256(code)
	m := load(t, granted(t, Options{File: file}))
	run := placed(m)
	if got, want := m.Stats().Hash, hex.EncodeToString(sum[:]); got != want {
		t.Errorf("got hash %s want %s", got, want)
	}
	process := func(message string) {
		t.Helper()
		in := commands(t, message)
		var out Outcome
		if err := run(t.Context(), in, &out); err != nil {
			t.Fatal(err)
		}
		out.release(in)
	}
	process("keep")
	if got := m.Stats().LastError; got != "" {
		t.Errorf("got last error %q before any", got)
	}
	process("panic")
	process("keep")
	if got := m.Stats().LastError; !strings.Contains(got, "asked to") {
		t.Errorf("got last error %q, want the guest's own words", got)
	}
}
