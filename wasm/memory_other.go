//go:build !unix

package wasm

import (
	"io/fs"

	"github.com/tetratelabs/wazero/experimental"
)

// heap is a guest's linear memory where there is no mmap.
type heap struct{ region []byte }

func mapMemory(least, most uint64) experimental.LinearMemory {
	return &heap{make([]byte, least, most)}
}

// Reallocate implements experimental.LinearMemory.
func (m *heap) Reallocate(size uint64) []byte {
	if size > uint64(cap(m.region)) {
		return nil
	}
	return m.region[:size]
}

// Free implements experimental.LinearMemory.
func (m *heap) Free() { m.region = nil }

func ownedByUs(fs.FileInfo) bool { return true }
