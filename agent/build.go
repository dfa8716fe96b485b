package agent

import (
	"context"
	"fmt"
	"slices"

	"github.com/VictoriaMetrics/metrics"

	"github.com/runnel-log/runnel/agent/inputs"
	"github.com/runnel-log/runnel/forwarders"
	"github.com/runnel-log/runnel/record"
	"github.com/runnel-log/runnel/wasm"
)

// build is everything a configuration needs that does not run yet. Parts that
// did not change are the running ones.
type build struct {
	config     *Config
	modules    map[string]*module
	pipelines  map[string]*pipeline
	fallback   *pipeline
	inputs     map[string]inputs.Input         // new ones only
	forwarders map[string]forwarders.Forwarder // new ones only
}

// prepare builds the parts of c that are not running already. On an error it
// closes what it had built.
func (a *Agent) prepare(ctx context.Context, c *Config) (_ *build, err error) {
	b := &build{config: c, modules: make(map[string]*module), pipelines: make(map[string]*pipeline),
		inputs: make(map[string]inputs.Input), forwarders: make(map[string]forwarders.Forwarder)}
	defer func() {
		if err != nil {
			a.discard(b)
		}
	}()
	loaded := make(map[string]*wasm.Module)
	for _, mc := range c.Modules {
		m, err := a.loadModule(ctx, c, mc)
		if err != nil {
			return b, err
		}
		b.modules[mc.Name], loaded[mc.Name] = m, m.Module
	}
	for _, pc := range c.Pipelines {
		p, err := newPipeline(pc, loaded, a.countsOf(pc.Name), a.statesOf(pc.Name))
		if err != nil {
			return b, err
		}
		b.pipelines[pc.Name] = p
	}
	b.fallback = &pipeline{name: defaultName, stream: defaultName, keeps: true, counts: a.countsOf(defaultName), states: newStates(defaultName)}
	for _, fc := range c.Forwarders {
		if d := a.delivery(fc.Name); d != nil && d.config.Digest == fc.Digest {
			continue
		}
		f, err := fc.Kind.New(fc.Options, a.forwarderSetup(c, fc))
		if err != nil {
			return b, fmt.Errorf("forwarder %q: %w", fc.Name, err)
		}
		b.forwarders[fc.Name] = f
	}
	for _, ic := range c.Inputs { // last: they open sockets
		if in := a.input(ic.Name); in != nil && in.config.Digest == ic.Digest {
			continue
		}
		in, err := ic.Kind.New(ic.Options, a.inputSetup(c, ic))
		if err != nil {
			return b, fmt.Errorf("input %q: %w", ic.Name, err)
		}
		b.inputs[ic.Name] = in
	}
	return b, nil
}

// defaultName is the stream, and the pipeline in metrics, of inputs that no
// pipeline names.
const defaultName = "default"

// loadModule returns the running module if nothing of it changed.
func (a *Agent) loadModule(ctx context.Context, c *Config, mc ModuleConfig) (*module, error) {
	a.mu.Lock()
	old := a.modules[mc.Name]
	a.mu.Unlock()
	if old != nil && old.config.Digest == mc.Digest {
		return old, nil
	}
	o, err := mc.options()
	if err != nil {
		return nil, fmt.Errorf("module %q: %w", mc.Name, err)
	}
	o.Agent = c.Name
	// The module may outlive c: what is known is asked of the configuration of the moment.
	o.KnownStream = func(stream string) bool { return a.routes.known(stream, c) }
	m, err := a.runtime.Load(ctx, o)
	if err != nil {
		return nil, fmt.Errorf("module %q: %w", mc.Name, err)
	}
	return &module{Module: m, config: mc}, nil
}

// discard closes the parts of a build that will not run.
func (a *Agent) discard(b *build) {
	a.mu.Lock()
	kept := a.modules
	a.mu.Unlock()
	for _, p := range b.pipelines {
		p.end()
	}
	a.closeModules(b.modules, kept)
	for name, f := range b.forwarders {
		if err := f.Close(); err != nil {
			a.events.closeFailed("forwarder "+name, err)
		}
	}
	for _, in := range b.inputs {
		release(in)
	}
	a.sockets.Sweep()
}

// release gives back the sockets of an input that has not run.
func release(in inputs.Input) {
	ended, cancel := context.WithCancel(context.Background())
	cancel()
	in.Run(ended) //nolint:errcheck // it has taken nothing, so nothing can fail
}

