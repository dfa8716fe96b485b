package wasm

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"time"

	"github.com/rs/zerolog"
	"github.com/tetratelabs/wazero"
	"github.com/tetratelabs/wazero/api"
)

// call is the context of every call into a guest: it carries the instance to
// the host functions without a map or a walk through context values.
type call struct {
	context.Context
	in *instance
}

// caller returns the instance a host function was called by.
func caller(ctx context.Context) *instance { return ctx.(*call).in }

// errDeadline stops a guest that used its time up.
var errDeadline = errors.New("not done")

// errRecursion stops a guest whose stack has become too large.
var errRecursion = errors.New("guest recurses too deep: its stack is beyond the limit of 4 MiB")

// errMisuse stops a guest that gave a host function an address outside its memory.
var errMisuse = errors.New("a host function was given memory the guest does not have")

// bindRunnel makes the host services of ABI §5, bound without reflection.
func bindRunnel(ctx context.Context, rt wazero.Runtime) error {
	i32, i64 := api.ValueTypeI32, api.ValueTypeI64
	b := rt.NewHostModuleBuilder(fuelModule)
	b.NewFunctionBuilder().WithGoFunction(api.GoFunc(hostLog), []api.ValueType{i32, i32, i32}, nil).Export("log")
	b.NewFunctionBuilder().WithGoFunction(api.GoFunc(hostNow), nil, []api.ValueType{i64}).Export("now")
	b.NewFunctionBuilder().WithGoFunction(api.GoFunc(hostFuel), nil, []api.ValueType{i32}).Export(fuelName)
	_, err := b.Instantiate(ctx)
	if err != nil {
		return fmt.Errorf("bind host services: %w", err)
	}
	return nil
}

var guestLevels = [...]zerolog.Level{zerolog.DebugLevel, zerolog.InfoLevel, zerolog.WarnLevel, zerolog.ErrorLevel}

// hostLog is runnel.log(level, ptr, len) (ABI §5.1).
func hostLog(ctx context.Context, stack []uint64) {
	in := caller(ctx)
	in.served()
	level := min(uint32(stack[0]), uint32(len(guestLevels)-1))
	text, ok := in.memory.Read(uint32(stack[1]), uint32(stack[2]))
	if !ok {
		panic(errMisuse)
	}
	in.module.said.line(guestLevels[level], text)
}

// hostNow is runnel.now() → i64 (ABI §5.2).
func hostNow(ctx context.Context, stack []uint64) { stack[0] = uint64(caller(ctx).now) }

// hostFuel is called by the rewritten guest when its fuel is used up. Being in
// Go again is what lets the collector go on; a guest beyond its time is stopped.
func hostFuel(ctx context.Context, stack []uint64) {
	caller(ctx).yield()
	stack[0] = quantum
}

// stopwatch measures the CPU time of one call. It starts at the call's first
// yield, since the system call costs more than many a call: a quantum, about a
// millisecond at worst, is not counted.
type stopwatch struct {
	started bool
	from    time.Duration
}

// running returns the CPU time since the first call of it.
func (s *stopwatch) running() time.Duration {
	if !s.started {
		runtime.LockOSThread() // or the time of two threads would be compared
		s.started, s.from = true, threadTime()
		return 0
	}
	return threadTime() - s.from
}

// stop ends the measurement and returns it.
func (s *stopwatch) stop() time.Duration {
	if !s.started {
		return 0
	}
	s.started = false
	spent := threadTime() - s.from
	runtime.UnlockOSThread()
	return spent
}
