package agent

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/runnel-log/runnel/agent/inputs"
	"github.com/runnel-log/runnel/forwarders"
	"github.com/runnel-log/runnel/internal/config"
	"github.com/runnel-log/runnel/record"
	"github.com/runnel-log/runnel/wasm"
)

// running is an input that takes records.
type running struct {
	config InputConfig
	cancel context.CancelFunc // ends it, and waits for none of its connections
	again  context.CancelFunc // ends waiting for a restart
	done   chan struct{}

	mu sync.Mutex
	// guarded by mu:
	input   inputs.Input // another one after a failure
	retired bool         // another input has taken its place
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

// retire has the input serve the connections it has, and then end.
func (r *running) retire() {
	r.mu.Lock()
	r.retired = true
	in := r.input
	r.mu.Unlock()
	r.again()
	in.Retire()
}

// replace puts in in the place of the one that failed; false if none is wanted any more.
func (r *running) replace(in inputs.Input) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.retired {
		r.input = in
	}
	return !r.retired
}

func (r *running) status() []inputs.Listener {
	r.mu.Lock()
	in := r.input
	r.mu.Unlock()
	return in.Status()
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
	if err == nil && ctx.Err() != nil {
		a.discard(b)
		err = ctx.Err()
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
	running, stopping := a.config, a.stopping
	a.mu.Unlock()
	if stopping {
		return errors.New("the agent is stopping")
	}
	var errs []error
	refuse := func(key string, now, wanted any) {
		if now != wanted {
			errs = append(errs, fmt.Errorf("%s is %v in the running agent and %v in the file; restart to change it", key, now, wanted))
		}
	}
	quoted := func(key, now, wanted string) { refuse(key, strconv.Quote(now), strconv.Quote(wanted)) }
	quoted("agent.data_dir", running.DataDir, c.DataDir)
	quoted("agent.name", running.Name, c.Name)
	refuse("agent.max_size", config.Bytes(running.MaxSize), config.Bytes(c.MaxSize))
	refuse("agent.commit_every", every(running.CommitEvery), every(c.CommitEvery))
	quoted("agent.engine", running.Engine.String(), c.Engine.String())
	quoted("api.listen", running.API.Listen, c.API.Listen)
	refuse("api.open", running.API.Open, c.API.Open)
	if running.API.Token != c.API.Token || !reflect.DeepEqual(running.API.TLS, c.API.TLS) {
		errs = append(errs, errors.New("api.token or api.tls has changed; restart to change it"))
	}
	return errors.Join(errs...)
}

func every(d time.Duration) string {
	if d == 0 {
		return "auto"
	}
	return config.FormatDuration(d)
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
	b.fallback = &pipeline{name: defaultName, stream: defaultName, counts: a.countsOf(defaultName), states: newStates(defaultName)}
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

// adopt makes b the running configuration. What it replaces has ended when it
// returns, but for connections of replaced inputs. The caller holds a.reloading.
func (a *Agent) adopt(b *build) {
	a.store.SetPolicy(b.config.Policy)
	a.expect(b.config)
	a.swapRoutes(b)
	a.mu.Lock()
	oldPipelines, oldModules := a.pipelines, a.modules
	a.config, a.pipelines, a.modules = b.config, b.pipelines, b.modules
	clear(a.refused)
	gone, replaced := a.takeInputs(b)
	stopped := a.takeDeliveries(b)
	a.mu.Unlock()

	for _, in := range gone {
		in.cancel()
	}
	for _, in := range replaced {
		in.retire()
	}
	for _, d := range stopped {
		d.cancel()
	}
	for _, p := range b.pipelines {
		p.start(a.hard, a.store, a.events)
	}
	a.startInputs(b)
	for _, d := range stopped {
		<-d.done
	}
	a.startDeliveries(b)
	a.forgetCursors(b.config)
	for _, in := range gone {
		<-in.done
	}
	for name, p := range oldPipelines {
		p.close()
		if err := p.part(a.hard, a.store, func(module string) bool { return b.names(name, module) }); err != nil {
			a.events.heldBack(fmt.Errorf("pipeline %q: %w", name, err))
		}
		p.end()
	}
	a.closeModules(oldModules, b.modules)
	a.sockets.Sweep()
	if err := a.watch.follow(b.config.moduleFiles()); err != nil {
		a.events.cannotWatch(err)
	}
}

// expect puts cursors at the beginning of streams that are to come, so that
// nothing of them is gone before a forwarder has looked for the first time: with
// a cursor a stream that pushes back keeps its records, and any other counts them.
func (a *Agent) expect(c *Config) {
	there := make(map[string]bool)
	for _, s := range a.store.Streams() {
		there[s.Name] = true
	}
	for _, f := range c.Forwarders {
		for stream := range c.known {
			if _, has := a.store.Cursor(f.Name, stream); !has && !there[stream] && f.covers(stream) {
				a.store.MoveCursor(f.Name, stream, 1)
			}
		}
	}
}

// swapRoutes sends the batches of every input to the new pipelines. An input
// that is gone but still draining goes on into its old pipeline's namesake, or
// into the default stream.
func (a *Agent) swapRoutes(b *build) {
	table := &routeTable{byInput: make(map[string]*pipeline), fallback: b.fallback, known: b.config.KnownStream}
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

// takeInputs takes those inputs out of the running ones that the configuration
// no longer has, and those that b replaces. a.mu is held.
func (a *Agent) takeInputs(b *build) (gone, replaced []*running) {
	a.retired = slices.DeleteFunc(a.retired, (*running).ended)
	for name, in := range a.inputs {
		switch {
		case b.input(name) == nil:
			gone = append(gone, in)
		case b.inputs[name] != nil:
			replaced = append(replaced, in)
			a.retired = append(a.retired, in)
		default:
			continue
		}
		delete(a.inputs, name)
	}
	return gone, replaced
}

// startInputs starts the new ones.
func (a *Agent) startInputs(b *build) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, ic := range b.config.Inputs {
		if in := b.inputs[ic.Name]; in != nil {
			a.inputs[ic.Name] = a.startInput(b.config, ic, in)
		}
	}
}

// startInput runs in until it is cancelled, and builds it anew when it fails.
func (a *Agent) startInput(c *Config, ic InputConfig, in inputs.Input) *running {
	ctx, cancel := context.WithCancel(a.hard)
	waiting, again := context.WithCancel(ctx)
	r := &running{config: ic, input: in, cancel: cancel, again: again, done: make(chan struct{})}
	a.wg.Go(func() {
		defer close(r.done)
		defer cancel()
		for attempt := 0; in != nil; {
			begun := time.Now()
			err := in.Run(ctx)
			if err == nil || ctx.Err() != nil {
				return
			}
			if time.Since(begun) > retryMost {
				attempt = 0 // it worked
			}
			in, attempt = a.rebuild(waiting, c, ic, err, attempt)
			if in != nil && !r.replace(in) {
				release(in)
				return
			}
		}
	})
	return r
}

// rebuild makes an input that failed anew, with back-off for as long as that
// fails; nil when ctx has ended.
func (a *Agent) rebuild(ctx context.Context, c *Config, ic InputConfig, why error, attempt int) (inputs.Input, int) {
	for ; ; attempt++ {
		wait := backoff(attempt, nil)
		a.events.inputRestarting(ic.Name, why, wait)
		if sleep(ctx, wait); ctx.Err() != nil {
			return nil, attempt
		}
		in, err := ic.Kind.New(ic.Options, a.inputSetup(c, ic))
		if err == nil {
			return in, attempt + 1
		}
		why = err
	}
}

// takeDeliveries takes those deliveries out of the running ones that have
// changed or gone. a.mu is held.
func (a *Agent) takeDeliveries(b *build) (stopped []*delivering) {
	for name, d := range a.deliveries {
		wanted := false
		for _, fc := range b.config.Forwarders {
			wanted = wanted || (fc.Name == name && b.forwarders[name] == nil)
		}
		if !wanted {
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
		d.book = a.forwarderBook
		a.deliveries[fc.Name] = d
		a.wg.Go(func() {
			defer close(d.done)
			d.Run(ctx, a.hard) //nolint:errcheck // always nil: failures are retried for ever
		})
	}
}

// forgetCursors removes the cursors of forwarders that the configuration has no
// more: nobody moves them, and a stream that pushes back would wait for them.
func (a *Agent) forgetCursors(c *Config) {
	known := make(map[string]bool, len(c.Forwarders))
	for _, fc := range c.Forwarders {
		known[fc.Name] = true
	}
	ends := make(map[string]uint64)
	for _, s := range a.store.Streams() {
		ends[s.Name] = s.Next
	}
	for _, cursor := range a.store.Cursors() {
		if known[cursor.Name] {
			continue
		}
		a.store.DeleteCursor(cursor.Name, cursor.Stream)
		if cursor.Stream != startMark {
			a.events.cursorForgotten(cursor.Name, cursor.Stream, cursor.Next, ends[cursor.Stream]-min(ends[cursor.Stream], cursor.Next))
		}
	}
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
	keys := markKeys(ic)
	return inputs.Setup{
		Name: ic.Name, Agent: c.Name, Sockets: a.sockets, Metrics: a.metrics, Memory: a.memory(keys), Marks: a.marks(keys),
		Log: a.options.Log.With().Str("part", ic.Name).Str("kind", ic.Kind.Name).Logger(),
		// The batch is taken even while the input is being stopped: only the
		// stop's own deadline ends that.
		Emit: func(_ context.Context, b *record.Batch, marks ...inputs.Mark) (inputs.Receipt, error) {
			return a.routes.emit(a.hard, a.store, ic.Name, b, extra{marks: changesOf(keys, marks), hurry: ic.Kind.Acks, input: ic.Name})
		},
	}
}

func (a *Agent) forwarderSetup(c *Config, fc ForwarderConfig) forwarders.Setup {
	return forwarders.Setup{
		Name: fc.Name, Agent: c.Name, Version: a.options.Version, Metrics: a.metrics,
		Log: a.options.Log.With().Str("part", fc.Name).Str("kind", fc.Kind.Name).Logger(),
	}
}
