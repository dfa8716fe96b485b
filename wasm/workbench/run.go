package workbench

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/runnel-log/runnel/record"
	"github.com/runnel-log/runnel/wasm"
)

// Result is how a case went.
type Result struct {
	Case *Case
	Took time.Duration
	Got  []*Want   // what came of each step, as far as it went
	Diff []Finding // what was not as wanted; empty: the case passed
}

// Passed reports whether all was as wanted.
func (r *Result) Passed() bool { return len(r.Diff) == 0 }

// Run runs a case. The error is one of the desk, not of the module.
func (d *Desk) Run(ctx context.Context, c *Case) (*Result, error) {
	r := &Result{Case: c}
	begin := time.Now()
	got, err := d.steps(ctx, c, c.Steps)
	r.Took = time.Since(begin)
	if err != nil {
		return nil, err
	}
	r.Got = got
	for i := range got {
		if s := &c.Steps[i]; i > 0 && s.Restart && s.source.want == nil {
			s.Want = &Want{Held: got[i-1].Held} // nothing happens
		}
		r.Diff = append(r.Diff, compare(c, i, got[i])...)
	}
	return r, nil
}

// steps runs the steps and says what came of each; a refused config ends the run
// with one that says so.
func (d *Desk) steps(ctx context.Context, c *Case, steps []Step) ([]*Want, error) {
	now := c.Now
	before := guestMetrics(d.counters)
	d.log.take()
	m, err := d.load(ctx, setting{config: c.Config, tables: c.Tables, streams: c.Streams, onError: c.OnError, now: func() time.Time { return now }})
	if refused := (*errRefused)(nil); errors.As(err, &refused) {
		return []*Want{{Refused: refused.Error(), Log: d.log.take()}}, nil
	}
	if err != nil {
		return nil, err
	}
	p, err := newPlace(m, c.State)
	if err != nil {
		return nil, errors.Join(err, p.close(ctx))
	}
	var all []*Want
	for _, s := range steps {
		now = s.Now
		w, err := d.step(ctx, p, s)
		if err != nil {
			return nil, errors.Join(fmt.Errorf("%s:%d: %s: %w", c.File, c.Line, c.Name, err), p.close(ctx))
		}
		w.Metrics = since(before, guestMetrics(d.counters))
		all = append(all, w)
	}
	return all, p.close(ctx)
}

// step runs one step.
func (d *Desk) step(ctx context.Context, p *place, s Step) (*Want, error) {
	var out wasm.Outcome
	var err error
	switch {
	case s.Records != nil:
		err = p.process(ctx, s.Records, &out)
	case s.Tick:
		err = p.tick(ctx, &out)
	case s.Flush:
		err = p.flush(ctx, &out)
	case s.Restart:
		err = p.restart()
	}
	if err != nil {
		return nil, err
	}
	w := &Want{Records: fieldsOfBatch(out.Batch), Dead: fieldsOfBatch(out.Dead), Held: p.held(), Failed: out.LastError, State: p.values(), Log: d.log.take()}
	if out.Failed > 0 && w.Failed == "" {
		w.Failed = "it failed" // bypassed: on_error decided, unseen
	}
	for _, dropped := range out.Dropped {
		if w.Dropped == nil {
			w.Dropped = map[string]int{}
		}
		w.Dropped[dropped.Reason] += dropped.Count
	}
	if out.Batch != nil && out.Batch != s.Records {
		out.Batch.Release()
	}
	if out.Dead != nil {
		out.Dead.Release()
	}
	return w, nil
}

func fieldsOfBatch(b *record.Batch) []Fields {
	if b == nil {
		return nil
	}
	all := make([]Fields, b.Len())
	for i := range all {
		all[i] = fieldsOf(b.At(i))
	}
	return all
}

// CheckBatching runs a case again with every record a batch of its own, and with
// the instance ended before each, and says where the outcome is another.
func (d *Desk) CheckBatching(ctx context.Context, r *Result) ([]Finding, error) {
	if len(r.Got) == 0 || r.Got[0].Refused != "" {
		return nil, nil
	}
	var findings []Finding
	for _, restart := range []bool{false, true} {
		steps, of := cut(r.Case.Steps, restart)
		got, err := d.steps(ctx, r.Case, steps)
		if err != nil {
			return nil, err
		}
		name := "with each record a batch of its own"
		if restart {
			name += ", and a restart before each"
		}
		for i, whole := range r.Got {
			for _, f := range differ(sum(got, of, i), whole) {
				f.Step, f.What = i, name+": "+f.What
				findings = append(findings, f)
			}
		}
	}
	return findings, nil
}

// cut makes a step of every record. of says which step each came from.
func cut(steps []Step, restart bool) (all []Step, of []int) {
	for i, s := range steps {
		if s.Records == nil {
			all, of = append(all, s), append(of, i)
			continue
		}
		for k := range s.Records.Len() {
			if restart {
				all, of = append(all, Step{Restart: true, Now: s.Now}), append(of, i)
			}
			one := new(record.Batch)
			one.AppendBatch(s.Records, k, k+1)
			all, of = append(all, Step{Records: one, Now: s.Now}), append(of, i)
		}
	}
	return all, of
}

// sum puts together what came of the parts of step i. The last part says what is so in the end.
func sum(got []*Want, of []int, i int) *Want {
	total := &Want{}
	for k, part := range got {
		if of[k] != i {
			continue
		}
		total.Records = append(total.Records, part.Records...)
		total.Dead = append(total.Dead, part.Dead...)
		for reason, n := range part.Dropped {
			if total.Dropped == nil {
				total.Dropped = map[string]int{}
			}
			total.Dropped[reason] += n
		}
		total.Log = append(total.Log, part.Log...)
		total.Held, total.State, total.Metrics = part.Held, part.State, part.Metrics
		if part.Failed != "" {
			total.Failed = part.Failed
		}
	}
	return total
}

// Matches reports whether a case's name, or its file's, contains pattern, without regard to case.
func (c *Case) Matches(pattern string) bool {
	return strings.Contains(strings.ToLower(c.Name+"\n"+c.File), strings.ToLower(pattern))
}
