package main

import (
	"os"
	"runtime/debug"
)

// memoryLimit is where the collector starts to work harder: the agent's live
// heap is small, and what lies between it and this limit is garbage that a
// busy host would rather have back.
const memoryLimit = 160 << 20

// tuneMemory sets the collector's limit, unless the user has.
func tuneMemory() {
	if os.Getenv("GOMEMLIMIT") == "" {
		debug.SetMemoryLimit(memoryLimit)
	}
}
