//go:build integration && soak

package chain

// How often the tiers are killed in each trial, also in those that harm disks, and how
// much is sent: records of each of a clone's senders, and records a second of each kind.
// It comes to a million records.
const (
	chainKills   = 250
	diskKills    = 300
	fullKills    = 100
	cloneRecords = 50000
	chainRate    = 6000
)
