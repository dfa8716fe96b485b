package wasm

import (
	"context"
	"errors"
	"time"

	"github.com/runnel-log/runnel/record"
)

// Outcome is what became of a batch. The zero value is ready to use and can be
// used again. in.Len() + Emitted + Released = Batch.Len() + Dead.Len() + the sum
// of Dropped + Held.
type Outcome struct {
	// Batch is what goes on, in order: the batch given to Process itself when
	// the guest kept all of it, otherwise one from the pool that the caller
	// releases. It may be empty, and larger than a full batch.
	Batch *record.Batch
	// Dead are the records for the dead-letter stream, flagged module_failed;
	// nil if there are none. The caller releases it.
	Dead *record.Batch
	// Dropped counts the records dropped, by the reason the guest gave.
	Dropped []Dropped

	Emitted  int // records the guest added
	Patched  int // records it changed, replaced and merged ones included
	Routed   int // of those, records it sent to another stream
	Failed   int // records it failed on; on_error has decided on them
	Held     int // records that a HOLD took into the state
	Released int // held records that a RELEASE, MERGE or DISCARD let go

	LastError string // why the last of them failed; empty if none did
}

// Dropped is how many records were dropped for a reason.
type Dropped struct {
	Reason string
	Count  int
}

// The reasons the host gives.
const (
	reasonNone   = "module"        // a guest dropped without a reason
	reasonFailed = "module_failed" // on_error: drop
	reasonOthers = "other"         // beyond maxReasons in one batch
)

// maxReasons bounds the reasons one batch may be dropped for: they label a metric.
const maxReasons = 16

// reset empties o and keeps its memory; it does not release the batches.
func (o *Outcome) reset() { *o = Outcome{Dropped: o.Dropped[:0]} }

// drop counts n records dropped for a reason.
func (o *Outcome) drop(reason []byte, n int) {
	if n == 0 {
		return
	}
	for i := range o.Dropped {
		if o.Dropped[i].Reason == string(reason) || len(reason) == 0 && o.Dropped[i].Reason == reasonNone {
			o.Dropped[i].Count += n
			return
		}
	}
	text := reasonNone
	if len(reason) > 0 {
		text = string(reason)
	}
	o.dropText(text, n)
}

func (o *Outcome) dropText(reason string, n int) {
	for i := range o.Dropped {
		if o.Dropped[i].Reason == reason {
			o.Dropped[i].Count += n
			return
		}
	}
	if len(o.Dropped) >= maxReasons && reason != reasonOthers {
		o.dropText(reasonOthers, n)
		return
	}
	o.Dropped = append(o.Dropped, Dropped{reason, n})
}

// add moves what became of a part of the batch to the end of o, and empties it.
func (o *Outcome) add(part *Outcome) {
	o.Batch.AppendBatch(part.Batch, 0, part.Batch.Len())
	if part.Dead != nil {
		o.dead().AppendBatch(part.Dead, 0, part.Dead.Len())
	}
	for _, d := range part.Dropped {
		o.dropText(d.Reason, d.Count)
	}
	o.Emitted += part.Emitted
	o.Patched += part.Patched
	o.Routed += part.Routed
	o.Failed += part.Failed
	o.Held += part.Held
	o.Released += part.Released
	if part.LastError != "" {
		o.LastError = part.LastError
	}
}

func (o *Outcome) dead() *record.Batch {
	if o.Dead == nil {
		o.Dead = record.NewBatch()
	}
	return o.Dead
}

// release puts the batches o holds back to their pool, but for in.
func (o *Outcome) release(in *record.Batch) {
	if o.Batch != nil && o.Batch != in {
		o.Batch.Release()
	}
	if o.Dead != nil {
		o.Dead.Release()
	}
	o.reset()
}

// Process runs a batch through the guest. in is borrowed and unchanged; out is
// overwritten. What the guest fails on is decided by on_error, so an error is
// only ever that of ctx, or ErrClosed, and out then holds nothing; or ErrOrdered.
func (m *Module) Process(ctx context.Context, in *record.Batch, out *Outcome) error {
	out.reset()
	if m.ordered {
		return ErrOrdered
	}
	defer m.counters.spend(time.Now())
	return m.process(ctx, nil, in, out)
}

