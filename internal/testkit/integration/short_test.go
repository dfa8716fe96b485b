//go:build integration && !soak

package integration

import "time"

// How often, and how long, the tests of faults do what they do.
const (
	fullCycles  = 1
	truncations = 2
	stoppedFor  = 2 * time.Second
	floodFor    = 3 * time.Second
	idleFor     = 2 * time.Second
)

// delays are how long a sync of the disk takes.
var delays = []time.Duration{time.Second, 3 * time.Second}

// How often the agent is restarted, and killed, under containers.
const (
	restarts = 20
	kills    = 5
)
