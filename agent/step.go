package agent

import (
	"context"
	"fmt"

	"github.com/runnel-log/runnel/internal/expression"
	"github.com/runnel-log/runnel/record"
	"github.com/runnel-log/runnel/wasm"
)

// step is one step of a pipeline, built once and used by many goroutines.
type step interface {
	// apply returns what the step makes of b. It takes b over: b is returned, or
	// released in favour of the batch returned. tally counts what was left out.
	apply(ctx context.Context, b *record.Batch, t *tally) (*record.Batch, error)
}

// tally is what the steps of one pipeline did to one batch.
type tally struct {
	counts  *pipelineCounts
	input   string         // where the batch came from; "": modules made it
	took    int            // records in it
	left    *departure     // nil, or what it is that no input has sent
	stream  string         // where the pipeline stores, for expressions
	emitted int            // records that guests added
	held    int            // records that guests took in, less those they let go
	dropped map[string]int // by reason
	dead    *record.Batch  // for the dead letters of the pipeline's stream
	modules []moduleTally
	room    [4]moduleTally // for as many modules as most pipelines have
}

func (t *tally) drop(reason string, n int) {
	if n == 0 {
		return
	}
	if t.dropped == nil {
		t.dropped = make(map[string]int, 2)
	}
	t.dropped[reason] += n
}

// newStep builds the step that c describes; modules are the loaded ones by name.
func newStep(c StepConfig, modules map[string]*wasm.Module) (step, error) {
	switch {
	case c.Parse == "json":
		return parseStep{parse: parseJSON, mapFields: c.ParseMap}, nil
	case c.Parse == "logfmt":
		return parseStep{parse: record.ParseLogfmt, mapFields: c.ParseMap}, nil
	case c.Drop != nil:
		return newDropStep(c.Drop), nil
	case c.Set != nil:
		return newSetStep(c.Set), nil
	case c.Route != nil:
		return newRouteStep(c.Route), nil
	case c.Module != "":
		m := modules[c.Module]
		if m == nil {
			return nil, fmt.Errorf("bug: module %q passed the check but is not loaded", c.Module)
		}
		return moduleStep{module: m, name: c.Module}, nil
	}
	return nil, fmt.Errorf("bug: step %q has no kind", c.Text)
}

// evaluators hands out one Evaluator a goroutine for a program.
type evaluators struct {
	program *expression.Program
	idle    chan *expression.Evaluator // as many as are likely to run at once; more are made and dropped
}

func newEvaluators(p *expression.Program) *evaluators {
	return &evaluators{program: p, idle: make(chan *expression.Evaluator, 16)}
}

func (e *evaluators) get() *expression.Evaluator {
	select {
	case v := <-e.idle:
		return v
	default:
		return e.program.Evaluator()
	}
}

func (e *evaluators) put(v *expression.Evaluator) {
	select {
	case e.idle <- v:
	default:
	}
}

// borrow takes one Evaluator of each.
func borrow(all []*evaluators) []*expression.Evaluator {
	lent := make([]*expression.Evaluator, len(all))
	for i, e := range all {
		lent[i] = e.get()
	}
	return lent
}

// handBack returns what borrow lent.
func handBack(all []*evaluators, lent []*expression.Evaluator) {
	for i, e := range all {
		e.put(lent[i])
	}
}

// contextOf says where a record would be stored as things stand.
func contextOf(v record.View, t *tally) expression.Context {
	if s := v.Stream(); len(s) > 0 {
		return expression.Context{Stream: string(s)}
	}
	return expression.Context{Stream: t.stream}
}

// dropStep leaves out the records that a condition matches.
type dropStep struct{ when *evaluators }

func newDropStep(p *expression.Program) dropStep { return dropStep{newEvaluators(p)} }

func (s dropStep) apply(_ context.Context, b *record.Batch, t *tally) (*record.Batch, error) {
	e := s.when.get()
	defer s.when.put(e)
	var out *record.Batch // nil until the first record is dropped
	kept := 0             // first of the run of kept records not yet copied
	n := b.Len()
	for i := range n {
		v := b.At(i)
		if !e.Match(v, contextOf(v, t)) {
			continue
		}
		if out == nil {
			out = record.NewBatch()
		}
		out.AppendBatch(b, kept, i)
		kept = i + 1
	}
	if out == nil {
		return b, nil
	}
	out.AppendBatch(b, kept, n)
	t.drop("drop", n-out.Len())
	b.Release()
	return out, nil
}

