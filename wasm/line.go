package wasm

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/runnel-log/runnel/record"
)

// DefaultState is how many bytes a module may keep in a pipeline.
const DefaultState = 16 << 20

// The functions that take no batch (ABI §2.3).
const (
	tickName  = "runnel_tick"
	flushName = "runnel_flush"
)

// ErrOrdered: the module keeps state or ticks, and so runs in order, in a Line.
var ErrOrdered = errors.New("module is ordered: it runs in a line of a pipeline")

// Line is an ordered module at its place in one pipeline: one instance, made
// when first needed, that is given batches in order (ABI §1.3). It is not safe
// for concurrent use, but a Close of the module waits for the call under way.
//
// After calls of Process, Tick and Flush comes Settle, once their output and
// Changes are staged to be stored together; or Undo, if they will not be.
type Line struct {
	module *Module
	state  *State

	turn   chan struct{} // holds a token while a call runs
	in     *instance     // guarded by turn; nil: to be made
	closed bool          // guarded by turn
}

// Line returns a line with a state, which several lines may share, one after
// another: the instance of a line whose state another has used last is made
// anew, since what it remembers may be out of date.
func (m *Module) Line(s *State) *Line {
	l := &Line{module: m, state: s, turn: make(chan struct{}, 1)}
	m.mu.Lock()
	m.lines[l] = struct{}{}
	m.mu.Unlock()
	return l
}

// Ordered reports whether the module runs in a Line, and not by Process.
func (m *Module) Ordered() bool { return m.ordered }

