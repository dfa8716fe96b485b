package main

import (
	"bytes"
	"fmt"
	"net"
	"os"
	"syscall"
	"testing"
)

// Who reads our output may have enough, as head does; a receiver that closes
// its connection is a failure.
func TestClosedPipe(t *testing.T) {
	for _, c := range []struct {
		err  error
		want int
	}{
		{fmt.Errorf("page 2: %w", &os.PathError{Op: "write", Path: os.Stdout.Name(), Err: syscall.EPIPE}), exitGood},
		{&os.PathError{Op: "write", Path: os.Stdout.Name(), Err: syscall.ENOSPC}, exitFailed},
		{&net.OpError{Op: "write", Net: "tcp", Err: os.NewSyscallError("write", syscall.EPIPE)}, exitFailed},
	} {
		var stderr bytes.Buffer
		if got := report(&stderr, &globals{}, c.err); got != c.want || (stderr.Len() == 0) != (c.want == exitGood) {
			t.Errorf("%v: exit %d want %d, says %q", c.err, got, c.want, &stderr)
		}
	}
}
