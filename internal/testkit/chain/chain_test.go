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

// TestChainTakesEachRecordOnce: while each tier is killed at random, and a proxy
// between each two does what a network can and more, what the host acknowledged arrives at the
// last tier: nothing is lost, nothing is there twice, each stream is in order, and
// every tier's ledger adds up.
func TestChainTakesEachRecordOnce(t *testing.T) {
	for name, tls := range map[string]bool{"frames": false, "tls": true} {
		t.Run(name, func(t *testing.T) {
			by := *seed
			if by == 0 {
				by = uint64(time.Now().UnixNano())
			}
			c := newChain(t, Options{Seed: by, TLS: tls})
			trial := Trial{Chain: c, Seed: by, Kills: chainKills, From: 50 * time.Millisecond, To: 500 * time.Millisecond, Down: 200 * time.Millisecond,
				Rate: chainRate, Senders: 2, Within: 90 * time.Second}
			o, err := trial.Run(t.Context())
			t.Logf("seed %d: %d records, %d acknowledged; killed %v, frozen %d; at rest after %v\nbelow the cluster: %s",
				by, o.Records, o.Acknowledged, o.Kills, o.Frozen, o.Rest.Round(time.Millisecond), strings.Join(o.Harm, "\nabove it: "))
			if err != nil {
				t.Fatal(err)
			}
			for _, w := range o.Wrong {
				t.Error(w)
			}
			if o.Acknowledged == 0 || uint64(o.Records) < o.Acknowledged {
				t.Errorf("%d records are at the host, and %d were acknowledged", o.Records, o.Acknowledged)
			}
		})
	}
}
