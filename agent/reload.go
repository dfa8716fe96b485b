package agent

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/runnel-log/runnel/agent/inputs"
	"github.com/runnel-log/runnel/forwarders"
	"github.com/runnel-log/runnel/record"
	"github.com/runnel-log/runnel/wasm"
)

// running is an input that takes records.
type running struct {
	config InputConfig
	input  inputs.Input
	cancel context.CancelFunc
	done   chan struct{}
}

// ended reports whether the input has returned.
func (r *running) ended() bool {
	select {
	case <-r.done:
		return true
	default:
		return false
	}
}

// delivering is a delivery that runs.
type delivering struct {
	*delivery
	cancel context.CancelFunc
	done   chan struct{}
}

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

// Reload reads the configuration again and swaps what has changed. On an error
// the running configuration stays as it was.
func (a *Agent) Reload(ctx context.Context) error {
	a.reloading.Lock()
	defer a.reloading.Unlock()
	config, err := a.options.Load()
	if err == nil {
		err = a.unchangeable(config)
	}
	var b *build
	if err == nil {
		b, err = a.prepare(ctx, config)
	}
	if err != nil {
		a.events.reloadRefused(err)
		return err
	}
	a.adopt(b)
	a.events.reloaded(len(config.Inputs), len(config.Pipelines), len(config.Forwarders))
	return nil
}

// unchangeable refuses what only a restart can change.
func (a *Agent) unchangeable(c *Config) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.stopping {
		return errors.New("the agent is stopping")
	}
	var errs []error
	refuse := func(key, running, wanted string) {
		if running != wanted {
			errs = append(errs, fmt.Errorf("%s is %q in the running agent and %q in the file; restart to change it", key, running, wanted))
		}
	}
	refuse("agent.data_dir", a.config.DataDir, c.DataDir)
	refuse("agent.name", a.config.Name, c.Name)
	refuse("api.listen", a.config.API.Listen, c.API.Listen)
	return errors.Join(errs...)
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
		p, err := newPipeline(pc, loaded, a.countsOf(pc.Name))
		if err != nil {
			return b, err
		}
		b.pipelines[pc.Name] = p
	}
	b.fallback = &pipeline{name: defaultName, stream: defaultName, counts: a.countsOf(defaultName)}
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
	o := mc.Options
	o.KnownStream = c.KnownStream
	m, err := a.runtime.Load(ctx, o)
	if err != nil {
		return nil, fmt.Errorf("module %q: %w", mc.Name, err)
	}
	return &module{Module: m, config: mc}, nil
}

// discard closes the parts of a build that will not run.
func (a *Agent) discard(b *build) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for name, m := range b.modules {
		if m != a.modules[name] {
			if err := m.Close(a.hard); err != nil {
				a.events.closeFailed("module "+name, err)
			}
		}
	}
	for name, f := range b.forwarders {
		if err := f.Close(); err != nil {
			a.events.closeFailed("forwarder "+name, err)
		}
	}
	ended, cancel := context.WithCancel(context.Background())
	cancel()
	for _, in := range b.inputs {
		in.Run(ended) //nolint:errcheck // it has taken nothing; this only releases its sockets
	}
}

// adopt makes b the running configuration.
func (a *Agent) adopt(b *build) {
	a.mu.Lock()
	oldPipelines, oldModules := a.pipelines, a.modules
	a.config, a.pipelines, a.modules = b.config, b.pipelines, b.modules
	a.store.SetPolicy(b.config.Policy)
	a.swapRoutes(b)
	ended := a.swapInputs(b)
	stopped := a.swapDeliveries(b)
	a.mu.Unlock()

	for _, d := range stopped {
		<-d.done
	}
	a.startDeliveries(b)
	for _, p := range oldPipelines {
		p.close()
	}
	for name, m := range oldModules {
		if m != b.modules[name] {
			if err := m.Close(a.hard); err != nil {
				a.events.closeFailed("module "+name, err)
			}
		}
	}
	for _, in := range ended {
		<-in.done
	}
	a.sockets.Sweep()
}

// swapRoutes sends the batches of every input to the new pipelines. An input
// that is gone but still draining goes on into its old pipeline's namesake, or
// into the default stream. a.mu is held.
func (a *Agent) swapRoutes(b *build) {
	table := &routeTable{byInput: make(map[string]*pipeline), fallback: b.fallback}
	for _, pc := range b.config.Pipelines {
		for _, input := range pc.From {
			table.byInput[input] = b.pipelines[pc.Name]
		}
	}
	if old := a.routes.table.Load(); old != nil {
		for input, p := range old.byInput {
			if namesake := b.pipelines[p.name]; table.byInput[input] == nil && namesake != nil && b.input(input) == nil {
				table.byInput[input] = namesake
			}
		}
	}
	a.routes.table.Store(table)
}

