package wasm

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"hash/fnv"
	"math/rand/v2"

	"github.com/tetratelabs/wazero"
	"github.com/tetratelabs/wazero/api"
	"github.com/tetratelabs/wazero/sys"
)

// WASI preview 1 is there so that compilers' runtimes start, not to give a
// guest anything: no files, no network, no environment, no arguments, the
// batch's clock and a seeded random (ABI §6). Functions that are not listed in
// wasiService answer "not supported".

const wasiModule = "wasi_snapshot_preview1"

// The errno values used here (WASI preview 1, errno).
const (
	errnoBadFD        = 8
	errnoInvalid      = 28
	errnoNotSupported = 58
)

// wasiSignatures are the parameters of every function of preview 1: i an i32, l
// an i64. All return an i32 but proc_exit.
var wasiSignatures = map[string]string{
	"args_get": "ii", "args_sizes_get": "ii", "environ_get": "ii", "environ_sizes_get": "ii",
	"clock_res_get": "ii", "clock_time_get": "ili",
	"fd_advise": "illi", "fd_allocate": "ill", "fd_close": "i", "fd_datasync": "i", "fd_fdstat_get": "ii",
	"fd_fdstat_set_flags": "ii", "fd_fdstat_set_rights": "ill", "fd_filestat_get": "ii", "fd_filestat_set_size": "il",
	"fd_filestat_set_times": "illi", "fd_pread": "iiili", "fd_prestat_get": "ii", "fd_prestat_dir_name": "iii",
	"fd_pwrite": "iiili", "fd_read": "iiii", "fd_readdir": "iiili", "fd_renumber": "ii", "fd_seek": "ilii",
	"fd_sync": "i", "fd_tell": "ii", "fd_write": "iiii",
	"path_create_directory": "iii", "path_filestat_get": "iiiii", "path_filestat_set_times": "iiiilli",
	"path_link": "iiiiiii", "path_open": "iiiiillii", "path_readlink": "iiiiii", "path_remove_directory": "iii",
	"path_rename": "iiiiii", "path_symlink": "iiiii", "path_unlink_file": "iii",
	"poll_oneoff": "iiii", "proc_exit": "i", "proc_raise": "i", "random_get": "ii", "sched_yield": "",
	"sock_accept": "iii", "sock_recv": "iiiiii", "sock_send": "iiiii", "sock_shutdown": "ii",
}

// wasiService returns what a function does: it takes the stack and
// returns an errno.
func wasiService(name string) func(in *instance, stack []uint64) uint64 {
	switch name {
	case "args_get", "environ_get", "sched_yield", "fd_fdstat_set_flags":
		return func(*instance, []uint64) uint64 { return 0 }
	case "args_sizes_get", "environ_sizes_get":
		return (*instance).wasiNone
	case "clock_res_get":
		return (*instance).wasiClockResolution
	case "clock_time_get":
		return (*instance).wasiClock
	case "fd_write":
		return (*instance).wasiWrite
	case "fd_fdstat_get":
		return (*instance).wasiStat
	case "fd_close", "fd_prestat_get", "fd_prestat_dir_name", "fd_read", "fd_seek":
		return func(*instance, []uint64) uint64 { return errnoBadFD }
	case "poll_oneoff":
		return (*instance).wasiPoll
	case "random_get":
		return (*instance).wasiRandom
	case "proc_exit":
		return func(_ *instance, stack []uint64) uint64 { panic(sys.NewExitError(uint32(stack[0]))) }
	}
	return func(*instance, []uint64) uint64 { return errnoNotSupported }
}

// bindWASI makes the functions a module imports, and no more: each costs memory.
func bindWASI(ctx context.Context, rt wazero.Runtime, names []string) error {
	if len(names) == 0 {
		return nil
	}
	b := rt.NewHostModuleBuilder(wasiModule)
	for _, name := range names {
		var params, results []api.ValueType
		for _, c := range wasiSignatures[name] {
			if c == 'l' {
				params = append(params, api.ValueTypeI64)
			} else {
				params = append(params, api.ValueTypeI32)
			}
		}
		if name != "proc_exit" {
			results = []api.ValueType{api.ValueTypeI32}
		}
		serve := wasiService(name)
		f := func(ctx context.Context, stack []uint64) {
			in := caller(ctx)
			in.served(0)
			stack[0] = serve(in, stack)
		}
		b.NewFunctionBuilder().WithGoFunction(api.GoFunc(f), params, results).Export(name)
	}
	if _, err := b.Instantiate(ctx); err != nil {
		return fmt.Errorf("bind WASI: %w", err)
	}
	return nil
}