// begin waits for the line's turn. It fails when the line or the module has been
// closed, or while it waits for that and ctx ends.
func (l *Line) begin(ctx context.Context) error {
	select {
	case l.turn <- struct{}{}:
	default:
		select {
		case l.turn <- struct{}{}:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	select {
	case <-l.module.closed:
	default:
		if !l.closed {
			return nil
		}
	}
	l.end()
	return ErrClosed
}

func (l *Line) end() { <-l.turn }

// Process is Module.Process of an ordered module. What the guest did to the
// state in calls that failed is undone.
func (l *Line) Process(ctx context.Context, in *record.Batch, out *Outcome) error {
	out.reset()
	if err := l.begin(ctx); err != nil {
		return err
	}
	defer l.end()
	defer l.module.counters.spend(time.Now())
	return l.module.process(ctx, l, in, out)
}

// attempt gives the guest a batch once. On an error its instance is gone, the
// state as it was, and out empty.
func (l *Line) attempt(in *record.Batch, now int64, out *Outcome) error {
	err := l.ready()
	if err != nil {
		l.module.counters.failure(err)
		return err
	}
	if err = l.in.try(in, now, out); err != nil || l.in.worn() {
		l.drop()
	}
	return err
}

// ready makes the instance if there is none that knows the state as it is.
func (l *Line) ready() error {
	if l.state.line != l {
		l.drop()
		l.state.line, l.state.limit = l, l.module.options.State
	}
	if l.in != nil {
		return nil
	}
	var err error
	if l.in = l.module.first(l.state); l.in == nil {
		if l.in, err = l.module.newInstance(l.state); err == nil {
			l.module.lined.Add(1)
		}
	}
	return err
}

// first returns the instance that Load made, if it is still there.
func (m *Module) first(s *State) *instance {
	select {
	case in := <-m.free:
		<-m.slots
		m.lined.Add(1)
		in.state = s
		return in
	default:
		return nil
	}
}

// drop ends the instance.
func (l *Line) drop() {
	if l.in != nil {
		l.in.discard()
		l.in = nil
		l.module.lined.Add(-1)
	}
}

// Ticks reports whether the module wants to be called by Tick.
func (l *Line) Ticks() bool { return l.module.ticks }

// Tick lets the guest speak without a batch (ABI §2.3). out is overwritten; its
// Batch is nil if nothing was said. A guest that fails has said nothing, and
// nothing has changed but out.LastError; an error is that of ctx, or ErrClosed.
// While the module is bypassed nothing is done.
func (l *Line) Tick(ctx context.Context, out *Outcome) error {
	out.reset()
	if !l.module.ticks {
		return nil
	}
	if err := l.begin(ctx); err != nil {
		return err
	}
	defer l.end()
	m := l.module
	if m.breaker.open() {
		return nil
	}
	now := m.options.Now()
	m.counters.ticks.Inc()
	if err := l.speak(tickName, now.UnixNano(), out); err != nil {
		m.breaker.failed(now, err, m.events, m.options.OnError)
	}
	l.spoken(out)
	return nil
}

// Flush is for a module that leaves its pipeline for good: the guest may say
// something last, what is still held then goes on as it came, in the order of
// holding, also where the guest fails, and its state is forgotten. Otherwise it
// is like Tick.
func (l *Line) Flush(ctx context.Context, out *Outcome) error {
	out.reset()
	if err := l.begin(ctx); err != nil {
		return err
	}
	defer l.end()
	m := l.module
	if m.flushes && !m.breaker.open() {
		_ = l.speak(flushName, m.options.Now().UnixNano(), out) // out says so
	}
	l.releaseAll(out)
	l.spoken(out)
	return nil
}

// speak calls a function of the guest that takes no batch. On an error out has
// that and nothing else.
func (l *Line) speak(name string, now int64, out *Outcome) error {
	m := l.module
	err := l.ready()
	if err == nil {
		if err = l.in.speak(name, now, out); err != nil {
			l.drop()
		}
	} else {
		m.counters.failure(err)
	}
	if err != nil {
		out.LastError = fmt.Sprintf("%s: %v", name, err)
		m.events.silent(name, err)
	}
	return err
}

// releaseAll lets go what is held, and forgets the rest.
func (l *Line) releaseAll(out *Outcome) {
	if out.Batch == nil {
		out.Batch = record.NewBatch()
	}
	out.Released += l.state.Leave(out.Batch)
	l.drop()
}

// spoken counts what was said.
func (l *Line) spoken(out *Outcome) {
	if out.Batch != nil && out.Batch.Len() == 0 {
		out.Batch.Release()
		out.Batch = nil
	}
	l.module.note(out)
}

// Changes appends what the calls since the last Settle or Undo have changed in
// the state, each key once. The values are borrowed until the next of either.
func (l *Line) Changes(dst []Change) []Change { return l.state.Changes(dst) }

// Settle says that the output and the changes are staged.
func (l *Line) Settle() { l.state.Settle() }

// Undo says that they will not be: the state is again what it was at the last
// Settle, and the instance is ended, since it remembers otherwise.
func (l *Line) Undo() {
	l.turn <- struct{}{}
	defer l.end()
	l.state.undoAll()
	l.drop()
}

// Close ends the instance; later calls but Settle and Undo fail with ErrClosed.
// The state stays as it is, for another line.
func (l *Line) Close() {
	l.turn <- struct{}{}
	defer l.end()
	l.drop()
	l.closed = true
	l.module.mu.Lock()
	delete(l.module.lines, l)
	l.module.mu.Unlock()
}

// closeLines ends the instances of all lines, each once its call under way is over.
func (m *Module) closeLines(ctx context.Context) error {
	m.mu.Lock()
	lines := make([]*Line, 0, len(m.lines))
	for l := range m.lines {
		lines = append(lines, l)
	}
	m.mu.Unlock()
	for _, l := range lines {
		select {
		case l.turn <- struct{}{}:
			l.drop()
			l.end()
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}

// speak calls a function of the guest that takes no batch, and applies its
// verdicts; otherwise as try.
func (in *instance) speak(name string, now int64, out *Outcome) error {
	f := in.tick
	if name != tickName {
		f = in.guest.ExportedFunction(name)
	}
	in.attemptBegins()
	output, err := in.ask(f, now)
	if err == nil {
		err = in.apply.alone(output, out)
	}
	if err != nil {
		out.release(nil)
		in.module.counters.failure(err)
	}
	in.attemptEnds(err == nil)
	return err
}
