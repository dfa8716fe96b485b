//go:build integration

package chain

import (
	"context"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"time"
)

// TestAStormOfFailovers: of two clusters the one that the host uses is killed, again and
// again, while the ways from both to the central tier carry nothing now and then. Where the
// ways meet each record is there once.
func TestAStormOfFailovers(t *testing.T) {
	t.Parallel()
	farTrial(t, farOptions{two: true, forwarder: "connect_timeout: 2s, timeout: 3s"}, func(ctx context.Context, c *far, random *rand.Rand) error {
		storm, end := context.WithCancel(ctx)
		var partitions sync.WaitGroup
		for _, l := range c.lines[2:] {
			own := rand.New(rand.NewPCG(random.Uint64(), 3))
			partitions.Go(func() { flap(storm, c, l, own) })
		}
		begun := time.Now()
		var err error
		for n := 0; n < failovers && err == nil; n++ {
			err = c.failover(ctx)
		}
		end()
		partitions.Wait()
		c.t.Logf("%d failovers took %v", failovers, time.Since(begun).Round(100*time.Millisecond))
		return err
	})
}

// failover kills the cluster that the host uses, waits until it uses the other, and starts
// the one again.
func (c *far) failover(ctx context.Context) error {
	used := -1
	if err := until(ctx, "the host uses a cluster", func() (bool, error) {
		f, err := c.Host.forwarder()
		for i := range c.Clusters {
			if strings.Contains(f.Using, c.lines[i].high.address+port) {
				used = i
			}
		}
		return used >= 0, err
	}); err != nil {
		return err
	}
	killed, other := c.Clusters[used], c.lines[1-used].high.address+port
	killed.Kill()
	err := until(ctx, "the host uses "+other, func() (bool, error) {
		f, err := c.Host.forwarder()
		return strings.Contains(f.Using, other), err
	})
	if err != nil {
		return fmt.Errorf("%w\n%s", err, c.Host.Log())
	}
	if err := killed.Start(); err != nil {
		return err
	}
	return killed.Ready(ctx)
}

// flap has a line carry nothing for a while, one way or both, until ctx ends.
func flap(ctx context.Context, c *far, l *line, random *rand.Rand) {
	for ctx.Err() == nil {
		pause(ctx, time.Duration(random.Int64N(int64(2*time.Second))))
		some := l.ends()[random.IntN(2):]
		for _, e := range some {
			if err := e.lose(""); err != nil {
				c.t.Error(err)
			}
		}
		pause(ctx, time.Duration(random.Int64N(int64(4*time.Second))))
		for _, e := range some {
			if err := e.heal(); err != nil {
				c.t.Error(err)
			}
		}
	}
}
