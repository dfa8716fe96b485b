package agent

// often is how often a test repeats what it does: n times in make test, and long with
// make soak. Under the race detector, which makes it ten times slower and sees as much the
// first time, a fifth of n, or three.
func often(n, long int) int {
	switch {
	case soak:
		return long
	case raced:
		return max(n/5, min(n, 3))
	}
	return n
}
