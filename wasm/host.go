package wasm

import (
	"context"
	"errors"

	"github.com/rs/zerolog"
)

// call is the context of every call into a guest: it carries the instance to
// the host functions without a map or a walk through context values.
type call struct {
	context.Context
	in *instance
}

// caller returns the instance a host function was called by.
func caller(ctx context.Context) *instance { return ctx.(*call).in }

// errDeadline stops a guest that used its time up: its fuel, or, if that takes
// long on this machine, its CPU time. What is shown says which.
var errDeadline = errors.New("not done")

// errFuel is thrown through the guest when its fuel is used up, errDeadline when
// its CPU time is.
var errFuel = errors.New("no fuel left")

// errRecursion stops a guest whose stack has become too large.
var errRecursion = errors.New("guest recurses too deep: its stack is beyond the limit of 2 MiB")

// errMisuse stops a guest that gave a host function an address outside its memory.
var errMisuse = errors.New("a host function was given memory the guest does not have")

var guestLevels = [...]zerolog.Level{zerolog.DebugLevel, zerolog.InfoLevel, zerolog.WarnLevel, zerolog.ErrorLevel}

// hostLog is runnel.log(level, ptr, len) (ABI §5.1).
func hostLog(ctx context.Context, stack []uint64) {
	in := caller(ctx)
	text, ok := in.memory.Read(uint32(stack[1]), uint32(stack[2]))
	if !ok {
		panic(errMisuse)
	}
	in.served(maxLine)
	level := min(uint32(stack[0]), uint32(len(guestLevels)-1))
	if guestLevels[level] == zerolog.ErrorLevel {
		in.written.logged(text)
	}
	in.module.said.line(guestLevels[level], text)
}

// hostNow is runnel.now() → i64 (ABI §5.2).
func hostNow(ctx context.Context, stack []uint64) {
	in := caller(ctx)
	in.served(0)
	stack[0] = uint64(in.now)
}

// hostFuel is called by the rewritten guest when its fuel is used up. Being in
// Go again is what lets the collector go on; a guest beyond its time is stopped.
func hostFuel(ctx context.Context, stack []uint64) {
	in := caller(ctx)
	// A charge may be of many quanta. One for more bytes than there are traps.
	debt := min(uint32(-int32(in.meter.fuel.Get())), max(in.memory.Size()/8, maxCost/unit))
	in.yield(debt)
	stack[0] = quantum - uint64(debt%quantum)
}
