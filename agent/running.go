package agent

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/runnel-log/runnel/agent/inputs"
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
	if len(stopped) > 0 {
		a.replacing = make(chan struct{})
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
		d.book, d.redrives, d.maxSize = a.forwarderBook, a.redrivesOf(fc.Name), b.config.MaxSize
		a.deliveries[fc.Name] = d
		a.wg.Go(func() {
			defer close(d.done)
			d.Run(ctx, a.hard) //nolint:errcheck // always nil: failures are retried for ever
		})
	}
	if a.replacing != nil {
		close(a.replacing)
		a.replacing = nil
	}
}

// settled returns the deliveries by name. While a reload replaces that of the
// forwarder it waits; with "", for those of all.
func (a *Agent) settled(ctx context.Context, forwarder string) (map[string]*delivering, error) {
	for {
		a.mu.Lock()
		all, replacing := maps.Clone(a.deliveries), a.replacing
		a.mu.Unlock()
		if replacing == nil || all[forwarder] != nil {
			return all, nil
		}
		select {
		case <-replacing:
		case <-ctx.Done():
			return nil, fmt.Errorf("a reload is under way, and forwarders that it replaces have not ended; try again: %w", ctx.Err())
		}
	}
}

// withSettled calls do with what settled returns, and again where a reload has
// replaced one of those meanwhile: then do returns errReplaced, and has done nothing.
func (a *Agent) withSettled(ctx context.Context, forwarder string, do func(map[string]*delivering) error) error {
	for {
		all, err := a.settled(ctx, forwarder)
		if err != nil {
			return err
		}
		if err := do(all); !errors.Is(err, errReplaced) {
			return err
		}
	}
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
