//go:build unix

package file

import (
	"os"

	"golang.org/x/sys/unix"
)

// openFlags keep opening a named pipe from blocking until someone reads it.
const openFlags = unix.O_NONBLOCK | unix.O_CLOEXEC

// lock takes the file for this process until it is closed. Cutting off a torn
// line under another writer's hands would destroy its work.
func lock(f *os.File) error { return unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB) }
