//go:build race

package inputtest

// memoryFactor is how much more memory the race detector has everything take.
const memoryFactor = 2
