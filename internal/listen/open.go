package listen

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"syscall"
	"time"
)

// ReceiveBuffer is the least receive buffer that a UDP socket should have; the
// input warns of less. The kernel doubles it and charges 768 bytes for a 300-byte datagram, so it
// holds what 100 000 a second bring while the process waits 100 ms for a core.
const ReceiveBuffer = 4 << 20

// askedBuffer is what is asked for. It is memory only while it is full.
const askedBuffer = 16 << 20

// probeTime bounds the test whether somebody listens on a socket file.
const probeTime = time.Second

// open binds a socket at a. Its errors are one line that says who is in the way
// or what is missing.
func open(a Address) (*socket, error) {
	if a.IsUnix() {
		if err := clearStale(a); err != nil {
			return nil, err
		}
	}
	// SO_REUSEADDR: package net sets it for TCP, so that a restart need not wait
	// for old connections. It is left off for UDP, where it would let a second
	// process take the datagrams of the first in silence.
	lc := net.ListenConfig{Control: func(_, _ string, c syscall.RawConn) error { return prepare(a, c) }}
	var k *socket
	var err error
	switch a.Scheme {
	case "tcp", "tls", "unix":
		var l net.Listener
		if l, err = lc.Listen(context.Background(), a.network(), a.target()); err == nil {
			k, err = streamSocket(l)
		}
	default:
		var c net.PacketConn
		if c, err = lc.ListenPacket(context.Background(), a.network(), a.target()); err == nil {
			k, err = packetSocket(c)
		}
	}
	if err != nil {
		return nil, explain(a, err)
	}
	if a.IsUnix() {
		if k.inode, err = os.Lstat(a.Path); err != nil {
			return nil, errors.Join(fmt.Errorf("look at the new socket: %w", err), k.closer.Close())
		}
	}
	return k, nil
}

func (a Address) target() string {
	if a.IsUnix() {
		return a.Path
	}
	return a.hostPort()
}

func streamSocket(l net.Listener) (*socket, error) {
	k := &socket{closer: l, addr: l.Addr()}
	switch l := l.(type) {
	case *net.TCPListener:
		k.stream = l
	case *net.UnixListener:
		l.SetUnlinkOnClose(false) // close removes the file, if it still is ours
		k.stream = l
	default:
		return nil, errors.Join(fmt.Errorf("a socket of the unknown kind %s", l.Addr().Network()), l.Close())
	}
	return k, nil
}

func packetSocket(c net.PacketConn) (*socket, error) {
	k := &socket{closer: c, addr: c.LocalAddr()}
	switch c := c.(type) {
	case *net.UDPConn:
		k.packet = c
	case *net.UnixConn:
		k.packet = c
	default:
		return nil, errors.Join(fmt.Errorf("a socket of the unknown kind %s", c.LocalAddr().Network()), c.Close())
	}
	return k, nil
}

// clearStale removes the socket file that a dead process left at a.Path: one
// that refuses connections. It returns an error if somebody listens there, or
// if the file is no socket.
func clearStale(a Address) error {
	info, err := os.Lstat(a.Path)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return explain(a, err)
	}
	if info.Mode()&os.ModeSocket == 0 {
		return fmt.Errorf("listen %s %s: the file exists and is no socket; remove it or choose another path", a.Scheme, a.Path)
	}
	// A socket of the other type refuses with EPROTOTYPE, and is as alive.
	c, err := net.DialTimeout(a.Scheme, a.Path, probeTime)
	if err == nil {
		_ = c.Close() // nothing was written
	}
	if !errors.Is(err, syscall.ECONNREFUSED) {
		return fmt.Errorf("listen %s %s: address already in use; %s has it: stop it or choose another path",
			a.Scheme, a.Path, holder(a))
	}
	if err := os.Remove(a.Path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("listen %s %s: a dead process left the socket file: %w", a.Scheme, a.Path, err)
	}
	return nil
}

// explain adds the remedy to an error of bind or listen.
func explain(a Address, err error) error {
	place := fmt.Sprintf("listen %s %s", a.Scheme, a.target())
	switch {
	case errors.Is(err, syscall.EADDRINUSE):
		return fmt.Errorf("%s: address already in use; %s has it: stop it or choose another port", place, holder(a))
	case errors.Is(err, syscall.EACCES) && !a.IsUnix() && a.Port > 0 && a.Port < 1024:
		return fmt.Errorf("%s: permission denied; ports below 1024 need CAP_NET_BIND_SERVICE or a systemd socket, "+
			"or listen on %d", place, a.Port+5000)
	case errors.Is(err, syscall.EADDRNOTAVAIL):
		return fmt.Errorf("%s: no interface of this host has that address; write %q to listen everywhere",
			place, Address{Scheme: a.Scheme, Port: a.Port}.String())
	case a.IsUnix() && errors.Is(err, syscall.ENOENT):
		return fmt.Errorf("%s: the directory %s does not exist; create it", place, filepath.Dir(a.Path))
	case a.IsUnix() && errors.Is(err, syscall.EACCES):
		return fmt.Errorf("%s: permission denied; this user may not create files in %s", place, filepath.Dir(a.Path))
	}
	var op *net.OpError
	if errors.As(err, &op) {
		err = op.Err // the rest of its text repeats the place
	}
	return fmt.Errorf("%s: %w", place, err)
}
