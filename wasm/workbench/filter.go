package workbench

import (
	"context"
	"errors"
	"time"

	"github.com/runnel-log/runnel/internal/config"
	"github.com/runnel-log/runnel/record"
	"github.com/runnel-log/runnel/wasm"
)

// ParseConfig turns a module's config, written in YAML or JSON, into the JSON that
// the module gets. Its error is a config.Problems.
func ParseConfig(text string) ([]byte, error) {
	root, ps := config.ParseLiteral("--with", ".", []byte(text))
	if root == nil {
		return nil, ps.Err()
	}
	if root.Kind() != config.Map {
		root.At(&ps).Problemf("is %s; write a mapping, such as {key: value}", root.Kind())
	}
	return []byte(jsonOf(root)), ps.Err()
}

// Filter is a module at work on records that come and go.
type Filter struct {
	place *place
	out   wasm.Outcome
	Counts
}

// Counts say what became of the records.
type Counts struct {
	In, Out, Dead, Failed int
	Dropped               map[string]int
	LastError             string
}

// FilterOptions say how a filter runs. The clock is the wall's.
type FilterOptions struct {
	Config  []byte // JSON; nil: {}
	Tables  map[string]Table
	OnError string
}

// Filter loads the module with what its manifest needs.
func (d *Desk) Filter(ctx context.Context, o FilterOptions) (*Filter, error) {
	s := setting{config: o.Config, tables: o.Tables, onError: o.OnError, now: time.Now}
	if s.config == nil {
		s.config = []byte("{}")
	}
	m, err := d.open(ctx, s)
	if err != nil {
		return nil, err
	}
	p, err := newPlace(m, nil)
	if err != nil {
		return nil, errors.Join(err, m.Close(ctx))
	}
	return &Filter{place: p, Counts: Counts{Dropped: map[string]int{}}}, nil
}

// Ticks reports whether Tick should be called, once a second.
func (f *Filter) Ticks() bool { return f.place.line != nil && f.place.line.Ticks() }

// Process gives emit what becomes of a batch, borrowed, record by record.
func (f *Filter) Process(ctx context.Context, in *record.Batch, emit func(record.View) error) error {
	f.In += in.Len()
	return f.pass(f.place.process(ctx, in, &f.out), in, emit)
}

// Tick lets the module speak between batches.
func (f *Filter) Tick(ctx context.Context, emit func(record.View) error) error {
	return f.pass(f.place.tick(ctx, &f.out), nil, emit)
}

// Flush is the end: the module speaks last, and what it holds goes on.
func (f *Filter) Flush(ctx context.Context, emit func(record.View) error) error {
	return f.pass(f.place.flush(ctx, &f.out), nil, emit)
}

// pass counts and emits what came.
func (f *Filter) pass(err error, in *record.Batch, emit func(record.View) error) error {
	if err != nil {
		return err
	}
	f.Failed += f.out.Failed
	if f.out.LastError != "" {
		f.LastError = f.out.LastError
	}
	for _, d := range f.out.Dropped {
		f.Dropped[d.Reason] += d.Count
	}
	if f.out.Dead != nil {
		f.Dead += f.out.Dead.Len()
		f.out.Dead.Release()
	}
	b := f.out.Batch
	if b == nil {
		return nil
	}
	for i := range b.Len() {
		f.Out++
		if err := emit(b.At(i)); err != nil {
			return err
		}
	}
	if b != in {
		b.Release()
	}
	return nil
}

// Close ends the module.
func (f *Filter) Close(ctx context.Context) error { return f.place.close(ctx) }
