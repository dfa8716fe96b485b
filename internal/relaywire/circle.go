package relaywire

import (
	"fmt"
	"strings"
)

// Circle names the agents that records of one would go round, from that on until it
// comes again: "a" → "b" → "a". above is who is above it, the nearest first, and
// may have others beside the way.
func Circle(own Hop, above []Hop) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%q", own.Name)
	for _, h := range above {
		fmt.Fprintf(&b, " → %q", h.Name)
		if h.Agent == own.Agent {
			break
		}
	}
	return b.String()
}
