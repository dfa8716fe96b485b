package listen

import (
	"net"
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
	if unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, askedBuffer) != nil {
		_ = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_RCVBUF, askedBuffer)
	}
	_ = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_RXQ_OVFL, 1)
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
