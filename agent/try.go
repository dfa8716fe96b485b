package agent

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/VictoriaMetrics/metrics"
	"github.com/rs/zerolog"

	"github.com/runnel-log/runnel/record"
	"github.com/runnel-log/runnel/wasm"
)

// CheckModules loads every module of c as run would, without starting anything,
// and returns what is wrong with all of them.
func CheckModules(ctx context.Context, c *Config) error {
	_, closeAll, err := loadAll(ctx, c, "")
	if err != nil {
		return err
	}
	return closeAll()
}

// loadAll loads the modules of c outside an agent, its figures and its log, and
// checks that its pipelines can use them so. cache may be empty: then they are
// compiled anew.
func loadAll(ctx context.Context, c *Config, cache string) (loaded map[string]*wasm.Module, closeAll func() error, err error) {
	runtime, err := wasm.NewRuntime(ctx, wasm.RuntimeOptions{CacheDir: cache, Log: zerolog.Nop()})
	if err != nil {
		return nil, nil, err
	}
	closeAll = func() error { return runtime.Close(ctx) } // closes its modules too
	loaded = make(map[string]*wasm.Module)
	problems := c.moduleProblems(func(mc ModuleConfig) error {
		o, err := mc.options()
		if err != nil {
			return err
		}
		o.KnownStream, o.Agent = c.KnownStream, c.Name
		m, err := runtime.Load(ctx, o)
		loaded[mc.Name] = m
		return err
	})
	if problems == nil {
		for _, pc := range c.Pipelines {
			p, err := newPipeline(pc, loaded, newPipelineCounts(metrics.NewSet(), pc.Name), newStates(pc.Name))
			if err != nil {
				return nil, nil, errors.Join(err, closeAll())
			}
			p.end()
		}
		return loaded, closeAll, nil
	}
	return nil, nil, errors.Join(problems, closeAll())
}

// Trial is what one step made of what it was given.
type Trial struct {
	Step    string         // as the config writes it; "" for what came in
	Records *record.Batch  // what goes on, borrowed until the next Trial
	Dropped map[string]int // by reason
	Dead    *record.Batch  // what goes to the dead letters, nil if nothing
	Held    int            // what the module keeps for later
	Failed  string         // why the module failed on some of it, "" if it did not
}

// Trier sends records through a pipeline without storing anything.
type Trier struct {
	pipeline *pipeline
	texts    []string
	closeAll func() error
}

// ErrNoPipeline is wrapped by what NewTrier says of a name that no pipeline has.
var ErrNoPipeline = errors.New("no pipeline")

// NewTrier builds the named pipeline of c; "" is the only one there is, or the
// first.
func NewTrier(ctx context.Context, c *Config, name string) (*Trier, error) {
	var pc *PipelineConfig
	var names []string
	for i := range c.Pipelines {
		names = append(names, c.Pipelines[i].Name)
		if name == c.Pipelines[i].Name || (name == "" && i == 0) {
			pc = &c.Pipelines[i]
		}
	}
	if pc == nil {
		return nil, fmt.Errorf("%w %q; the config has %s", ErrNoPipeline, name, strings.Join(names, ", "))
	}
	loaded, closeAll, err := loadAll(ctx, c, "")
	if err != nil {
		return nil, err
	}
	t := &Trier{closeAll: closeAll}
	for _, s := range pc.Steps {
		t.texts = append(t.texts, s.Text)
	}
	t.pipeline, err = newPipeline(*pc, loaded, newPipelineCounts(metrics.NewSet(), pc.Name), newStates(pc.Name))
	if err != nil {
		return nil, errors.Join(err, closeAll())
	}
	return t, nil
}

// Stream is where the pipeline stores what nothing routes elsewhere.
func (t *Trier) Stream() string { return t.pipeline.stream }

// Close frees the modules.
func (t *Trier) Close() error {
	t.pipeline.end()
	return t.closeAll()
}

// Try sends b through the steps and calls see with b and after each step. It
// takes b over. What ordered modules keep of b is seen by the next call and is
// nowhere else; they begin with nothing.
func (t *Trier) Try(ctx context.Context, b *record.Batch, see func(Trial)) error {
	see(Trial{Records: b})
	t.pipeline.states.turn.Lock()
	defer t.pipeline.settle()
	for i, s := range t.pipeline.steps {
		counts := tally{stream: t.pipeline.stream}
		module, isModule := s.(moduleStep)
		var before uint64
		if isModule {
			before = module.module.Stats().Failed
		}
		var err error
		if b, err = s.apply(ctx, b, &counts); err != nil {
			return err
		}
		trial := Trial{Step: t.texts[i], Records: b, Dropped: counts.dropped, Dead: counts.dead, Held: counts.held}
		if isModule {
			if stats := module.module.Stats(); stats.Failed > before {
				trial.Failed = stats.LastError
			}
		}
		see(trial)
		if counts.dead != nil {
			counts.dead.Release()
		}
		if b.Len() == 0 {
			break
		}
	}
	b.Release()
	return nil
}
