//go:build integration && soak

package chain

import (
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/runnel-log/runnel/internal/testkit/oracle"
)

// points are how often a snapshot is put back, or a host copied, at a moment of chance.
const points = 100

// TestSnapshotsOfEachTierAtManyPoints: the disk of one tier alone is put back to what it was,
// at each of many moments, while all tiers are killed and the proxies do harm.
func TestSnapshotsOfEachTierAtManyPoints(t *testing.T) {
	t.Parallel()
	f := func(name string, which func(*Chain) *Tier) {
		t.Run(name, func(t *testing.T) {
			by := newSeed()
			c := newChain(t, Options{Seed: by})
			try(t, c, by, func(trial *Trial) {
				tier := which(c)
				trial.Restored, trial.Kills, trial.Rate, trial.Within = []*Tier{tier}, 3*points, 1000, 3*time.Minute
				trial.Enough = func(o *Outcome) bool { return o.Disks[tier.Name+" restored"] >= points }
			})
		})
	}
	f("host", func(c *Chain) *Tier { return c.Host })
	f("cluster", func(c *Chain) *Tier { return c.Clusters[0] })
	f("central", func(c *Chain) *Tier { return c.Central })
}

// TestClonesAtManyPoints: a host is killed and copied with its disk, at each of many moments.
// Then both run at once, or by turns, and both take records; the copy is thrown away once it
// has passed on what it has.
func TestClonesAtManyPoints(t *testing.T) {
	t.Parallel()
	by := newSeed()
	c := newChain(t, Options{Seed: by})
	x := clones{t: t, Chain: c, random: rand.New(rand.NewPCG(by, 4)), trial: Trial{Chain: c, Within: 3 * time.Minute}}
	for _, each := range c.Tiers() {
		x.must(each.Start())
	}
	x.must(x.trial.ready(t.Context()))
	var err error
	x.sent, err = oracle.NewSent("")
	x.must(err)
	c.Calm()
	copies := []*Copy{x.atOnce(true)} // what they had
	for _, p := range c.Proxies {
		p.Harm()
	}
	parallel := 0
	for n := range points {
		if n == points*9/10 {
			c.Calm() // what waits at the end is to go on
		}
		if x.random.IntN(2) == 0 {
			parallel++
			copies = append(copies, x.atOnce(false))
		} else {
			copies = append(copies, x.byTurns())
		}
	}
	c.Calm()
	o := &Outcome{}
	x.trial.rest(t.Context(), o, c.Passing()...)
	for _, each := range c.Tiers() {
		var l ledger
		x.must(each.Ask("/api/v1/audit", &l))
		l.judge(o, each.Name)
		x.must(each.Stop())
	}
	want := x.read(c.Host)
	for _, each := range copies {
		want.Join(each)
	}
	for _, each := range append(c.Clusters, c.Central) {
		d := x.read(each).Compare(want)
		if d.Lost+d.Twice+d.Strange+d.Altered > 0 { // whose comes first is not said
			t.Errorf("%+v\n%s", d, d.Text)
		}
	}
	for _, w := range o.Wrong {
		t.Error(w)
	}
	t.Logf("seed %d: %d copies, %d of them at once with the host; %d records, %d were sent", by, points, parallel, want.Len(), x.senders*cloneSent)
	if want.Len() != x.senders*cloneSent {
		t.Errorf("the hosts have %d records, want %d", want.Len(), x.senders*cloneSent)
	}
}

// copied kills the host at some moment while it takes records, and copies it.
func (x *clones) copied() (clone *Tier, wait func()) {
	x.t.Helper()
	wait = x.send("host")
	pause(x.t.Context(), time.Duration(x.random.Int64N(int64(250*time.Millisecond))))
	x.Host.Kill()
	clone, err := x.Clone()
	x.must(err)
	return clone, wait
}

// atOnce has both run at once, until the cluster tells of it if it is to, and returns what the
// clone had.
func (x *clones) atOnce(told bool) (had *Copy) {
	x.t.Helper()
	clone, wait := x.copied()
	x.must(x.Host.Start())
	x.must(clone.Start())
	x.ready(x.Host, clone)
	other, third := x.send("clone"), x.send("host")
	wait()
	other()
	third()
	if begun := time.Now(); told {
		x.must(until(x.t.Context(), "the cluster tells of two agents that are one", func() (bool, error) {
			text, err := os.ReadFile(x.Clusters[0].logFile())
			return strings.Contains(string(text), "two agents below are one by their id"), err
		}))
		took := time.Since(begun)
		x.t.Logf("the cluster told of the copy %v after both had sent", took.Round(100*time.Millisecond))
		if took > time.Minute { // of half of one
			x.t.Error("that is late")
		}
	}
	return x.gone(clone)
}

// byTurns has the clone run, then the host, then both again, never at once.
func (x *clones) byTurns() (had *Copy) {
	x.t.Helper()
	clone, wait := x.copied()
	for turn := range 2 {
		x.must(clone.Start())
		x.ready(clone)
		x.send("clone")()
		if turn == 1 {
			break
		}
		clone.Kill()
		x.must(x.Host.Start())
		x.ready(x.Host)
		wait()
		x.send("host")()
		x.Host.Kill()
	}
	had = x.gone(clone)
	x.must(x.Host.Start())
	x.ready(x.Host)
	return had
}

// gone has a clone pass on all that it has, throws it away, and returns what that was.
func (x *clones) gone(clone *Tier) *Copy {
	x.t.Helper()
	o := &Outcome{}
	x.trial.rest(x.t.Context(), o, clone)
	for _, w := range o.Wrong {
		x.t.Error(w)
	}
	x.must(clone.Stop())
	had := x.read(clone)
	x.must(os.RemoveAll(filepath.Dir(clone.Data())))
	return had
}
