//go:build integration && !soak

package chain

// How often the tiers are killed in each trial, also those
// that harm disks, and how much is sent meanwhile: records a
// second of each kind.
const (
	chainKills   = 20
	diskKills    = 8
	cloneRecords = 2000
	chainRate    = 1500
)
