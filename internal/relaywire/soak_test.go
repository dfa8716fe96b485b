//go:build soak

package relaywire

// How far the explorer goes in `make soak`: breadth first, so that what it has not
// reached is what takes more to come to.
const (
	soak         = true
	modelFaults  = 2
	modelRecords = 2
	modelStates  = 3_000_000
)
