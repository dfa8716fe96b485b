package storage

import "golang.org/x/sys/unix"

// giveBack unmaps the pages of a shared file mapping from this process; the next
// access maps them again from the page cache.
func giveBack(address uintptr, size int64) {
	unix.Syscall(unix.SYS_MADVISE, address, uintptr(size)&^4095, unix.MADV_DONTNEED) //nolint:errcheck // it is advice
}
