package listen

import (
	"net"
	"os"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// prepare sets the options that must stand before bind.
func prepare(a Address, c syscall.RawConn) error {
	if a.Scheme != "udp" {
		return nil
	}
	return c.Control(setUDP)
}

// tune sets the options on a socket that somebody else has bound.
func tune(c net.PacketConn) {
	if udp, ok := c.(*net.UDPConn); ok {
		if raw, err := udp.SyscallConn(); err == nil {
			_ = raw.Control(setUDP) // the socket works without; Granted tells
		}
	}
}

// setUDP asks for the receive buffer, beyond net.core.rmem_max where we may
// (SO_RCVBUFFORCE wants CAP_NET_ADMIN), and for the count of drops. Neither is
// worth failing for: a smaller buffer is warned of by the input (Granted).
func setUDP(fd uintptr) {
	had, err := unix.GetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_RCVBUF)
	switch {
	case err == nil && had >= 2*askedBuffer:
	case unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, askedBuffer) == nil:
	case had > 2*mostBuffer(): // a socket unit's; asking for more would make it smaller
	default:
		_ = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_RCVBUF, askedBuffer)
	}
	_ = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_RXQ_OVFL, 1)
}

// mostBuffer is the receive buffer that an unprivileged process may have; the
// kernel's default where that cannot be known, so that a larger one is left alone.
func mostBuffer() int {
	b, err := os.ReadFile("/proc/sys/net/core/rmem_max")
	if n, bad := strconv.Atoi(strings.TrimSpace(string(b))); err == nil && bad == nil {
		return n
	}
	return 208 << 10
}

// Granted returns the receive buffer that the kernel gave to c, in bytes of
// its own accounting; 0 if it cannot be known.
func Granted(c net.PacketConn) int {
	sc, ok := c.(syscall.Conn)
	if !ok {
		return 0
	}
	raw, err := sc.SyscallConn()
	if err != nil {
		return 0
	}
	size := 0
	if raw.Control(func(fd uintptr) { size, err = unix.GetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_RCVBUF) }) != nil || err != nil {
		return 0
	}
	return size / 2 // the kernel doubles what it is asked for: socket(7)
}
