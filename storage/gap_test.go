package storage

import (
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/runnel-log/runnel/record"
)

// TestAHoleIsStatedToReaders loses the first and a middle segment for good.
func TestAHoleIsStatedToReaders(t *testing.T) {
	dir, n := damageStore(t)
	names, _ := filepath.Glob(filepath.Join(dir, "store", "*.seg"))
	for _, name := range []string{names[0], names[2]} {
		if err := os.WriteFile(name, make([]byte, sizeOf(name)), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	o := Options{Dir: dir, SegmentSize: 256 << 10}
	s := openStore(t, o)
	gaps := s.Gaps()
	if len(gaps) != 2 || gaps[0].From != 1 || gaps[1].From <= gaps[0].To || gaps[1].To > n {
		t.Fatalf("gaps: %+v", gaps)
	}
	if i := info(t, s, "a"); i.First != 1 || i.Next != n+1 || i.Records != n-(gaps[0].To-gaps[0].From)-(gaps[1].To-gaps[1].From) {
		t.Fatalf("%+v", i)
	}
	b := record.NewBatch()
	defer b.Release()
	for _, g := range gaps {
		h, ok := s.Head("a", g.From+5)
		if !ok || !h.Damaged || h.First != g.From || h.Next != g.To || h.MinReceived > h.MaxReceived {
			t.Fatalf("%+v %v", h, ok)
		}
		if _, _, err := s.ReadBlock("a", g.From+5, b); !errors.Is(err, ErrDamaged) {
			t.Fatalf("got %v, want ErrDamaged", err)
		}
		if first, err := s.Read("a", g.From+5, b); err != nil || first != g.To {
			t.Fatalf("read at %d, %v; want %d", first, err, g.To)
		}
		if h, ok := s.Head("a", g.To); !ok || h.Damaged || h.First != g.To {
			t.Fatalf("%+v %v", h, ok)
		}
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	// They are known from now on, and go with retention.
	s = openStore(t, o)
	if again := s.Gaps(); len(again) != 2 || !again[0].Found.Equal(gaps[0].Found) {
		t.Fatalf("gaps: %+v, want %+v", again, gaps)
	}
	s.SetPolicy(func(string) Policy { return Policy{MaxSize: 1} })
	s.maintain()
	if left := s.Gaps(); len(left) != 0 {
		t.Fatalf("retention has passed %+v", left)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	s = openStore(t, o)
	if left := s.staged(stateGap); len(left) != 0 {
		t.Fatalf("the state still has %d gaps", len(left))
	}
}

// TestACheckpointOfUnknownOutcomeIsMadeAnew does what follows a checkpoint whose
// sync failed, though it is in the file.
func TestACheckpointOfUnknownOutcomeIsMadeAnew(t *testing.T) {
	dir := t.TempDir()
	s := openStore(t, Options{Dir: dir})
	w, err := writerOf(s)
	if err != nil {
		t.Fatal(err)
	}
	for n := range 20 {
		r, _, err := w.append(s, map[string]int{"a": 5}, true)
		if err == nil {
			err = r.Wait(t.Context())
		}
		if err != nil {
			t.Fatal(err)
		}
		if n%8 != 5 {
			continue
		}
		s.maintenance.Lock()
		before, _ := os.Stat(s.dir.checkpoint())
		moved, _ := s.kept.take(false)
		s.kept.restore(moved) // as a failed checkpoint does
		s.unsure = true
		err = s.saveCheckpoint()
		after, _ := os.Stat(s.dir.checkpoint())
		s.maintenance.Unlock()
		if err != nil || s.unsure || os.SameFile(before, after) {
			t.Fatalf("%v: the file is the old one", err)
		}
	}
	names, _ := filepath.Glob(filepath.Join(dir, "store", "*.seg"))
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	for _, name := range names { // nothing but the checkpoint says what there was
		if err := os.Remove(name); err != nil {
			t.Fatal(err)
		}
	}
	s = openStore(t, Options{Dir: dir})
	if err := wantOneTruth(s, false); err != nil {
		t.Fatal(err)
	}
}

// TestADiskThatResumesWithNothingToWriteIsNotForgotten has a rotation fail that no
// record waits for: while streams push back none will come, and once it
// succeeds there is nothing to commit.
func TestADiskThatResumesWithNothingToWriteIsNotForgotten(t *testing.T) {
	s := openStore(t, Options{Policy: func(string) Policy { return Policy{OnFull: PushBack} }})
	put(t, s, "a", numbered(0, 10, 10))
	var blockers []string
	for generation := range uint32(2) {
		path := segmentName(s.dir.segments(), s.sequence, generation) + temporary
		if err := os.MkdirAll(filepath.Join(path, "in the way"), 0o700); err != nil {
			t.Fatal(err)
		}
		blockers = append(blockers, path)
	}
	s.rotate.Store(true)
	s.touched()
	until := func(want error) {
		t.Helper()
		for deadline := time.After(10 * time.Second); ; {
			r, err := s.Append(t.Context(), Unit{})
			if err == nil {
				err = r.Wait(t.Context())
			}
			if s.mu.RLock(); err == nil && s.hard {
				err = ErrFull
			}
			s.mu.RUnlock()
			if errors.Is(err, want) {
				return
			}
			select {
			case <-deadline:
				t.Fatalf("got %v, want %v", err, want)
			case <-time.After(5 * time.Millisecond):
			}
		}
	}
	until(ErrFull)
	for _, path := range blockers {
		if err := os.RemoveAll(path); err != nil {
			t.Fatal(err)
		}
	}
	until(nil)
	put(t, s, "a", numbered(10, 10, 10))
	_, numbers := numbersFrom(t, s, "a", 1)
	wantRun(t, numbers, 0, 20)
}
