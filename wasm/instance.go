package wasm

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"reflect"
	"strings"
	"time"

	"github.com/tetratelabs/wazero"
	"github.com/tetratelabs/wazero/api"
	"github.com/tetratelabs/wazero/experimental"
	"github.com/tetratelabs/wazero/sys"

	"github.com/runnel-log/runnel/record"
)

// instance is one running copy of a guest. It belongs to one call of Process
// at a time.
type instance struct {
	module  *Module
	call    call
	guest   api.Module
	memory  api.Memory
	alloc   api.Function
	process api.Function
	tick    api.Function // nil: it does not
	running api.Function
	stack   [2]uint64 // parameters and results of a call

	input, room uint32 // the guest's buffer for batches, and its size
	began       uint32 // bytes of memory once it had started
	calls       uint32 // that went well

	// What host functions need to know of the call at hand.
	now       int64
	monotonic int64
	batch     []byte
	random    *rand.Rand
	written   lines
	meter     meter
	added     added
	clock     [8]byte // the batch of a call without one: what its random numbers are seeded by

	state    *State // nil: the module is not ordered
	starting bool   // it may read the state, but not change it
	tied     bool   // and has done so

	apply applier
}

// newInstance makes an instance and runs its start-up: _initialize and
// runnel_init, each within the same bounds as a batch, with a second at least.
// state is that of its line; nil if the module is not ordered.
func (m *Module) newInstance(state *State) (*instance, error) {
	in := &instance{module: m, state: state, starting: true}
	in.meter.allow(max(time.Second, 10*m.options.Time), m.interpreted)
	in.call = call{context.Background(), in}
	in.now = m.options.Now().UnixNano()
	in.apply.in = in
	ctx := experimental.WithMemoryAllocator(context.Background(), experimental.MemoryAllocatorFunc(mapMemory))
	config := wazero.NewModuleConfig().WithName("").WithStartFunctions()
	guest, err := m.runtime.InstantiateModule(ctx, m.compiled, config)
	if err != nil {
		return nil, fmt.Errorf("instantiate: %w", firstLine(err))
	}
	in.guest, in.memory = guest, guest.Memory()
	in.alloc, in.process = guest.ExportedFunction("runnel_alloc"), guest.ExportedFunction("runnel_process")
	in.tick = guest.ExportedFunction(tickName)
	in.meter.fuel = guest.ExportedGlobal(fuelExport).(api.MutableGlobal)
	if err := in.start(); err != nil {
		in.discard()
		return nil, err
	}
	in.starting = false
	in.began = in.memory.Size()
	in.meter.allow(m.options.Time, m.interpreted)
	return in, nil
}

func (in *instance) start() error {
	if f := in.guest.ExportedFunction("_initialize"); f != nil {
		if err := in.enter(f); err != nil {
			return in.startError("_initialize", err)
		}
	}
	config := in.module.options.Config
	at, err := in.allocate(uint32(len(config)))
	if err != nil {
		return in.startError("runnel_alloc", err)
	}
	if !in.memory.Write(at, config) {
		return fmt.Errorf("runnel_alloc gave address %d, beyond the guest's memory of %d bytes", at, in.memory.Size())
	}
	in.stack = [2]uint64{uint64(at), uint64(len(config))}
	if err := in.enter(in.guest.ExportedFunction("runnel_init")); err != nil {
		return in.startError("runnel_init", err)
	}
	if status := uint32(in.stack[0]); status != 0 {
		if line := in.module.said.lastLine(); line != "" {
			return fmt.Errorf("refused its config: %s (runnel_init returned %d)", line, status)
		}
		return fmt.Errorf("refused its config without saying why (runnel_init returned %d)", status)
	}
	return nil
}

// startError says what went wrong in a step of the start-up.
func (in *instance) startError(step string, err error) error {
	return fmt.Errorf("%s: %w", step, err)
}

// enter calls f with in.stack. It returns errDeadline, or an error that says
// how the guest stopped; the instance must be discarded after any.
func (in *instance) enter(f api.Function) error {
	in.written.start()
	in.running = f
	in.added.start()
	in.meter.start()
	err := f.CallWithStack(&in.call, in.stack[:])
	used, spent := in.meter.stop()
	in.module.fuel.Add(used)
	if spent > 0 {
		in.module.spent.Add(int64(spent))
	}
	if err == nil {
		return nil
	}
	if exit, ok := errors.AsType[*sys.ExitError](err); ok {
		return in.written.because(fmt.Errorf("guest exited with status %d", exit.ExitCode()))
	}
	if errors.Is(err, errFuel) {
		return fmt.Errorf("%w after %v worth of fuel", errDeadline, in.meter.time)
	}
	if errors.Is(err, errDeadline) {
		return fmt.Errorf("%w after %v of CPU time", errDeadline, in.meter.cpu)
	}
	for _, known := range [...]error{errMisuse, errRecursion} {
		if errors.Is(err, known) {
			return known
		}
	}
	return in.written.because(fmt.Errorf("guest trapped: %w", firstLine(err)))
}

// firstLine cuts the engine's stack trace off, and its own prefixes.
func firstLine(err error) error {
	text, _, _ := strings.Cut(err.Error(), "\n")
	text = strings.TrimSuffix(text, " (recovered by wazero)")
	return errors.New(strings.TrimPrefix(text, "wasm error: "))
}

