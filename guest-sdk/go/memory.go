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
	return (*[1 << 30]byte)(unsafe.Add(p, uintptr(at)))[:n:n]
}

func stringAt(p unsafe.Pointer, at, n uint32) string {
	return unsafe.String((*byte)(unsafe.Add(p, uintptr(at))), int(n))
}

// text returns b as a string without copying it; b must not change while the
// string is in use.
func text(b []byte) string { return unsafe.String(unsafe.SliceData(b), len(b)) }

func store32(p unsafe.Pointer, at uintptr, v uint32) { *(*uint32)(unsafe.Add(p, at)) = v }
func store64(p unsafe.Pointer, at uintptr, v uint64) { *(*uint64)(unsafe.Add(p, at)) = v }

// copyText copies s to p. Short texts, which most keys and values are, go by
// two loads and stores that may overlap: a call of copy is a call of the host's
// memmove, three times as dear.
func copyText(p unsafe.Pointer, s string) {
	n, from := uintptr(len(s)), unsafe.Pointer(unsafe.StringData(s))
	switch {
	case n > 16:
		copy(unsafe.Slice((*byte)(p), n), s)
	case n >= 8:
		last := load64(from, n-8)
		store64(p, 0, load64(from, 0))
		store64(p, n-8, last)
	case n >= 4:
		last := load32(from, n-4)
		store32(p, 0, load32(from, 0))
		store32(p, n-4, last)
	default:
		for i := range n {
			*(*byte)(unsafe.Add(p, i)) = *(*byte)(unsafe.Add(from, i))
		}
	}
}

// setLen lengthens b to n bytes, which its capacity holds.
func setLen(b *[]byte, n int) { *(*int)(unsafe.Add(unsafe.Pointer(b), unsafe.Sizeof(n))) = n }

func put16(b []byte, v uint32) { *(*uint16)(unsafe.Pointer(unsafe.SliceData(b))) = uint16(v) }
func put32(b []byte, v uint32) { *(*uint32)(unsafe.Pointer(unsafe.SliceData(b))) = v }
func put64(b []byte, v uint64) { *(*uint64)(unsafe.Pointer(unsafe.SliceData(b))) = v }

func floatBits(f float64) uint64        { return *(*uint64)(unsafe.Pointer(&f)) }
func floatOfBits(u uint64) float64      { return *(*float64)(unsafe.Pointer(&u)) }
func pointerTo(b []byte) unsafe.Pointer { return unsafe.Pointer(unsafe.SliceData(b)) }
