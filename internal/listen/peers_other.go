//go:build !linux

package listen

import "net"

func unixPeer(net.Conn) string { return "unix" }
