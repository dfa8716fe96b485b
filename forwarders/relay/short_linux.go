package relay

import (
	"net"
	"syscall"
)

// notSentLowAt is TCP_NOTSENT_LOWAT of linux/tcp.h.
const notSentLowAt = 25

// keepShort keeps what waits in the kernel, and has not been sent, short: on a slow line a
// report would be minutes behind the records, and its answer too.
func keepShort(c net.Conn) {
	t, ok := c.(*net.TCPConn)
	if !ok {
		return
	}
	if raw, err := t.SyscallConn(); err == nil {
		_ = raw.Control(func(fd uintptr) { // without, it is only slower to notice
			_ = syscall.SetsockoptInt(int(fd), syscall.IPPROTO_TCP, notSentLowAt, 128<<10)
		})
	}
}
