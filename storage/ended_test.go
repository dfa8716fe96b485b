package storage

import (
	"testing"
	"time"
)

// What has not ended is kept where that is wanted, also after a restart before anybody has said so, and is no loss where it is not.
func TestRecordsAreKeptUntilTheyHaveEnded(t *testing.T) {
	s := openStore(t, Options{Policy: func(string) Policy { return Policy{MaxAge: time.Nanosecond, OnFull: PushBack} }})
	s.MoveCursor(EndedName("f"), "a", 1)
	put(t, s, "a", numbered(0, 50, 100))
	put(t, s, "a", numbered(50, 50, 100))
	s.MoveCursor("f", "a", 101)
	want := func(first uint64) {
		t.Helper()
		s.maintain()
		if got := info(t, s, "a"); got.First != first || got.Expired != 0 {
			t.Errorf("the first is %d, and %d have expired, want %d and none", got.First, got.Expired, first)
		}
	}
	want(1)
	options := s.options
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	s = openStore(t, options)
	want(1)
	s.PassCursor(EndedName("f"), "a", 51, Passed{Delivered: 50})
	want(51)
	s.KeepEnded("f", true)
	want(51)
	s.KeepEnded("f", false)
	want(101)
	if reader, ended := ReaderOf(EndedName("f")); reader != "f" || !ended {
		t.Errorf("got %q, %v", reader, ended)
	}
	if reader, ended := ReaderOf("f"); reader != "f" || ended {
		t.Errorf("got %q, %v", reader, ended)
	}
	s.KeepEnded("f", true)
	put(t, s, "a", numbered(100, 50, 100))
	s.MoveCursor("f", "a", 151)
	want(101)
	s.SetPolicy(func(string) Policy { return Policy{MaxAge: time.Nanosecond} }) // it drops its oldest: nothing is kept, and nothing lost
	want(151)
}
