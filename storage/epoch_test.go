package storage

import (
	"context"
	"encoding/binary"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"

	"go.etcd.io/bbolt"

	"github.com/runnel-log/runnel/record"
)

// wantParts compares what a stream has with what was written: one part an epoch,
// and every block of it says so.
func wantParts(t *testing.T, s *Store, stream string, want []Part) {
	t.Helper()
	if got := s.Parts(stream); !slices.Equal(got, want) {
		t.Fatalf("parts of %s: got %v, want %v", stream, got, want)
	}
	b := record.NewBatch()
	defer b.Release()
	for _, p := range want {
		for at := p.First; at < p.Next; {
			first, epoch, err := s.ReadWritten(stream, at, b)
			if err != nil || epoch != p.Epoch || first+uint64(b.Len()) > p.Next || first > at {
				t.Fatalf("block at %d: %d to %d under %d, %v; want under %d, within %d", at, first, first+uint64(b.Len()), epoch, err, p.Epoch, p.Next)
			}
			if h, ok := s.Head(stream, at); !ok || h.Epoch != epoch {
				t.Fatalf("head at %d: under %d, want %d", at, h.Epoch, epoch)
			}
			at = first + uint64(b.Len())
		}
	}
}

// runsOf opens a store so many times, writes two small blocks each time, and closes
// it; parts are what it then has.
func runsOf(t *testing.T, o Options, runs int) (parts []Part) {
	t.Helper()
	for i := range uint64(runs) {
		s := openStore(t, o)
		first := 1 + 20*i
		put(t, s, "a", numbered(first-1, 10, 50))
		put(t, s, "a", numbered(first+9, 10, 50))
		parts = append(parts, Part{s.Epoch(), first, first + 20})
		wantParts(t, s, "a", parts)
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
	return parts
}

func TestEachOpeningWritesUnderAnEpochOfItsOwn(t *testing.T) {
	o := Options{Dir: t.TempDir()}
	parts := runsOf(t, o, 20)
	seen := map[uint32]bool{0: true}
	for _, p := range parts {
		if seen[p.Epoch] {
			t.Errorf("epoch %d is there twice, or none", p.Epoch)
		}
		seen[p.Epoch] = true
	}
	s, err := View(o)
	if err != nil {
		t.Fatal(err)
	}
	wantParts(t, s, "a", parts)
	if s.Epoch() != 0 {
		t.Errorf("a store that is looked at writes under %d", s.Epoch())
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
}

// TestRewritingKeepsEpochsApart: the small blocks of many runs are put together, but
// never those of two; and what was merged still says who wrote it, also in the segment's index.
func TestRewritingKeepsEpochsApart(t *testing.T) {
	o := Options{Dir: t.TempDir(), SegmentSize: 1 << 20}
	var parts []Part
	for i := range uint64(2 * smallRun) {
		s := openStore(t, o)
		s.rotate.Store(true) // so that each run has a segment
		for j := range uint64(4) {
			put(t, s, "a", numbered(8*i+2*j, 2, 50))
		}
		parts = append(parts, Part{s.Epoch(), 8*i + 1, 8*i + 9})
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
	s := openStore(t, o)
	s.rotate.Store(true)
	put(t, s, "b", numbered(0, 1, 50))
	for range 4 {
		s.maintain()
	}
	if s.generationsAbove(0) == 0 {
		t.Fatal("no segment was rewritten")
	}
	for _, p := range parts[:smallRun] {
		if h, _ := s.Head("a", p.First); h.Next != p.Next {
			t.Errorf("blocks of one epoch from %d on were not put together: %d, want %d", p.First, h.Next, p.Next)
		}
	}
	wantParts(t, s, "a", parts)
	s = reopened(t, s, o)
	wantParts(t, s, "a", parts)
	_, numbers := numbersFrom(t, s, "a", 1)
	wantRun(t, numbers, 0, 8*2*smallRun)
}

// TestSalvageKeepsTheEpoch reads every segment from its pages alone.
func TestSalvageKeepsTheEpoch(t *testing.T) {
	o := Options{Dir: t.TempDir()}
	parts := runsOf(t, o, 5)
	names, err := filepath.Glob(filepath.Join(o.Dir, "store", "*.seg"))
	if err != nil || len(names) == 0 {
		t.Fatal(names, err)
	}
	for _, name := range names {
		b, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		clear(b[:8192]) // both meta pages
		if err := os.WriteFile(name, b, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	s := openStore(t, o)
	wantParts(t, s, "a", parts)
	for range 4 { // a checkpoint, and then replacements
		s.maintain()
	}
	wantParts(t, s, "a", parts)
	wantParts(t, reopened(t, s, o), "a", parts)
}

// TestNewEpochDividesWhatIsAppended: what was appended before NewEpoch may be under
// the old epoch or the new one, what is appended after it is under the new one, and no block of the old follows.
func TestNewEpochDividesWhatIsAppended(t *testing.T) {
	s := openStore(t, Options{})
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	var wg sync.WaitGroup
	wg.Go(func() {
		for n := uint64(0); ctx.Err() == nil; n++ {
			r, err := s.Append(ctx, Unit{Batches: []StreamBatch{{"a", numbered(n, 1, 50)}}, Hurry: true})
			if err == nil && n%4 == 0 {
				_ = r.Wait(ctx) // only the end of the test ends it
			}
		}
	})
	type division struct {
		old, epoch uint32
		stored     uint64 // when it was there
	}
	var divisions []division
	grown := uint64(0)
	for range 30 {
		if err := s.Wait(t.Context(), "a", grown+3); err != nil {
			t.Fatal(err)
		}
		old := s.Epoch()
		epoch := s.NewEpoch()
		if epoch == old || s.Epoch() != epoch {
			t.Fatalf("epoch %d after %d, and the store says %d", epoch, old, s.Epoch())
		}
		grown = info(t, s, "a").Next
		divisions = append(divisions, division{old, epoch, grown})
	}
	if err := s.Wait(t.Context(), "a", grown+3); err != nil {
		t.Fatal(err)
	}
	stop()
	wg.Wait()
	parts := map[uint32]Part{}
	for _, p := range s.Parts("a") {
		if _, twice := parts[p.Epoch]; twice {
			t.Errorf("epoch %d has two parts", p.Epoch)
		}
		parts[p.Epoch] = p
	}
	for _, d := range divisions {
		if p := parts[d.old]; p.Next > d.stored {
			t.Errorf("the old epoch goes to %d, %d was there when the new one began", p.Next, d.stored)
		}
		if p := parts[d.epoch]; p.Next == 0 {
			t.Errorf("nothing was written under %d", d.epoch)
		}
	}
}

// TestNewEpochWaitsForTheBlockThatIsBeingWritten, or that would follow under the old epoch.
func TestNewEpochWaitsForTheBlockThatIsBeingWritten(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := openStore(t, Options{Dir: t.TempDir()})
		old := s.Epoch()
		put(t, s, "a", numbered(0, 5, 10))
		writing, writes := make(chan struct{}, 1), make(chan struct{})
		s.intake.mu.Lock() // the committer is idle
		s.commitTx = func(tx *bbolt.Tx) error {
			select {
			case writing <- struct{}{}:
			case <-writes:
			}
			<-writes
			return tx.Commit()
		}
		s.intake.mu.Unlock()
		r, err := s.Append(t.Context(), Unit{Batches: []StreamBatch{{"a", numbered(5, 5, 10)}}, Hurry: true})
		if err != nil {
			t.Fatal(err)
		}
		<-writing
		begun := make(chan uint32, 1)
		go func() { begun <- s.NewEpoch() }()
		synctest.Wait()
		select {
		case <-begun:
			t.Fatal("a block of the old epoch is still to come")
		default:
		}
		close(writes)
		if err := r.Wait(t.Context()); err != nil {
			t.Fatal(err)
		}
		epoch := <-begun
		put(t, s, "a", numbered(10, 5, 10))
		wantParts(t, s, "a", []Part{{old, 1, 11}, {epoch, 11, 16}})
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	})
}

// TestNewEpochDoesNotWaitForAFullDisk: what a disk has refused is written under the epoch of the
// time when it takes it.
func TestNewEpochDoesNotWaitForAFullDisk(t *testing.T) {
	s := openStore(t, Options{})
	put(t, s, "a", numbered(0, 5, 10))
	old := s.Epoch()
	takes, tried := make(chan struct{}), make(chan struct{}, 100)
	s.intake.mu.Lock()
	s.commitTx = func(tx *bbolt.Tx) error {
		select {
		case <-takes:
			return tx.Commit()
		default:
			select {
			case tried <- struct{}{}:
			default:
			}
			return &os.PathError{Op: "write", Path: "x", Err: syscall.ENOSPC}
		}
	}
	s.intake.mu.Unlock()
	r, err := s.Append(t.Context(), Unit{Batches: []StreamBatch{{"a", numbered(5, 5, 10)}}, Hurry: true})
	if err != nil {
		t.Fatal(err)
	}
	<-tried
	epoch := s.NewEpoch()
	close(takes)
	if err := r.Wait(t.Context()); err != nil {
		t.Fatal(err)
	}
	wantParts(t, s, "a", []Part{{old, 1, 6}, {epoch, 6, 11}})
}

// TestPartsFollowRetention: what is gone is in no part.
func TestPartsFollowRetention(t *testing.T) {
	o := Options{Dir: t.TempDir()}
	parts := runsOf(t, o, 3)
	s := openStore(t, o)
	s.mu.Lock()
	for st := s.streams["a"]; st.first < 31; {
		st.pop()
	}
	s.mu.Unlock()
	wantParts(t, s, "a", []Part{{parts[1].Epoch, 31, 41}, parts[2]})
	if got := s.Parts("nothing"); got != nil {
		t.Errorf("parts %v of a stream that never was", got)
	}
}

// encodeIndexOf1 is what builds wrote whose indexes had no epochs.
func encodeIndexOf1(x *segmentIndex) []byte {
	le := binary.LittleEndian
	b := make([]byte, 16)
	le.PutUint32(b[4:], 1)
	le.PutUint64(b[8:], x.last)
	for name, runs := range x.streams {
		var heads []head
		for _, r := range runs {
			heads = append(heads, r.heads...)
		}
		b = append(le.AppendUint16(b, uint16(len(name))), name...)
		b = le.AppendUint32(b, uint32(len(heads)))
		for i := range heads {
			b = appendHead(b, &heads[i])
		}
	}
	le.PutUint32(b, checksum(b[4:]))
	return b
}

// oldStore makes a store as builds did that counted epochs from 1, one more for each
// fork, and whose indexes did not have them.
func oldStore(t *testing.T, o Options, forks uint32) (parts []Part) {
	t.Helper()
	next := uint64(1)
	for epoch := uint32(1); epoch <= forks; epoch++ {
		s := openStore(t, o)
		s.mu.Lock()
		s.epochs.now = epoch
		s.identity.fork = epoch
		s.mu.Unlock()
		for range 3 {
			put(t, s, "a", numbered(next-1, 300, 50))
			put(t, s, "b", numbered(next-1, 300, 50))
			next += 300
			s.rotate.Store(true)
		}
		put(t, s, "b", numbered(next-1, 300, 50)) // so that the last one of a is sealed
		parts = append(parts, Part{epoch, next - 900, next})
		s.maintain() // writes the indexes
		s.mu.RLock()
		segments := slices.Clone(s.segments)
		s.mu.RUnlock()
		for _, g := range segments {
			x, ok := g.indexed(0)
			if !ok {
				continue
			}
			err := g.update(func(tx *bbolt.Tx) error { return tx.Bucket(bucketIndex).Put(keyHeads, encodeIndexOf1(&x)) })
			if err != nil {
				t.Fatal(err)
			}
			if _, ok := g.indexed(0); ok {
				t.Fatal("an index without epochs serves where there were several")
			}
		}
		if err := s.dir.saveIdentity(s.identity); err != nil {
			t.Fatal(err)
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
	return parts
}

// TestAStoreOfCountedEpochsIsRead: what was written under 1, 2, 3 stays under those.
func TestAStoreOfCountedEpochsIsRead(t *testing.T) {
	for forks := uint32(1); forks <= 3; forks++ {
		t.Run(fmt.Sprint(forks), func(t *testing.T) {
			o := Options{Dir: t.TempDir(), CommitEvery: 1}
			parts := oldStore(t, o, forks)
			s := openStore(t, o)
			if _, fork := s.Identity(); fork != forks {
				t.Errorf("fork %d, want %d", fork, forks)
			}
			wantParts(t, s, "a", parts)
			if _, ok := s.segments[0].indexed(1); !ok {
				t.Error("the index of the old build does not serve a store that never forked")
			}
			next := parts[len(parts)-1].Next
			put(t, s, "a", numbered(next-1, 10, 50))
			wantParts(t, s, "a", append(parts, Part{s.Epoch(), next, next + 10}))
			_, numbers := numbersFrom(t, s, "a", 1)
			wantRun(t, numbers, 0, next+9)
		})
	}
}
