package storage

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// segmentFiles counts the segment files on disk.
func segmentFiles(t testing.TB, s *Store) int {
	t.Helper()
	names, err := filepath.Glob(filepath.Join(s.options.Dir, "store", "*.seg"))
	if err != nil {
		t.Fatal(err)
	}
	return len(names)
}

func info(t testing.TB, s *Store, stream string) StreamInfo {
	t.Helper()
	for _, i := range s.Streams() {
		if i.Name == stream {
			return i
		}
	}
	t.Fatalf("no stream %s", stream)
	return StreamInfo{}
}

func TestAgeTakesWhatIsTooOldAndGivesTheDiskBack(t *testing.T) {
	c := newClock()
	s := openStore(t, Options{Now: c.Now, SegmentSize: 64 << 10,
		Policy: func(string) Policy { return Policy{MaxAge: time.Hour} }})
	s.MoveCursor("f", "a", 101)
	for i := range 60 {
		put(t, s, "a", numbered(uint64(i*100), 100, 300))
		c.step(2 * time.Minute)
	}
	s.maintain()
	got := info(t, s, "a")
	// 60 batches two minutes apart: the last 30 are an hour old at most.
	if got.First != 3001 || got.Next != 6001 || got.Records != 3000 {
		t.Fatalf("first %d next %d records %d, want 3001 6001 3000", got.First, got.Next, got.Records)
	}
	if got.Expired != 2900 || s.Cursors()[0].Expired != 2900 {
		t.Fatalf("expired %d and %d by cursor, want 2900", got.Expired, s.Cursors()[0].Expired)
	}
	c.step(2 * time.Hour)
	s.maintain()
	put(t, s, "a", numbered(6000, 1, 10))
	s.maintain()
	if n := segmentFiles(t, s); n > 2 {
		t.Fatalf("%d segments are left, want at most 2", n)
	}
	reopened := s.options
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	s = openStore(t, reopened)
	if got := info(t, s, "a"); got.First != 6001 || got.Next != 6002 || got.Expired != 5900 {
		t.Fatalf("after reopening: %+v", got)
	}
	first, numbers := numbersFrom(t, s, "a", 1)
	if first != 6001 {
		t.Fatalf("first %d, want 6001", first)
	}
	wantRun(t, numbers, 6000, 1)
}

func TestSizeOfAStreamIsBounded(t *testing.T) {
	s := openStore(t, Options{SegmentSize: 64 << 10,
		Policy: func(string) Policy { return Policy{MaxSize: 20_000} }})
	for i := range 200 {
		put(t, s, "a", numbered(uint64(i*50), 50, 100))
	}
	got := info(t, s, "a")
	if got.Bytes > 20_000 || got.Bytes < 10_000 || got.Next != 10_001 {
		t.Fatalf("%+v, want at most 20000 bytes", got)
	}
	first, numbers := numbersFrom(t, s, "a", 1)
	wantRun(t, numbers, first-1, 10_001-first)
}

func TestTotalSizeIsBoundedAndOldestGoesFirst(t *testing.T) {
	s := openStore(t, Options{SegmentSize: 128 << 10, MaxSize: 1 << 20})
	random := func(i int) uint64 { return uint64(i) * 0x9E3779B97F4A7C15 }
	for i := range 150 {
		put(t, s, fmt.Sprint("s", i%3), noise(random(i), 300))
		if i%4 == 0 {
			s.maintain()
		}
		if total := diskUse(t, s); total > 1<<20+reserveBytes+400<<10 {
			t.Fatalf("after %d batches the store has %d bytes, want about 1 MiB at most", i, total)
		}
	}
	for i := range 3 {
		if got := info(t, s, fmt.Sprint("s", i)); got.First == 1 || got.Records == 0 {
			t.Errorf("%+v: want some gone and some left", got)
		}
	}
}

// diskUse is what the segments use up to their high-water marks.
func diskUse(t testing.TB, s *Store) int64 {
	t.Helper()
	s.mu.RLock()
	defer s.mu.RUnlock()
	sum := int64(0)
	for _, g := range s.segments {
		sum += g.size.Load()
	}
	return sum
}

func TestDropNewCountsWhatItDoesNotTake(t *testing.T) {
	s := openStore(t, Options{Policy: func(string) Policy { return Policy{MaxSize: 10_000, OnFull: DropNew} }})
	for i := range 100 {
		put(t, s, "a", numbered(uint64(i*50), 50, 100))
	}
	got := info(t, s, "a")
	if got.First != 1 || got.Dropped == 0 || got.Dropped+got.Records != 5000 {
		t.Fatalf("%+v, want stored + dropped = 5000 and nothing old gone", got)
	}
	_, numbers := numbersFrom(t, s, "a", 1)
	wantRun(t, numbers, 0, got.Records)
}

