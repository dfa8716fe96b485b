//go:build !race

package agent

// raced says that the race detector watches.
const raced = false
