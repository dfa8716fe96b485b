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
	keeps  bool   // unless the records come from another runnel's stream: they stay in one of that name
	steps  []step
	counts *pipelineCounts

	lines   []place // its ordered modules, in the order of their steps
	states  *states
	scratch []wasm.Change // guarded by states.turn

	stopTicks func() // nil: nobody ticks
	ticking   sync.WaitGroup

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

	held atomic.Int64 // records its modules hold
	book *book

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
	c := &pipelineCounts{received: counter("received"), emitted: counter("emitted"), stored: counter("stored"),
		rejected: counter("rejected"), set: set, name: name, book: newBook(bookPipeline + name), dropped: make(map[string]*metrics.Counter)}
	set.GetOrCreateGauge(fmt.Sprintf(`runnel_pipeline_held_records{pipeline=%q}`, name), func() float64 { return float64(c.held.Load()) })
	return c
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

// add notes what became of a batch of which kept records were stored.
func (c *pipelineCounts) add(t *tally, kept int) {
	c.emitted.Add(t.emitted)
	c.stored.Add(kept)
	for reason, n := range t.dropped {
		c.drop(reason, n)
	}
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

// newPipeline builds the pipeline that c describes; kept is what its ordered
// modules keep.
func newPipeline(c PipelineConfig, modules map[string]*wasm.Module, counts *pipelineCounts, kept *states) (*pipeline, error) {
	p := &pipeline{name: c.Name, stream: c.Stream, keeps: c.KeepsStreams, counts: counts, states: kept}
	for i, sc := range c.Steps {
		s, err := newStep(sc, modules)
		if err != nil {
			return nil, err
		}
		if m, ok := s.(moduleStep); ok && m.module.Ordered() {
			if m.line, err = p.newLine(m.module, sc.Module, i); err != nil {
				return nil, err
			}
			s = m
		}
		p.steps = append(p.steps, s)
	}
	return p, nil
}

// ordered returns the first step that sees its batches in turn.
func (p *pipeline) ordered() int {
	if len(p.lines) == 0 {
		return len(p.steps)
	}
	return p.lines[0].step
}

// apply takes b through some of the steps. It takes b over.
func (p *pipeline) apply(ctx context.Context, steps []step, b *record.Batch, t *tally) (*record.Batch, error) {
	for _, s := range steps {
		if b.Len() == 0 {
			break
		}
		var err error
		if b, err = s.apply(ctx, b, t); err != nil {
			b.Release()
			return nil, err
		}
	}
	return b, nil
}

// applyAll is apply for a batch of any size: a guest's memory and time are
// meant for batches that are not far beyond full, so a larger one is cut.
func (p *pipeline) applyAll(ctx context.Context, steps []step, b *record.Batch, t *tally) (*record.Batch, error) {
	if len(steps) == 0 || b.Len() == 1 || (b.Len() <= 2*record.BatchRecords && b.Size() <= 2*record.BatchBytes) {
		return p.apply(ctx, steps, b, t)
	}
	defer b.Release()
	var out *record.Batch
	for from := 0; from < b.Len(); {
		piece := record.NewBatch()
		for from < b.Len() && !piece.Full() {
			piece.AppendView(b.At(from))
			from++
		}
		piece, err := p.apply(ctx, steps, piece, t)
		if err != nil {
			if out != nil {
				out.Release()
			}
			return nil, err
		}
		out = join(out, piece)
	}
	return out, nil
}

// sort returns one batch a stream, in the order the streams first appear. It
// takes b over, which may be nil.
func (p *pipeline) sort(b *record.Batch, t *tally) []storage.StreamBatch {
	var batches []storage.StreamBatch
	if b != nil {
		batches = splitByStream(b, t.stream)
	}
	if t.dead != nil && t.dead.Len() > 0 {
		batches = append(batches, storage.StreamBatch{Stream: lettersOf(t.stream), Records: t.dead})
	}
	return batches
}

// deadSuffix names the stream of a stream's dead letters.
const deadSuffix = ".dead"

// lettersOf returns the stream of a stream's dead letters; theirs is their own.
func lettersOf(stream string) string { return strings.TrimSuffix(stream, deadSuffix) + deadSuffix }

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

// close waits until the last batch has left and lets no other in. Its modules
// tick no more; what they hold stays.
func (p *pipeline) close() {
	if p.stopTicks != nil {
		p.stopTicks()
	}
	p.using.Lock()
	defer p.using.Unlock()
	p.closed = true
}

// end closes the modules' places in a pipeline that is closed.
func (p *pipeline) end() {
	for _, l := range p.lines {
		l.Close()
	}
}

// extra is what goes with a batch of an input into the store.
type extra struct {
	marks []storage.Change // the input's, to be committed whatever becomes of the records
	hurry bool             // its sender waits for the receipt
	input string
	kept  string        // the stream that they were in at another runnel; empty: nowhere
	whole *record.Block // nil, or the batch as it came from there, and where its records are from
	left  *departure    // nil, or what the batch is that no input has sent
}

// emit is what an input's Emit does: through the steps, into the store.
func (p *pipeline) emit(ctx context.Context, store *storage.Store, b *record.Batch, x extra) (inputs.Receipt, error) {
	p.using.RLock()
	defer p.using.RUnlock()
	if p.closed {
		return nil, errClosed
	}
	n := b.Len()
	p.counts.received.Add(n)
	receipt, err := p.process(ctx, store, b, x)
	if err == nil {
		return receipt, nil
	}
	p.counts.rejected.Add(n)
	return nil, err
}

// process takes b through the steps and stages what is left. After an error it is
// as if b had never been there.
func (p *pipeline) process(ctx context.Context, store *storage.Store, b *record.Batch, x extra) (_ inputs.Receipt, err error) {
	t := tally{counts: p.counts, input: x.input, took: b.Len(), left: x.left, stream: p.stream}
	ordered := p.ordered()
	if p.keeps && x.kept != "" {
		t.stream = x.kept
	}
	if x.whole != nil && len(p.steps) > 0 { // they are to see where the records are from
		if err := b.Stamp(&x.whole.Origin); err != nil {
			b.Release()
			return nil, err
		}
		x.whole = nil
	}
	if b, err = p.applyAll(ctx, p.steps[:ordered], b, &t); err != nil {
		t.release()
		return nil, err
	}
	if ordered < len(p.steps) {
		if t.stream != p.stream {
			b = staying(b, t.stream)
		}
		p.states.turn.Lock()
		if b, err = p.applyAll(ctx, p.steps[ordered:], b, &t); err != nil {
			t.release()
			p.undo()
			return nil, err
		}
		return p.stage(ctx, store, p.sort(b, &t), x, &t)
	}
	return store.Append(ctx, t.unit(p.sort(b, &t), x.marks, x))
}

// staying returns b's records, each that is routed nowhere routed to stream: a module
// may hold them, and say later where they go. It takes b over.
func staying(b *record.Batch, stream string) *record.Batch {
	out := record.NewBatch()
	for i := range b.Len() {
		v := b.At(i)
		if len(v.Stream()) > 0 || out.AppendRouted(v, stream) != nil { // at the size limit: if it is held, it goes where the pipeline's go
			out.AppendView(v)
		}
	}
	b.Release()
	return out
}

func recordsIn(batches []storage.StreamBatch) (n int) {
	for _, sb := range batches {
		n += sb.Records.Len()
	}
	return n
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

// keeps reports whether an input's records stay in streams of the names that they had at
// another runnel.
func (r *routes) keeps(input string) bool {
	table := r.table.Load()
	if table == nil {
		return true
	}
	p := table.byInput[input]
	if p == nil {
		p = table.fallback
	}
	return p.keeps
}

// emit takes a batch of the named input through its pipeline of the moment.
func (r *routes) emit(ctx context.Context, store *storage.Store, input string, b *record.Batch, x extra) (inputs.Receipt, error) {
	for {
		table := r.table.Load()
		p := table.byInput[input]
		if p == nil {
			p = table.fallback
		}
		receipt, err := p.emit(ctx, store, b, x)
		if !errors.Is(err, errClosed) { // a reload swaps the table before it closes a pipeline
			return receipt, err
		}
	}
}
