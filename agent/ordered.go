package agent

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/runnel-log/runnel/agent/inputs"
	"github.com/runnel-log/runnel/record"
	"github.com/runnel-log/runnel/storage"
	"github.com/runnel-log/runnel/wasm"
)

// states are what the ordered modules of one pipeline keep (ABI §1.3), and the
// turn in which batches pass them. They outlive the pipeline: a reload hands
// them to the next one of the same name, so that nothing is forgotten and no
// batch of the new one overtakes one of the old on its way into the store.
type states struct {
	// turn is held from a batch's first ordered step until its output and what
	// the modules keep of it have their place in the next commit.
	turn   sync.Mutex
	owner  string                 // pipeline
	module map[string]*wasm.State // guarded by turn
	held   int                    // guarded by turn: records the modules hold
}

func newStates(pipeline string) *states {
	return &states{owner: pipeline, module: make(map[string]*wasm.State)}
}

// loadStates reads what the modules of a pipeline kept.
func loadStates(store *storage.Store, pipeline string, e events) *states {
	s := newStates(pipeline)
	prefix := pipeline + "\x00"
	store.State(prefix, func(key string, value []byte) {
		if module, rest, ok := strings.Cut(key[len(prefix):], "\x00"); ok {
			if err := s.of(module).Restore(rest, value); err != nil {
				e.stateUnread(pipeline, module, err)
			}
		}
	})
	s.count()
	return s
}

// of returns the state of a module, a new one if it has none.
func (s *states) of(module string) *wasm.State {
	if s.module[module] == nil {
		s.module[module] = wasm.NewState()
	}
	return s.module[module]
}

// count adds up what is held, and returns by how much it has changed.
func (s *states) count() int {
	before := s.held
	s.held = 0
	for _, state := range s.module {
		records, _ := state.Held()
		s.held += records
	}
	return s.held - before
}

// place is an ordered module at its place in a pipeline.
type place struct {
	*wasm.Line
	module string
	step   int
}

// changes collects what the modules keep, under keys that name their owner.
func (p *pipeline) changes() []storage.Change {
	var out []storage.Change
	for _, l := range p.lines {
		p.scratch = l.Changes(p.scratch[:0])
		for _, c := range p.scratch {
			out = append(out, storage.Change{Key: p.name + "\x00" + l.module + "\x00" + c.Key, Value: c.Value})
		}
	}
	return out
}

// settle says that what the modules keep is staged, and ends the turn.
func (p *pipeline) settle() {
	for _, l := range p.lines {
		l.Settle()
	}
	p.counts.held.Add(int64(p.states.count()))
	p.states.turn.Unlock()
}

// undo takes back what the modules did in this turn, and ends it.
func (p *pipeline) undo() {
	for _, l := range p.lines {
		l.Undo()
	}
	p.states.turn.Unlock()
}

// stage stores a turn's output together with what the modules keep of it, in one
// transaction, and ends the turn: both will be there after a crash, or neither.
func (p *pipeline) stage(ctx context.Context, store *storage.Store, batches []storage.StreamBatch, x extra, t *tally) (inputs.Receipt, error) {
	changes, kept := append(p.changes(), x.marks...), recordsIn(batches)
	if len(batches) == 0 && len(changes) == 0 && t.nothing() {
		p.settle()
		return nothingToStore{}, nil
	}
	u := t.unit(batches, changes, x)
	u.Staged = p.settle
	receipt, err := store.Append(ctx, u)
	if err != nil {
		p.undo()
		return nil, err
	}
	if kept == 0 && !x.hurry {
		// Nothing of it is in memory but a few changes: a sender that asks for no
		// acknowledgement need not be held back until they are on disk.
		return nothingToStore{}, nil
	}
	return receipt, nil
}

// tick lets the modules that tick say what they have to, and stores it.
func (p *pipeline) tick(ctx context.Context, store *storage.Store) error {
	return p.speak(ctx, store, func(l place, o *wasm.Outcome) error {
		if !l.Ticks() {
			return nil
		}
		return l.Tick(ctx, o)
	})
}

// speak runs a turn without a batch: each module may say something, which the
// steps behind it then see.
func (p *pipeline) speak(ctx context.Context, store *storage.Store, ask func(l place, o *wasm.Outcome) error) error {
	p.states.turn.Lock()
	t := tally{counts: p.counts, stream: p.stream}
	var out *record.Batch
	for _, l := range p.lines {
		var o wasm.Outcome
		err := ask(l, &o)
		if err == nil && (o.Batch != nil || o.Dead != nil) {
			var b *record.Batch
			if b, err = p.apply(ctx, p.steps[l.step+1:], t.take(l.module, 0, &o), &t); err == nil {
				out = join(out, b)
			}
		}
		if err != nil {
			t.release()
			if out != nil {
				out.Release()
			}
			p.undo()
			return err
		}
	}
	_, err := p.stage(ctx, store, p.sort(out, &t), extra{}, &t)
	return err
}

