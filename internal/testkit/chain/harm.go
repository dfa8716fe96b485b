package chain

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"time"
)

// harm is what is done to tiers in a trial.
type harm struct {
	*Trial
	outcome *Outcome
	random  *rand.Rand
	kept    map[*Tier]bool // there is a snapshot of it
}

func (h *harm) some(from, to time.Duration) time.Duration {
	return from + time.Duration(h.random.Int64N(int64(to-from)+1))
}

// once does something to one tier or two, and returns how many it has killed.
func (h *harm) once(ctx context.Context) (killed int, err error) {
	tiers := h.Tiers()
	first := h.random.IntN(len(tiers))
	if harmed := slices.Concat(h.Restored, h.Wiped); len(harmed) > 0 && h.random.IntN(4) > 0 {
		first = slices.Index(tiers, harmed[h.random.IntN(len(harmed))]) // whose disks are what it is about
	}
	victims := []*Tier{tiers[first]}
	chance := h.random.IntN(10)
	if chance == 0 {
		victims = append(victims, tiers[(first+1+h.random.IntN(len(tiers)-1))%len(tiers)])
	}
	for _, v := range victims {
		if runs, err := v.Runs(); !runs {
			return 0, fmt.Errorf("%s ended by itself: %w\n%s", v.Name, err, v.Log())
		}
	}
	if chance == 1 {
		h.outcome.Frozen++
		victims[0].Freeze()
		pause(ctx, h.some(0, 4*h.To))
		victims[0].Thaw()
		return 0, nil
	}
	for _, v := range victims {
		v.Kill()
		h.outcome.Kills[v.Name]++
		if err := h.disk(v); err != nil {
			return 0, err
		}
	}
	pause(ctx, h.some(0, h.Down))
	for _, v := range victims {
		if err := v.Start(); err != nil {
			return 0, err
		}
	}
	return len(victims), nil
}

// disk does something to the disk of a tier that was killed: all is taken away, or a
// snapshot is put back, or if there is none, taken.
func (h *harm) disk(v *Tier) error {
	wiped, restored := slices.Contains(h.Wiped, v), slices.Contains(h.Restored, v)
	switch {
	case wiped && h.random.IntN(3) == 0:
		h.outcome.Disks[v.Name+" wiped"]++
		h.kept[v] = false
		return v.Wipe()
	case restored && h.kept[v]:
		h.outcome.Disks[v.Name+" restored"]++
		h.kept[v] = false
		return v.Restore()
	case restored:
		h.kept[v] = true
		return v.Snapshot()
	}
	return nil
}
