package wasm

import (
	"runtime"
	"testing"
	"time"

	"github.com/runnel-log/runnel/record"
)

// repeat joins n copies of code.
func repeat(n int, code ...byte) []byte {
	var b []byte
	for range n {
		b = append(b, code...)
	}
	return b
}

// chase is a loop that follows addresses through memory, n at a turn: the next
// depends on the last, and nothing is in a cache.
func chase(n int) []byte {
	next := func() []byte { // x = load(x & mask) with x = x * 1664525 + 1013904223 + load
		return join([]byte{opLocalGet, 0}, i32(0x0fffffc), []byte{0x71, 0x28, 2, 0, opLocalGet, 0}, i32(1664525), []byte{0x6c, 0x6a}, i32(1013904223), []byte{0x6a, opLocalSet, 0})
	}
	var b []byte
	for range n {
		b = join(b, next())
	}
	return b
}

// loops are guests that never return, of every kind of work.
func loops() []struct {
	name string
	code []byte
} {
	logging := [][2]string{{"runnel", "log"}}
	fill := []byte{opPrefix, bulkMemoryFill, 0}
	copies := []byte{opPrefix, bulkMemoryCopy, 0, 0}
	return []struct {
		name string
		code []byte
	}{
		{"empty loop", assembly{process: forever()}.bytes()},
		{"2^40 calls", assembly{extra: chain(41), process: join(call1(4), []byte{0x42, 0})}.bytes()},
		{"adds", assembly{process: forever(join(repeat(60, opLocalGet, 0, opLocalGet, 1, 0x6a, opLocalSet, 0))...)}.bytes()},
		{"multiplies", assembly{process: forever(join(repeat(60, opLocalGet, 0, opLocalGet, 0, 0x6c, opLocalSet, 0))...)}.bytes()},
		{"divides", assembly{process: forever(join(repeat(60, opLocalGet, 1, opLocalGet, 0, opI32Const, 1, 0x72, 0x6e, opLocalSet, 0))...)}.bytes()},
		{"i64 remainders", assembly{process: forever(join(repeat(60, opLocalGet, 1, 0xac, opLocalGet, 0, opI32Const, 1, 0x72, 0xac, 0x82, 0xa7, opLocalSet, 0))...)}.bytes()},
		{"square roots", assembly{process: forever(join([]byte{opLocalGet, 0, 0xb7}, repeat(120, 0x9f), []byte{0xfc, 2, opLocalSet, 0})...)}.bytes()},
		{"f64 nearest", assembly{process: forever(join([]byte{opLocalGet, 0, 0xb7}, repeat(120, 0x9e), []byte{0xfc, 2, opLocalSet, 0})...)}.bytes()},
		{"chase of 1 MiB", assembly{process: forever(join(repeat(60, opLocalGet, 0, opI32Const, 0xfc, 0xff, 0x3f, 0x71, 0x28, 2, 0, opLocalGet, 0, 0x6a, opLocalSet, 0))...)}.bytes()},
		{"chase of 16 MiB", assembly{memory: []byte{0, 0x80, 2}, process: forever(chase(60)...)}.bytes()},
		{"stores 16 MiB", assembly{memory: []byte{0, 0x80, 2}, process: forever(join(
			chaseStore(60))...)}.bytes()},
		{"bare loads", assembly{memory: []byte{0, 0x80, 2}, process: forever(join([]byte{opLocalGet, 0}, repeat(1000, 0x28, 2, 0), []byte{opLocalSet, 0})...)}.bytes()},
		{"fills of 2 MiB", assembly{process: forever(join(i32(0), i32(7), i32(32*pageSize), fill)...)}.bytes()},
		{"fills of 1 byte", assembly{process: forever(join(repeat(60, join(i32(0), i32(7), i32(1), fill)...))...)}.bytes()},
		{"copies of 16 MiB", assembly{memory: []byte{0, 0x80, 2}, process: forever(join(i32(0), i32(64), i32(255*pageSize), copies)...)}.bytes()},
		{"copies of 60 bytes", assembly{process: forever(join(repeat(60, join(i32(0), i32(70), i32(60), copies)...))...)}.bytes()},
		{"memory.grow", assembly{process: forever(join(i32(1), []byte{0x40, 0, 0x1a})...)}.bytes()},
		{"memory.grow by nothing", assembly{process: forever(join(i32(0), []byte{0x40, 0, 0x1a})...)}.bytes()},
		{"memory.size", assembly{process: forever(repeat(60, 0x3f, 0, 0x1a)...)}.bytes()},
		{"global", assembly{globals: []byte{1, typeI32, 1, opI32Const, 0, opEnd}, process: forever(repeat(60, opGlobalGet, 0, opI32Const, 1, 0x6a, opGlobalSet, 0)...)}.bytes()},
		{"indirect calls", assembly{extra: []function{{typeVoid, nil}}, table: []byte{0, 1}, elements: join([]byte{1, 0}, i32(0), []byte{opEnd, 1, 4}), process: forever(repeat(20, opI32Const, 0, opCallIndirect, 0, 0)...)}.bytes()},
		{"scans of 16 MiB", scanning(join(i32(0), i32(256*pageSize), i32(0), i32(60)))},
		{"scans of 8 MiB for 8 MiB", scanning(join(i32(0), i32(256*pageSize-1), i32(1), i32(128*pageSize)))},
		{"log", assembly{imports: logging, process: forever(join(i32(1), i32(0), i32(9), call1(0))...)}.bytes()},
		{"log of 2 MiB", assembly{imports: logging, process: forever(join(i32(1), i32(0), i32(32*pageSize), call1(0))...)}.bytes()},
	}
}

