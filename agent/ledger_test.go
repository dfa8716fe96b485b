package agent

import (
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/VictoriaMetrics/metrics"
	"github.com/rs/zerolog"

	"github.com/runnel-log/runnel/agent/query"
	"github.com/runnel-log/runnel/internal/expression"
	"github.com/runnel-log/runnel/record"
	"github.com/runnel-log/runnel/storage"
	"github.com/runnel-log/runnel/wasm"
)

// TestPipelineLedgerHolds sends random batches through random steps, into a store
// that takes them, pushes back or is closed: received + emitted = stored +
// dropped + rejected + held after every batch and tick, and the store has what was stored.
func TestPipelineLedgerHolds(t *testing.T) {
	runtime, err := wasm.NewRuntime(t.Context(), wasm.RuntimeOptions{CacheDir: t.TempDir(), Log: zerolog.Nop(), Metrics: metrics.NewSet()})
	if err != nil {
		t.Fatal(err)
	}
	defer runtime.Close(t.Context()) //nolint:errcheck // nothing depends on it
	modules := map[string]*wasm.Module{}
	file := guest(t, conformanceFolder)
	path := filepath.Join(t.TempDir(), "t.csv")
	if err := os.WriteFile(path, []byte("key,value\na,b\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	table, err := wasm.LoadTable(path, "")
	if err != nil {
		t.Fatal(err)
	}
	var batch atomic.Int64 // a clock that keeps the breaker closed
	now := func() time.Time { return time.Unix(60*batch.Add(1), 0) }
	for name, policy := range map[string]wasm.OnError{"keeps": wasm.Keep, "drops": wasm.Drop, "buries": wasm.DeadLetter} {
		m, err := runtime.Load(t.Context(), wasm.Options{Name: name, File: file, OnError: policy, Now: now,
			Grant: wasm.Grants{State: true, Metrics: true}, Tables: map[string]*wasm.Table{"t": table},
			KnownStream: func(name string) bool { return name == "one" || name == "two" }})
		if err != nil {
			t.Fatal(err)
		}
		defer m.Close(t.Context()) //nolint:errcheck // likewise
		modules[name] = m
	}
	for range often(6, 60) {
		seed := rand.Uint64N(1 << 32)
		t.Run(fmt.Sprintf("seed=%d", seed), func(t *testing.T) {
			ledgerOf(t, rand.New(rand.NewPCG(seed, 3)), modules)
		})
	}
}

// ledgerOf checks one random pipeline.
func ledgerOf(t *testing.T, r *rand.Rand, modules map[string]*wasm.Module) {
	set := metrics.NewSet()
	full, dropping := r.IntN(3) == 0, r.IntN(2) == 0
	o := storage.Options{Dir: t.TempDir(), Metrics: set, Policy: func(string) storage.Policy {
		switch { // after a few batches
		case full:
			return storage.Policy{MaxSize: 8 << 10, OnFull: storage.PushBack}
		case dropping:
			return storage.Policy{MaxSize: 8 << 10, OnFull: storage.DropNew}
		}
		return storage.Policy{}
	}}
	store, err := storage.Open(o)
	if err != nil {
		t.Fatal(err)
	}
	defer store.Close()
	for _, stream := range []string{"app", "app.dead", "one", "two"} {
		store.MoveCursor("slow", stream, 1) // something has not been delivered yet
	}
	var steps []string
	c := PipelineConfig{Name: "main", Stream: "app"}
	for range 1 + r.IntN(5) {
		step := randomStep(t, r)
		if slices.ContainsFunc(c.Steps, func(s StepConfig) bool { return s.Module != "" && s.Module == step.Module }) {
			continue // an ordered module stands once in a pipeline
		}
		c.Steps, steps = append(c.Steps, step), append(steps, step.Text)
	}
	counts := newPipelineCounts(set, "main")
	p, err := newPipeline(c, modules, counts, newStates("main"))
	if err != nil {
		t.Fatal(err)
	}
	sum := func() (dropped uint64) {
		for _, n := range counts.droppedByReason() {
			dropped += n
		}
		return dropped
	}
	const batches = 40
	for i := range batches {
		if i == batches-3 {
			if err := store.Close(); err != nil {
				t.Fatal(err)
			}
		}
		receipt, err := p.emit(t.Context(), store, randomBatch(t, r), extra{hurry: r.IntN(2) == 0})
		if err == nil {
			err = receipt.Wait(t.Context())
		}
		if err == nil && r.IntN(4) == 0 {
			err = p.tick(t.Context(), store)
		}
		if err != nil && i < batches-3 && !full && !errors.Is(err, storage.ErrFull) {
			t.Fatalf("batch %d: %v", i, err)
		}
		in, out := counts.received.Get()+counts.emitted.Get(), counts.stored.Get()+sum()+counts.rejected.Get()+uint64(counts.held.Load())
		if in != out {
			t.Fatalf("after batch %d through %q: received %d + emitted %d, but stored %d + dropped %v + rejected %d + held %d", i, steps,
				counts.received.Get(), counts.emitted.Get(), counts.stored.Get(), counts.droppedByReason(), counts.rejected.Get(), counts.held.Load())
		}
	}
	var stored uint64
	for _, s := range store.Streams() {
		stored += s.Next - 1
	}
	if stored != counts.stored.Get() {
		t.Errorf("the store has %d records, and the pipeline stored %d (%q)", stored, counts.stored.Get(), steps)
	}
	o.Metrics = nil
	if store, err = storage.Open(o); err != nil {
		t.Fatal(err)
	}
	defer store.Close()
	wantDurable(t, store, counts)
	t.Logf("%q, full %v: received %d, emitted %d, stored %d, dropped %v, rejected %d", steps, full,
		counts.received.Get(), counts.emitted.Get(), counts.stored.Get(), counts.droppedByReason(), counts.rejected.Get())
}

// wantDurable holds what the books say after everything else is gone against what
// was counted meanwhile, and against what the store has.
func wantDurable(t *testing.T, store *storage.Store, counts *pipelineCounts) {
	t.Helper()
	audit := auditOf(store.Books())
	if audit.Unexplained != 0 || len(audit.Pipelines) != 1 {
		t.Fatalf("the ledger does not add up: %+v", audit)
	}
	p := audit.Pipelines[0]
	if got, want := p.Received[""], counts.received.Get()-counts.rejected.Get(); got != want {
		t.Errorf("the ledger has %d received, want %d", got, want)
	}
	if p.Emitted != counts.emitted.Get() || p.Held != uint64(counts.held.Load()) || p.Held != heldIn(store, "main") {
		t.Errorf("the ledger has %d emitted and %d held; counted were %d and %d, and the state has %d", p.Emitted, p.Held,
			counts.emitted.Get(), counts.held.Load(), heldIn(store, "main"))
	}
	if dropped := counts.droppedByReason(); !maps.Equal(p.Dropped, dropped) {
		t.Errorf("the ledger has dropped %v, counted was %v", p.Dropped, dropped)
	}
	wantRecounted(t, store, audit)
}

// heldIn counts the records that modules of a pipeline hold.
func heldIn(store *storage.Store, pipeline string) (n uint64) {
	store.State(pipeline+"\x00", func(key string, _ []byte) {
		if _, rest, _ := strings.Cut(key[len(pipeline)+1:], "\x00"); strings.HasPrefix(rest, "h") {
			n++
		}
	})
	return n
}

// wantRecounted reads every record and holds the streams of an audit against them.
func wantRecounted(t *testing.T, store *storage.Store, audit query.Audit) {
	t.Helper()
	for _, s := range audit.Streams {
		here := uint64(0)
		messages(t, store, s.Name, func(uint64, record.View) { here++ })
		if s.Here != here || s.Earlier+s.Lost+s.Damaged != 0 || s.Stored != here+s.Retention {
			t.Errorf("%d records can be read, and the ledger says %+v", here, s)
		}
	}
}

func randomStep(t *testing.T, r *rand.Rand) StepConfig {
	t.Helper()
	switch r.IntN(6) {
	case 0:
		return StepConfig{Parse: []string{"json", "logfmt"}[r.IntN(2)], ParseMap: true, Text: "parse"}
	case 1:
		return StepConfig{Drop: condition(t, `message contains "a"`), Text: "drop"}
	case 2:
		value, err := expression.Value(`message + "!"`)
		if err != nil {
			t.Fatal(err)
		}
		return StepConfig{Set: []SetField{{Key: "k", Value: value}}, Text: "set"}
	case 3:
		return StepConfig{Route: []Route{{Stream: "one", When: condition(t, `message startsWith "s"`)},
			{Stream: "two", When: condition(t, `message startsWith "e"`)}}, Text: "route"}
	}
	name := []string{"keeps", "drops", "buries"}[r.IntN(3)]
	return StepConfig{Module: name, Text: "module: " + name}
}

// randomBatch has what the conformance guest obeys, and what it does not understand.
func randomBatch(t *testing.T, r *rand.Rand) *record.Batch {
	t.Helper()
	verbs := []string{"keep", "set k v", "drop", "drop why\x01not", "drop because", "route one", "route two", "route nowhere", "emit more",
		"emit-to one more", "replace all", "fail this", "message {\"a\": 1}", "severity 3", "emit a\nemit b\ndrop",
		"hold k", "hold k", "hold tick", "release k", "merge k +", "merge k", "discard k old", "count n", "release none"}
	var all []string
	for range 1 + r.IntN(60) {
		all = append(all, verbs[r.IntN(len(verbs))])
	}
	if r.IntN(10) == 0 {
		all = append(all, []string{"panic", "flood"}[r.IntN(2)])
	}
	return batchOf(t, all...)
}

// TestReasonsFitALabel: what a guest gives as its reason must not spoil a scrape.
func TestReasonsFitALabel(t *testing.T) {
	set := metrics.NewSet()
	counts := newPipelineCounts(set, "main")
	for _, reason := range []string{"plain", "a \"quote\" and a \\", "new\nline", "nul\x00", "bad \xff utf", "ümlaut", "bell\a"} {
		counts.drop(reason, 1)
	}
	for i := range 2 * maxReasons {
		counts.drop(fmt.Sprint("reason ", i), 1)
	}
	var b strings.Builder
	set.WritePrometheus(&b)
	var reasons []string
	for line := range strings.Lines(b.String()) {
		if _, rest, ok := strings.Cut(line, `reason=`); ok {
			reasons = append(reasons, rest[:strings.LastIndexByte(rest, '}')])
		}
	}
	for _, want := range []string{`"plain"`, `"a \"quote\" and a \\"`, `"new_line"`, `"nul_"`, `"bad _ utf"`, `"ümlaut"`, `"bell_"`, `"other"`} {
		if !slices.Contains(reasons, want) {
			t.Errorf("no label %s among %q", want, reasons)
		}
	}
	if len(reasons) > maxReasons+1 {
		t.Errorf("%d reasons, want at most %d", len(reasons), maxReasons+1)
	}
}
