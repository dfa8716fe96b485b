package agent

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strconv"
	"time"

	"github.com/runnel-log/runnel/internal/config"
	"github.com/runnel-log/runnel/storage"
)

// Reload reads the configuration again and swaps what has changed. On an error
// the running configuration stays as it was.
func (a *Agent) Reload(ctx context.Context) error {
	a.reloading.Lock()
	defer a.reloading.Unlock()
	if ctx.Err() == nil {
		defer a.options.Manager.Reloading()()
	}
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
	a.lookAtDates(time.Now())
	a.retryNow()
	a.events.reloaded(len(config.Inputs), len(config.Pipelines), len(config.Forwarders))
	return nil
}

// retryNow has every forwarder that waits for its next try not wait any longer.
func (a *Agent) retryNow() {
	a.mu.Lock()
	deliveries := slices.Collect(maps.Values(a.deliveries))
	a.mu.Unlock()
	for _, d := range deliveries {
		d.retryNow()
	}
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

// adopt makes b the running configuration. What it replaces has ended when it
// returns, but for connections of replaced inputs. The caller holds a.reloading.
func (a *Agent) adopt(b *build) {
	a.keepEnds(b) // before a stream is given less room
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
		d.retire()
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
	for _, address := range a.sockets.Settle() {
		a.events.closedUnasked(address)
	}
	a.sockets.Sweep()
	for _, address := range a.sockets.Unasked() {
		a.events.unread(address)
	}
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

// expectRelayed does the same for a stream that no configuration names, before the first
// of its records is relayed into it. c is the input's, for when none is in place yet. It
// reports false where that would be one too many: its records go where the pipeline has those that no stream is named for.
func (a *Agent) expectRelayed(c *Config, stream string) bool {
	if _, seen := a.expected.Load(stream); seen {
		return true
	}
	a.expecting.Lock()
	defer a.expecting.Unlock()
	a.mu.Lock()
	if a.config != nil {
		c = a.config
	}
	a.mu.Unlock()
	streams := a.store.Streams()
	there := slices.ContainsFunc(streams, func(s storage.StreamInfo) bool { return s.Name == stream })
	if !there && !c.KnownStream(stream) && a.strangers(c, streams) >= mostRelayed {
		return false
	}
	for _, f := range c.Forwarders {
		if _, has := a.store.Cursor(f.Name, stream); !has && !there && f.covers(stream) {
			a.store.MoveCursor(f.Name, stream, 1)
		}
	}
	a.expected.Store(stream, true)
	return true
}

// mostRelayed bounds the streams that agents below can make here, beside those that the
// configuration names: each costs memory, files and metrics, and stays.
const mostRelayed = 1024

// strangers counts the streams, there or expected, that a configuration does not name.
func (a *Agent) strangers(c *Config, streams []storage.StreamInfo) int {
	names := make(map[string]bool)
	for _, s := range streams {
		names[s.Name] = true
	}
	a.expected.Range(func(name, _ any) bool {
		names[name.(string)] = true
		return true
	})
	maps.DeleteFunc(names, func(name string, _ bool) bool { return c.KnownStream(name) })
	return len(names)
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

// forgetCursors removes the cursors of forwarders that the configuration has no
// more, and of those that are of another kind now what had ended: nobody moves them, and a stream that pushes back would wait for them.
func (a *Agent) forgetCursors(c *Config) {
	known := make(map[string]bool, len(c.Forwarders))
	for _, fc := range c.Forwarders {
		known[fc.Name] = true
	}
	enders, all := a.enders()
	ends := make(map[string]uint64)
	for _, s := range a.store.Streams() {
		ends[s.Name] = s.Next
	}
	for _, cursor := range a.store.Cursors() {
		reader, ended := storage.ReaderOf(cursor.Name)
		if known[reader] && !(ended && all && enders[reader] == nil) {
			continue
		}
		a.store.DeleteCursor(cursor.Name, cursor.Stream)
		if cursor.Stream != startMark && !ended {
			a.events.cursorForgotten(cursor.Name, cursor.Stream, cursor.Next, ends[cursor.Stream]-min(ends[cursor.Stream], cursor.Next))
		}
	}
}
