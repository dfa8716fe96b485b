package listen

import (
	"fmt"
	"net"
	"os"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"
)

// maxKept is how many file descriptors connections of inputs leave to the rest of the
// process: segments of the store, forwarders, the API. Where the process may have few,
// it is a quarter of those.
const maxKept = 64

// descriptors is the number below which connections of inputs may use descriptors.
// Go raises the soft limit to the hard one before main.
var descriptors = sync.OnceValue(func() int {
	var limit unix.Rlimit
	if unix.Getrlimit(unix.RLIMIT_NOFILE, &limit) != nil || limit.Cur > 1<<30 {
		return 1 << 30
	}
	return belowKept(int(limit.Cur))
})

func belowKept(limit int) int { return limit - min(limit/4, maxKept) }

// spare returns EMFILE when so many descriptors are in use that the next
// connection would take one of those that are kept. The kernel gives the lowest one that is
// free, so the one that a duplicate gets tells. What cannot be accepted waits in
// the backlog, where its sender sees nothing of it.
func spare(l net.Listener, below int) error {
	raw, err := l.(syscall.Conn).SyscallConn() // both kinds of stream have it
	if err != nil {
		return nil // closed, as Accept will say
	}
	next := 0
	if raw.Control(func(fd uintptr) {
		if next, err = unix.FcntlInt(fd, unix.F_DUPFD_CLOEXEC, 0); err == nil {
			err = unix.Close(next)
		}
	}) != nil {
		return nil
	}
	if err == nil && next >= below {
		err = fmt.Errorf("%d file descriptors are in use, and the rest is kept for the store: %w", below, syscall.EMFILE)
	}
	if err != nil {
		return os.NewSyscallError("accept", err)
	}
	return nil
}
