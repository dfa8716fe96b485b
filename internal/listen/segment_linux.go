package listen

import (
	"syscall"

	"golang.org/x/sys/unix"
)

// Segment has the peers of a TCP listener that Stream returned send segments of at
// most so many bytes (tcp(7), TCP_MAXSEG), also over loopback, where they are 64 KiB
// otherwise; connections made before keep theirs. A sender that corks its
// socket (TCP_CORK) and then waits for an answer to less than a segment waits for
// 200 ms: librelp does. It is done where it can be.
func Segment(l any, bytes int) {
	own, ok := l.(*listener)
	if !ok {
		return
	}
	sc, ok := own.Listener.(syscall.Conn)
	if !ok {
		return
	}
	if raw, err := sc.SyscallConn(); err == nil {
		_ = raw.Control(func(fd uintptr) { _ = unix.SetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_MAXSEG, bytes) })
	}
}
