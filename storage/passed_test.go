package storage

import (
	"context"
	"os"
	"testing"
	"time"

	"go.etcd.io/bbolt"
)

// fullBehind fills two segments with records of which f has passed the first 200 in the unit that
// pass makes, on a disk that takes no commit from then on, and the receipt of that unit: so neither it nor what
// others wrote is there, and what f has passed is in a sealed segment.
func fullBehind(t *testing.T, onFull OnFull, pass func() Unit) (*Store, *refusing, *Receipt) {
	t.Helper()
	s := openStore(t, Options{SegmentSize: 1 << 20, CommitEvery: time.Millisecond, Policy: func(string) Policy { return Policy{OnFull: onFull} }})
	s.MoveCursor("f", "a", 1)
	for i := range 4 {
		put(t, s, "a", numbered(uint64(i*50), 50, 30))
	}
	s.rotate.Store(true)
	put(t, s, "a", numbered(200, 50, 30))
	disk := refuse(s)
	disk.set(errNoSpace, false)
	if _, err := s.Append(t.Context(), Unit{Batches: []StreamBatch{{"a", numbered(250, 50, 30)}}, Hurry: true}); err != nil {
		t.Fatal(err)
	}
	<-disk.tried // so what comes now is in the group behind
	passed, err := s.Append(t.Context(), pass())
	if err != nil {
		t.Fatal(err)
	}
	return s, disk, passed
}

// afterKill opens what kill -9 would leave of a store now.
func afterKill(t *testing.T, s *Store) *Store {
	t.Helper()
	dir := t.TempDir()
	s.maintenance.Lock() // so that nothing is being written
	err := os.CopyFS(dir, os.DirFS(s.options.Dir))
	s.maintenance.Unlock()
	if err != nil {
		t.Fatal(err)
	}
	return openStore(t, Options{Dir: dir})
}

// begins waits until the first record of a that is here is the one at offset first, and
// what was before it has been given back.
func begins(t *testing.T, s *Store, first uint64) {
	t.Helper()
	for deadline := time.After(30 * time.Second); info(t, s, "a").First != first || segmentFiles(t, s) > 1; {
		select {
		case <-time.After(10 * time.Millisecond): // what a full disk gives up is no commit
		case <-deadline:
			t.Fatalf("a begins at %d in %d segments, want %d in one", info(t, s, "a").First, segmentFiles(t, s), first)
		}
	}
}

// saves waits until no cursor lies on disk before what retention has left.
func saves(t *testing.T, s *Store) {
	t.Helper()
	for deadline := time.After(30 * time.Second); ; {
		s.maintenance.Lock()
		s.mu.RLock()
		lagging := s.lagging
		s.mu.RUnlock()
		s.maintenance.Unlock()
		if !lagging {
			return
		}
		select {
		case <-time.After(10 * time.Millisecond): // a checkpoint is no commit
		case <-deadline:
			t.Fatal("a cursor is not on disk")
		}
	}
}

// goesOn gives the disk room and waits for what was passed on.
func goesOn(t *testing.T, disk *refusing, passed *Receipt) {
	t.Helper()
	disk.set(nil, false)
	if err := passed.Wait(t.Context()); err != nil {
		t.Fatal(err)
	}
}

// TestWhatAReaderHasPassedIsNotExpiredAfterAKill: a full disk gives up what the reader has,
// although the unit in which it said so finds no room; and then that is on disk.
func TestWhatAReaderHasPassedIsNotExpiredAfterAKill(t *testing.T) {
	for _, onFull := range []OnFull{DropOldest, PushBack} {
		s, disk, passed := fullBehind(t, onFull, func() Unit {
			return Unit{State: []Change{{Key: "mark", Value: []byte("200")}},
				Cursors: []CursorPass{{Name: "f", Stream: "a", Next: 201, Passed: Passed{Delivered: 200}, Loose: true}}}
		})
		begins(t, s, 201)
		if onFull == DropOldest { // may have gone while the reader had it
			saves(t, s)
		}
		killed := afterKill(t, s)
		for _, of := range []*Store{s, killed} {
			if got := cursorOf(t, of); got.Next != 201 || got.Expired != 0 || got.Passed.Delivered != 200 {
				t.Errorf("%d: got %+v, want all 200 delivered", onFull, got)
			}
			of.State("mark", func(_ string, value []byte) {
				if of == killed {
					t.Errorf("%d: the unit was on disk: %q", onFull, value)
				}
			})
		}
		goesOn(t, disk, passed)
		marks := 0
		afterKill(t, s).State("mark", func(string, []byte) { marks++ })
		if got := cursorOf(t, s); got.Next != 201 || marks != 1 {
			t.Errorf("%d: with room again: %+v and %d marks, want one", onFull, got, marks)
		}
	}
}

