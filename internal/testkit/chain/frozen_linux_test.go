//go:build integration

package chain

import (
	"context"
	"math/rand/v2"
	"testing"
	"time"
)

// TestAStoppedTierRepeatsNothing: each tier is stopped where it is, for longer than the others are
// patient, and goes on with what it was about to say and had not read. What has been said
// anew meanwhile is taken once.
func TestAStoppedTierRepeatsNothing(t *testing.T) {
	t.Parallel()
	// Who was stopped in the middle of a request takes its own disk for dead, for a moment.
	o := farOptions{forwarder: frozenTimes, excused: []string{"the store does not answer", "the disk has not answered", "is not on disk after"}}
	farTrial(t, o, func(ctx context.Context, c *far, random *rand.Rand) error {
		for _, long := range frozenFor {
			for _, i := range random.Perm(3) {
				if err := c.stop(ctx, c.Tiers()[i], long); err != nil {
					return err
				}
			}
		}
		for _, each := range []*Tier{c.Clusters[0], c.Central} {
			for _, reason := range []string{"fenced", "slow", "read"} {
				n, err := each.counter("runnel_input_errors_total", `reason="`+reason+`"`)
				if err != nil {
					return err
				}
				c.t.Logf("%s: %.0f sessions ended as %s", each.Name, n, reason)
			}
		}
		return nil
	})
}

// stop stops a tier and has it go on; then it waits until all are connected and records pass.
func (c *far) stop(ctx context.Context, t *Tier, long time.Duration) error {
	t.Freeze()
	pause(ctx, long)
	t.Thaw()
	for _, each := range c.Passing() {
		if err := c.connected(ctx, each); err != nil {
			return err
		}
	}
	first, _, err := c.Central.passed()
	if err != nil {
		return err
	}
	return until(ctx, "records pass", func() (bool, error) {
		now, _, err := c.Central.passed()
		return now > first, err
	})
}
