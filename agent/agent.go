// Package agent wires the rooms together: it reads the configuration, runs
// inputs, pipelines, the store and deliveries, reloads them while they run, and
// ends them in an order that loses nothing. It knows the contracts of inputs and
// forwarders and never a concrete kind; cmd/runnel hands it the kinds. A reload that
// fails must leave everything as it was.
package agent

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"runtime/debug"
	"slices"
	"sync"
	"syscall"
	"time"

	"github.com/VictoriaMetrics/metrics"
	"github.com/rs/zerolog"

	"github.com/runnel-log/runnel/agent/inputs"
	"github.com/runnel-log/runnel/agent/query"
	"github.com/runnel-log/runnel/internal/headroom"
	"github.com/runnel-log/runnel/internal/listen"
	"github.com/runnel-log/runnel/internal/relaywire"
	"github.com/runnel-log/runnel/internal/systemd"
	"github.com/runnel-log/runnel/internal/tiers"
	"github.com/runnel-log/runnel/storage"
	"github.com/runnel-log/runnel/wasm"
)

// Bounds of a stop. Together they stay below the 5 s after which a stop counts
// as hung.
const (
	inputGrace = 2500 * time.Millisecond // for inputs to read what senders have handed to the kernel
	apiGrace   = 2500 * time.Millisecond // for answers under way; passes while deliveries end
	stopLimit  = 4200 * time.Millisecond // from the asking on; then all that still runs is given up
)

// Options are what the agent needs to know before it reads its configuration.
type Options struct {
	Load    func() (*Config, error) // reads the configuration; called at start and at every reload
	Version string
	Log     zerolog.Logger
	// Ready is called once everything runs, with the API's address as a URL.
	Ready func(c *Config, api string)
	// Manager keeps sockets over a restart, and is told of reloads and the stop; nil: there is none.
	Manager *systemd.Manager

	points points // of tests
}

// Agent is one running agent.
type Agent struct {
	options Options
	events  events
	metrics *metrics.Set
	sockets *listen.Sockets
	store   *storage.Store
	runtime *wasm.Runtime
	tiers   *tiers.Tiers
	endings *endings // of what is stored
	routes  routes
	watch   *watch // of modules' files; follow under reloading
	started time.Time

	certificates certificates
	hard         context.Context // ends when the stop's own deadline has passed

	expected  sync.Map   // streams of relayed records that expectRelayed has seen, by name
	expecting sync.Mutex // held while it looks at another; taken before mu

	reloading sync.Mutex // held while a configuration is being put in place; taken before mu

	mu sync.Mutex
	// guarded by mu: what the running configuration consists of.
	config     *Config
	modules    map[string]*module
	pipelines  map[string]*pipeline
	inputs     map[string]*running
	deliveries map[string]*delivering
	replacing  chan struct{} // nil, or closed when deliveries that a reload has taken out have their successors
	retired    []*running    // replaced by a reload, serving the connections they had
	stopping   bool

	// Counters that outlive a reload, by name; guarded by mu.
	pipelineCounts map[string]*pipelineCounts
	deliveryCounts map[string]*deliveryCounts
	states         map[string]*states        // of pipelines, by name; the same
	refused        map[string]refusal        // of modules, by name: files on disk that cannot take the place of the running ones
	memories       map[string]*inputs.Memory // of inputs, by the beginning of their marks' keys; the same
	redrives       map[string]*redrives      // of forwarders, by name; the same
	rates          rates

	forwarderBook *book // of what forwarders give up

	wg sync.WaitGroup // inputs and deliveries
}

// module is a loaded guest and the digest of what it was loaded from.
type module struct {
	*wasm.Module
	config ModuleConfig
}

// New returns an agent that has opened nothing yet.
func New(o Options) *Agent {
	return &Agent{
		options: o, events: newEvents(o.Log), metrics: metrics.NewSet(), sockets: listen.Kept(o.Manager, listen.Handed()), started: time.Now(),
		modules: make(map[string]*module), pipelines: make(map[string]*pipeline),
		inputs: make(map[string]*running), deliveries: make(map[string]*delivering),
		pipelineCounts: make(map[string]*pipelineCounts), deliveryCounts: make(map[string]*deliveryCounts),
		states: make(map[string]*states), refused: make(map[string]refusal), redrives: make(map[string]*redrives), memories: make(map[string]*inputs.Memory), endings: newEndings(),
	}
}

