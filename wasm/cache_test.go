package wasm

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/rs/zerolog"
)

// TestDamagedCacheIsCompiledAgain flips a byte in, and cuts short, every file
// of the cache: the module is loaded all the same, and works.
func TestDamagedCacheIsCompiledAgain(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "cache")
	load := func(wantDamage bool) {
		t.Helper()
		var log bytes.Buffer
		rt, err := NewRuntime(t.Context(), RuntimeOptions{CacheDir: dir, Log: zerolog.New(&log)})
		if err != nil {
			t.Fatal(err)
		}
		m, err := rt.Load(t.Context(), Options{Name: "x", Code: answers(output(verdict(0, kindDrop)))})
		if err != nil {
			t.Fatal(err)
		}
		var out Outcome
		in := commands(t, "one", "two")
		if err := m.Process(t.Context(), in, &out); err != nil || out.Batch.Len() != 1 {
			t.Fatalf("got %d records and %v, want 1", out.Batch.Len(), err)
		}
		out.release(in)
		if got := strings.Contains(log.String(), "compiled again"); got != wantDamage {
			t.Errorf("damage said to be %v, want %v: %s", got, wantDamage, log.String())
		}
		if err := m.Close(t.Context()); err != nil {
			t.Error(err)
		}
		if err := rt.Close(t.Context()); err != nil {
			t.Error(err)
		}
	}
	damage := func(change func(b []byte) []byte) {
		t.Helper()
		files, err := filepath.Glob(filepath.Join(dir, "wazero-*", "*"))
		if err != nil || len(files) == 0 {
			t.Fatalf("nothing in the cache: %v", err)
		}
		for _, file := range files {
			b, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(file, change(b), 0o600); err != nil {
				t.Fatal(err)
			}
		}
	}
	load(false)
	load(false)
	damage(func(b []byte) []byte { b[len(b)/2] ^= 1; return b })
	load(true)
	damage(func(b []byte) []byte { return b[:len(b)/2] })
	load(true)
	load(false)
	info, err := os.Stat(dir)
	if err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("cache has mode %v, want 0700 (%v)", info.Mode(), err)
	}
}

// TestCacheThatCannotBePrivateIsNotUsed: a directory that is no directory costs
// time, not the start.
func TestCacheThatCannotBePrivateIsNotUsed(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	var log bytes.Buffer
	rt, err := NewRuntime(t.Context(), RuntimeOptions{CacheDir: file, Log: zerolog.New(&log)})
	if err != nil {
		t.Fatal(err)
	}
	m, err := rt.Load(t.Context(), Options{Name: "x", Code: assembly{}.bytes()})
	if err != nil {
		t.Fatal(err)
	}
	if err := m.Close(t.Context()); err != nil {
		t.Error(err)
	}
	if !strings.Contains(log.String(), "cache of compiled modules not used") {
		t.Errorf("got log %s", log.String())
	}
}
