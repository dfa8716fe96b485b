package syslog

import (
	"encoding/binary"
	"net"
	"strconv"
	"syscall"

	"golang.org/x/sys/unix"
)

// dropCount reads the socket's count of dropped datagrams (SO_RXQ_OVFL) out of
// the control messages of a datagram. It is absent until something was dropped.
func dropCount(control []byte) (uint32, bool) {
	for len(control) > 0 {
		header, data, rest, err := unix.ParseOneSocketControlMessage(control)
		if err != nil {
			return 0, false
		}
		if header.Level == unix.SOL_SOCKET && header.Type == unix.SO_RXQ_OVFL && len(data) >= 4 {
			return binary.NativeEndian.Uint32(data), true
		}
		control = rest
	}
	return 0, false
}

// unixPeer names the user that connected, as the kernel knows it.
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
