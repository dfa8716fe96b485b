//go:build integration && soak

package integration

import "time"

// How often, and how long, the tests of faults do what they do.
const (
	fullCycles  = 20
	truncations = 50
	stoppedFor  = 100 * time.Second // longer than a forwarder waits for an answer
	floodFor    = 3 * time.Minute
	idleFor     = 10 * time.Second
)

// delays are how long a sync of the disk takes.
var delays = []time.Duration{time.Second, 5 * time.Second, 12 * time.Second, 30 * time.Second}

// How often the agent is restarted, and killed, under containers.
const (
	restarts = 100
	kills    = 100
)

// How many lines each container sends through a chain of agents, at which rate a second; how
// often its upper tiers are killed meanwhile, and all of that again.
const (
	containerLines  = 60_000
	containerRate   = 3000
	containerKills  = 40
	containerRounds = 10
)