// TestWhatASenderIsToldToBeSafeIsNeverDropped: a stream that drops what is new,
// and a disk that takes nothing, are ErrFull to whoever would acknowledge.
func TestWhatASenderIsToldToBeSafeIsNeverDropped(t *testing.T) {
	s := openStore(t, Options{Policy: func(string) Policy { return Policy{MaxSize: 10_000, OnFull: DropNew} }})
	stored := uint64(0)
	var err error
	for err == nil && stored < 5000 {
		var r *Receipt
		if r, err = s.Append(t.Context(), Unit{Batches: []StreamBatch{{"a", numbered(stored, 50, 100)}}, Hurry: true, Acks: true}); err == nil {
			if err := r.Wait(t.Context()); err != nil {
				t.Fatal(err)
			}
			stored += 50
		}
	}
	if got := info(t, s, "a"); !errors.Is(err, ErrFull) || got.Dropped != 0 || got.Records != stored {
		t.Fatalf("%v, %+v; want ErrFull, and %d records of which none was dropped", err, got, stored)
	}
	s.disk(errors.New("no"))
	if _, err := s.Append(t.Context(), Unit{Batches: []StreamBatch{{"b", numbered(0, 1, 100)}}, Acks: true}); !errors.Is(err, ErrFull) {
		t.Errorf("on a disk that takes nothing: got %v, want ErrFull", err)
	}
	s.disk(nil)
	put(t, s, "b", numbered(0, 1, 100))
}

func TestPushBackKeepsWhatACursorHasNotDelivered(t *testing.T) {
	s := openStore(t, Options{Policy: func(string) Policy { return Policy{MaxSize: 20_000, MaxAge: time.Nanosecond, OnFull: PushBack} }})
	s.MoveCursor("f", "a", 1)
	var err error
	stored := uint64(0)
	for range 1000 {
		var r *Receipt
		r, err = s.Append(t.Context(), Unit{Batches: []StreamBatch{{"a", numbered(stored, 50, 100)}}, Hurry: true})
		if err != nil {
			break
		}
		if err := r.Wait(t.Context()); err != nil {
			t.Fatal(err)
		}
		stored += 50
	}
	if !errors.Is(err, ErrFull) || err.Error() != "store is full: stream a has its max_size of 20000 bytes" {
		t.Fatalf("got %v, want ErrFull and which limit", err)
	}
	_, numbers := numbersFrom(t, s, "a", 1)
	wantRun(t, numbers, 0, stored)
	s.MoveCursor("f", "a", stored+1)
	s.maintain()
	put(t, s, "a", numbered(stored, 50, 100))
	if got := info(t, s, "a"); got.Expired != 0 {
		t.Fatalf("%d expired, want none", got.Expired)
	}
}

func TestAMostlyDeadSegmentIsRewrittenWithTheSameOffsets(t *testing.T) {
	s := openStore(t, Options{SegmentSize: 512 << 10, Policy: func(stream string) Policy {
		if stream == "app" {
			return Policy{MaxSize: 50_000}
		}
		return Policy{}
	}})
	n := uint64(0)
	for i := range 120 {
		put(t, s, "app", noise(uint64(i*400), 400))
		put(t, s, "errors", numbered(n, 3, 100))
		n += 3
		if i%10 == 0 {
			s.maintain()
		}
	}
	for range 5 {
		s.maintain()
	}
	if total := diskUse(t, s); total > 3<<20 {
		t.Errorf("%d bytes on disk, want the dead ones gone", total)
	}
	_, numbers := numbersFrom(t, s, "errors", 1)
	wantRun(t, numbers, 0, n)
	o := s.options
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	s = openStore(t, o)
	_, numbers = numbersFrom(t, s, "errors", 1)
	wantRun(t, numbers, 0, n)
	if s.generationsAbove(0) == 0 {
		t.Error("no segment was rewritten")
	}
}

func (s *Store) generationsAbove(n uint32) (count int) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	for _, g := range s.segments {
		if g.generation > n {
			count++
		}
	}
	return count
}

