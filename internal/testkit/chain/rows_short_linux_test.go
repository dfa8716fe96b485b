//go:build integration && !soak

package chain

import "time"

// What a network does to a chain, and how long.
const (
	farRate     = 400 // records a second of each kind
	farTimes    = "connect_timeout: 2s, timeout: 2s"
	frozenTimes = "connect_timeout: 1s, timeout: 1s"
	forgotten   = 1                       // connections of each line
	bothEnds    = false                   // are waited for; the upper one is patient for half a minute
	flaps       = 4                       // of one direction each
	flapMost    = 1500 * time.Millisecond // of each
	backlog     = 1500 * time.Millisecond // with no line at all, in the end
	failovers   = 4
	slowMiB     = 1               // of each stream of the host
	slowFor     = 2 * time.Second // while the host is full
)

var (
	losses    = []int{10} // percent
	lossFor   = 2 * time.Second
	frozenFor = []time.Duration{1500 * time.Millisecond}
)
