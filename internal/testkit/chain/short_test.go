//go:build integration && !soak

package chain

// How often the tiers are killed in each trial, also in those that harm disks, and how
// much is sent: records of each of a clone's senders, and records a second of each kind.
const (
	chainKills   = 20
	diskKills    = 6
	fullKills    = 4
	cloneRecords = 500
	chainRate    = 1500
)
