package oracle

import (
	"errors"
	"net"
	"syscall"

	"golang.org/x/sys/unix"
)

// gauge reads how many bytes of a TCP connection the peer's kernel has taken.
type gauge struct {
	raw  syscall.RawConn
	base uint64 // after connecting: the SYN counts as one
}

// newGauge returns nil for a connection that is not TCP. Nothing may have been
// written to c yet.
func newGauge(c net.Conn) (*gauge, error) {
	tcp, ok := c.(*net.TCPConn)
	if !ok {
		return nil, nil
	}
	raw, err := tcp.SyscallConn()
	if err != nil {
		return nil, err
	}
	g := &gauge{raw: raw}
	g.base, err = g.taken()
	return g, err
}

// taken works until the connection is closed on this side, also after a reset.
func (g *gauge) taken() (bytes uint64, err error) {
	var info *unix.TCPInfo
	if cerr := g.raw.Control(func(fd uintptr) {
		info, err = unix.GetsockoptTCPInfo(int(fd), unix.IPPROTO_TCP, unix.TCP_INFO)
	}); cerr != nil || err != nil {
		return 0, errors.Join(cerr, err)
	}
	return info.Bytes_acked - g.base, nil
}