// TestWhatAUnitHoldsIsKeptBackUntilItIsOnDisk: a reader that has passed records on into a unit
// of its own, as dead letters, has them nowhere else until that is on disk.
func TestWhatAUnitHoldsIsKeptBackUntilItIsOnDisk(t *testing.T) {
	s, disk, passed := fullBehind(t, PushBack, func() Unit {
		return Unit{State: []Change{{Key: "holds", Value: []byte("51 to 200")}},
			Cursors: []CursorPass{{Name: "f", Stream: "a", Next: 51, Passed: Passed{Delivered: 50}, Loose: true}, {Name: "f", Stream: "a", Next: 201, Passed: Passed{Dead: 150}}}}
	})
	s.makeRoom(false)
	killed := afterKill(t, s)
	if got := cursorOf(t, killed); got.Next != 51 && got.Next != 1 || got.Expired != 0 {
		t.Errorf("got %+v, want nothing of what the unit holds passed, and nothing gone", got)
	}
	_, numbers := numbersFrom(t, killed, "a", 51)
	wantRun(t, numbers, 50, 200)
	begins(t, s, 201) // or the disk would be full for ever
	goesOn(t, disk, passed)
	if got := cursorOf(t, afterKill(t, s)); got.Next != 201 || got.Expired != 0 || got.Passed.Dead != 150 {
		t.Errorf("with room again: %+v", got)
	}
}

// TestACommitDoesNotTakeACheckpointBack: a commit that was on its way to the disk when a
// checkpoint was made says where cursors were before.
func TestACommitDoesNotTakeACheckpointBack(t *testing.T) {
	s := openStore(t, Options{CommitEvery: time.Millisecond})
	for i := range 4 {
		put(t, s, "a", numbered(uint64(i*50), 50, 30))
	}
	s.MoveCursor("f", "a", 1)
	if err := s.WaitCursor(t.Context(), "f", "a"); err != nil {
		t.Fatal(err)
	}
	saved, first, last := make(chan error, 1), make(chan bool, 1), make(chan struct{})
	first <- true
	s.intake.mu.Lock()
	s.commitTx = func(tx *bbolt.Tx) error {
		select {
		case <-first:
		default:
			<-last // what comes later is not on disk when the process is killed
			return tx.Commit()
		}
		s.PassCursor("f", "a", 201, Passed{Delivered: 150})
		s.mu.Lock()
		for range 3 {
			s.expire(s.streams["a"])
		}
		s.mu.Unlock()
		go func() {
			s.maintenance.Lock()
			defer s.maintenance.Unlock()
			saved <- s.saveCheckpoint()
		}()
		wait, stop := context.WithTimeout(context.Background(), 200*time.Millisecond) // it waits for us, as it should
		defer stop()
		select {
		case err := <-saved:
			saved <- err
		case <-wait.Done():
		}
		return tx.Commit()
	}
	s.intake.mu.Unlock()
	defer close(last)
	committed := s.Changed()
	s.PassCursor("f", "a", 51, Passed{Delivered: 50})
	if err := <-saved; err != nil {
		t.Fatal(err)
	}
	<-committed
	if got := cursorOf(t, afterKill(t, s)); got.Next != 201 || got.Expired != 0 {
		t.Errorf("got %+v, want all 200 delivered", got)
	}
}
