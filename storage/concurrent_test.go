package storage

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"testing"
	"time"

	"go.etcd.io/bbolt"

	"github.com/runnel-log/runnel/record"
)

// TestAppendersReadersAndMaintenanceAtOnce has every part of the store work at
// the same time; each reader follows its stream from the first record to the
// last while segments are sealed, rewritten and removed. Run it with -race.
func TestAppendersReadersAndMaintenanceAtOnce(t *testing.T) {
	s := openStore(t, Options{SegmentSize: 128 << 10, CommitEvery: time.Millisecond, Policy: func(stream string) Policy {
		if stream == "bulk" {
			return Policy{MaxSize: 100_000}
		}
		return Policy{}
	}})
	const records = 6000
	var wg sync.WaitGroup
	stop := make(chan struct{})
	for w := range 3 {
		stream := fmt.Sprint("s", w)
		wg.Go(func() {
			for n := uint64(0); n < records; {
				count := min(1+(n*7)%300, records-n)
				batches := []StreamBatch{{stream, noise(n, int(count))}, {"bulk", noise(n, 50)}}
				if _, err := s.Append(context.Background(), Unit{Batches: batches, Hurry: w == 0}); err != nil {
					t.Error(err)
					return
				}
				n += count
			}
		})
		wg.Go(func() { follow(t, s, stream, records) })
	}
	var background sync.WaitGroup
	background.Go(func() {
		for {
			select {
			case <-stop:
				return
			case <-s.Changed():
				s.maintain()
				_ = s.Streams()
				_ = s.Seek("bulk", time.Now())
			}
		}
	})
	wg.Wait()
	close(stop)
	put(t, s, "end", numbered(0, 1, 8))
	background.Wait()
}

// follow reads a stream as a forwarder does, until it has seen n records.
func follow(t *testing.T, s *Store, stream string, n uint64) {
	b := record.NewBatch()
	defer b.Release()
	for next := uint64(1); next <= n; {
		first, err := s.Read(stream, next, b)
		if errors.Is(err, io.EOF) {
			ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
			err = s.Wait(ctx, stream, next)
			cancel()
			if err != nil {
				t.Errorf("%s: wait for %d: %v", stream, next, err)
				return
			}
			continue
		}
		if err != nil || first > next {
			t.Errorf("%s: read at %d gave %d, %v", stream, next, first, err)
			return
		}
		for i := next - first; i < uint64(b.Len()); i++ {
			if got := numberOf(b.At(int(i))); got != first+i-1 {
				t.Errorf("%s: offset %d holds %d", stream, first+i, got)
				return
			}
		}
		next = first + uint64(b.Len())
		s.MoveCursor("f", stream, next)
	}
}

// TestAppendAllocatesPerBlockNotPerRecord guards the hot path: what it
// allocates is shared by all records of a block.
func TestAppendAllocatesPerBlockNotPerRecord(t *testing.T) {
	s := openStore(t, Options{CommitEvery: time.Hour})
	template := numbered(0, 8, 200)
	batches := make([]StreamBatch, 1)
	perAppend := testing.AllocsPerRun(2000, func() {
		b := record.NewBatch()
		b.AppendBatch(template, 0, 8)
		batches[0] = StreamBatch{"a", b}
		if _, err := s.Append(context.Background(), Unit{Batches: batches}); err != nil {
			t.Fatal(err)
		}
	})
	// One in ordinary builds; under -race, sync.Pool drops some of what it is given.
	if perAppend > 2 {
		t.Errorf("%.1f allocations for an Append of 8 records, want at most 2", perAppend)
	}
}

// TestAppendBlocksWhenTooMuchIsStaged fills memory while the disk is slow.
func TestAppendBlocksWhenTooMuchIsStaged(t *testing.T) {
	s := openStore(t, Options{})
	gate := make(chan struct{})
	s.intake.mu.Lock()
	s.commitTx = func(tx *bbolt.Tx) error { <-gate; return tx.Commit() }
	s.intake.mu.Unlock()
	template := numbered(0, 512, 900)
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	staged := 0
	for {
		b := record.NewBatch()
		b.AppendBatch(template, 0, 512)
		size := b.Size()
		if _, err := s.Append(ctx, Unit{Batches: []StreamBatch{{"a", b}}}); err != nil {
			if !errors.Is(err, context.DeadlineExceeded) {
				t.Fatal(err)
			}
			break
		}
		if staged += size; staged > MaxStaged+size {
			t.Fatalf("%d bytes staged, the bound is %d", staged, MaxStaged)
		}
	}
	if staged < MaxStaged/2 {
		t.Fatalf("blocked at %d bytes, want about %d", staged, MaxStaged)
	}
	close(gate)
	put(t, s, "a", numbered(0, 1, 8))
}
