package runnel

import "unsafe"

// The linker leaves out what a guest does not call, so one that uses no state
// imports none, and needs no grant for it (ABI §5). noescape: the host keeps
// nothing it is shown, and a key made for the call stays off the heap.

//go:wasmimport runnel log
//go:noescape
func importLog(level uint32, line unsafe.Pointer, size uint32)

//go:wasmimport runnel now
func importNow() int64

//go:wasmimport runnel state_get
//go:noescape
func importStateGet(key unsafe.Pointer, keySize uint32, buf unsafe.Pointer, size uint32) int32

//go:wasmimport runnel state_set
//go:noescape
func importStateSet(key unsafe.Pointer, keySize uint32, value unsafe.Pointer, size uint32) int32

//go:wasmimport runnel state_delete
//go:noescape
func importStateDelete(key unsafe.Pointer, size uint32) int32

//go:wasmimport runnel state_next
//go:noescape
func importStateNext(key unsafe.Pointer, keySize uint32, buf unsafe.Pointer, size uint32) int32

//go:wasmimport runnel held
//go:noescape
func importHeld(key unsafe.Pointer, keySize uint32, buf unsafe.Pointer, size uint32) int32

//go:wasmimport runnel metric_add
//go:noescape
func importMetricAdd(name unsafe.Pointer, size uint32, n float64)

//go:wasmimport runnel lookup
//go:noescape
func importLookup(table unsafe.Pointer, tableSize uint32, key unsafe.Pointer, keySize uint32, buf unsafe.Pointer, size uint32) int32

//go:wasmimport runnel scan
//go:noescape
func importScan(text unsafe.Pointer, size uint32, word unsafe.Pointer, wordSize uint32) int32

func hostLog(level uint32, line string) { importLog(level, start(line), size(line)) }
func hostNow() int64                    { return importNow() }

func hostStateGet(key string, buf []byte) int32 {
	return importStateGet(start(key), size(key), pointerTo(buf), uint32(len(buf)))
}

func hostStateSet(key, value string) int32 {
	return importStateSet(start(key), size(key), start(value), size(value))
}

func hostStateDelete(key string) int32 { return importStateDelete(start(key), size(key)) }

func hostStateNext(key string, buf []byte) int32 {
	return importStateNext(start(key), size(key), pointerTo(buf), uint32(len(buf)))
}

func hostHeld(key string, buf []byte) int32 {
	return importHeld(start(key), size(key), pointerTo(buf), uint32(len(buf)))
}

func hostMetric(name string, n float64) { importMetricAdd(start(name), size(name), n) }

func hostLookup(table, key string, buf []byte) int32 {
	return importLookup(start(table), size(table), start(key), size(key), pointerTo(buf), uint32(len(buf)))
}

func hostScan(in []byte, word string) int32 {
	return importScan(pointerTo(in), uint32(len(in)), start(word), size(word))
}

func start(s string) unsafe.Pointer { return unsafe.Pointer(unsafe.StringData(s)) }
func size(s string) uint32          { return uint32(len(s)) }

// buffer is what runnel_alloc gave last; the host writes every batch into it.
var buffer []byte

// abi says which ABI this guest speaks; only its name matters (ABI §2.1).
//
//go:wasmexport runnel_abi_v1
func abi() {}

//go:wasmexport runnel_alloc
func alloc(size uint32) uint32 {
	buffer = make([]byte, size)
	return uint32(uintptr(pointerTo(buffer)))
}

//go:wasmexport runnel_init
func configured(ptr unsafe.Pointer, size uint32) uint32 {
	return initialise(unsafe.Slice((*byte)(ptr), size))
}

//go:wasmexport runnel_process
func run(ptr unsafe.Pointer, size uint32) uint64 { return answerOf(process(ptr)) }
