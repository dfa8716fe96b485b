// Package headroom says how much memory a part of the agent may hold. The bounds of
// parts are made for a host on which together they do not matter; where the process
// may have little (GOMEMLIMIT, or the limit of its control group) each is less, so that what
// is beyond them is refused before the kernel kills the process for it.
package headroom

import (
	"math"
	"runtime/debug"
)

// Roomy is the memory limit from which on every part may hold what it is made for.
const Roomy = 160 << 20

// least is what a part may always hold: a body of http's default max_body,
// and its records.
const least = 20 << 20

// parts is how many parts may be at their bounds at once: the store, http, relp,
// syslog; and what is garbage and what is used at rest.
const parts = 6

// Share returns how many bytes a part may hold that is made to hold most.
func Share(most int) int { return share(most, debug.SetMemoryLimit(-1)) }

func share(most int, limit int64) int {
	if limit >= Roomy {
		return most
	}
	return min(most, max(least, int(min(limit, math.MaxInt32)/parts)))
}
