//go:build integration && soak

package chain

// How often the tiers are killed in each trial, and how much is sent meanwhile: records a
// second of each kind. It comes to a million records.
const (
	chainKills = 250
	chainRate  = 6000
)
