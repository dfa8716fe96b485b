package syslog

import (
	"net"
	"syscall"

	"golang.org/x/sys/unix"
)

// gauge reads what the peer's kernel has acknowledged of a TCP connection.
type gauge struct {
	raw  syscall.RawConn
	base uint64 // bytes_acked after connecting: the SYN counts as one
}

// newGauge takes the baseline; nothing may have been written to c yet. It returns nil
// for a connection that is not TCP.
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
	r, err := g.read()
	g.base = r.acked
	return g, err
}

// reading is what the kernel says of a connection.
type reading struct {
	acked uint64 // bytes since the baseline
	quiet uint32 // milliseconds since the last ACK came
	// waiting: something was sent that the peer ought to have answered by now:
	// data in flight, or more than one probe of a closed window.
	waiting bool
}

// read asks the kernel. It works until the descriptor is closed, also after a reset.
func (g *gauge) read() (reading, error) {
	var info *unix.TCPInfo
	var err error
	if cerr := g.raw.Control(func(fd uintptr) {
		info, err = unix.GetsockoptTCPInfo(int(fd), unix.IPPROTO_TCP, unix.TCP_INFO)
	}); cerr != nil {
		return reading{}, cerr
	}
	if err != nil {
		return reading{}, err
	}
	return reading{acked: info.Bytes_acked - g.base, quiet: info.Last_ack_recv,
		waiting: info.Unacked > 0 || info.Probes > 1}, nil
}
