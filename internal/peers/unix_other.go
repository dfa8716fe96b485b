//go:build !linux

package peers

import "net"

func unixPeer(net.Conn) string { return "unix" }
