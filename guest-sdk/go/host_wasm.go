package runnel

import "unsafe"

//go:wasmimport runnel log
func importLog(level uint32, ptr unsafe.Pointer, size uint32)

//go:wasmimport runnel now
func importNow() int64

func hostLog(level uint32, line string) {
	importLog(level, unsafe.Pointer(unsafe.StringData(line)), uint32(len(line)))
}

func hostNow() int64 { return importNow() }

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
func start(ptr unsafe.Pointer, size uint32) uint32 {
	return initialise(unsafe.Slice((*byte)(ptr), size))
}

//go:wasmexport runnel_process
func run(ptr unsafe.Pointer, size uint32) uint64 {
	if !process(ptr) {
		return 0
	}
	return uint64(uintptr(pointerTo(out.buf)))<<32 | uint64(len(out.buf))
}
