package storage

import (
	"context"
	"errors"
	"testing"
	"time"
)

// cursorOf returns the only cursor there is.
func cursorOf(t *testing.T, s *Store) Cursor {
	t.Helper()
	all := s.Cursors()
	if len(all) != 1 {
		t.Fatalf("got cursors %+v, want one", all)
	}
	return all[0]
}

// TestWhatAReaderHeldInMemoryIsNotExpired: retention may take a block whose
// records are on their way to a receiver. They are delivered all the same, and
// only the reader knows.
func TestWhatAReaderHeldInMemoryIsNotExpired(t *testing.T) {
	c := newClock()
	o := Options{Dir: t.TempDir(), Now: c.Now, Policy: func(string) Policy { return Policy{MaxAge: time.Hour} }}
	s := openStore(t, o)
	s.MoveCursor("f", "a", 1)
	put(t, s, "a", numbered(0, 100, 300))
	put(t, s, "a", numbered(100, 100, 300))
	c.step(2 * time.Hour)
	put(t, s, "a", numbered(200, 1, 300))
	s.maintain()
	if got := cursorOf(t, s); got.Next != 1 || got.Expired != 200 {
		t.Fatalf("before it passes: %+v, want 200 expired in front of it", got)
	}
	s.PassCursor("f", "a", 101, Passed{Delivered: 100}) // had been read in time
	s.PassCursor("f", "a", 201, Passed{Expired: 100})
	if got := cursorOf(t, s); got.Next != 201 || got.Expired != 100 {
		t.Fatalf("after it has passed: %+v, want 100 expired", got)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	s = openStore(t, o)
	if got := cursorOf(t, s); got.Next != 201 || got.Expired != 100 {
		t.Fatalf("after reopening: %+v, want 100 expired", got)
	}
}

func TestWaitCursorWaitsForTheDisk(t *testing.T) {
	s := openStore(t, Options{Dir: t.TempDir()})
	put(t, s, "a", numbered(0, 10, 30))
	s.MoveCursor("f", "a", 5)
	if err := s.WaitCursor(t.Context(), "f", "a"); err != nil {
		t.Fatal(err)
	}
	s.mu.RLock()
	dirty := s.cursors[cursorKey{"f", "a"}].dirty
	s.mu.RUnlock()
	if dirty {
		t.Error("the move is not on disk")
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	s.MoveCursor("f", "a", 6)
	if err := s.WaitCursor(ended, "f", "a"); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v, want the context's error", err)
	}
}

func TestDroppedRecordsAreRememberedByTheClose(t *testing.T) {
	o := Options{Dir: t.TempDir(), Policy: func(string) Policy { return Policy{MaxSize: 4 << 10, OnFull: DropNew} }}
	s := openStore(t, o)
	put(t, s, "a", noise(0, 100))
	s.maintain()
	put(t, s, "a", noise(100, 50))
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	s = openStore(t, o)
	if got := info(t, s, "a"); got.Next != 101 || got.Dropped != 50 {
		t.Errorf("after reopening: next %d, dropped %d; want 101 and 50", got.Next, got.Dropped)
	}
}

// TestACursorInNoStreamMakesNone: a reader may mark something with a cursor whose stream
// has no name, and no stream comes of it at the next start, nor stays of an earlier build's.
func TestACursorInNoStreamMakesNone(t *testing.T) {
	o := Options{Dir: t.TempDir()}
	s := openStore(t, o)
	put(t, s, "a", numbered(0, 1, 10))
	s.MoveCursor("f", "", 1)
	for _, earlier := range []bool{false, true} {
		if err := s.WaitCursor(t.Context(), "f", ""); err != nil {
			t.Fatal(err)
		}
		if earlier { // as the checkpoint of an earlier build has it
			s.mu.Lock()
			s.stream("")
			s.mu.Unlock()
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		s = openStore(t, o)
		if got := s.Streams(); len(got) != 1 || got[0].Name != "a" {
			t.Errorf("earlier build %v: streams %+v, want a alone", earlier, got)
		}
		if next, ok := s.Cursor("f", ""); !ok || next != 1 {
			t.Errorf("the mark is gone: %d, %v", next, ok)
		}
	}
}