// process is Process, in a line if there is one.
func (m *Module) process(ctx context.Context, l *Line, in *record.Batch, out *Outcome) error {
	if in.Len() == 0 {
		out.Batch = in
		return nil
	}
	now := m.options.Now()
	if !m.breaker.allows(now, m.events) {
		m.bypass(in, 0, in.Len(), out, m.breaker.reason())
		m.count(in.Len(), out)
		m.counters.bypassed.Add(in.Len())
		return nil
	}
	err := m.attempt(ctx, l, in, now.UnixNano(), out)
	if err == nil {
		m.breaker.succeeded(now, m.events)
		m.count(in.Len(), out)
		if out.Failed > 0 { // by a verdict, or a stream that there is not
			if n := m.refused.add(out.Failed, now); n > 0 {
				m.events.failedSome(out.LastError, n, m.options.OnError.String())
			}
		}
		return nil
	}
	if isCallers(err) {
		out.release(in)
		return err
	}
	b := bisection{m: m, line: l, ctx: ctx, now: now.UnixNano(), left: maxFailures, until: 12 * m.options.Time, last: err}
	out.Batch = record.NewBatch()
	if err := b.split(in, 0, in.Len(), out); err != nil {
		out.release(in)
		return err
	}
	m.events.failed(b.last, in.Len(), out.Failed, m.options.OnError.String())
	m.breaker.failed(now, b.last, m.events, m.options.OnError)
	m.count(in.Len(), out)
	return nil
}

// isCallers reports whether an error is the caller's, and not the guest's.
func isCallers(err error) bool {
	return errors.Is(err, ErrClosed) || errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded)
}

// attempt gives the guest a batch once. On an error of the guest its instance
// is gone, what it did to the state undone, and out is empty.
func (m *Module) attempt(ctx context.Context, l *Line, in *record.Batch, now int64, out *Outcome) error {
	if l != nil {
		return l.attempt(in, now, out)
	}
	inst, made, err := m.acquire(ctx)
	if err != nil {
		return err
	}
	if made != nil {
		m.counters.failure(made)
		return made
	}
	if err := inst.try(in, now, out); err != nil {
		m.dropInstance(inst) // a guest that trapped or lied has a memory nobody can trust
		return err
	}
	m.putBack(inst)
	return nil
}

// try gives the guest a batch and applies its verdicts. On an error out is empty,
// and the instance must be discarded.
func (in *instance) try(b *record.Batch, now int64, out *Outcome) error {
	in.attemptBegins()
	output, err := in.run(b, now)
	switch {
	case err != nil:
	case output == nil:
		out.Batch = b
	default:
		err = in.apply.verdicts(b, output, out)
	}
	if err != nil {
		out.release(b)
		in.module.counters.failure(err)
	}
	in.attemptEnds(err == nil)
	return err
}

// maxFailures bounds the failed calls spent on finding a batch's poison
// records; each costs an instance. One record among 512 takes nine.
const maxFailures = 64

// bisection finds the records a guest fails on.
type bisection struct {
	m     *Module
	line  *Line           // nil: none
	ctx   context.Context // of one call of Process
	now   int64
	left  int           // failed calls there may still be
	until time.Duration // CPU time there may still be, in whole deadlines
	last  error
}

// split is called with records from to to of in, on which the guest has
// failed, and appends what becomes of them to out.
func (b *bisection) split(in *record.Batch, from, to int, out *Outcome) error {
	if to-from == 1 || b.left <= 0 || b.until <= 0 {
		for i := from; i < to; i++ {
			b.m.fail(in.At(i), b.last.Error(), out, nil)
		}
		return nil
	}
	middle := from + (to-from)/2
	if err := b.half(in, from, middle, out); err != nil {
		return err
	}
	return b.half(in, middle, to, out)
}

func (b *bisection) half(in *record.Batch, from, to int, out *Outcome) error {
	part := record.NewBatch()
	defer part.Release()
	part.AppendBatch(in, from, to)
	var got Outcome
	before := b.m.spent.Load()
	err := b.m.attempt(b.ctx, b.line, part, b.now, &got)
	if err == nil {
		out.add(&got)
		got.release(part)
		return nil
	}
	if isCallers(err) {
		return err
	}
	b.left--
	b.until -= time.Duration(b.m.spent.Load() - before)
	b.last = err
	return b.split(in, from, to, out)
}

// fail applies on_error to one record as it came. scratch may be nil.
func (m *Module) fail(v record.View, text string, out *Outcome, scratch *record.Record) {
	if scratch == nil {
		scratch = new(record.Record)
	}
	v.Decode(scratch)
	if err := m.failed(scratch, text, out); err != nil {
		panic("bug: a record that was decoded cannot be encoded: " + err.Error())
	}
}

// failed applies on_error to a record, as the guest left it. It returns an error
// if r cannot be encoded.
func (m *Module) failed(r *record.Record, text string, out *Outcome) error {
	to := out.Batch
	switch m.options.OnError {
	case Drop:
		out.dropText(reasonFailed, 1)
		to = nil
	case DeadLetter:
		to = out.dead()
	}
	if to != nil {
		r.Flags |= record.ModuleFailed
		if err := to.Append(r); err != nil {
			return err
		}
	}
	out.Failed++
	out.LastError = text
	return nil
}

// bypass applies on_error to records the guest was not asked about.
func (m *Module) bypass(in *record.Batch, from, to int, out *Outcome, why string) {
	var scratch record.Record
	out.Batch = record.NewBatch()
	for i := from; i < to; i++ {
		m.fail(in.At(i), why, out, &scratch)
	}
}
