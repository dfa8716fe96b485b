//go:build integration && !soak

package integration

import "time"

// How often, and how long, the tests of faults do what they do.
const (
	fullCycles  = 4
	truncations = 5
	stoppedFor  = 8 * time.Second
	floodFor    = 8 * time.Second
)

// delays are how long a sync of the disk takes.
var delays = []time.Duration{time.Second, 12 * time.Second}

// How often the agent is restarted, and killed, under containers.
const (
	restarts = 20
	kills    = 5
)
