//go:build integration && linux

package chain

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
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
// again, for a second or so, and tiers are killed meanwhile.
func TestAFullDiskInTheMiddleHoldsUpAndLosesNothing(t *testing.T) {
	var cluster *Tier
	run(t, Options{}, func(by *Trial) {
		cluster = by.Clusters[0]
		smallDisk(t, cluster)
		by.Kills, by.To = fullKills, time.Second
		by.Meanwhile = func(ctx context.Context) {
			patient, end := context.WithTimeout(t.Context(), patience)
			defer end()
			fill(t, cluster, func() bool { return refuses(cluster) || patient.Err() != nil })
			for ctx.Err() == nil {
				pause(ctx, 500*time.Millisecond)
				second, end := context.WithTimeout(ctx, time.Second)
				fill(t, cluster, func() bool { return second.Err() != nil })
				end()
			}
		}
	})
	if !refuses(cluster) {
		t.Error("the cluster has never said that its disk is full")
	}
}

// refuses reports whether a tier has logged that its disk is full.
func refuses(tier *Tier) bool {
	text, _ := os.ReadFile(tier.logFile()) // none if it has not started yet
	return slices.ContainsFunc([]string{"nothing is taken", "pushing back", "no space left"}, func(words string) bool { return strings.Contains(string(text), words) })
}
