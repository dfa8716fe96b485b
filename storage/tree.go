package storage

import (
	"encoding/binary"
	"fmt"
	"io"
)

// The parts of bbolt's page format that soundTree reads: id u64, flags u16,
// count u16, overflow u32; then a branch page's elements of pos u32, key length
// u32, page u64. bbolt keeps them in the processor's order, which is
// little-endian on all we build for.
const (
	boltPageHeader = 16
	boltBranchFlag = 0x01
	boltBranchSize = 16
	boltDeepest    = 16 // levels; the trees here have two or three
)

// soundTree looks at the branch pages below root, level by level. bbolt
// descends without counting, so a branch that leads back to itself would end
// the process by exhausting its stack, which no recover can catch; such a file
// is damaged. Leaves are not read: that would be a page of every block.
func soundTree(f io.ReaderAt, pageSize int, root uint64) error {
	seen := map[uint64]bool{root: true}
	level := []uint64{root}
	for range boltDeepest {
		if !isBranch(f, pageSize, level[0]) {
			return nil // a tree's leaves all lie on one level
		}
		var below []uint64
		for _, page := range level {
			for _, child := range branches(f, pageSize, page) {
				if seen[child] {
					return fmt.Errorf("%w: page %d is reached twice", errDamaged, child)
				}
				seen[child] = true
				below = append(below, child)
			}
		}
		if len(below) == 0 {
			return nil // beyond the end of the file: faults when it is read, and is caught then
		}
		level = below
	}
	return fmt.Errorf("%w: more than %d levels of pages", errDamaged, boltDeepest)
}

func isBranch(f io.ReaderAt, pageSize int, page uint64) bool {
	var header [boltPageHeader]byte
	if page > 1<<40 {
		return false
	}
	_, err := f.ReadAt(header[:], int64(page)*int64(pageSize))
	return err == nil && binary.LittleEndian.Uint16(header[8:])&boltBranchFlag != 0
}

// branches returns the pages that a branch page leads to; none if it is not one.
func branches(f io.ReaderAt, pageSize int, page uint64) (children []uint64) {
	if !isBranch(f, pageSize, page) {
		return nil
	}
	at := int64(page) * int64(pageSize)
	var count [2]byte
	if _, err := f.ReadAt(count[:], at+10); err != nil {
		return nil
	}
	elements := make([]byte, int(binary.LittleEndian.Uint16(count[:]))*boltBranchSize)
	n, _ := f.ReadAt(elements, at+boltPageHeader)
	for elements = elements[:n]; len(elements) >= boltBranchSize; elements = elements[boltBranchSize:] {
		children = append(children, binary.LittleEndian.Uint64(elements[8:]))
	}
	return children
}
