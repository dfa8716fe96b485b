//go:build integration && linux

package chain

import (
	"bytes"
	"context"
	"os"
	"os/exec"
	"path/filepath"
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
	for block := make([]byte, 64<<10); !enough(); {
		if _, err := f.Write(block); err == nil {
			continue
		}
		if block = block[:len(block)/2]; len(block) < 512 {
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
// give way, and it says that it takes nothing; else it gives up what it has passed on.
func TestAFullDiskInTheMiddleHoldsUpAndLosesNothing(t *testing.T) {
	t.Parallel()
	held := 0
	run(t, Options{}, func(by *Trial) {
		cluster, above := by.Clusters[0], by.Proxies[0]
		smallDisk(t, cluster)
		by.Kills, by.To = fullKills, time.Second
		by.Meanwhile = func(ctx context.Context) {
			for ; held == 0 || ctx.Err() == nil; held++ {
				holdUp(t, cluster, above)
				pause(ctx, 500*time.Millisecond)
				second, end := context.WithTimeout(ctx, time.Second)
				fill(t, cluster, func() bool { return second.Err() != nil })
				end()
			}
		}
	})
	t.Logf("held up %d times", held)
}

// holdUp shuts the way above a tier and fills its disk until it refuses what comes
// from below.
func holdUp(t *testing.T, tier *Tier, above *Proxy) {
	above.Shut()
	defer above.Open()
	patient, end := context.WithTimeout(t.Context(), patience)
	defer end()
	before := refusals(tier)
	fill(t, tier, func() bool { return refusals(tier) > before || patient.Err() != nil })
	if patient.Err() != nil {
		t.Errorf("%s does not refuse anything though its disk is full:\n%s", tier.Name, tier.Log())
	}
}

// refusals counts how often a tier has logged that it takes nothing.
func refusals(tier *Tier) int {
	text, _ := os.ReadFile(tier.logFile()) // none if it has not started yet
	return bytes.Count(text, []byte("nothing is taken"))
}
