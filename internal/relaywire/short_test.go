//go:build !soak

package relaywire

// How far the explorer goes in `make test`: to the end.
const (
	soak         = false
	modelFaults  = 1
	modelRecords = 1
	modelStates  = 1_000_000
)