// scanning is a guest that searches 16 MiB of zeros, with a one at their end.
func scanning(arguments []byte) []byte {
	i := byte(typeI32)
	one := join(i32(256*pageSize-4), i32(1), []byte{0x36, 2, 0})
	return assembly{memory: []byte{0, 0x80, 2}, imports: [][2]string{{"runnel", "scan"}}, types: []byte{0x60, 4, i, i, i, i, 1, i}, more: 1, importAs: firstType,
		process: join(one, forever(join(arguments, call1(0), []byte{0x1a})...))}.bytes()
}

func chaseStore(n int) []byte {
	var b []byte
	for range n {
		b = join(b, []byte{opLocalGet, 0}, i32(0x0fffffc), []byte{0x71, opLocalGet, 0}, i32(1664525), []byte{0x6c}, i32(1013904223), []byte{0x6a, 0x22, 0, 0x36, 2, 0})
	}
	return b
}

// BenchmarkQuantum is how long a quantum of fuel lasts in guests of every kind:
// the longest pause that the collector may have to wait for, and what quantumTime
// is chosen from.
//
//	go test -run '^$' -bench BenchmarkQuantum -benchtime 1x ./wasm
func BenchmarkQuantum(b *testing.B) {
	for _, c := range loops() {
		b.Run(c.name, func(b *testing.B) {
			m := load(b, Options{Code: c.code, Time: 300 * time.Millisecond, Memory: 1 << 30})
			inst, made, err := m.acquire(b.Context())
			if made != nil || err != nil {
				b.Fatal(made, err)
			}
			defer m.dropInstance(inst)
			inst.meter.most = 1 << 30
			runtime.LockOSThread()
			defer runtime.UnlockOSThread()
			in := commands(b, "one")
			for b.Loop() {
				before, from := inst.meter.quanta, threadTime()
				_, err := inst.run(in, 0)
				b.ReportMetric(float64(threadTime()-from)/1e3/float64(inst.meter.quanta-before+1), "us/quantum")
				if err == nil {
					b.Fatal("it returned")
				}
			}
		})
	}
	for _, config := range []string{`{}`, `{"drop_debug":true,"errors_stream":"errors"}`, `{"drop_debug":true,"errors_stream":"errors","redact":true}`} {
		b.Run("classify "+config, func(b *testing.B) {
			m := load(b, Options{File: guest(b, classifyFolder), Config: []byte(config), KnownStream: known, Time: time.Second})
			measureFuel(b, m, sample(b, 256))
		})
	}
}

func measureFuel(b *testing.B, m *Module, in *record.Batch) {
	var out Outcome
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	fuel, from := m.fuel.Load(), threadTime()
	for range 3000 {
		if err := m.Process(b.Context(), in, &out); err != nil {
			b.Fatal(err)
		}
		out.release(in)
	}
	spent := threadTime() - from
	fuel = m.fuel.Load() - fuel
	b.ReportMetric(float64(spent.Nanoseconds())/float64(fuel)*quantum/1e3, "us/quantum")
	b.ReportMetric(float64(fuel)/3000/float64(in.Len()), "units/record")
}