func TestAQuietHostsBlocksAreMerged(t *testing.T) {
	s := openStore(t, Options{CommitEvery: time.Nanosecond})
	const lines = 3 * maxEntries
	for i := range uint64(lines) {
		r, err := s.Append(context.Background(), Unit{Batches: []StreamBatch{{"a", numbered(i, 1, 60)}}, Hurry: true})
		if err != nil {
			t.Fatal(err)
		}
		if i%8 == 0 {
			if err := r.Wait(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
	}
	s.rotate.Store(true)
	put(t, s, "a", numbered(lines, 1, 60))
	for range 3 {
		s.maintain()
	}
	s.mu.RLock()
	heads := 0
	for _, r := range s.streams["a"].runs {
		heads += len(r.heads)
	}
	s.mu.RUnlock()
	if heads > lines/100 {
		t.Errorf("%d blocks in the index for %d lines", heads, lines)
	}
	_, numbers := numbersFrom(t, s, "a", 1)
	wantRun(t, numbers, 0, lines+1)
}

func TestAFullDiskPushesBackDropsAndResumes(t *testing.T) {
	s := openStore(t, Options{SegmentSize: 64 << 10, Policy: func(stream string) Policy {
		return map[string]Policy{"push": {OnFull: PushBack}, "new": {OnFull: DropNew}}[stream]
	}})
	s.MoveCursor("f", "push", 1)
	put(t, s, "push", numbered(0, 10, 100))
	put(t, s, "new", numbered(0, 10, 100))
	s.maintenance.Lock()
	s.free = func(string) (int64, bool) { return -1 << 40, true }
	s.maintenance.Unlock()
	s.maintain()
	if _, err := s.Append(t.Context(), Unit{Batches: []StreamBatch{{"push", numbered(10, 10, 100)}}, Hurry: true}); !errors.Is(err, ErrFull) {
		t.Fatalf("got %v, want ErrFull", err)
	}
	put(t, s, "new", numbered(10, 10, 100))
	s.maintenance.Lock()
	s.free = func(string) (int64, bool) { return 1 << 40, true }
	s.maintenance.Unlock()
	s.maintain()
	put(t, s, "push", numbered(10, 10, 100))
	put(t, s, "new", numbered(20, 10, 100))
	_, numbers := numbersFrom(t, s, "push", 1)
	wantRun(t, numbers, 0, 20)
	if got := info(t, s, "new"); got.Dropped != 10 || got.Next != 21 {
		t.Fatalf("%+v, want 10 dropped", got)
	}
}

func TestLeftoversOfAnInterruptedRewriteAreRecognised(t *testing.T) {
	s := openStore(t, Options{SegmentSize: 512 << 10, Policy: func(stream string) Policy {
		if stream == "app" {
			return Policy{MaxSize: 50_000}
		}
		return Policy{}
	}})
	n := uint64(0)
	for i := range 60 {
		put(t, s, "app", noise(uint64(i*400), 400))
		put(t, s, "errors", numbered(n, 3, 100))
		n += 3
	}
	o := s.options
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	old := t.TempDir()
	if err := os.CopyFS(filepath.Join(old, "all"), os.DirFS(filepath.Join(o.Dir, "store"))); err != nil {
		t.Fatal(err)
	}
	s = openStore(t, o)
	for range 4 {
		s.maintain()
	}
	if s.generationsAbove(0) == 0 {
		t.Fatal("no segment was rewritten")
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	// As if the process had died between the rename and the removal of the old files.
	names, _ := filepath.Glob(filepath.Join(old, "all", "*.seg"))
	for _, name := range names[:len(names)-1] {
		to := filepath.Join(o.Dir, "store", filepath.Base(name))
		if _, err := os.Stat(to); err == nil {
			continue
		}
		text, err := os.ReadFile(name)
		if err == nil {
			err = os.WriteFile(to, text, 0o600)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	s = openStore(t, o)
	_, numbers := numbersFrom(t, s, "errors", 1)
	wantRun(t, numbers, 0, n)
}

// TestWhatRetentionTookIsGoneAfterACrash: where the records' segment is older than the
// one that says they were taken, they are neither counted nor come back.
func TestWhatRetentionTookIsGoneAfterACrash(t *testing.T) {
	o := Options{Dir: t.TempDir(), SegmentSize: 1 << 20}
	s := openStore(t, o)
	for i := range 4 {
		put(t, s, "a", numbered(uint64(i*50), 50, 30))
	}
	s.rotate.Store(true)
	put(t, s, "b", numbered(0, 1, 30)) // ends the segment
	put(t, s, "b", numbered(1, 1, 30))
	if n := segmentFiles(t, s); n != 2 {
		t.Fatalf("%d segments", n)
	}
	s.mu.Lock()
	for range 3 {
		s.expire(s.streams["a"])
	}
	s.mu.Unlock()
	put(t, s, "b", numbered(2, 1, 30)) // has it written that a begins later
	want := info(t, s, "a")
	crashed := o
	crashed.Dir = t.TempDir()
	if err := os.CopyFS(crashed.Dir, os.DirFS(o.Dir)); err != nil {
		t.Fatal(err)
	}
	again := openStore(t, crashed)
	if got := info(t, again, "a"); got.First != 151 || got.Records != 50 || got.Records != want.Records || got.Bytes != want.Bytes {
		t.Errorf("got %+v\nwant %+v", got, want)
	}
	again.mu.Lock()
	again.expire(again.streams["a"])
	again.mu.Unlock()
	if got := info(t, again, "a"); got.First != 201 || got.Records != 0 {
		t.Errorf("after the last block was taken: %+v", got)
	}
}
