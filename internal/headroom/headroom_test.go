package headroom

import (
	"math"
	"testing"
)

func TestShare(t *testing.T) {
	f := func(most int, limit int64, want int) {
		t.Helper()
		if got := share(most, limit); got != want {
			t.Errorf("%d of %d: got %d want %d", most, limit, got, want)
		}
	}
	f(64<<20, math.MaxInt64, 64<<20)
	f(64<<20, Roomy, 64<<20)
	f(64<<20, 150<<20, 25<<20)
	f(64<<20, 120<<20, 20<<20)
	f(64<<20, 10<<20, 20<<20) // it would not do anything else
	f(16<<20, 150<<20, 16<<20)
	if Share(64<<20) != 64<<20 {
		t.Error("a process without a limit holds less")
	}
}
