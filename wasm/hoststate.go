package wasm

import (
	"context"
	"encoding/binary"
	"unsafe"

	"github.com/runnel-log/runnel/record"
)

// What a call costs a guest beside the bytes it copies, as bytes worked on: less
// than it may take where 100 000 keys are in no cache, so that a guest can walk
// through all of them within the default time.
const (
	setCost  = 2048 // also for what is held
	nextCost = 4096
	makeCost = 8192 // making or deleting a key
)

// kept returns the state. A guest that looks at it while it starts is tied to it.
func (in *instance) kept() *State {
	if in.starting {
		in.tied = true
	}
	return in.state
}

// text returns a text of the guest's as a string without a copy: only for a
// look-up that ends before the guest goes on.
func (in *instance) text(at, n uint64) string {
	b := in.region(uint32(at), uint32(n))
	return unsafe.String(unsafe.SliceData(b), len(b))
}

// key is text for what has at most maxKey bytes: a longer one is taken for the
// empty key, which nothing has.
func (in *instance) key(at, n uint64) string {
	if s := in.text(at, n); len(s) <= maxKey {
		return s
	}
	return ""
}

// hostStateGet is runnel.state_get(key, buffer) → i32 (ABI §5.3).
func hostStateGet(ctx context.Context, stack []uint64) {
	in := caller(ctx)
	value := in.kept().get(in.key(stack[0], stack[1]))
	if value == nil {
		in.served(0)
		in.region(uint32(stack[2]), uint32(stack[3]))
		stack[0] = none
		return
	}
	stack[0] = in.give(value, stack[2], stack[3])
}

// hostStateSet is runnel.state_set(key, value) → i32 (ABI §5.3).
func hostStateSet(ctx context.Context, stack []uint64) {
	in := caller(ctx)
	key, value := in.key(stack[0], stack[1]), in.region(uint32(stack[2]), uint32(stack[3]))
	cost := setCost + min(len(value), maxStateValue)
	if in.state.get(key) == nil {
		cost += makeCost
	}
	in.served(cost)
	if in.starting || !in.state.set(key, value) {
		stack[0] = none
		return
	}
	stack[0] = 0
}

// hostStateDelete is runnel.state_delete(key) → i32 (ABI §5.3).
func hostStateDelete(ctx context.Context, stack []uint64) {
	in := caller(ctx)
	key := in.key(stack[0], stack[1])
	in.served(makeCost)
	if in.starting || !in.state.remove(key) {
		stack[0] = none
		return
	}
	stack[0] = 0
}

// hostStateNext is runnel.state_next(key, buffer) → i32 (ABI §5.3).
func hostStateNext(ctx context.Context, stack []uint64) {
	in := caller(ctx)
	in.served(nextCost)
	key, ok := in.kept().keys.after(in.text(stack[0], stack[1]))
	if !ok {
		in.region(uint32(stack[2]), uint32(stack[3]))
		stack[0] = none
		return
	}
	stack[0] = in.give(unsafe.Slice(unsafe.StringData(key), len(key)), stack[2], stack[3])
}

// hostHeld is runnel.held(key, buffer) → i32 (ABI §5.3): what is held under the
// key, as a batch.
func hostHeld(ctx context.Context, stack []uint64) {
	in := caller(ctx)
	records := in.kept().under(in.key(stack[0], stack[1]))
	buffer := in.region(uint32(stack[2]), uint32(stack[3]))
	in.served(setCost + 16*len(records))
	if len(records) == 0 {
		stack[0] = none
		return
	}
	size := record.BatchHeaderSize
	for _, e := range records {
		size += len(e.value)
	}
	stack[0] = uint64(uint32(size))
	if size > len(buffer) {
		return
	}
	in.served(size)
	header := append(buffer[:0], 'r', 'b', record.Version, 0)
	header = binary.LittleEndian.AppendUint32(header, uint32(size))
	header = binary.LittleEndian.AppendUint32(header, uint32(len(records)))
	buffer = binary.LittleEndian.AppendUint32(header, 0)
	for _, e := range records {
		buffer = append(buffer, e.value...)
	}
}
