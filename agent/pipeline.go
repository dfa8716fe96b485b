package agent

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"unicode/utf8"

	"github.com/VictoriaMetrics/metrics"

	"github.com/runnel-log/runnel/agent/inputs"
	"github.com/runnel-log/runnel/record"
	"github.com/runnel-log/runnel/storage"
	"github.com/runnel-log/runnel/wasm"
)

// pipeline takes the batches of its inputs through its steps and into the
// store. It is built anew on reload and never changed.
type pipeline struct {
	name   string
	stream string // where no route and no module says otherwise
	steps  []step
	counts *pipelineCounts

	// using is held for reading while a batch passes through, so that a reload
	// can wait until the last one has left before it closes the modules.
	using sync.RWMutex
	// closed says that no batch may enter any more; guarded by using.
	closed bool
}

// pipelineCounts outlive the pipeline: a reload hands them to the next one of
// the same name.
type pipelineCounts struct {
	received, emitted, stored, rejected *metrics.Counter

	set  *metrics.Set
	name string
	mu   sync.Mutex
	// dropped by reason; guarded by mu.
	dropped map[string]*metrics.Counter
}

func newPipelineCounts(set *metrics.Set, name string) *pipelineCounts {
	counter := func(what string) *metrics.Counter {
		return set.GetOrCreateCounter(fmt.Sprintf(`runnel_pipeline_%s_records_total{pipeline=%q}`, what, name))
	}
	return &pipelineCounts{received: counter("received"), emitted: counter("emitted"), stored: counter("stored"),
		rejected: counter("rejected"), set: set, name: name, dropped: make(map[string]*metrics.Counter)}
}

// maxReasons bounds the distinct reasons that guests can create.
const maxReasons = 100

// label makes what a guest wrote fit for a metric's label: of the escapes that %q
// writes, scrapers know none but those of the quote and the backslash.
func label(text string) string {
	return strings.Map(func(r rune) rune {
		if r == utf8.RuneError || !strconv.IsPrint(r) {
			return '_'
		}
		return r
	}, text)
}

func (c *pipelineCounts) drop(reason string, n int) {
	reason = label(reason)
	c.mu.Lock()
	defer c.mu.Unlock()
	counter := c.dropped[reason]
	if counter == nil {
		if len(c.dropped) >= maxReasons {
			reason = "other"
		}
		counter = c.set.GetOrCreateCounter(fmt.Sprintf(`runnel_pipeline_dropped_records_total{pipeline=%q,reason=%q}`, c.name, reason))
		c.dropped[reason] = counter
	}
	counter.Add(n)
}

// droppedByReason returns a copy of the counts.
func (c *pipelineCounts) droppedByReason() map[string]uint64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	counts := make(map[string]uint64, len(c.dropped))
	for reason, counter := range c.dropped {
		counts[reason] = counter.Get()
	}
	return counts
}

func newPipeline(c PipelineConfig, modules map[string]*wasm.Module, counts *pipelineCounts) (*pipeline, error) {
	p := &pipeline{name: c.Name, stream: c.Stream, counts: counts}
	for _, sc := range c.Steps {
		s, err := newStep(sc, modules)
		if err != nil {
			return nil, err
		}
		p.steps = append(p.steps, s)
	}
	return p, nil
}

// process takes b through the steps and returns one batch a stream, in the
// order the streams first appear. It takes b over.
func (p *pipeline) process(ctx context.Context, b *record.Batch, t *tally) ([]storage.StreamBatch, error) {
	t.stream = p.stream
	for _, s := range p.steps {
		var err error
		if b, err = s.apply(ctx, b, t); err != nil {
			b.Release()
			return nil, err
		}
		if b.Len() == 0 {
			break
		}
	}
	batches := splitByStream(b, p.stream)
	if t.dead != nil && t.dead.Len() > 0 {
		batches = append(batches, storage.StreamBatch{Stream: p.stream + deadSuffix, Records: t.dead})
	}
	return batches, nil
}

// deadSuffix names the stream of a stream's dead letters.
const deadSuffix = ".dead"

