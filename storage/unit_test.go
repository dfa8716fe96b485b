package storage

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"go.etcd.io/bbolt"

	"github.com/runnel-log/runnel/record"
)

// stateOf reads all module state under prefix.
func stateOf(s *Store, prefix string) map[string]string {
	all := map[string]string{}
	s.State(prefix, func(key string, value []byte) { all[key] = string(value) })
	return all
}

func wantState(t *testing.T, s *Store, want map[string]string) {
	t.Helper()
	if got := stateOf(s, ""); !maps.Equal(got, want) {
		t.Fatalf("state is %q, want %q", got, want)
	}
}

// store appends a unit and waits for it.
func store(t testing.TB, s *Store, u Unit) {
	t.Helper()
	u.Hurry = true
	r, err := s.Append(t.Context(), u)
	if err == nil {
		err = r.Wait(t.Context())
	}
	if err != nil {
		t.Fatal(err)
	}
}

func set(key, value string) Change { return Change{key, []byte(value)} }

func TestStateIsKeptWithItsRecords(t *testing.T) {
	o := Options{Dir: t.TempDir()}
	s := openStore(t, o)
	store(t, s, Unit{Batches: []StreamBatch{{"a", numbered(0, 3, 8)}, {"b", numbered(0, 2, 8)}},
		State: []Change{set("p/1", "one"), set("p/2", "two"), set("q/1", ""), set("p/2", "three")}})
	want := map[string]string{"p/1": "one", "p/2": "three", "q/1": ""}
	wantState(t, s, want)
	var keys []string
	s.State("p/", func(key string, _ []byte) { keys = append(keys, key) })
	if !slices.Equal(keys, []string{"p/1", "p/2"}) {
		t.Fatalf("keys %q under p/", keys)
	}
	for range 2 { // by the entries, and by the checkpoint
		s = reopened(t, s, o)
		wantState(t, s, want)
	}
	store(t, s, Unit{State: []Change{{"p/1", nil}, {"nobody", nil}, set("q/1", "x")}})
	delete(want, "p/1")
	want["q/1"] = "x"
	for range 3 {
		wantState(t, s, want)
		s = reopened(t, s, o)
	}
}

// reopened opens a copy of the store's directory as a crash leaves it, then
// the store itself, closed cleanly; both must have the same state.
func reopened(t *testing.T, s *Store, o Options) *Store {
	t.Helper()
	want := stateOf(s, "")
	crashed := o
	crashed.Dir = t.TempDir()
	s.maintenance.Lock() // so that nothing is being written
	err := os.CopyFS(crashed.Dir, os.DirFS(o.Dir))
	s.maintenance.Unlock()
	if err != nil {
		t.Fatal(err)
	}
	wantState(t, openStore(t, crashed), want)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	return openStore(t, o)
}

func TestStagedStateIsSeen(t *testing.T) {
	s := openStore(t, Options{CommitEvery: time.Hour})
	store := func(c ...Change) {
		t.Helper()
		if _, err := s.Append(t.Context(), Unit{State: c}); err != nil {
			t.Fatal(err)
		}
	}
	store(set("a", "1"), set("b", "1"))
	store(set("a", "2"), Change{"b", nil})
	wantState(t, s, map[string]string{"a": "2"})
}

// TestUnitWithoutRecordsIsCommittedSoon has nothing else that would wake the committer.
func TestUnitWithoutRecordsIsCommittedSoon(t *testing.T) {
	dir := t.TempDir()
	s := openStore(t, Options{Dir: dir})
	begun := time.Now()
	r, err := s.Append(t.Context(), Unit{State: []Change{set("a", "1")}})
	if err != nil {
		t.Fatal(err)
	}
	select {
	case <-r.Done():
		t.Fatal("its receipt was fulfilled at once")
	default:
	}
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	if err := r.Wait(ctx); err != nil {
		t.Fatal(err)
	}
	if took := time.Since(begun); took < statePatience/2 {
		t.Errorf("committed after %v, want it to wait for records for %v", took, statePatience)
	}
	// One that is taken back before its commit has a fate, too.
	r, err = s.Append(t.Context(), Unit{State: []Change{set("b", "1")}})
	if err == nil {
		_, err = s.Append(t.Context(), Unit{State: []Change{{"b", nil}}, Hurry: true})
	}
	if err == nil {
		err = r.Wait(ctx)
	}
	if err != nil {
		t.Fatal(err)
	}
	wantState(t, s, map[string]string{"a": "1"})
}