// allocate asks the guest for room for n bytes.
func (in *instance) allocate(n uint32) (uint32, error) {
	in.stack[0] = uint64(n)
	if err := in.enter(in.alloc); err != nil {
		return 0, err
	}
	return uint32(in.stack[0]), nil
}

// yield stops the guest when its fuel or its time is up, or its stack has become
// too large. It is called from within the guest; being in Go again is what lets
// the collector go on.
func (in *instance) yield(debt uint32) {
	if !in.meter.yield(debt) {
		return
	}
	if stackOf(in.running) > maxStack {
		panic(errRecursion)
	}
	if in.meter.clock.running() > in.meter.cpu {
		panic(errDeadline)
	}
}

// maxStack is the stack a guest may have. The engine's own limit of 50 MB comes too
// late: it doubles the stack, and holds the old one while it copies it.
const maxStack = 2 << 20

// stackOf returns the size of the stack the engine has made for a function. The
// engine does not tell, so we look; 0 if it is not where it was when this was
// written, and the engine's limit alone holds (TestRecursionIsStoppedEarly).
func stackOf(f api.Function) int {
	v := reflect.ValueOf(f)
	if v.Kind() != reflect.Pointer || v.Elem().Kind() != reflect.Struct {
		return 0
	}
	if stack := v.Elem().FieldByName("stack"); stack.Kind() == reflect.Slice {
		return stack.Len()
	}
	return 0
}

// served charges a host call that copies, or looks at, so many bytes: a guest
// that does little but call the host uses little fuel of its own.
func (in *instance) served(bytes int) {
	if !in.meter.charge(bytes) {
		return
	}
	for in.meter.host >= quantum {
		in.meter.host -= quantum
		in.yield(0)
	}
}

// run gives the guest one batch and returns its output, borrowed from its
// memory until the next call; nil if it keeps all.
func (in *instance) run(b *record.Batch, now int64) ([]byte, error) {
	bytes := b.Bytes()
	in.now, in.batch, in.random = now, bytes, nil
	in.monotonic = max(in.monotonic, now)
	if len(bytes) > int(in.room) {
		// Twice what is needed, so that a guest is asked but a few times in its
		// life; what it gave before is its own again (ABI §2.2).
		want := max(uint32(record.BatchBytes), uint32(len(bytes)))
		at, err := in.allocate(want)
		if err != nil {
			return nil, fmt.Errorf("runnel_alloc(%d): %w", want, err)
		}
		in.input, in.room = at, want
	}
	if !in.memory.Write(in.input, bytes) {
		return nil, fmt.Errorf("runnel_alloc gave address %d for %d bytes, beyond the guest's memory of %d", in.input, in.room, in.memory.Size())
	}
	in.stack = [2]uint64{uint64(in.input), uint64(len(bytes))}
	if err := in.enter(in.process); err != nil {
		return nil, err
	}
	if n, most := uint32(in.stack[0]), 4*len(bytes)+1<<20; int64(n) > int64(most) {
		return nil, badOutput("%d bytes for a batch of %d, more than the limit of %d", n, len(bytes), most)
	}
	return in.output()
}

// ask calls a function of the guest that takes no batch, and returns its output
// as run does.
func (in *instance) ask(f api.Function, now int64) ([]byte, error) {
	binary.LittleEndian.PutUint64(in.clock[:], uint64(now))
	in.now, in.batch, in.random = now, in.clock[:], nil
	in.monotonic = max(in.monotonic, now)
	in.stack = [2]uint64{uint64(now)}
	if err := in.enter(f); err != nil {
		return nil, err
	}
	if n := uint32(in.stack[0]); n > maxAloneOutput {
		return nil, badOutput("%d bytes without a batch, more than the limit of %d", n, maxAloneOutput)
	}
	return in.output()
}

// output returns what the guest's last call returned, borrowed; nil for nothing.
func (in *instance) output() ([]byte, error) {
	at, n := uint32(in.stack[0]>>32), uint32(in.stack[0])
	if n == 0 {
		return nil, nil
	}
	output, ok := in.memory.Read(at, n)
	if !ok {
		return nil, badOutput("%d bytes at address %d, beyond the guest's memory of %d", n, at, in.memory.Size())
	}
	return output, nil
}

// attemptBegins and attemptEnds stand around a call and its verdicts: what the
// guest does beside its output counts if both are sound, and not at all if not.
func (in *instance) attemptBegins() {
	if in.state != nil {
		in.state.begin()
	}
}

func (in *instance) attemptEnds(sound bool) {
	if sound {
		in.added.count()
	}
	if in.state == nil {
		return
	}
	if sound {
		in.state.keep()
	} else {
		in.state.undo()
	}
}

// An instance is worn once its memory has grown to three quarters of what it may
// have, and to four times what it began with: memory never shrinks, so what one
// great batch took, or what leaks, would stay until the module is loaded anew.
// A guest that needs as much all the time is not made anew for every batch.
const wornAfter = 1024 // calls

// worn reports whether the instance should be replaced, and counts it if so.
func (in *instance) worn() bool {
	size := in.memory.Size()
	if in.calls++; in.calls < wornAfter || size < 4*in.began || int64(size) < in.module.options.Memory/4*3 {
		return false
	}
	in.module.counters.recycled.Inc()
	in.module.events.recycled(int64(size))
	return true
}

// discard ends the instance and gives its memory back.
func (in *instance) discard() {
	if in.guest != nil {
		_ = in.guest.Close(context.Background()) // closing an instance without files cannot fail
	}
}
