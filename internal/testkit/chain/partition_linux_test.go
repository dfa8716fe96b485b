//go:build integration

package chain

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"
)

// farTrial runs a trial of a far chain, to which f does harm while senders send.
func farTrial(t *testing.T, o farOptions, f func(ctx context.Context, c *far, random *rand.Rand) error) {
	t.Helper()
	by := newSeed()
	c := newFar(t, o)
	try(t, c.Chain, by, func(trial *Trial) {
		trial.Rate, trial.Within, trial.Excused = farRate, 3*time.Minute, o.excused
		trial.Instead = func(ctx context.Context) error {
			for _, each := range c.Passing() {
				if err := c.connected(ctx, each); err != nil {
					return err
				}
			}
			return f(ctx, c, rand.New(rand.NewPCG(by, 2)))
		}
	})
}

// connected waits until a tier has a connection to one above it.
func (c *far) connected(ctx context.Context, t *Tier) error {
	return until(ctx, t.Name+" is connected", func() (bool, error) {
		f, err := t.forwarder()
		return f.Using != "", err
	})
}

// TestAHalfOpenConnectionIsGivenUp: what is between two tiers forgets their connection: its
// packets are carried no more, and nobody resets it, while new connections are made. The
// lower end takes it for dead, its new session takes over from the old one, unless the upper
// end has given that up by then, and neither keeps a socket of it. Then the line from the host
// is pulled, and later carries nothing either way: each end takes the other for dead, and when
// there is a line again all goes on.
func TestAHalfOpenConnectionIsGivenUp(t *testing.T) {
	t.Parallel()
	farTrial(t, farOptions{forwarder: farTimes}, func(ctx context.Context, c *far, _ *rand.Rand) error {
		uppers := []*Tier{c.Clusters[0], c.Central}
		for n := range forgotten * len(uppers) {
			if err := c.forget(ctx, c.lines[n%2], uppers[n%2]); err != nil {
				return err
			}
		}
		up := c.lines[0]
		if err := c.dead(ctx, "pulled",
			func() error { return up.low.run("ip", "link", "set", up.low.device, "down") },
			func() error { return up.low.run("ip", "link", "set", up.low.device, "up") }); err != nil {
			return err
		}
		return c.dead(ctx, "silent",
			func() error { return errors.Join(up.low.lose(""), up.high.lose("")) },
			func() error { return errors.Join(up.low.heal(), up.high.heal()) })
	})
}

// forget has a line lose what belongs to the connection of now, until the upper end has
// taken another one in its place.
func (c *far) forget(ctx context.Context, l *line, upper *Tier) error {
	var old []uint64
	if err := until(ctx, "one connection below "+upper.Name, func() (_ bool, err error) {
		old, err = upper.lowerPorts()
		return len(old) == 1, err
	}); err != nil {
		return err
	}
	before, err := upper.sockets()
	if err != nil {
		return err
	}
	over, err := upper.over()
	if err != nil {
		return err
	}
	if err := l.high.lose(fmt.Sprintf("tcp sport %d", old[0])); err != nil {
		return err
	}
	if err := l.low.lose(fmt.Sprintf("tcp dport %d", old[0])); err != nil {
		return err
	}
	begun := time.Now()
	if err := until(ctx, "another connection below "+upper.Name, func() (bool, error) {
		ports, err := upper.lowerPorts()
		return len(ports) == 1 && ports[0] != old[0], err
	}); err != nil {
		return err
	}
	took := time.Since(begun)
	now, err := upper.over()
	if err != nil {
		return err
	}
	c.t.Logf("below %s another connection has taken over after %v; of the old ones %.0f were fenced, and %.0f given up", upper.Name, took.Round(100*time.Millisecond), now[0]-over[0], now[1]-over[1])
	if now[0] <= over[0] && (!bothEnds || now[1] <= over[1]) {
		return fmt.Errorf("%s has neither fenced nor given up a session: %v before and %v after", upper.Name, over, now)
	}
	err = until(ctx, fmt.Sprintf("%s has %d sockets again", upper.Name, before), func() (bool, error) {
		n, err := upper.sockets()
		return n <= before, err
	})
	for _, e := range l.ends() {
		if err == nil {
			err = e.heal()
		}
	}
	return err
}

