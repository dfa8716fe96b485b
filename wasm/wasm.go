// Package wasm runs guests: WebAssembly modules that read a batch of records
// and answer with verdicts (guest-sdk/ABI.md). It is the only room that knows
// wazero.
//
// It hides how a guest is bounded: the module is rewritten at load so that it
// calls the host often enough (fuel.go), its memory is mapped apart from the
// collector's heap, and every offset, length and index it returns is checked
// against the host's own copy of the batch. A guest must never be able to
// panic, block or corrupt the host, nor lose a record: what it fails on is
// found by bisection and handed to the module's on_error policy alone.
package wasm

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"

	"github.com/VictoriaMetrics/metrics"
	"github.com/rs/zerolog"
	"github.com/tetratelabs/wazero"
)

// ABI is the version of the guest interface that this host speaks (ABI §1).
const ABI = 1

// RuntimeOptions say where compiled code is kept and who is told what happens.
type RuntimeOptions struct {
	// CacheDir keeps compiled code between starts; it is made with mode 0700.
	// Empty: compile at every start.
	CacheDir string
	Log      zerolog.Logger
	Metrics  *metrics.Set // nil: none
	Engine   Engine
}

// Runtime compiles and runs modules. It is safe for concurrent use.
type Runtime struct {
	events  events
	metrics *metrics.Set
	dir     string
	engine  Engine
	slower  sync.Once // said that guests are interpreted

	mu    sync.Mutex
	cache wazero.CompilationCache // guarded by mu
}

// NewRuntime returns a runtime. A cache directory that cannot be made private
// is not used, with a warning: code found there would be run.
func NewRuntime(_ context.Context, o RuntimeOptions) (*Runtime, error) {
	r := &Runtime{events: events{o.Log}, metrics: o.Metrics, dir: o.CacheDir, engine: o.Engine}
	if r.metrics == nil {
		r.metrics = metrics.NewSet()
	}
	r.cache = wazero.NewCompilationCache()
	if r.dir == "" {
		return r, nil
	}
	err := privateDir(r.dir)
	if err == nil {
		var cache wazero.CompilationCache
		if cache, err = wazero.NewCompilationCacheWithDir(r.dir); err == nil {
			r.cache = cache
			return r, nil
		}
	}
	r.events.cacheUnusable(r.dir, err)
	r.dir = ""
	return r, nil
}

// privateDir makes dir, or makes it this user's alone.
func privateDir(dir string) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	info, err := os.Stat(dir)
	if err != nil {
		return err
	}
	if !ownedByUs(info) {
		return fmt.Errorf("%s belongs to another user", dir)
	}
	if info.Mode().Perm() != 0o700 {
		return os.Chmod(dir, 0o700)
	}
	return nil
}

// clearCache deletes what the cache directory holds if err comes from there, as
// after a disk fault, and reports whether it did.
func (r *Runtime) clearCache(err error) bool {
	if r.dir == "" || !strings.Contains(err.Error(), "compilationcache: ") {
		return false
	}
	files, _ := filepath.Glob(filepath.Join(r.dir, "wazero-*", "*"))
	for _, file := range files {
		_ = os.Remove(file) // one that stays is found again, and the module is then refused
	}
	return len(files) > 0
}

// Close releases the compiled code. Modules must have been closed before.
func (r *Runtime) Close(ctx context.Context) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.cache.Close(ctx)
}

// compilationCache returns the cache modules share.
func (r *Runtime) compilationCache() wazero.CompilationCache {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.cache
}
