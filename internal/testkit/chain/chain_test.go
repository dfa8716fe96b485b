//go:build integration

package chain

import (
	"cmp"
	"context"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// A run that went wrong is done again with its seed; what the machine adds of chance
// is not in it.
var seed = flag.Uint64("seed", 0, "of kills and faults; 0: the time")

var program string // the agent, built once by TestMain

func TestMain(m *testing.M) {
	flag.Parse()
	os.Exit(func() int {
		dir, err := os.MkdirTemp("", "runnel-chain-")
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		defer os.RemoveAll(dir)
		program = filepath.Join(dir, "runnel")
		build := exec.Command("go", "build", "-o", program, "./cmd/runnel")
		build.Dir, build.Env = "../../..", append(os.Environ(), "CGO_ENABLED=0")
		if out, err := build.CombinedOutput(); err != nil {
			fmt.Fprintf(os.Stderr, "%s: %v\n%s", build, err, out)
			return 1
		}
		return m.Run()
	}())
}

// newChain makes a chain that ends with the test.
func newChain(t *testing.T, o Options) *Chain {
	t.Helper()
	dir := newFolder(t)
	o.Runnel, o.Dir, o.Said = program, dir, func(string, ...any) {}
	if testing.Verbose() {
		begun := time.Now()
		o.Said = func(format string, args ...any) {
			fmt.Fprintf(os.Stderr, "%8.3f  %s\n", time.Since(begun).Seconds(), fmt.Sprintf(format, args...))
		}
	}
	c, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	})
	return c
}

// newFolder makes a folder that goes with the test, unless that fails and it is to be kept.
func newFolder(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "chain-") // t.TempDir's names are too long for sockets
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if t.Failed() && os.Getenv("RUNNEL_KEEP") != "" {
			t.Logf("all of it is in %s", dir)
			return
		}
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	return dir
}

// newSeed is the one that was asked for, or another each time.
func newSeed() uint64 {
	if *seed != 0 {
		return *seed
	}
	return uint64(time.Now().UnixNano())
}

// until waits until ok, and says what was waited for if that takes too long. An agent that
// cannot be asked may be dead for a while.
func until(ctx context.Context, what string, ok func() (bool, error)) error {
	ctx, end := context.WithTimeout(ctx, 2*patience)
	defer end()
	for {
		done, err := ok()
		if done && err == nil {
			return nil
		}
		if ctx.Err() != nil {
			return fmt.Errorf("%s: not after %v: %w", what, 2*patience, cmp.Or(err, ctx.Err()))
		}
		pause(ctx, 20*time.Millisecond)
	}
}

// run runs a trial and fails the test over what went wrong.
func run(t *testing.T, o Options, change func(*Trial)) {
	t.Helper()
	o.Seed = newSeed()
	try(t, newChain(t, o), o.Seed, change)
}

// try is run with a chain that is there.
func try(t *testing.T, c *Chain, by uint64, change func(*Trial)) {
	t.Helper()
	trial := Trial{Chain: c, Seed: by, Kills: chainKills, From: 50 * time.Millisecond, To: 350 * time.Millisecond, Down: 150 * time.Millisecond,
		Rate: chainRate, Senders: 2, Within: 90 * time.Second}
	change(&trial)
	result, err := trial.Run(t.Context())
	t.Logf("seed %d: %d records, %d acknowledged; killed %v, frozen %d, disks %v; at rest after %v\nproxies, from above: %s",
		by, result.Records, result.Acknowledged, result.Kills, result.Frozen, result.Disks, result.Rest.Round(time.Millisecond), strings.Join(result.Harm, "; "))
	if err != nil {
		t.Fatal(err)
	}
	for _, w := range result.Wrong {
		t.Error(w)
	}
	if result.Records == 0 || result.Acknowledged == 0 {
		t.Errorf("%d records are at the host, and %d were acknowledged", result.Records, result.Acknowledged)
	}
}

// TestChainTakesEachRecordOnce: while each tier is killed at random, and a proxy
// between each two does what a network can and more, what the host acknowledged arrives at the
// last tier: nothing is lost, nothing is there twice, each stream is in order, and
// every tier's ledger adds up.
func TestChainTakesEachRecordOnce(t *testing.T) {
	t.Parallel()
	t.Run("frames", func(t *testing.T) { t.Parallel(); run(t, Options{}, func(*Trial) {}) })
	t.Run("tls", func(t *testing.T) { t.Parallel(); run(t, Options{TLS: true}, func(*Trial) {}) })
}

// TestChainOutlivesItsDisks: the disks of the upper tiers are put back to what they were,
// or lost, between kills. What the host has is at the last tier in the end, once and in order.
func TestChainOutlivesItsDisks(t *testing.T) {
	t.Parallel()
	run(t, Options{}, func(by *Trial) {
		upper := []*Tier{by.Clusters[0], by.Central}
		by.Restored, by.Wiped = upper, upper
		by.Kills = diskKills
	})
}

// TestARestoredHostRepeatsNothing: the host's disk is put back to what it was. What it
// has then, and what it takes from then on, is at the last tier once.
func TestARestoredHostRepeatsNothing(t *testing.T) {
	t.Parallel()
	run(t, Options{}, func(by *Trial) {
		by.Restored = []*Tier{by.Host, by.Clusters[0]}
		by.Kills = diskKills
	})
}

// TestTwoWaysAreOne: the host has two clusters to turn to, and does so whenever one is
// killed or the way to it fails. Where the ways meet each record is there once.
func TestTwoWaysAreOne(t *testing.T) {
	t.Parallel()
	run(t, Options{Two: true}, func(by *Trial) { by.Kills = diskKills })
}

// TestWaysThatKeepTheirRecords: the same where records are offered the other way until they are at the last tier, and
// disks of the clusters are lost meanwhile.
func TestWaysThatKeepTheirRecords(t *testing.T) {
	t.Parallel()
	run(t, Options{Two: true, End: true}, func(by *Trial) {
		by.Kills, by.Wiped = diskKills, by.Clusters
	})
}
