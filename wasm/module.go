package wasm

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"runtime"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"

	"github.com/tetratelabs/wazero"
	"github.com/tetratelabs/wazero/api"
)

// OnError says what becomes of a record its guest failed on.
type OnError uint8

// The policies. The zero value keeps the record.
const (
	Keep       OnError = iota // it goes on as it was, flagged module_failed
	Drop                      // it is dropped, counted as module_failed
	DeadLetter                // it goes to the dead-letter stream
)

// String returns the policy's name in the config.
func (o OnError) String() string {
	switch o {
	case Drop:
		return "drop"
	case DeadLetter:
		return "dead_letter"
	}
	return "keep"
}

// The defaults of Options.
const (
	DefaultMemory = 16 << 20
	DefaultTime   = 100 * time.Millisecond
)

// Options describe one module.
type Options struct {
	Name string // in the config; labels what is logged and counted
	File string // the .wasm file
	Code []byte // the module itself; File is then what it is called, and not read

	Config  []byte        // JSON for the guest; nil: {}
	Memory  int64         // bytes of linear memory; 0: DefaultMemory
	Time    time.Duration // of work for one batch, and of guest CPU; 0: DefaultTime
	OnError OnError
	State   int64  // bytes an ordered module may keep in each pipeline; 0: DefaultState
	Agent   string // the agent's name, of records emitted without a parent

	// Grant and Tables are what the module may use beside what every module
	// has. The tables are shared, by the names the guest asks for.
	Grant  Grants
	Tables map[string]*Table

	// KnownStream reports whether a guest may route to a stream of that name.
	// It is asked again for every batch. Nil: to any.
	KnownStream func(name string) bool
	Now         func() time.Time // the batch's clock; nil: time.Now
}

// Module is a guest that is ready to run. It is safe for concurrent use: up to
// GOMAXPROCS instances of it run at the same time, made when first needed.
type Module struct {
	options  Options
	events   events
	said     guestLog
	absent   absentTables
	refused  sampled // records failed by verdicts, and not by a trap
	counters counters
	guests   guestCounters
	spent    atomic.Int64  // nanoseconds of guest CPU beyond the first quantum of each call
	fuel     atomic.Uint64 // used, in units

	interpreted bool
	ordered     bool // ABI §1.3
	ticks       bool // it exports runnel_tick
	flushes     bool // it exports runnel_flush
	manifest    *Manifest

	runtime  wazero.Runtime
	compiled wazero.CompiledModule

	free  chan *instance // idle instances; capacity: the most there may be
	slots chan struct{}  // a token for each instance in being or being made

	breaker breaker

	closing sync.Once
	closed  chan struct{} // closed by Close

	hash string // SHA-256 of the file, hexadecimal

	mu          sync.Mutex
	streams     map[string]string  // guarded by mu: names guests routed to
	lastError   string             // guarded by mu: of the last record a guest failed on
	lastErrorAt time.Time          // guarded by mu
	lines       map[*Line]struct{} // guarded by mu: those not closed
	lined       atomic.Int32       // instances of lines
}

// Load reads, checks and compiles a module, makes its first instance and lets
// it read its config. An error names the file, the step and the reason, and
// what to do about it.
func (r *Runtime) Load(ctx context.Context, o Options) (*Module, error) {
	begin := time.Now()
	name := o.File
	if name == "" && o.Code != nil {
		name = "built-in module"
	}
	code, err := source(&o)
	if err != nil {
		return nil, err
	}
	o.complete()
	list, err := sections(code)
	if err != nil {
		return nil, fmt.Errorf("%s %w", name, err)
	}
	shape := examine(code, list, &o)
	if err := shape.refused(); err != nil {
		return nil, fmt.Errorf("%s %w", name, err)
	}
	rewritten, err := rewrite(list, shape)
	if err != nil {
		return nil, fmt.Errorf("%s %w", name, err)
	}
	o.Code = nil // wazero keeps what it needs
	most := runtime.GOMAXPROCS(0)
	sum := sha256.Sum256(code)
	log := events{r.events.log.With().Str("module", o.Name).Logger()}
	m := &Module{options: o, events: log, counters: newCounters(r.metrics, o.Name),
		free: make(chan *instance, most), slots: make(chan struct{}, most), closed: make(chan struct{}), streams: map[string]string{}, lines: map[*Line]struct{}{}}
	m.hash = hex.EncodeToString(sum[:])
	m.said = guestLog{events: log, now: o.Now}
	m.guests = guestCounters{set: r.metrics, module: o.Name, events: log}
	m.ordered, m.manifest = shape.ordered(), shape.manifest
	_, m.ticks = shape.exports[tickName]
	_, m.flushes = shape.exports[flushName]
	if err := m.compile(ctx, r, rewritten, shape); err != nil {
		return nil, errors.Join(fmt.Errorf("%s: %w", name, err), m.release(ctx))
	}
	in, err := m.newInstance(m.blank())
	if err != nil {
		return nil, errors.Join(fmt.Errorf("%s: %w", name, err), m.release(ctx))
	}
	if in.tied { // to a state that no line has
		in.discard()
	} else {
		m.slots <- struct{}{}
		m.free <- in
	}
	log.loaded(name, len(code), time.Since(begin))
	return m, nil
}

