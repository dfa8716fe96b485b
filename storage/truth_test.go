package storage

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"go.etcd.io/bbolt"
)

// writer is several callers of Append that keep state together, as the pipeline
// does with its modules: one turn at a time, ended when the unit has its place.
// Unit n sets
//
//	unit         n
//	count/STREAM how many records the stream has got so far
//	held/n       something, and takes back held/n-5
//	blob         now and then, something large that says n
type writer struct {
	turn   sync.Mutex // guards all below
	unit   uint64
	counts map[string]uint64
	book   *book
}

const heldUnits = 5

// writerOf goes on where the state says.
func writerOf(s *Store) (*writer, error) {
	w := &writer{counts: map[string]uint64{}, book: bookOf(s)}
	s.MoveCursor(deadCursor, "a", 1)
	var errs []error
	s.State("", func(key string, value []byte) {
		if key != "unit" && !strings.HasPrefix(key, "count/") {
			return
		}
		n, err := strconv.ParseUint(string(value), 10, 64)
		errs = append(errs, err)
		if key == "unit" {
			w.unit = n
		} else {
			w.counts[key[len("count/"):]] = n
		}
	})
	return w, errors.Join(errs...)
}

// append makes one unit of so many records for each stream. reached is how many
// records each of the streams has with it.
func (w *writer) append(s *Store, counts map[string]int, hurry bool) (r *Receipt, reached map[string]uint64, err error) {
	w.turn.Lock()
	w.unit++
	n := w.unit
	u := Unit{Hurry: hurry, Staged: w.turn.Unlock, Account: &w.book.Account, Posting: w.book}
	if counts = maps.Clone(counts); n%3 == 0 && counts != nil { // somebody's dead letter
		counts["dead"] = 1
		u.Cursors = []CursorPass{{Name: deadCursor, Stream: "a", Next: 1, Passed: Passed{Dead: 1}}}
	}
	set := func(key, value string) { u.State = append(u.State, Change{key, []byte(value)}) }
	set("unit", fmt.Sprint(n))
	set(fmt.Sprint("held/", n), strings.Repeat("x", int(n%300)))
	if n > heldUnits {
		u.State = append(u.State, Change{fmt.Sprint("held/", n-heldUnits), nil})
	}
	if n%16 == 0 {
		set("blob", strings.Repeat(fmt.Sprintf("%d ", n), 3000))
	}
	reached = map[string]uint64{}
	for stream, count := range counts {
		u.Batches = append(u.Batches, StreamBatch{stream, noise(w.counts[stream], count)})
		w.counts[stream] += uint64(count)
		reached[stream] = w.counts[stream]
		set("count/"+stream, fmt.Sprint(w.counts[stream]))
	}
	if r, err = s.Append(context.Background(), u); err != nil {
		for stream, count := range counts {
			w.counts[stream] -= uint64(count)
		}
		w.unit--
		w.turn.Unlock()
	}
	return r, reached, err
}

// wantOneTruth compares the state with the records: every unit is there
// with all of it, or not at all. How many records a full stream dropped is the
// store's own count, and may be ahead of the last units or behind them after a
// crash.
func wantOneTruth(s *Store, crashed bool) error {
	if err := wantExactBooks(s); err != nil {
		return err
	}
	got := stateOf(s, "")
	unit, _ := strconv.ParseUint(got["unit"], 10, 64)
	want := map[string]string{}
	if unit > 0 {
		want["unit"] = fmt.Sprint(unit)
	}
	for n := unit - min(unit, heldUnits) + 1; n <= unit; n++ {
		want[fmt.Sprint("held/", n)] = strings.Repeat("x", int(n%300))
	}
	if n := unit / 16 * 16; n > 0 {
		want["blob"] = strings.Repeat(fmt.Sprintf("%d ", n), 3000)
	}
	for _, i := range s.Streams() {
		key := "count/" + i.Name
		count, _ := strconv.ParseUint(got[key], 10, 64)
		if _, ok := got[key]; !ok && i.Next == 1 {
			continue
		} else if crashed && (i.Name == "new" || i.Dropped > 0) && count >= i.Next-1 {
			delete(got, key) // how many were dropped is counted on its own
		} else {
			want[key] = fmt.Sprint(i.Next - 1 + i.Dropped)
		}
	}
	maps.DeleteFunc(got, func(key, count string) bool { // of a stream that was only named
		_, ok := want[key]
		return !ok && count == "0" && strings.HasPrefix(key, "count/")
	})
	if maps.Equal(got, want) {
		return nil
	}
	var differ []string
	for _, key := range slices.Sorted(maps.Keys(want)) {
		if got[key] != want[key] {
			differ = append(differ, fmt.Sprintf("%s: %.40q, want %.40q", key, got[key], want[key]))
		}
		delete(got, key)
	}
	for key := range got {
		differ = append(differ, key+" should be gone")
	}
	return fmt.Errorf("unit %d: %s", unit, strings.Join(differ, "; "))
}

// snapshots are copies of a store's directory as a crash would leave it, taken
// by the committer around its commits.
type snapshots struct {
	t    *testing.T
	s    *Store
	dirs []string
}

