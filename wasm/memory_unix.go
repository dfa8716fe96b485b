//go:build unix

package wasm

import (
	"io/fs"
	"os"
	"syscall"

	"github.com/tetratelabs/wazero/experimental"
)

// mapped is a guest's linear memory: address space for its greatest size is
// taken at once, and pages come as they are touched. It is apart from Go's heap
// so that the collector neither scans nor doubles it, it never moves, and a
// discarded guest gives it back to the system at once.
type mapped struct{ region []byte }

func mapMemory(_, most uint64) experimental.LinearMemory {
	region, err := syscall.Mmap(-1, 0, int(max(most, pageSize)), syscall.PROT_READ|syscall.PROT_WRITE, syscall.MAP_PRIVATE|syscall.MAP_ANON)
	if err != nil {
		return &mapped{} // Reallocate gives nothing, and the instance is refused
	}
	return &mapped{region}
}

// Reallocate implements experimental.LinearMemory.
func (m *mapped) Reallocate(size uint64) []byte {
	if size > uint64(len(m.region)) {
		return nil
	}
	return m.region[:size]
}

// Free implements experimental.LinearMemory.
func (m *mapped) Free() {
	if m.region != nil {
		_ = syscall.Munmap(m.region) // the only error is a region that is not ours
		m.region = nil
	}
}

func ownedByUs(info fs.FileInfo) bool {
	st, ok := info.Sys().(*syscall.Stat_t)
	return !ok || int(st.Uid) == os.Geteuid()
}
