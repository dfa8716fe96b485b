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

// How many lines each container sends through a chain of agents, at which rate a second; how
// often its upper tiers are killed meanwhile, and all of that again.
const (
	containerLines  = 6000
	containerRate   = 2000
	containerKills  = 6
	containerRounds = 1
)