// take copies the directory. The committer calls it, so that segments lie
// still; maintenance may be at work on others, and then there is none.
func (p *snapshots) take() {
	if !p.s.maintenance.TryLock() {
		return
	}
	defer p.s.maintenance.Unlock()
	dir := p.t.TempDir()
	if err := os.CopyFS(dir, os.DirFS(p.s.options.Dir)); err != nil {
		p.t.Error(err)
		return
	}
	p.dirs = append(p.dirs, dir)
}

// TestStateAndRecordsAreOneTruth has several writers at several streams while
// segments rotate and are rewritten, checkpoints are made, commits fail in every
// way, the disk fills up, and streams expire, push back and drop.
func TestStateAndRecordsAreOneTruth(t *testing.T) {
	seed := seedOf(t)
	policies := map[string]Policy{"b": {MaxSize: 60_000}, "push": {MaxSize: 200_000, OnFull: PushBack}, "new": {MaxSize: 50_000, OnFull: DropNew}}
	o := Options{Dir: t.TempDir(), SegmentSize: 256 << 10, CommitEvery: time.Millisecond, MaxSize: 8 << 20,
		Policy: func(stream string) Policy { return policies[stream] }}
	var refused, snapped int
	for round := range uint64(4) {
		s := openStore(t, o)
		if err := wantOneTruth(s, false); err != nil {
			t.Fatalf("round %d: %v", round, err)
		}
		p := &snapshots{t: t, s: s}
		troubledDisk(s, rand.New(rand.NewPCG(seed, round)), p)
		refused += writeUnits(t, s, seed, round)
		if err := wantOneTruth(s, false); err != nil {
			t.Fatalf("round %d, still open: %v", round, err)
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		for i, dir := range p.dirs {
			crashed := o
			crashed.Dir = dir
			s := openStore(t, crashed)
			if err := wantOneTruth(s, true); err != nil {
				t.Fatalf("round %d, snapshot %d: %v", round, i, err)
			}
			w, err := writerOf(s)
			if err == nil { // and it goes on
				_, _, err = w.append(s, map[string]int{"a": 3}, true)
			}
			if err = errors.Join(err, s.Close()); err != nil {
				t.Fatal(err)
			}
			s = openStore(t, crashed)
			if err := wantOneTruth(s, true); err != nil {
				t.Fatalf("round %d, snapshot %d, gone on: %v", round, i, err)
			}
			_ = s.Close()
		}
		snapped += len(p.dirs)
	}
	t.Logf("%d units refused, %d snapshots", refused, snapped)
	if snapped == 0 || refused == 0 {
		t.Error("nothing was tried")
	}
}

// troubledDisk has commits fail in all the ways there are, and takes snapshots
// before and after them.
func troubledDisk(s *Store, r *rand.Rand, p *snapshots) {
	s.intake.mu.Lock()
	defer s.intake.mu.Unlock()
	s.commitTx = func(tx *bbolt.Tx) error {
		if s.closing.Load() {
			return tx.Commit()
		}
		if r.IntN(60) == 0 {
			p.take()
		}
		switch r.IntN(60) {
		case 0:
			return errNoSpace
		case 1, 2:
			return syscall.EIO
		case 3, 4: // it is on disk, and nobody knows
			if err := tx.Commit(); err != nil {
				return err
			}
			if r.IntN(4) == 0 {
				p.take()
			}
			return syscall.EIO
		}
		err := tx.Commit()
		if r.IntN(60) == 0 {
			p.take()
		}
		return err
	}
}

// writeUnits returns how many units a stream pushed back.
func writeUnits(t *testing.T, s *Store, seed, round uint64) (refused int) {
	w, err := writerOf(s)
	if err != nil {
		t.Fatal(err)
	}
	var wg, background sync.WaitGroup
	var full atomic.Int64
	stop := make(chan struct{})
	background.Go(func() {
		for {
			select {
			case <-stop:
				return
			case <-s.Changed():
				s.maintain()
			}
		}
	})
	for n := range uint64(3) {
		wg.Go(func() {
			r := rand.New(rand.NewPCG(seed, 100*round+n))
			for range 150 {
				counts := map[string]int{}
				for range r.IntN(4) { // none: a tick
					stream := []string{"a", "b", "push", "new"}[r.IntN(4)]
					counts[stream] = []int{0, 1, 2, 30, 300, 600}[r.IntN(6)]
				}
				receipt, reached, err := w.append(s, counts, r.IntN(2) == 0)
				if errors.Is(err, ErrFull) {
					full.Add(1)
					s.MoveCursor("f", "push", info(t, s, "push").Next)
					continue
				}
				if err == nil && r.IntN(3) == 0 {
					err = receipt.Wait(context.Background())
				}
				if err != nil {
					t.Error(err)
					return
				}
				if next, ok := reached["push"]; ok && r.IntN(2) == 0 {
					s.MoveCursor("f", "push", min(next+1, info(t, s, "push").Next))
				}
			}
		})
	}
	wg.Wait()
	receipt, _, err := w.append(s, nil, true) // a barrier
	if err == nil {
		err = receipt.Wait(context.Background())
	}
	if err != nil {
		t.Fatal(err)
	}
	close(stop)
	background.Wait()
	return int(full.Load())
}