// splitByStream takes b over and sorts its records by the stream each one is
// routed to, fallback where it is routed nowhere. The order within a stream stays.
func splitByStream(b *record.Batch, fallback string) []storage.StreamBatch {
	n := b.Len()
	if n == 0 {
		b.Release()
		return nil
	}
	first := 0
	for first < n && len(b.At(first).Stream()) == 0 {
		first++
	}
	if first == n { // nothing is routed: the whole batch as it is
		return []storage.StreamBatch{{Stream: fallback, Records: b}}
	}
	var out []storage.StreamBatch
	into := func(stream []byte) *record.Batch {
		name := fallback
		for i := range out {
			if out[i].Stream == string(stream) || (len(stream) == 0 && out[i].Stream == fallback) {
				return out[i].Records
			}
		}
		if len(stream) > 0 {
			name = string(stream)
		}
		out = append(out, storage.StreamBatch{Stream: name, Records: record.NewBatch()})
		return out[len(out)-1].Records
	}
	for i := 0; i < n; {
		stream := b.At(i).Stream()
		run := i + 1
		for run < n && string(b.At(run).Stream()) == string(stream) {
			run++
		}
		into(stream).AppendBatch(b, i, run)
		i = run
	}
	b.Release()
	return out
}

// errClosed: a reload has put another pipeline in this one's place; the batch
// was not touched.
var errClosed = errors.New("pipeline closed")

// close waits until the last batch has left and lets no other in.
func (p *pipeline) close() {
	p.using.Lock()
	defer p.using.Unlock()
	p.closed = true
}

// emit is what an input's Emit does: through the steps, into the store.
func (p *pipeline) emit(ctx context.Context, store *storage.Store, b *record.Batch, hurry bool) (inputs.Receipt, error) {
	p.using.RLock()
	defer p.using.RUnlock()
	if p.closed {
		return nil, errClosed
	}
	n := b.Len()
	p.counts.received.Add(n)
	var t tally
	batches, err := p.process(ctx, b, &t)
	if err != nil {
		p.counts.rejected.Add(n)
		return nil, err
	}
	p.counts.emitted.Add(t.emitted)
	for reason, dropped := range t.dropped {
		p.counts.drop(reason, dropped)
	}
	kept := 0
	for _, sb := range batches {
		kept += sb.Records.Len()
	}
	if kept == 0 {
		return nothingToStore{}, nil
	}
	receipt, err := store.Append(ctx, storage.Unit{Batches: batches, Hurry: hurry})
	if err != nil {
		p.counts.rejected.Add(kept)
		if errors.Is(err, storage.ErrFull) {
			return nil, fmt.Errorf("store is full: %w", err)
		}
		return nil, err
	}
	p.counts.stored.Add(kept)
	return receipt, nil
}

// nothingToStore is the receipt of a batch that the steps dropped altogether.
type nothingToStore struct{}

func (nothingToStore) Wait(context.Context) error { return nil }

// routes says which pipeline each input belongs to. A reload swaps the whole
// table at once.
type routes struct{ table atomic.Pointer[routeTable] }

type routeTable struct {
	byInput  map[string]*pipeline
	fallback *pipeline // for an input that no pipeline names
	known    func(stream string) bool
}

// known reports whether the configuration of the moment names the stream; c is
// asked while none is in place.
func (r *routes) known(stream string, c *Config) bool {
	if table := r.table.Load(); table != nil {
		return table.known(stream)
	}
	return c.KnownStream(stream)
}

// emit takes a batch of the named input through its pipeline of the moment.
func (r *routes) emit(ctx context.Context, store *storage.Store, input string, b *record.Batch, hurry bool) (inputs.Receipt, error) {
	for {
		table := r.table.Load()
		p := table.byInput[input]
		if p == nil {
			p = table.fallback
		}
		receipt, err := p.emit(ctx, store, b, hurry)
		if !errors.Is(err, errClosed) { // a reload swaps the table before it closes a pipeline
			return receipt, err
		}
	}
}