// join puts b behind to and releases it; to may be nil.
func join(to, b *record.Batch) *record.Batch {
	if to == nil {
		return b
	}
	to.AppendBatch(b, 0, b.Len())
	b.Release()
	return to
}

// tickEvery is how often modules that tick are asked (ABI §2.3).
const tickEvery = time.Second

// runTicks asks once a second until ctx ends.
func (p *pipeline) runTicks(ctx context.Context, store *storage.Store, e events) {
	ticker := time.NewTicker(tickEvery)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
			if err := p.tick(ctx, store); err != nil && ctx.Err() == nil {
				e.tickFailed(p.name, err)
			}
		}
	}
}

// start begins to ask the modules that tick, if there are any.
func (p *pipeline) start(ctx context.Context, store *storage.Store, e events) {
	for _, l := range p.lines {
		if l.Ticks() {
			ctx, cancel := context.WithCancel(ctx)
			p.stopTicks = func() { cancel(); p.ticking.Wait() }
			p.ticking.Go(func() { p.runTicks(ctx, store, e) })
			return
		}
	}
}

// part lets go what modules hold that are leaving this pipeline for good: stays
// says which are not.
func (p *pipeline) part(ctx context.Context, store *storage.Store, stays func(module string) bool) error {
	leaving := false
	for _, l := range p.lines {
		leaving = leaving || !stays(l.module)
	}
	if !leaving {
		return nil
	}
	return p.speak(ctx, store, func(l place, o *wasm.Outcome) error {
		if stays(l.module) {
			return nil
		}
		return l.Flush(ctx, o)
	})
}

// release stores what modules hold that no pipeline of the configuration has any
// more, as after a restart with another one, and forgets the rest of their state.
// The records pass all steps of the pipeline they were in, since nobody knows any
// more which were before them, and one behind may have been there to redact.
func (a *Agent) release(ctx context.Context, b *build) error {
	owners := make(map[string]map[string]bool) // modules by pipeline
	a.store.State("", func(key string, _ []byte) {
		pipeline, rest, _ := strings.Cut(key, "\x00")
		module, _, ok := strings.Cut(rest, "\x00")
		if ok && partName.MatchString(pipeline) && partName.MatchString(module) && !b.names(pipeline, module) {
			if owners[pipeline] == nil {
				owners[pipeline] = make(map[string]bool)
			}
			owners[pipeline][module] = true
		}
	})
	for pipeline, modules := range owners {
		into := b.pipelines[pipeline]
		if into == nil {
			into = b.fallback
		}
		for module := range modules {
			kept := a.statesOf(pipeline)
			n, err := kept.leave(ctx, a.store, a.countsOf(pipeline).book, module, into)
			kept.turn.Lock()
			a.countsOf(pipeline).held.Add(int64(kept.count()))
			kept.turn.Unlock()
			if err != nil {
				return fmt.Errorf("module %q of pipeline %q: %w", module, pipeline, err)
			}
			a.events.released(pipeline, module, into.name, n)
		}
	}
	return nil
}

// leave stores what a module holds by way of a pipeline, and forgets its state.
func (s *states) leave(ctx context.Context, store *storage.Store, book *book, module string, into *pipeline) (released int, err error) {
	held := record.NewBatch()
	s.turn.Lock()
	state := s.of(module)
	released = state.Leave(held)
	var marks []storage.Change
	for _, c := range state.Changes(nil) {
		marks = append(marks, storage.Change{Key: s.owner + "\x00" + module + "\x00" + c.Key, Value: c.Value})
	}
	delete(s.module, module)
	s.turn.Unlock()
	_, err = into.process(ctx, store, held, extra{marks: marks, left: &departure{book, module, released}})
	if err == nil {
		return released, nil
	}
	kept := loadStates(store, s.owner, events{}) // what is stored is still there
	s.turn.Lock()
	defer s.turn.Unlock()
	s.module[module] = kept.of(module)
	return 0, err
}

// newLine finds the place of an ordered module in p.
func (p *pipeline) newLine(m *wasm.Module, name string, step int) (*wasm.Line, error) {
	for _, l := range p.lines {
		if l.module == name {
			return nil, fmt.Errorf("pipeline %q has module %q twice, which keeps state of what passes it; name its file a second time under another name", p.name, name)
		}
	}
	made := m.Line(p.states.of(name))
	p.lines = append(p.lines, place{Line: made, module: name, step: step})
	return made, nil
}
