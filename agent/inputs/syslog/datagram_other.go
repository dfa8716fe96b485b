//go:build !linux

package syslog

import "net"

func dropCount([]byte) (uint32, bool) { return 0, false }

func unixPeer(net.Conn) string { return "unix" }
