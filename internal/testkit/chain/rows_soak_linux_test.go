//go:build integration && soak

package chain

import "time"

// What a network does to a chain, and how long. It comes to ten minutes, side by side.
const (
	farRate     = 500 // records a second of each kind
	farTimes    = "connect_timeout: 10s, timeout: 30s"
	frozenTimes = "connect_timeout: 2s, timeout: 3s"
	forgotten   = 3                // connections of each line
	bothEnds    = true             // are waited for
	flaps       = 30               // of one direction each
	flapMost    = 20 * time.Second // of each
	backlog     = time.Minute      // with no line at all, in the end
	failovers   = 300
	slowMiB     = 4               // of each stream of the host
	slowFor     = 5 * time.Minute // while the host is full
)

var (
	losses    = []int{1, 3, 10, 20, 30} // percent
	lossFor   = time.Minute
	frozenFor = []time.Duration{time.Second, 10 * time.Second, 35 * time.Second, time.Minute}
)