// closeModules closes those of modules that are not among kept.
func (a *Agent) closeModules(modules, kept map[string]*module) {
	for name, m := range modules {
		if m == kept[name] {
			continue
		}
		if err := m.Close(context.WithoutCancel(a.hard)); err != nil {
			a.events.closeFailed("module "+name, err)
		}
	}
}

// names reports whether a pipeline of b has the module.
func (b *build) names(pipeline, module string) bool {
	p := b.pipelines[pipeline]
	return p != nil && slices.ContainsFunc(p.lines, func(l place) bool { return l.module == module })
}

func (b *build) input(name string) *InputConfig {
	for i := range b.config.Inputs {
		if b.config.Inputs[i].Name == name {
			return &b.config.Inputs[i]
		}
	}
	return nil
}

func (a *Agent) countsOf(pipeline string) *pipelineCounts {
	a.mu.Lock()
	defer a.mu.Unlock()
	counts := a.pipelineCounts[pipeline]
	if counts == nil {
		counts = newPipelineCounts(a.metrics, pipeline)
		var err error
		if counts.book, err = openBook(a.store, counts.book.account.Key); err != nil {
			a.events.bookDamaged(counts.book.account.Key, err)
		}
		a.pipelineCounts[pipeline] = counts
	}
	return counts
}

// statesOf returns what the ordered modules of a pipeline keep, read from the
// store when it is first asked for.
func (a *Agent) statesOf(pipeline string) *states {
	counts := a.countsOf(pipeline)
	a.mu.Lock()
	s := a.states[pipeline]
	if s != nil {
		a.mu.Unlock()
		return s
	}
	s = loadStates(a.store, pipeline, a.events)
	a.states[pipeline] = s
	counts.held.Store(int64(s.held))
	a.mu.Unlock()
	if err := s.enter(a.hard, a.store, counts.book); err != nil {
		a.events.heldBack(err)
	}
	return s
}

func (a *Agent) inputSetup(c *Config, ic InputConfig) inputs.Setup {
	keys := markKeys(ic)
	// The batch is taken even while the input is being stopped: only the
	// stop's own deadline ends that.
	emit := func(kept string, whole *record.Block) inputs.Emit {
		return a.options.points.emit(func(_ context.Context, b *record.Batch, marks ...inputs.Mark) (inputs.Receipt, error) {
			return a.routes.emit(a.hard, a.store, ic.Name, b, extra{marks: changesOf(keys, marks), hurry: ic.Kind.Acks, input: ic.Name, kept: kept, whole: whole})
		})
	}
	var crowded *metrics.Counter
	if ic.Kind.Relays {
		crowded = a.metrics.GetOrCreateCounter(fmt.Sprintf("runnel_input_crowded_records_total{input=%q}", ic.Name))
	}
	id, _ := a.store.Identity()
	return inputs.Setup{
		Name: ic.Name, Agent: c.Name, Sockets: a.sockets, Metrics: a.metrics, Memory: a.memory(keys), Marks: a.marks(keys), Reached: a.options.points.reached,
		Log:     a.options.Log.With().Str("part", ic.Name).Str("kind", ic.Kind.Name).Logger(),
		AgentID: id, Version: a.options.Version, Tiers: a.tiers, Ended: a.endings.ended, Trouble: a.store.Trouble,
		Emit: emit("", nil),
		Relay: func(ctx context.Context, stream string, b *record.Batch, whole *record.Block, marks ...inputs.Mark) (inputs.Receipt, error) {
			if a.routes.keeps(ic.Name) && !a.expectRelayed(c, stream) {
				crowded.Add(b.Len())
				a.events.crowded(ic.Name, stream)
				stream = ""
			}
			return emit(stream, whole)(ctx, b, marks...)
		},
	}
}

func (a *Agent) forwarderSetup(c *Config, fc ForwarderConfig) forwarders.Setup {
	return forwarders.Setup{
		Name: fc.Name, Agent: c.Name, Version: a.options.Version, Metrics: a.metrics,
		Source: stock{a.store, fc}, Tiers: a.tiers,
		Log: a.options.Log.With().Str("part", fc.Name).Str("kind", fc.Kind.Name).Logger(),
	}
}