// Run runs the agent until ctx ends, then stops accepting, commits what has
// arrived and closes, within 5 s. Each time reload receives, it reads the
// configuration again. It returns an error, with nothing left open, when it
// cannot start.
func (a *Agent) Run(ctx context.Context, reload <-chan os.Signal) (err error) {
	hard, give := context.WithCancel(context.WithoutCancel(ctx))
	defer give()
	a.hard = hard
	defer context.AfterFunc(ctx, func() { time.AfterFunc(stopLimit, give) })()
	config, err := a.options.Load()
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, a.close()) }()
	if err := a.open(config); err != nil {
		return err
	}
	api, listener, err := a.newAPI(config)
	if err != nil {
		return err
	}
	endAPI, ended := a.runAPI(api, listener)
	defer func() {
		endAPI()
		select {
		case <-ended:
		case <-time.After(apiGrace):
		}
	}()
	if a.watch, err = newWatch(); err != nil {
		a.events.cannotWatch(err)
	}
	build, err := a.prepare(ctx, config)
	if err != nil {
		return err
	}
	a.adopt(build)
	a.lookAtDates(time.Now())
	if err := errors.Join(a.release(ctx, build), a.forgetMarks(ctx, config)); err != nil {
		a.events.heldBack(err)
	}
	url := apiURL(config, listener)
	a.events.started(a.options.Version, config.File, config.DataDir, url, time.Since(a.started))
	if kept, of := a.sockets.Keeping(); kept > 0 {
		a.events.socketsKept(kept, of)
	}
	if a.options.Ready != nil {
		a.options.Ready(config, url)
	}
	debug.FreeOSMemory() // what reading the config and compiling modules left behind; a quiet host may not collect for minutes
	a.wg.Go(func() { a.runRates(ctx) })
	a.wg.Go(func() { a.watch.run(ctx) })
	a.wg.Go(func() { a.runBelow(ctx) })
	a.wg.Go(func() { a.runEndings(ctx) })
	a.serveSignals(ctx, reload)
	a.stop(give, endAPI)
	return nil
}

// cacheDir is where compiled modules are kept, in the data directory.
const cacheDir = "cache"

// open makes the data directory and opens what lives in it.
func (a *Agent) open(c *Config) error {
	if err := os.MkdirAll(c.DataDir, 0o700); err != nil {
		return fmt.Errorf("data directory: %w; choose another agent.data_dir or make it writable", err)
	}
	if info, err := os.Stat(c.DataDir); err == nil && info.Mode().Perm()&0o077 != 0 {
		a.events.dataOpenToOthers(c.DataDir, info.Mode().Perm())
	}
	o := storage.Options{
		Dir: c.DataDir, MaxSize: c.MaxSize, CommitEvery: c.CommitEvery, Policy: c.Policy, MaxStaged: headroom.Share(storage.MaxStaged),
		Log: a.options.Log.With().Str("part", "storage").Logger(), Metrics: a.metrics, Reached: a.options.points.reached,
	}
	if a.options.points.segments > 0 {
		o.SegmentSize = a.options.points.segments
	}
	store, err := storage.Open(o)
	if errors.Is(err, syscall.EMFILE) {
		err = fmt.Errorf("%w; raise the limit of open files (LimitNOFILE=, ulimit -n) above the number of files in the store", err)
	}
	if err != nil {
		return err
	}
	a.store = store
	id, _ := store.Identity()
	a.tiers = tiers.New(relaywire.Hop{Agent: id, Name: c.Name})
	if err := a.putRight(a.hard); err != nil {
		return fmt.Errorf("ledger: %w", err)
	}
	a.rememberBelow()
	a.metrics.RegisterMetricsWriter(a.writeBelow)
	a.metrics.RegisterMetricsWriter(a.certificates.write)
	a.metrics.NewGauge("runnel_audit_unexplained_records", func() float64 { return float64(auditOf(store.Books()).Unexplained) })
	if a.forwarderBook, err = openBook(store, bookForwarders); err != nil {
		a.events.bookDamaged(bookForwarders, err)
	}
	for forwarder, of := range readRedrives(store.Account(bookForwarders)) {
		a.redrives[forwarder] = &redrives{forwarder: forwarder, of: of}
	}
	a.runtime, err = wasm.NewRuntime(a.hard, wasm.RuntimeOptions{
		CacheDir: filepath.Join(c.DataDir, cacheDir), Engine: c.Engine, Log: a.options.Log.With().Str("part", "wasm").Logger(), Metrics: a.metrics,
	})
	return err
}