// TestRecordsDoNotWaitForState: a unit of state begins the group, and records
// must wake the committer all the same.
func TestRecordsDoNotWaitForState(t *testing.T) {
	s := openStore(t, Options{})
	store(t, s, Unit{State: []Change{set("a", "0")}}) // the committer sleeps after it
	first, err := s.Append(t.Context(), Unit{State: []Change{set("a", "1")}})
	if err != nil {
		t.Fatal(err)
	}
	begun := time.Now()
	put(t, s, "x", numbered(0, 1, 8))
	if took := time.Since(begun); took > statePatience/2 {
		t.Errorf("records waited %v", took)
	}
	select {
	case <-first.Done():
	default:
		t.Error("the state staged before them was not committed with them")
	}
}

// refusing is a disk that answers commits with an error for as long as one is set.
type refusing struct {
	mu    sync.Mutex
	err   error
	after bool          // the commit is done, and reported as failed
	tried chan struct{} // gets one for each refusal, as far as it has room
}

func refuse(s *Store) *refusing {
	d := &refusing{tried: make(chan struct{}, 1)}
	s.intake.mu.Lock()
	defer s.intake.mu.Unlock()
	s.commitTx = func(tx *bbolt.Tx) error {
		d.mu.Lock()
		err, after := d.err, d.after
		d.mu.Unlock()
		if err == nil || after {
			if e := tx.Commit(); e != nil {
				return e
			}
		}
		if err != nil {
			select {
			case d.tried <- struct{}{}:
			default:
			}
		}
		return err
	}
	return d
}

func (d *refusing) set(err error, after bool) {
	d.mu.Lock()
	d.err, d.after = err, after
	d.mu.Unlock()
}

var errNoSpace = &os.PathError{Op: "write", Path: "x", Err: syscall.ENOSPC}

// TestAFailedUnitLeavesNothing goes through every error of Append.
func TestAFailedUnitLeavesNothing(t *testing.T) {
	policies := map[string]Policy{"push": {OnFull: PushBack, MaxSize: 1}}
	s := openStore(t, Options{Policy: func(stream string) Policy { return policies[stream] }})
	put(t, s, "push", numbered(0, 10, 100))
	f := func(ctx context.Context, want error, u Unit) {
		t.Helper()
		staged := 0
		u.Batches = append(u.Batches, StreamBatch{"x", numbered(0, 5, 8)})
		u.State = append(u.State, set("a", "1"))
		u.Staged = func() { staged++ }
		if r, err := s.Append(ctx, u); !errors.Is(err, want) || r != nil {
			t.Errorf("got %v, %v, want %v", r, err, want)
		}
		if staged != 0 {
			t.Errorf("%v: Staged was called, though nothing was", want)
		}
		if got := stateOf(s, ""); len(got) > 0 {
			t.Errorf("%v: state is %q", want, got)
		}
	}
	f(t.Context(), ErrFull, Unit{Batches: []StreamBatch{{"push", numbered(10, 10, 8)}}})
	f(t.Context(), ErrStreamName, Unit{Batches: []StreamBatch{{"", numbered(0, 1, 8)}}})
	f(t.Context(), ErrState, Unit{State: []Change{set("b", "1"), set(strings.Repeat("k", MaxStateKey+1), "")}})
	f(t.Context(), ErrState, Unit{State: []Change{set("b", "1"), {"k", make([]byte, MaxStateValue+1)}}})
	d := refuse(s)
	d.set(errors.New("sulking"), false)
	fill(t, s)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	f(ctx, context.Canceled, Unit{State: []Change{{"b", make([]byte, MaxStateValue)}}})
	d.set(nil, false)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	f(t.Context(), ErrClosed, Unit{})
}

// fill stages records until no MaxStateValue has room any more.
func fill(t *testing.T, s *Store) (receipts []*Receipt) {
	t.Helper()
	template := numbered(0, 512, 900)
	for s.intake.staged() <= MaxStaged-MaxStateValue {
		b := record.NewBatch()
		b.AppendBatch(template, 0, 512)
		r, err := s.Append(t.Context(), Unit{Batches: []StreamBatch{{"fill", b}}})
		if err != nil {
			t.Fatal(err)
		}
		receipts = append(receipts, r)
	}
	return receipts
}

