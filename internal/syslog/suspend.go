package syslog

import (
	"encoding/binary"
	"errors"
	"io"
)

// suspendVersion is the first byte of what Suspend writes. After it come flags, how
// much of a counted message is still to be skipped (uvarint), and the bytes that
// belong to no message yet.
const suspendVersion = 1

// The flags: the fields of that name.
const (
	suspendSkipLine byte = 1 << iota
	suspendLines
	suspendNULs
)

// errSuspended says that a state was not written by Suspend, or by a later one.
var errSuspended = errors.New("unknown state of a connection")

// Suspend returns what another Framer must know to go on where this one has
// stopped, which is when Next has returned a timeout. It is at most a few bytes
// longer than the longest message.
func (f *Framer) Suspend() []byte {
	var flags byte
	if f.skipLine {
		flags |= suspendSkipLine
	}
	if f.lines {
		flags |= suspendLines
	}
	if f.nuls {
		flags |= suspendNULs
	}
	state := binary.AppendUvarint([]byte{suspendVersion, flags}, uint64(f.skip))
	return append(state, f.Tail()...)
}

// ResumeFramer returns a Framer over r that goes on where the one that wrote
// state stopped. What that one had read and not handed out comes first, cut to
// max as ever.
func ResumeFramer(r io.Reader, max int, state []byte) (*Framer, error) {
	if len(state) < 2 || state[0] != suspendVersion {
		return nil, errSuspended
	}
	skip, n := binary.Uvarint(state[2:])
	if n <= 0 || int64(skip) < 0 {
		return nil, errSuspended
	}
	flags, tail := state[1], state[2+n:]
	f := NewFramer(r, max)
	f.skip, f.skipLine, f.lines, f.nuls = int64(skip), flags&suspendSkipLine != 0, flags&suspendLines != 0, flags&suspendNULs != 0
	if len(tail) > len(f.buf) {
		f.buf = make([]byte, len(tail))
	}
	f.to = copy(f.buf, tail)
	return f, nil
}
