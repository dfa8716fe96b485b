package storage

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"
)

// book counts units as the agent's ledger does, and has the account of them.
type book struct {
	Account
	totals map[string]uint64 // written under the store's lock alone
}

func bookOf(s *Store) *book {
	b := &book{totals: map[string]uint64{}}
	if v := s.Account("book"); v != nil {
		if err := json.Unmarshal(v, &b.totals); err != nil {
			panic(err)
		}
	}
	b.Key, b.Encode = "book", func() []byte {
		v, err := json.Marshal(b.totals)
		if err != nil {
			panic(err)
		}
		return v
	}
	return b
}

func (b *book) Post(batches []StreamBatch, missed []bool) {
	b.totals["units"]++
	for i, sb := range batches {
		what := "stored/"
		if missed != nil && missed[i] {
			what = "missed/"
		}
		b.totals[what+sb.Stream] += uint64(sb.Records.Len())
	}
}

// deadCursor is the reader whose dead letters are in the stream dead: each unit
// with a record for it moves the cursor, in the same transaction.
const deadCursor = "dead letters"

// wantExactBooks compares the account, the cursor and the streams as they were
// with the last commit.
func wantExactBooks(s *Store) error {
	books := s.Books()
	totals := map[string]uint64{}
	if v := books.Accounts["book"]; v != nil {
		if err := json.Unmarshal(v, &totals); err != nil {
			return err
		}
	}
	var errs []error
	for _, i := range books.Streams {
		if got := totals["stored/"+i.Name]; got != i.Next-1 {
			errs = append(errs, fmt.Errorf("the account has %d records in %s, and there were %d", got, i.Name, i.Next-1))
		}
	}
	for _, c := range books.Cursors {
		if want := totals["stored/dead"] + totals["missed/dead"]; c.Name == deadCursor && c.Passed.Dead != want {
			errs = append(errs, fmt.Errorf("the cursor has passed %d dead letters, the account has %d", c.Passed.Dead, want))
		}
		d := c.Passed
		if sum := d.Delivered + d.Filtered + d.Expired + d.Damaged + d.Dead + c.Skipped - c.Rewound; c.Name != deadCursor && c.Next-c.Start != sum {
			errs = append(errs, fmt.Errorf("cursor %s in %s is %d from its start, and accounts for %d", c.Name, c.Stream, c.Next-c.Start, sum))
		}
	}
	return errors.Join(errs...)
}

