package storage

import (
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"go.etcd.io/bbolt"
)

// TestTroubleSaysWhyNothingIsTaken: a disk that refuses, one that does not answer, a
// store that is full; and nothing once that is over. No file is named.
func TestTroubleSaysWhyNothingIsTaken(t *testing.T) {
	s := openStore(t, Options{CommitEvery: time.Millisecond, Policy: func(string) Policy { return Policy{OnFull: PushBack} }})
	put(t, s, "a", noise(0, 10))
	if err := s.Trouble(); err != nil {
		t.Fatalf("trouble without any: %v", err)
	}
	mended, refused := make(chan struct{}), make(chan struct{}, 1)
	s.intake.mu.Lock()
	work := s.commitTx
	s.commitTx = func(tx *bbolt.Tx) error {
		select {
		case <-mended:
			return work(tx)
		default:
			select {
			case refused <- struct{}{}:
			default:
			}
			return &os.PathError{Op: "write", Path: s.options.Dir, Err: syscall.EROFS}
		}
	}
	s.intake.mu.Unlock()
	r, err := s.Append(t.Context(), Unit{Batches: []StreamBatch{{"a", noise(10, 10)}}, Hurry: true})
	if err != nil {
		t.Fatal(err)
	}
	for range 3 { // the second try decides, the third comes after it
		<-refused
	}
	if err := s.Trouble(); err == nil || !strings.HasSuffix(err.Error(), "takes nothing: read-only file system") || strings.Contains(err.Error(), "/") {
		t.Errorf("got %v, want what the system said, and no file", err)
	}
	close(mended)
	if err := r.Wait(t.Context()); err != nil {
		t.Fatal(err)
	}
	put(t, s, "a", noise(20, 10)) // the outcome is noted after a commit
	if err := s.Trouble(); err != nil {
		t.Errorf("the disk takes data again, and the trouble is %v", err)
	}

	if err := s.Close(); err != nil { // so that nothing else moves what follows
		t.Fatal(err)
	}
	s.writing.Store(time.Now().Add(-time.Minute).UnixNano())
	if err := s.Trouble(); err == nil || !strings.Contains(err.Error(), "not answered for 1m0s") {
		t.Errorf("got %v, want that the disk does not answer", err)
	}
	s.writing.Store(0)
	s.mu.Lock()
	s.full, s.byDisk = true, false
	s.mu.Unlock()
	if err := s.Trouble(); err == nil || !strings.Contains(err.Error(), "agent.max_size") {
		t.Errorf("got %v, want that the store is full", err)
	}
	s.mu.Lock()
	s.byDisk = true
	s.mu.Unlock()
	if err := s.Trouble(); err == nil || !strings.Contains(err.Error(), "store is full") || strings.Contains(err.Error(), "agent.max_size") {
		t.Errorf("got %v, want that it is the disk", err)
	}
}
