package wasm

import (
	"time"

	"golang.org/x/sys/unix"
)

// threadTime returns the CPU time this thread has used. The caller has locked
// the goroutine to its thread.
func threadTime() time.Duration {
	var ts unix.Timespec
	if unix.ClockGettime(unix.CLOCK_THREAD_CPUTIME_ID, &ts) != nil {
		return time.Duration(time.Now().UnixNano())
	}
	return time.Duration(ts.Nano())
}