// setStep sets attributes to the values of expressions.
type setStep struct {
	keys   []string
	values []*evaluators
}

func newSetStep(fields []SetField) setStep {
	var s setStep
	for _, f := range fields {
		s.keys = append(s.keys, f.Key)
		s.values = append(s.values, newEvaluators(f.Value))
	}
	return s
}

func (s setStep) apply(_ context.Context, b *record.Batch, t *tally) (*record.Batch, error) {
	values := borrow(s.values)
	defer handBack(s.values, values)
	return edit(b, func(v record.View, r *record.Record) {
		for i, e := range values {
			e.Set(v, contextOf(v, t), &r.Attrs, s.keys[i])
		}
	}), nil
}

// edit returns a batch of b's records as change left them, and releases b. A
// record that would no longer fit the encoding stays as it was.
func edit(b *record.Batch, change func(v record.View, r *record.Record)) *record.Batch {
	out := record.NewBatch()
	var r record.Record
	for i := range b.Len() {
		v := b.At(i)
		v.Decode(&r)
		change(v, &r)
		if out.Append(&r) != nil {
			out.AppendView(v)
		}
	}
	b.Release()
	return out
}

// routeStep moves the records that match to another stream; the first match wins.
type routeStep struct {
	streams []string
	when    []*evaluators
}

func newRouteStep(routes []Route) routeStep {
	var s routeStep
	for _, r := range routes {
		s.streams = append(s.streams, r.Stream)
		s.when = append(s.when, newEvaluators(r.When))
	}
	return s
}

func (s routeStep) apply(_ context.Context, b *record.Batch, t *tally) (*record.Batch, error) {
	when := borrow(s.when)
	defer handBack(s.when, when)
	var out *record.Batch
	for i := range b.Len() {
		v := b.At(i)
		stream := s.choose(when, v, t)
		if out == nil && stream != "" {
			out = record.NewBatch()
			out.AppendBatch(b, 0, i)
		}
		switch {
		case out == nil:
		case stream == "":
			out.AppendView(v)
		case out.AppendRouted(v, stream) != nil: // at the size limit: it stays where it was
			out.AppendView(v)
		}
	}
	if out == nil {
		return b, nil
	}
	b.Release()
	return out, nil
}

func (s routeStep) choose(when []*expression.Evaluator, v record.View, t *tally) string {
	c := contextOf(v, t)
	for i, e := range when {
		if e.Match(v, c) {
			return s.streams[i]
		}
	}
	return ""
}

// moduleStep hands the batch to a guest.
type moduleStep struct {
	module *wasm.Module
	name   string
	line   *wasm.Line // of an ordered module; the caller has the turn
}

func (s moduleStep) apply(ctx context.Context, b *record.Batch, t *tally) (*record.Batch, error) {
	var o wasm.Outcome
	var err error
	if s.line != nil {
		err = s.line.Process(ctx, b, &o)
	} else {
		err = s.module.Process(ctx, b, &o)
	}
	if err != nil {
		return b, err
	}
	out := t.take(s.name, b.Len(), &o)
	if out != b {
		b.Release()
	}
	return out, nil
}

// take notes what a guest did with a batch of n records and returns the batch
// that goes on.
func (t *tally) take(module string, n int, o *wasm.Outcome) *record.Batch {
	t.emitted += o.Emitted
	t.held += o.Held - o.Released
	m := t.of(module)
	m.in, m.emitted, m.held = m.in+n, m.emitted+o.Emitted, m.held+o.Held-o.Released
	m.dropped = append(m.dropped, o.Dropped...)
	if o.Batch != nil {
		m.out += o.Batch.Len()
	}
	if o.Dead != nil {
		m.dead += o.Dead.Len()
	}
	for _, d := range o.Dropped {
		t.drop(d.Reason, d.Count)
	}
	if o.Dead != nil {
		t.dead = join(t.dead, unsigned(o.Dead))
	}
	if o.Batch == nil {
		return record.NewBatch()
	}
	return o.Batch
}

// release gives back what was to be stored, after a failure.
func (t *tally) release() {
	if t.dead != nil {
		t.dead.Release()
		t.dead = nil
	}
}