// over are the sessions that an agent has ended as a newer one took over, and those that it
// has given up itself.
func (t *Tier) over() (n [2]float64, err error) {
	for i, reason := range []string{"fenced", "slow"} {
		if n[i], err = t.counter("runnel_input_errors_total", `reason="`+reason+`"`); err != nil {
			break
		}
	}
	return n, err
}

// dead has the line from the host die, until both ends are to have given up, and rise again.
func (c *far) dead(ctx context.Context, how string, die, rise func() error) error {
	cluster := c.Clusters[0]
	before, err := cluster.sockets()
	if err != nil {
		return err
	}
	if err := die(); err != nil {
		return err
	}
	begun := time.Now()
	if err := until(ctx, "the host gives up", func() (bool, error) {
		f, err := c.Host.forwarder()
		return f.Using == "", err
	}); err != nil {
		return err
	}
	c.t.Logf("%s: the lower end has given up after %v", how, time.Since(begun).Round(100*time.Millisecond))
	if bothEnds {
		if err := until(ctx, "the cluster gives up", func() (bool, error) {
			n, err := cluster.sockets()
			return n < before, err
		}); err != nil {
			return err
		}
		c.t.Logf("%s: the upper end has given up after %v", how, time.Since(begun).Round(100*time.Millisecond))
		const most = 40 * time.Second // of 30 s and what a busy machine adds
		if took := time.Since(begun); took > most {
			c.t.Errorf("%s: it took %v", how, took)
		}
	}
	if err := rise(); err != nil {
		return err
	}
	if err := c.connected(ctx, c.Host); err != nil {
		return err
	}
	return until(ctx, fmt.Sprintf("the cluster has %d sockets again", before), func() (bool, error) {
		n, err := cluster.sockets()
		return n <= before, err
	})
}

// TestPartitionsHeal: again and again one direction of a line carries nothing, then both lines
// carry nothing at all. What has waited is passed on faster than more comes.
func TestPartitionsHeal(t *testing.T) {
	t.Parallel()
	farTrial(t, farOptions{forwarder: farTimes}, func(ctx context.Context, c *far, random *rand.Rand) error {
		ends := slices.Concat(c.lines[0].ends(), c.lines[1].ends())
		for range flaps {
			e := ends[random.IntN(len(ends))]
			if err := e.lose(""); err != nil {
				return err
			}
			pause(ctx, flapMost/20+time.Duration(random.Int64N(int64(flapMost*19/20))))
			if err := e.heal(); err != nil {
				return err
			}
			pause(ctx, time.Duration(random.Int64N(int64(flapMost/4))))
		}
		return c.drain(ctx, ends)
	})
}

// drain has all ends lose everything for a while, and then looks how fast what waited is
// passed on.
func (c *far) drain(ctx context.Context, ends []end) error {
	for _, e := range ends {
		if err := e.lose(""); err != nil {
			return err
		}
	}
	cut := time.Now()
	pause(ctx, backlog)
	_, waiting, err := c.Host.passed()
	if err != nil {
		return err
	}
	for _, e := range ends {
		if err := e.heal(); err != nil {
			return err
		}
	}
	healed := time.Now()
	first, _, err := c.Central.passed()
	if err != nil {
		return err
	}
	if err := until(ctx, "something arrives", func() (bool, error) {
		n, _, err := c.Central.passed()
		return n > first, err
	}); err != nil {
		return err
	}
	begun := time.Now()
	var last uint64
	if err := until(ctx, "what waited is passed on", func() (bool, error) {
		var pending [2]uint64
		for i, each := range c.Passing() {
			var err error
			if _, pending[i], err = each.passed(); err != nil {
				return false, err
			}
		}
		var err error
		last, _, err = c.Central.passed()
		return pending[0]+pending[1] < farRate, err // what comes in half a second
	}); err != nil {
		return err
	}
	rate := float64(last-first) / time.Since(begun).Seconds()
	c.t.Logf("after %v without a line %d records waited; the first arrived %v after there was one, and all %v later, %.0f a second; %d a second come", healed.Sub(cut).Round(time.Second),
		waiting, begun.Sub(healed).Round(100*time.Millisecond), time.Since(begun).Round(100*time.Millisecond), rate, 2*farRate)
	if bothEnds && rate < 2*2*farRate {
		c.t.Errorf("what waited is passed on at %.0f a second", rate)
	}
	return nil
}