// TestStateOutlivesItsDroppedRecords: the caller's state has moved on, and the
// store drops its records.
func TestStateOutlivesItsDroppedRecords(t *testing.T) {
	policies := map[string]Policy{"new": {OnFull: DropNew, MaxSize: 1}}
	o := Options{Dir: t.TempDir(), Policy: func(stream string) Policy { return policies[stream] }}
	s := openStore(t, o)
	put(t, s, "new", numbered(0, 10, 100))
	// The gate is shut.
	store(t, s, Unit{Batches: []StreamBatch{{"new", numbered(10, 7, 100)}}, State: []Change{set("gate", "7")}})
	if i := info(t, s, "new"); i.Next != 11 || i.Dropped != 7 {
		t.Fatalf("%+v, want the records dropped", i)
	}
	want := map[string]string{"gate": "7"}
	s = reopened(t, s, o)
	wantState(t, s, want)
	// The disk is full, and memory too.
	d := refuse(s)
	d.set(errNoSpace, false)
	receipts := fill(t, s)
	<-d.tried
	<-d.tried // so the first refusal has been noted
	var last *Receipt
	for i := range 1000 {
		var err error
		last, err = s.Append(t.Context(), Unit{Batches: []StreamBatch{{"fill", numbered(0, 1, 8)}},
			State: []Change{{"big", make([]byte, MaxStateValue)}, set("n", fmt.Sprint(i)), set(fmt.Sprint("held", i), "x"), {fmt.Sprint("held", i-1), nil}}})
		if err != nil {
			t.Fatal(err)
		}
	}
	s.intake.mu.Lock()
	keys, bytes := len(s.intake.group.state), s.intake.bytes
	s.intake.mu.Unlock()
	if keys > 4 || bytes > MaxStaged+2*MaxStateValue {
		t.Fatalf("%d keys and %d bytes are staged; what was overwritten should be gone", keys, bytes)
	}
	select {
	case <-last.Done():
		t.Fatal("the state was called durable on a disk that takes nothing")
	default:
	}
	d.set(nil, false)
	for _, r := range append(receipts, last) {
		if err := r.Wait(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if i := info(t, s, "fill"); i.Dropped != 1000 {
		t.Fatalf("%d records dropped, want 1000", i.Dropped)
	}
	want["n"], want["held999"], want["big"] = "999", "x", string(make([]byte, MaxStateValue))
	wantState(t, s, want)
	wantState(t, reopened(t, s, o), want)
}

// TestStateBeyondOneEntry commits more than an entry may hold, in one transaction.
func TestStateBeyondOneEntry(t *testing.T) {
	o := Options{Dir: t.TempDir()}
	s := openStore(t, o)
	var state []Change
	want := map[string]string{}
	for i := range 40 {
		value := make([]byte, i*10_000)
		for j := range value {
			value[j] = byte(i)
		}
		state = append(state, Change{fmt.Sprint("k", i), value})
		want[fmt.Sprint("k", i)] = string(value)
	}
	key := strings.Repeat("k", MaxStateKey)
	state = append(state, Change{key, make([]byte, MaxStateValue)})
	want[key] = string(make([]byte, MaxStateValue))
	first := s.sequence
	store(t, s, Unit{Batches: []StreamBatch{{"a", numbered(0, 1, 8)}}, State: state})
	s.mu.RLock()
	entries := s.sequence - first
	s.mu.RUnlock()
	if entries < 8 || entries > 16 {
		t.Errorf("%d entries for 12 MB of state, want one for each MiB", entries)
	}
	wantState(t, s, want)
	s = reopened(t, s, o)
	wantState(t, s, want)
	var gone []Change
	for key := range want {
		gone = append(gone, Change{key, nil})
	}
	store(t, s, Unit{State: gone})
	wantState(t, reopened(t, s, o), map[string]string{})
}

// TestCheckpointWritesWhatMoved counts the pages of state.db that a checkpoint
// changes while 2 MB of state lie there.
func TestCheckpointWritesWhatMoved(t *testing.T) {
	s := openStore(t, Options{})
	var state []Change
	for i := range 20_000 {
		state = append(state, set(fmt.Sprintf("key%06d", i), strings.Repeat("v", 50)))
	}
	store(t, s, Unit{State: state})
	var file []byte
	checkpoint := func() (pages int) {
		t.Helper()
		if err := s.saveCheckpoint(); err != nil {
			t.Fatal(err)
		}
		now, err := os.ReadFile(s.dir.checkpoint())
		if err != nil {
			t.Fatal(err)
		}
		for at := 0; at < len(now); at += 4096 {
			end := min(at+4096, len(now))
			if end > len(file) || !bytes.Equal(now[at:end], file[at:end]) {
				pages++
			}
		}
		file = now
		return pages
	}
	f := func(what string, most int) {
		t.Helper()
		if n := checkpoint(); n > most {
			t.Errorf("%d pages for %s, want at most %d", n, what, most)
		}
	}
	if n := checkpoint(); n < 300 {
		t.Fatalf("%d pages for 2 MB", n)
	}
	f("nothing", 12)
	store(t, s, Unit{State: []Change{set("key000100", "w"), set("key000101", "w")}})
	f("two neighbours", 16)
	store(t, s, Unit{State: []Change{{"key000100", nil}}})
	f("a removed key", 16)
	store(t, s, Unit{State: []Change{set("new", "1")}})
	store(t, s, Unit{State: []Change{{"new", nil}}})
	if moved, _ := s.kept.take(false); len(moved) != 0 {
		t.Errorf("%d changes for a key that the checkpoint never saw", len(moved))
	}
}

// TestReserveFollowsTheState: a full disk must not keep the checkpoint from
// being written, however much state there is.
func TestReserveFollowsTheState(t *testing.T) {
	s := openStore(t, Options{})
	f := func(least, most int64) {
		t.Helper()
		s.maintain()
		if got := sizeOf(s.reservePath()); got < least || got > most {
			t.Errorf("reserve of %d bytes, want %d to %d", got, least, most)
		}
	}
	f(reserveBytes, reserveBytes)
	for i := range 4 {
		store(t, s, Unit{State: []Change{{fmt.Sprint("k", i), make([]byte, 1<<20)}}})
	}
	f(14<<20, 18<<20)
	if err := s.saveCheckpoint(); err != nil {
		t.Fatal(err)
	}
	f(8<<20, 26<<20) // some of it lies in state.db now
	for i := range 4 {
		store(t, s, Unit{State: []Change{{fmt.Sprint("k", i), nil}}})
	}
	f(reserveBytes, reserveBytes)
}

// TestKept compares what a checkpoint gets told with a model, failing saves included.
func TestKept(t *testing.T) {
	r := rand.New(rand.NewPCG(seedOf(t), 1))
	var k kept
	k.reset()
	model, db := map[string]string{}, map[string]string{}
	save := func(delta map[string][]byte) {
		for key, value := range delta {
			if value == nil {
				delete(db, key)
			} else {
				db[key] = string(value)
			}
		}
	}
	for n := range 20_000 {
		key := fmt.Sprint("m", r.IntN(20))
		switch r.IntN(10) {
		case 0:
			anew := r.IntN(2) == 0
			delta, write := k.take(anew)
			for range r.IntN(5) { // while it is being written
				key := fmt.Sprint("m", r.IntN(20))
				if r.IntN(2) == 0 {
					k.commit(map[string][]byte{key: nil})
					delete(model, key)
				} else {
					k.commit(map[string][]byte{key: []byte(fmt.Sprint(n))})
					model[key] = fmt.Sprint(n)
				}
			}
			if r.IntN(3) == 0 {
				k.restore(delta)
				continue
			}
			if anew {
				clear(db)
			}
			save(write)
		case 1, 2, 3:
			k.commit(map[string][]byte{key: nil})
			delete(model, key)
		default:
			k.commit(map[string][]byte{key: []byte(fmt.Sprint(n))})
			model[key] = fmt.Sprint(n)
		}
		if len(k.values) != len(model) {
			t.Fatalf("%d keys, want %d", len(k.values), len(model))
		}
		if r.IntN(50) == 0 {
			moved, _ := k.take(false)
			save(moved)
			if !maps.Equal(db, model) {
				t.Fatalf("step %d: the checkpoint has %q, want %q", n, db, model)
			}
		}
	}
	bytes := int64(0)
	for key, value := range model {
		bytes += int64(len(key) + len(value))
	}
	if k.size() != bytes {
		t.Errorf("%d bytes counted, want %d", k.size(), bytes)
	}
}