// complete fills in the defaults.
func (o *Options) complete() {
	if o.Memory == 0 {
		o.Memory = DefaultMemory
	}
	if o.Time == 0 {
		o.Time = DefaultTime
	}
	if o.State == 0 {
		o.State = DefaultState
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Config == nil {
		o.Config = []byte("{}")
	}
}

// source returns the module's bytes.
func source(o *Options) ([]byte, error) {
	if o.Code != nil {
		return o.Code, nil
	}
	if o.File == "" {
		return nil, errors.New("no module file is named; write file: PATH")
	}
	f, err := openRegular(o.File)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%s does not exist; build it, or name the file the compiler made", o.File)
	}
	if err != nil {
		return nil, fmt.Errorf("read module: %w", err)
	}
	defer f.Close()
	var code bytes.Buffer // with room for all of it, or it would be copied again and again
	if info, err := f.Stat(); err == nil {
		code.Grow(int(min(info.Size(), maxFile)) + bytes.MinRead)
	}
	if _, err := code.ReadFrom(io.LimitReader(f, maxFile+1)); err != nil {
		return nil, fmt.Errorf("read module: %w", err)
	}
	if code.Len() > maxFile {
		return nil, fmt.Errorf("%s is more than the limit of %d bytes; strip it (go build -ldflags='-s -w', wasm-strip)", o.File, maxFile)
	}
	return code.Bytes(), nil
}

// features are those the rewriter knows (ABI §2.4).
const features = api.CoreFeaturesV2 &^ api.CoreFeatureSIMD

// compile makes the runtime of this module: one each, since the limit of
// memory is a runtime's, and compiled code is shared through the cache.
func (m *Module) compile(ctx context.Context, r *Runtime, code []byte, s *shape) error {
	config := r.engine.config().
		WithCoreFeatures(features).
		WithMemoryLimitPages(uint32(m.options.Memory / pageSize)).
		WithDebugInfoEnabled(false).
		WithCompilationCache(r.compilationCache())
	m.runtime = wazero.NewRuntimeWithConfig(ctx, config)
	if m.interpreted = interprets(m.runtime); m.interpreted {
		r.slower.Do(r.events.interpreted)
	}
	if err := bindRunnel(ctx, m.runtime, s.services); err != nil {
		return err
	}
	if err := bindWASI(ctx, m.runtime, s.wasi); err != nil {
		return err
	}
	begin := time.Now()
	compiled, err := m.runtime.CompileModule(ctx, code)
	if err != nil && r.clearCache(err) {
		m.events.cacheDamaged(r.dir, err)
		compiled, err = m.runtime.CompileModule(ctx, code)
	}
	if err != nil {
		return fmt.Errorf("compile: %w", firstLine(err))
	}
	m.compiled = compiled
	if time.Since(begin) > 200*time.Millisecond {
		debug.FreeOSMemory() // a cold compile leaves ten times the code's size behind
	}
	return nil
}

// blank returns a state for an instance that is in no line.
func (m *Module) blank() *State {
	if !m.ordered {
		return nil
	}
	return NewState()
}

// Close ends the module: calls of Process under way finish, those of its lines
// too, and later ones fail. The states of its lines stay as they are.
func (m *Module) Close(ctx context.Context) error {
	first := false
	m.closing.Do(func() { first = true; close(m.closed) })
	if !first {
		return nil
	}
	for range cap(m.slots) { // take every slot: nobody is running then
		select {
		case in := <-m.free:
			in.discard()
		case m.slots <- struct{}{}:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	if err := m.closeLines(ctx); err != nil {
		return err
	}
	return m.release(ctx)
}

func (m *Module) release(ctx context.Context) error {
	if m.runtime == nil {
		return nil
	}
	return m.runtime.Close(ctx)
}

// ErrClosed: the module has been closed.
var ErrClosed = errors.New("module is closed")

// acquire takes an idle instance, or makes one if there may be another. made
// is an error of making it: the guest's own fault, not the caller's.
func (m *Module) acquire(ctx context.Context) (in *instance, made, err error) {
	select {
	case <-m.closed:
		return nil, nil, ErrClosed
	default:
	}
	select {
	case in = <-m.free:
		return in, nil, nil
	default:
	}
	select {
	case in = <-m.free:
		return in, nil, nil
	case m.slots <- struct{}{}:
		if in, made = m.newInstance(nil); made != nil {
			<-m.slots
		}
		return in, made, nil
	case <-m.closed:
		return nil, nil, ErrClosed
	case <-ctx.Done():
		return nil, nil, ctx.Err()
	}
}

// put back an instance that is sound.
func (m *Module) putBack(in *instance) {
	if in.worn() {
		m.dropInstance(in)
		return
	}
	m.free <- in
}

// drop an instance that is not.
func (m *Module) dropInstance(in *instance) {
	in.discard()
	<-m.slots
}

// streamName returns name as a string, the same one each time.
func (m *Module) streamName(name []byte) string {
	m.mu.Lock()
	defer m.mu.Unlock()
	if s, ok := m.streams[string(name)]; ok {
		return s
	}
	s := string(name)
	if len(m.streams) < 1024 {
		m.streams[s] = s
	}
	return s
}
