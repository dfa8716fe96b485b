//go:build integration && linux

package chain

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// smallDisk gives a tier a disk of its own, which wants root.
func smallDisk(t *testing.T, tier *Tier) {
	t.Helper()
	if err := os.Mkdir(tier.Data(), 0o700); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command("mount", "-t", "tmpfs", "-o", "size=96m,mode=700", "runnel-test", tier.Data()).CombinedOutput(); err != nil {
		t.Fatalf("mount wants root: %v: %s", err, out)
	}
	t.Cleanup(func() {
		if out, err := exec.Command("umount", "-l", tier.Data()).CombinedOutput(); err != nil {
			t.Errorf("umount: %v: %s", err, out)
		}
	})
}

// fill takes all room of a tier's disk, and what the agent gives back too, until it is
// enough; then it gives all of it back.
func fill(t *testing.T, tier *Tier, enough func() bool) {
	f, err := os.Create(filepath.Join(tier.Data(), "filler"))
	if err != nil {
		t.Error(err)
		return
	}
	for block := make([]byte, 64<<10); ; {
		if _, err := f.Write(block); err == nil {
			continue
		}
		if block = block[:len(block)/2]; len(block) < 512 {
			if enough() {
				break
			}
			block = block[:cap(block)]
			pause(t.Context(), 20*time.Millisecond)
		}
	}
	if err := os.Remove(f.Name()); err != nil {
		t.Error(err)
	}
	if err := f.Close(); err != nil {
		t.Error(err)
	}
}

// TestAFullDiskInTheMiddleHoldsUpAndLosesNothing: the cluster's disk is full again and
// again, and tiers are killed meanwhile. While there is nobody above, nothing in it can
// give way, and it says so; else it gives up what it has passed on, and goes on.
func TestAFullDiskInTheMiddleHoldsUpAndLosesNothing(t *testing.T) {
	t.Parallel()
	held := 0
	run(t, Options{}, func(by *Trial) {
		cluster := by.Clusters[0]
		smallDisk(t, cluster)
		by.Kills, by.To = fullKills, time.Second
		by.Meanwhile = func(ctx context.Context) {
			for ; held == 0 || ctx.Err() == nil; held++ {
				holdUp(t, by.Chain)
				pause(ctx, 500*time.Millisecond)
				second, end := context.WithTimeout(ctx, time.Second)
				fill(t, cluster, func() bool { return second.Err() != nil })
				end()
			}
		}
	})
	t.Logf("held up %d times", held)
}

// holdUp shuts the way above the cluster and fills its disk until it says that it is full,
// and the host has meanwhile taken what it cannot pass on.
func holdUp(t *testing.T, c *Chain) {
	cluster := c.Clusters[0]
	c.Proxies[0].Shut()
	defer c.Proxies[0].Open()
	patient, end := context.WithTimeout(t.Context(), 2*patience)
	defer end()
	var begun uint64 // what the host had when the cluster first said so
	fill(t, cluster, func() bool {
		var host ledger
		if patient.Err() != nil {
			t.Errorf("the cluster's disk is full, and it does not say so:\n%s", cluster.Log())
			return true
		}
		err := cluster.Ask("/readyz", new(any))
		if err == nil || !(strings.Contains(err.Error(), "no space left") || strings.Contains(err.Error(), "store is full")) || c.Host.Ask("/api/v1/audit", &host) != nil {
			return false // or one of the two was killed
		}
		if begun == 0 {
			begun = host.stored()
		}
		return host.stored() >= begun+500
	})
}

// stored is how many records an agent has taken.
func (l *ledger) stored() (n uint64) {
	for _, s := range l.Streams {
		n += s.Stored
	}
	return n
}