// put32 and put64 write into the guest's memory; an address outside it stops the guest.
func (in *instance) put32(at uint64, v uint32) {
	if !in.memory.WriteUint32Le(uint32(at), v) {
		panic(errMisuse)
	}
}

func (in *instance) put64(at uint64, v uint64) {
	if !in.memory.WriteUint64Le(uint32(at), v) {
		panic(errMisuse)
	}
}

// region returns n bytes of the guest's memory; an address outside it stops the guest.
func (in *instance) region(at, n uint32) []byte {
	b, ok := in.memory.Read(at, n)
	if !ok {
		panic(errMisuse)
	}
	return b
}

func (in *instance) wasiNone(stack []uint64) uint64 {
	in.put32(stack[0], 0)
	in.put32(stack[1], 0)
	return 0
}

func (in *instance) wasiClockResolution(stack []uint64) uint64 {
	in.put64(stack[1], 1)
	return 0
}

// wasiClock gives the batch's clock; the monotonic one moves on by a
// microsecond a reading, since runtimes wait for it to move.
func (in *instance) wasiClock(stack []uint64) uint64 {
	if uint32(stack[0]) == 0 {
		in.put64(stack[2], uint64(in.now))
		return 0
	}
	in.monotonic += 1000
	in.put64(stack[2], uint64(in.monotonic))
	return 0
}

// maxWrite is how much of one fd_write is looked at; the rest is taken as written.
const maxWrite = 4 << 10

func (in *instance) wasiWrite(stack []uint64) uint64 {
	fd, vectors, n := uint32(stack[0]), uint32(stack[1]), uint32(stack[2])
	if fd != 1 && fd != 2 {
		return errnoBadFD
	}
	if n > 64 {
		return errnoInvalid
	}
	total, room := uint32(0), uint32(maxWrite)
	for i := range n {
		v := in.region(vectors+8*i, 8)
		at, size := binary.LittleEndian.Uint32(v), binary.LittleEndian.Uint32(v[4:])
		take := min(size, room)
		text := in.region(at, take)
		in.served(len(text) + bytes.Count(text, []byte{'\n'})*maxLine)
		in.written.write(&in.module.said, text)
		room -= take
		total += size
	}
	in.put32(stack[3], total)
	return 0
}

// wasiStat describes stdin, stdout and stderr as character devices.
func (in *instance) wasiStat(stack []uint64) uint64 {
	if uint32(stack[0]) > 2 {
		return errnoBadFD
	}
	b := in.region(uint32(stack[1]), 24)
	clear(b)
	b[0] = 2                                   // character device
	binary.LittleEndian.PutUint64(b[8:], 1<<6) // may be written
	return 0
}

// wasiPoll answers every wait for a clock at once, and lets the monotonic clock
// move on by as much: sleeping takes a guest no time.
func (in *instance) wasiPoll(stack []uint64) uint64 {
	n := uint32(stack[2])
	if n == 0 || n > 64 {
		return errnoInvalid
	}
	subs, events := in.region(uint32(stack[0]), 48*n), in.region(uint32(stack[1]), 32*n)
	for i := range n {
		sub, event := subs[48*i:], events[32*i:]
		tag, wait := sub[8], int64(binary.LittleEndian.Uint64(sub[24:]))
		copy(event[:8], sub[:8])
		clear(event[8:32])
		event[10] = tag
		if tag != 0 {
			event[8] = errnoBadFD
			continue
		}
		if sub[40]&1 != 0 { // until, not for
			wait -= in.monotonic
		}
		if wait > 0 {
			in.monotonic += wait
		}
	}
	in.put32(stack[3], n)
	return 0
}

// wasiRandom gives random bytes seeded by the batch at hand, so that the same
// batch gives the same bytes on every machine.
func (in *instance) wasiRandom(stack []uint64) uint64 {
	if uint32(stack[1]) > 64<<10 {
		return errnoInvalid
	}
	if in.random == nil {
		h := fnv.New64a()
		h.Write(in.batch)
		in.random = rand.New(rand.NewPCG(h.Sum64(), 0))
	}
	b := in.region(uint32(stack[0]), uint32(stack[1]))
	in.served(len(b))
	for len(b) >= 8 {
		binary.LittleEndian.PutUint64(b, in.random.Uint64())
		b = b[8:]
	}
	for i := range b {
		b[i] = byte(in.random.Uint64())
	}
	return 0
}
