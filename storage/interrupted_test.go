package storage

import (
	"os"
	"testing"
)

// TestARunThatDidNotEndIsKnown: the next one says so, and the one after that does not.
func TestARunThatDidNotEndIsKnown(t *testing.T) {
	run := func(what, dir string, want bool) *Store {
		t.Helper()
		s := openStore(t, Options{Dir: dir})
		if got := s.Books().Interrupted; got != want {
			t.Errorf("%s: got interrupted %v want %v", what, got, want)
		}
		put(t, s, "app", numbered(0, 1, 8))
		return s
	}
	closed := func(s *Store) {
		t.Helper()
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
	dir, killed := t.TempDir(), t.TempDir()
	closed(run("the first run", dir, false))
	s := run("after one that was closed", dir, false)
	if err := os.CopyFS(killed, os.DirFS(dir)); err != nil { // what kill -9 would leave
		t.Fatal(err)
	}
	closed(s)
	closed(run("after one that was killed", killed, true))
	closed(run("after the next, which was closed", killed, false))
	closed(run("after one that was closed in the end", dir, false))
}
