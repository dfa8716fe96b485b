//go:build integration

package chain

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"
)

// TestLostPacketsCostTimeAlone: of the packets of every line and both ways some are lost, and
// those of the line from the host take up to 200 ms and overtake each other. Less is passed
// on, and nothing else happens.
func TestLostPacketsCostTimeAlone(t *testing.T) {
	t.Parallel()
	o := farOptions{forwarder: "connect_timeout: 10s, timeout: 30s", far: wiring{100 * time.Millisecond, 100 * time.Millisecond}}
	farTrial(t, o, func(ctx context.Context, c *far, _ *rand.Rand) error {
		ends := slices.Concat(c.lines[0].ends(), c.lines[1].ends())
		for _, percent := range losses {
			first, _, err := c.Central.passed()
			if err != nil {
				return err
			}
			for _, e := range ends {
				if err := e.lose(fmt.Sprintf("numgen random mod 100 < %d", percent)); err != nil {
					return err
				}
			}
			begun := time.Now()
			pause(ctx, lossFor)
			var last uint64
			if err := until(ctx, "something arrives", func() (_ bool, err error) {
				last, _, err = c.Central.passed()
				return last > first, err
			}); err != nil {
				return err
			}
			c.t.Logf("with %d %% lost, %.0f records a second arrive", percent, float64(last-first)/time.Since(begun).Seconds())
			for _, e := range ends {
				if err := e.heal(); err != nil {
					return err
				}
			}
		}
		return nil
	})
}

// TestANarrowLineHoldsUpAndCostsNoMemory: each line carries 128 kbit/s, which is much less
// than senders send. The host's disk fills up to its bound, and then senders wait; no tier
// takes more and more memory. When lines are wide again all arrives.
func TestANarrowLineHoldsUpAndCostsNoMemory(t *testing.T) {
	t.Parallel()
	o := farOptions{forwarder: "connect_timeout: 10s, timeout: 30s", host: fmt.Sprintf("max_age: 0s, max_size: %dMiB, on_full: push_back", slowMiB)}
	by := newSeed()
	c := newFar(t, o)
	try(t, c.Chain, by, func(trial *Trial) {
		trial.Rate, trial.Within, trial.Bounded = 0, 3*time.Minute, true
		trial.Instead = func(ctx context.Context) error {
			ends := slices.Concat(c.lines[0].ends(), c.lines[1].ends())
			for _, e := range ends {
				if err := e.run(strings.Fields("tc qdisc add dev " + e.device + " root tbf rate 128kbit burst 4kb latency 500ms")...); err != nil {
					return err
				}
			}
			if err := until(ctx, "the host is full", func() (bool, error) {
				n, err := c.Host.counter("runnel_pipeline_rejected_records_total", "")
				return n > 0, err
			}); err != nil {
				return err
			}
			if err := c.narrow(ctx); err != nil {
				return err
			}
			var err error
			for _, e := range ends {
				err = errors.Join(err, e.run("tc", "qdisc", "del", "dev", e.device, "root"))
			}
			return err
		}
	})
}

// narrow looks at the memory of each tier while the host is full.
func (c *far) narrow(ctx context.Context) error {
	const slack, most = 24 << 20, 256 << 20
	type use struct{ first, last, own uint64 } // of all of it: the most in each half; and of what is no file
	uses := map[*Tier]*use{}
	first, _, err := c.Central.passed()
	if err != nil {
		return err
	}
	for begun := time.Now(); time.Since(begun) < slowFor && ctx.Err() == nil; pause(ctx, 100*time.Millisecond) {
		for _, t := range c.Tiers() {
			all, own, err := t.memory()
			if err != nil {
				return err
			}
			if uses[t] == nil {
				uses[t] = &use{}
			}
			u := uses[t]
			u.own = max(u.own, own)
			if time.Since(begun) < slowFor/2 {
				u.first = max(u.first, all)
			} else {
				u.last = max(u.last, all)
			}
		}
	}
	last, _, err := c.Central.passed()
	if err != nil {
		return err
	}
	c.t.Logf("in %v with 128 kbit/s %d records arrived", slowFor, last-first)
	if last == first && slowFor > time.Minute {
		c.t.Error("that is none")
	}
	for t, u := range uses {
		c.t.Logf("%s: %d MiB of memory in the first half, %d in the second; %d without files", t.Name, u.first>>20, u.last>>20, u.own>>20)
		if u.last > u.first+slack || u.last > most {
			c.t.Errorf("%s: that is more and more", t.Name)
		}
	}
	return nil
}
