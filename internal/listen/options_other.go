//go:build !linux

package listen

import (
	"net"
	"os"
	"syscall"
)

func prepare(Address, syscall.RawConn) error { return nil }

func tune(c net.PacketConn) {
	if udp, ok := c.(*net.UDPConn); ok {
		_ = udp.SetReadBuffer(askedBuffer) // the socket works without
	}
}

// Granted returns 0: the size is not known on this system.
func Granted(net.PacketConn) int { return 0 }

func holder(Address) string { return "another process" }

func dropsOf(*os.File) uint32 { return 0 }