func (b *build) input(name string) *InputConfig {
	for i := range b.config.Inputs {
		if b.config.Inputs[i].Name == name {
			return &b.config.Inputs[i]
		}
	}
	return nil
}

// swapInputs starts the new inputs, retires those they replace, and ends those
// that the configuration no longer has; it returns the latter. a.mu is held.
func (a *Agent) swapInputs(b *build) (ended []*running) {
	for name, in := range a.inputs {
		switch {
		case b.input(name) == nil:
			in.cancel()
			ended = append(ended, in)
			delete(a.inputs, name)
		case b.inputs[name] != nil:
			in.input.Retire()
			a.retired = append(slices.DeleteFunc(a.retired, (*running).ended), in)
		}
	}
	for _, ic := range b.config.Inputs {
		if in := b.inputs[ic.Name]; in != nil {
			a.inputs[ic.Name] = a.startInput(b.config, ic, in)
		}
	}
	return ended
}

// startInput runs in until it is cancelled. An input that fails is built anew
// with back-off.
func (a *Agent) startInput(c *Config, ic InputConfig, in inputs.Input) *running {
	ctx, cancel := context.WithCancel(a.hard)
	r := &running{config: ic, input: in, cancel: cancel, done: make(chan struct{})}
	a.wg.Go(func() {
		defer close(r.done)
		defer cancel()
		for attempt := 0; ; attempt++ {
			err := in.Run(ctx)
			if err == nil || ctx.Err() != nil {
				return
			}
			for { // until it can be built again
				wait := backoff(attempt, nil)
				a.events.inputRestarting(ic.Name, err, wait)
				if sleep(ctx, wait); ctx.Err() != nil {
					return
				}
				if in, err = ic.Kind.New(ic.Options, a.inputSetup(c, ic)); err == nil {
					break
				}
				attempt++
			}
			a.mu.Lock()
			r.input = in
			a.mu.Unlock()
		}
	})
	return r
}

// swapDeliveries stops the deliveries that have changed or gone. a.mu is held.
func (a *Agent) swapDeliveries(b *build) (stopped []*delivering) {
	for name, d := range a.deliveries {
		wanted := false
		for _, fc := range b.config.Forwarders {
			wanted = wanted || (fc.Name == name && b.forwarders[name] == nil)
		}
		if !wanted {
			d.cancel()
			stopped = append(stopped, d)
			delete(a.deliveries, name)
		}
	}
	return stopped
}

// startDeliveries starts the new ones, once those they replace have ended.
func (a *Agent) startDeliveries(b *build) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, fc := range b.config.Forwarders {
		f := b.forwarders[fc.Name]
		if f == nil {
			continue
		}
		counts := a.deliveryCounts[fc.Name]
		if counts == nil {
			counts = newDeliveryCounts(a.metrics, fc.Name)
			a.deliveryCounts[fc.Name] = counts
		}
		ctx, cancel := context.WithCancel(a.hard)
		d := &delivering{delivery: newDelivery(fc, f, a.store, counts, a.events), cancel: cancel, done: make(chan struct{})}
		a.deliveries[fc.Name] = d
		a.wg.Go(func() {
			defer close(d.done)
			d.Run(ctx) //nolint:errcheck // always nil: failures are retried for ever
		})
	}
}

func (a *Agent) countsOf(pipeline string) *pipelineCounts {
	a.mu.Lock()
	defer a.mu.Unlock()
	counts := a.pipelineCounts[pipeline]
	if counts == nil {
		counts = newPipelineCounts(a.metrics, pipeline)
		a.pipelineCounts[pipeline] = counts
	}
	return counts
}

func (a *Agent) delivery(name string) *delivering {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.deliveries[name]
}

func (a *Agent) input(name string) *running {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.inputs[name]
}

func (a *Agent) inputSetup(c *Config, ic InputConfig) inputs.Setup {
	return inputs.Setup{
		Name: ic.Name, Agent: c.Name, Sockets: a.sockets, Metrics: a.metrics,
		Log: a.options.Log.With().Str("part", ic.Name).Str("kind", ic.Kind.Name).Logger(),
		// The batch is taken even while the input is being stopped: only the
		// stop's own deadline ends that.
		Emit: func(_ context.Context, b *record.Batch) (inputs.Receipt, error) {
			return a.routes.emit(a.hard, a.store, ic.Name, b, ic.Kind.Acks)
		},
	}
}

func (a *Agent) forwarderSetup(c *Config, fc ForwarderConfig) forwarders.Setup {
	return forwarders.Setup{
		Name: fc.Name, Agent: c.Name, Version: a.options.Version, Metrics: a.metrics,
		Log: a.options.Log.With().Str("part", fc.Name).Str("kind", fc.Kind.Name).Logger(),
	}
}
