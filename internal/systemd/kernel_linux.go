package systemd

import (
	"os"

	"golang.org/x/sys/unix"
)

// Memory returns a file that holds these bytes in memory alone, so that they
// can be kept beside a socket.
func Memory(b []byte) (*os.File, error) {
	fd, err := unix.MemfdCreate("runnel", unix.MFD_CLOEXEC)
	if err != nil {
		return nil, os.NewSyscallError("memfd_create", err)
	}
	f := os.NewFile(uintptr(fd), "memfd")
	if _, err := f.WriteAt(b, 0); err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}

// monotonic is the time of CLOCK_MONOTONIC in microseconds.
func monotonic() int64 {
	var now unix.Timespec
	if unix.ClockGettime(unix.CLOCK_MONOTONIC, &now) != nil {
		return 0
	}
	return now.Nano() / 1000
}
