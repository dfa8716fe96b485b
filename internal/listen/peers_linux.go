package listen

import (
	"net"
	"strconv"
	"syscall"

	"golang.org/x/sys/unix"
)

// unixPeer names the user at the other end of a unix socket (unix(7), SO_PEERCRED).
func unixPeer(c net.Conn) string {
	sc, ok := c.(syscall.Conn)
	if !ok {
		return "unix"
	}
	raw, err := sc.SyscallConn()
	if err != nil {
		return "unix"
	}
	var who *unix.Ucred
	if raw.Control(func(fd uintptr) { who, err = unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED) }) != nil || err != nil {
		return "unix"
	}
	return "unix:uid=" + strconv.FormatUint(uint64(who.Uid), 10)
}
