//go:build !linux

package wasm

import "time"

// threadTime returns the time of day where a thread's CPU time cannot be had: a
// guest on a busy machine is then stopped early rather than late.
func threadTime() time.Duration { return time.Duration(time.Now().UnixNano()) }
