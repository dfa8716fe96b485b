package runnel

import "unsafe"

// The only place that touches memory by address. The host hands a guest an
// address and a length, so a guest cannot do without; and Go's checked loads
// cost a third of a handler's time on wasm. The host has validated the batch
// (ABI §3.3), which is what makes the unchecked loads below safe.

func load16(p unsafe.Pointer, at uintptr) uint32 { return uint32(*(*uint16)(unsafe.Add(p, at))) }
func load32(p unsafe.Pointer, at uintptr) uint32 { return *(*uint32)(unsafe.Add(p, at)) }
func load64(p unsafe.Pointer, at uintptr) uint64 { return *(*uint64)(unsafe.Add(p, at)) }

func bytesAt(p unsafe.Pointer, at, n uint32) []byte {
	return unsafe.Slice((*byte)(unsafe.Add(p, uintptr(at))), int(n))
}

func stringAt(p unsafe.Pointer, at, n uint32) string {
	return unsafe.String((*byte)(unsafe.Add(p, uintptr(at))), int(n))
}

// text returns b as a string without copying it; b must not change while the
// string is in use.
func text(b []byte) string { return unsafe.String(unsafe.SliceData(b), len(b)) }

func put16(b []byte, v uint32) { *(*uint16)(unsafe.Pointer(unsafe.SliceData(b))) = uint16(v) }
func put32(b []byte, v uint32) { *(*uint32)(unsafe.Pointer(unsafe.SliceData(b))) = v }
func put64(b []byte, v uint64) { *(*uint64)(unsafe.Pointer(unsafe.SliceData(b))) = v }

func floatBits(f float64) uint64        { return *(*uint64)(unsafe.Pointer(&f)) }
func floatOfBits(u uint64) float64      { return *(*float64)(unsafe.Pointer(&u)) }
func pointerTo(b []byte) unsafe.Pointer { return unsafe.Pointer(unsafe.SliceData(b)) }
