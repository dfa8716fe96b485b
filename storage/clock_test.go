package storage

import (
	"sync/atomic"
	"testing"
	"time"
)

// TestTheHostsClockMayJump: neither do blocks go too early because the host's clock was
// set, nor stay for longer than they should, nor does a wrong clock at a start matter.
func TestTheHostsClockMayJump(t *testing.T) {
	const year = 365 * 24 * time.Hour
	f := func(name string, jump time.Duration, restarts bool) {
		t.Run(name, func(t *testing.T) {
			host, passed := newClock(), atomic.Int64{} // both read by the store's own goroutines
			elapsed := func() time.Duration { return time.Duration(passed.Load()) }
			o := Options{Dir: t.TempDir(), Now: host.Now, elapsed: elapsed,
				Policy: func(string) Policy { return Policy{MaxAge: time.Hour} }}
			pass := func(d time.Duration) { passed.Add(int64(d)); host.step(d) }
			s := openStore(t, o)
			s.MoveCursor("f", "a", 1)
			kept := func(first, next uint64) {
				t.Helper()
				s.maintain()
				if got := info(t, s, "a"); got.First != first || got.Next != next || got.Expired != first-1 {
					t.Errorf("%s: first %d, next %d, %d expired; want %d to %d", elapsed(), got.First, got.Next, got.Expired, first, next)
				}
			}
			put(t, s, "a", numbered(0, 10, 10))
			pass(10 * time.Minute)
			host.step(jump)
			put(t, s, "a", numbered(10, 10, 10))
			kept(1, 21)
			if restarts {
				if err := s.Close(); err != nil {
					t.Fatal(err)
				}
				s = openStore(t, o)
			}
			pass(45 * time.Minute)
			put(t, s, "a", numbered(20, 10, 10))
			kept(1, 31)
			if age := s.Backlog("a", 1).Age; age != 55*time.Minute {
				t.Errorf("the oldest is %s old, want 55m", age)
			}
			pass(10 * time.Minute)
			kept(11, 31)
			host.step(-jump) // somebody has put it right
			kept(11, 31)
			pass(10 * time.Minute)
			kept(21, 31)
			pass(time.Hour)
			kept(31, 31)
		})
	}
	for _, restarts := range []bool{false, true} {
		f("ten years on", 10*year, restarts)
		f("a year back", -year, restarts)
		f("an hour back", -time.Hour, restarts)
	}
	f("an hour on", time.Hour, false) // a store that is opened then may have been closed for an hour
}