// serveSignals reloads at every signal, and swaps modules whose files change, until ctx ends.
func (a *Agent) serveSignals(ctx context.Context, reload <-chan os.Signal) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-reload:
			a.Reload(ctx) //nolint:errcheck // logged there; the API's caller is the one who gets the error
		case <-a.watch.changed:
			a.refresh(ctx)
		}
	}
}

// Alive returns at once, unless a bug has the agent hang: what a watchdog asks.
func (a *Agent) Alive() {
	a.mu.Lock()
	defer a.mu.Unlock()
}

// stop ends inputs first, so that what they still hold reaches the store, then
// deliveries and the API. give ends everything that does not finish in time.
func (a *Agent) stop(give, endAPI context.CancelFunc) {
	began := time.Now()
	a.events.stopping("asked to")
	a.reloading.Lock()
	defer a.reloading.Unlock()
	a.mu.Lock()
	a.stopping = true
	inputs, pipelines, deliveries := slices.Clone(a.retired), a.pipelines, a.deliveries
	for _, in := range a.inputs {
		inputs = append(inputs, in)
	}
	a.mu.Unlock()
	_ = a.options.Manager.Tell("STOPPING=1") // it sees the process end anyway
	a.sockets.Ending()
	for _, in := range inputs {
		in.cancel()
	}
	deadline := time.After(inputGrace)
	for _, in := range inputs {
		select {
		case <-in.done:
		case <-deadline:
			a.events.inputSlow(in.config.Name)
			give()
			<-in.done
		}
	}
	for _, p := range pipelines {
		p.close()
	}
	endAPI()
	for _, d := range deliveries {
		d.cancel()
	}
	for _, d := range deliveries {
		<-d.done
	}
	a.wg.Wait()
	a.keepBelow(a.hard, true)
	a.events.stopped(time.Since(began))
}

// close closes what open and the reloads opened. The store's own close commits
// what was appended and not yet committed.
func (a *Agent) close() error {
	errs := []error{a.watch.close()}
	a.sockets.Close()
	if a.store != nil {
		errs = append(errs, a.store.Close())
	}
	for _, m := range a.memories {
		m.Settled()
	}
	ctx := context.WithoutCancel(a.hard)
	for _, p := range a.pipelines {
		p.close()
		p.end()
	}
	for _, m := range a.modules {
		errs = append(errs, m.Close(ctx))
	}
	if a.runtime != nil {
		errs = append(errs, a.runtime.Close(ctx))
	}
	return errors.Join(errs...)
}

// newAPI opens the API's socket and builds its server.
func (a *Agent) newAPI(c *Config) (*query.Server, net.Listener, error) {
	listener, err := listenAPI(c.API.Listen)
	if err != nil {
		return nil, nil, fmt.Errorf("api: %w", err)
	}
	o := query.Options{Source: source{a.store}, Host: host{a}, Open: c.API.Open, Metrics: a.metrics,
		Agent: c.Name, Version: a.options.Version, Started: a.started,
		Log: a.options.Log.With().Str("part", "api").Logger()}
	if !c.API.Open {
		if o.Token, err = loadToken(c); err != nil {
			return nil, nil, errors.Join(fmt.Errorf("api: %w", err), listener.Close())
		}
	}
	if c.API.TLS != nil {
		if o.TLS, err = c.API.TLS.Config(nil); err != nil {
			return nil, nil, errors.Join(fmt.Errorf("api: %w", err), listener.Close())
		}
	}
	return query.New(o), listener, nil
}

// runAPI serves until end is called; ended is closed when it has stopped.
func (a *Agent) runAPI(api *query.Server, listener net.Listener) (end context.CancelFunc, ended <-chan struct{}) {
	ctx, cancel := context.WithCancel(context.WithoutCancel(a.hard))
	done := make(chan struct{})
	go func() {
		defer close(done)
		if err := api.Serve(ctx, listener); err != nil {
			a.events.closeFailed("api", err)
		}
	}()
	return cancel, done
}