// TestWhatIsDroppedIsInTheAccount: a unit of which nothing is stored moves its
// account all the same, within a second, and without a commit of its own each.
func TestWhatIsDroppedIsInTheAccount(t *testing.T) {
	o := Options{Dir: t.TempDir(), CommitEvery: time.Millisecond, Policy: func(string) Policy { return Policy{MaxSize: 4 << 10, OnFull: DropNew} }}
	s := openStore(t, o)
	b := bookOf(s)
	post := func(batches ...StreamBatch) *Receipt {
		t.Helper()
		r, err := s.Append(t.Context(), Unit{Batches: batches, Account: &b.Account, Posting: b})
		if err != nil {
			t.Fatal(err)
		}
		return r
	}
	if err := post(StreamBatch{"a", noise(0, 100)}).Wait(t.Context()); err != nil {
		t.Fatal(err)
	}
	s.maintain()
	for range 50 {
		<-post(StreamBatch{"a", noise(100, 10)}).Done() // it is full: nothing to wait for
		<-post().Done()
	}
	commits := s.metrics.commits.Get()
	if commits > 4 {
		t.Errorf("%d commits for what was dropped", commits)
	}
	deadline, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	for {
		changed := s.Changed()
		if v := s.Account("book"); string(v) == `{"missed/a":500,"stored/a":100,"units":101}` {
			break
		}
		select {
		case <-changed:
		case <-deadline.Done():
			t.Fatalf("the account says %s", s.Account("book"))
		}
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	s = openStore(t, o)
	if err := wantExactBooks(s); err != nil {
		t.Error(err)
	}
	if got := info(t, s, "a"); got.Dropped != 500 {
		t.Errorf("the stream counts %d dropped, want 500", got.Dropped)
	}
}

// TestAccountAsItIsIsOnDiskWithItsReceipt: also where a unit before it has moved the
// account already, and the commit with that is still to come.
func TestAccountAsItIsIsOnDiskWithItsReceipt(t *testing.T) {
	s := openStore(t, Options{Dir: t.TempDir()})
	b := bookOf(s)
	for i := range 10 {
		if _, err := s.Append(t.Context(), Unit{Account: &b.Account, Posting: b}); err != nil {
			t.Fatal(err)
		}
		r, err := s.Append(t.Context(), Unit{Account: &b.Account, Hurry: true})
		if err != nil {
			t.Fatal(err)
		}
		if err := r.Wait(t.Context()); err != nil {
			t.Fatal(err)
		}
		if got, want := string(s.Account("book")), fmt.Sprintf(`{"units":%d}`, i+1); got != want {
			t.Fatalf("the account on disk says %q, want %q", got, want)
		}
	}
}

// TestCursorGoesToDiskWithItsUnit: while the unit that a cursor passes with waits
// for its commit, neither an earlier commit nor a checkpoint brings the cursor there.
func TestCursorGoesToDiskWithItsUnit(t *testing.T) {
	o := Options{Dir: t.TempDir(), CommitEvery: time.Hour}
	s := openStore(t, o)
	s.MoveCursor("f", "a", 5)
	if err := s.WaitCursor(t.Context(), "f", "a"); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Append(t.Context(), Unit{Batches: []StreamBatch{{"a.dead", numbered(0, 1, 8)}},
		Cursors: []CursorPass{{Name: "f", Stream: "a", Next: 6, Passed: Passed{Dead: 1}}}}); err != nil {
		t.Fatal(err)
	}
	s.PassCursor("f", "a", 9, Passed{Delivered: 3})
	if err := s.saveCheckpoint(); err != nil {
		t.Fatal(err)
	}
	s.mu.RLock()
	earlier := s.dirtyChanges(nil, s.committed)
	s.mu.RUnlock()
	if err := parseChanges(earlier, func(c change) {
		if c.kind == stateCursor && number(c.value, 0) != 5 {
			t.Errorf("an earlier commit would have the cursor at %d", number(c.value, 0))
		}
	}); err != nil {
		t.Fatal(err)
	}
	if c := cursorOf(t, s); c.Next != 5 || c.Passed != (Passed{}) {
		t.Errorf("as of the last commit: %+v", c)
	}
	if at, _ := s.Cursor("f", "a"); at != 9 {
		t.Errorf("its reader goes on at %d, want 9", at)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	s = openStore(t, o)
	if c := cursorOf(t, s); c.Next != 9 || c.Start != 5 || c.Passed != (Passed{Delivered: 3, Dead: 1}) {
		t.Errorf("after reopening: %+v", c)
	}
}

// TestBooksAreOfOneCommit looks at the books again and again while several
// writers commit.
func TestBooksAreOfOneCommit(t *testing.T) {
	s := openStore(t, Options{Dir: t.TempDir(), CommitEvery: time.Millisecond})
	b := bookOf(s)
	s.MoveCursor(deadCursor, "a", 1)
	var wg sync.WaitGroup
	defer wg.Wait()
	for range 3 {
		wg.Go(func() {
			for i := range 300 {
				receipt, err := s.Append(context.Background(), Unit{Account: &b.Account, Posting: b,
					Batches: []StreamBatch{{"a", noise(0, 1+i%300)}, {"dead", noise(0, 1)}},
					Cursors: []CursorPass{{Name: deadCursor, Stream: "a", Next: 1, Passed: Passed{Dead: 1}}}})
				if err == nil && i%10 == 0 { // so that there are many commits
					err = receipt.Wait(context.Background())
				}
				if err != nil {
					t.Error(err)
				}
			}
		})
	}
	done := make(chan struct{})
	go func() { wg.Wait(); close(done) }()
	looks := 0
	for ; ; looks++ {
		changed := s.Changed()
		if err := wantExactBooks(s); err != nil {
			t.Fatal(err)
		}
		select {
		case <-changed:
		case <-done:
			if looks < 5 {
				t.Errorf("looked %d times", looks)
			}
			return
		}
	}
}

// TestOldCursorsAccountFromWhereTheyAre: one written by a build that did not
// count begins its account there.
func TestOldCursorsAccountFromWhereTheyAre(t *testing.T) {
	p := parseJourney(numbers(100, 30))
	if p.next != 100 || p.start != 70 || p.passed != (Passed{Expired: 30}) {
		t.Errorf("got %+v", p)
	}
	if got := parseJourney(p.encode()); got != p {
		t.Errorf("got %+v, want %+v", got, p)
	}
}

// TestMovedByHandIsAccountedFor: forward is skipped, back is rewound, and a
// cursor that was deleted begins anew.
func TestMovedByHandIsAccountedFor(t *testing.T) {
	s := openStore(t, Options{Dir: t.TempDir()})
	put(t, s, "a", numbered(0, 100, 30))
	s.MoveCursor("f", "a", 1)
	s.PassCursor("f", "a", 41, Passed{Delivered: 30, Filtered: 10})
	s.MoveCursor("f", "a", 11)
	s.PassCursor("f", "a", 31, Passed{Delivered: 20, Repeated: 20})
	s.MoveCursor("f", "a", 91)
	want := Cursor{"f", "a", 91, 1, 0, Passed{Delivered: 50, Filtered: 10, Repeated: 20}, 60, 30}
	if got := cursorOf(t, s); got != want {
		t.Errorf("got %+v, want %+v", got, want)
	}
	s.DeleteCursor("f", "a")
	s.MoveCursor("f", "a", 7)
	if got := cursorOf(t, s); got != (Cursor{Name: "f", Stream: "a", Next: 7, Start: 7}) {
		t.Errorf("after it was deleted: %+v", got)
	}
}
