//go:build integration

package chain

import (
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
	dir, err := os.MkdirTemp("", "chain-") // t.TempDir's names are too long for sockets
	if err != nil {
		t.Fatal(err)
	}
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
		if t.Failed() && os.Getenv("RUNNEL_KEEP") != "" {
			t.Logf("all of it is in %s", dir)
			return
		}
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	return c
}

// run runs a trial and fails the test over what went wrong.
func run(t *testing.T, o Options, change func(*Trial)) {
	t.Helper()
	if o.Seed = *seed; o.Seed == 0 {
		o.Seed = uint64(time.Now().UnixNano())
	}
	trial := Trial{Chain: newChain(t, o), Seed: o.Seed, Kills: chainKills, From: 50 * time.Millisecond, To: 350 * time.Millisecond, Down: 150 * time.Millisecond,
		Rate: chainRate, Senders: 2, Within: 90 * time.Second}
	change(&trial)
	result, err := trial.Run(t.Context())
	t.Logf("seed %d: %d records, %d acknowledged; killed %v, frozen %d, disks %v; at rest after %v\nproxies, from above: %s",
		o.Seed, result.Records, result.Acknowledged, result.Kills, result.Frozen, result.Disks, result.Rest.Round(time.Millisecond), strings.Join(result.Harm, "; "))
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
