package storage

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/runnel-log/runnel/record"
)

// numbered returns a batch of n records whose messages begin with from, from+1, …
func numbered(from uint64, n, size int) *record.Batch {
	b := record.NewBatch()
	var r record.Record
	message := make([]byte, max(size, 8))
	for i := range message {
		message[i] = "the quick brown fox jumps over the lazy dog "[i%44]
	}
	for i := range n {
		r.Reset()
		r.Severity, r.Facility = 6, 3
		r.Received = int64(from) + int64(i)
		r.Host, r.App = []byte("web-17"), []byte("nginx")
		binary.BigEndian.PutUint64(message, from+uint64(i))
		r.Message = message
		if err := b.Append(&r); err != nil {
			panic(err)
		}
	}
	return b
}

func numberOf(v record.View) uint64 { return binary.BigEndian.Uint64(v.Message()) }

func openStore(t testing.TB, o Options) *Store {
	t.Helper()
	if o.Dir == "" {
		o.Dir = t.TempDir()
	}
	s, err := Open(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return s
}

// store appends and waits for the disk.
func put(t testing.TB, s *Store, stream string, b *record.Batch) {
	t.Helper()
	r, err := s.Append(context.Background(), Unit{Batches: []StreamBatch{{stream, b}}, Hurry: true})
	if err != nil {
		t.Fatal(err)
	}
	if err := r.Wait(context.Background()); err != nil {
		t.Fatal(err)
	}
}

// numbersFrom reads a stream from an offset to its end, and checks on the way
// that offsets are dense from block to block.
func numbersFrom(t testing.TB, s *Store, stream string, at uint64) (first uint64, numbers []uint64) {
	t.Helper()
	b := record.NewBatch()
	defer b.Release()
	for next := at; ; {
		block, err := s.Read(stream, next, b)
		if errors.Is(err, io.EOF) {
			return first, numbers
		}
		if err != nil {
			t.Fatalf("read %s at %d: %v", stream, next, err)
		}
		if first == 0 {
			first = max(block, at)
		} else if block > next { // one that begins before may have been put together meanwhile
			t.Fatalf("block of %s begins at %d, want %d", stream, block, next)
		}
		for i := int(max(block, next) - block); i < b.Len(); i++ {
			numbers = append(numbers, numberOf(b.At(i)))
		}
		next = block + uint64(b.Len())
	}
}

func wantRun(t testing.TB, numbers []uint64, from, count uint64) {
	t.Helper()
	if uint64(len(numbers)) != count {
		t.Fatalf("got %d records, want %d", len(numbers), count)
	}
	for i, n := range numbers {
		if n != from+uint64(i) {
			t.Fatalf("record %d: got number %d, want %d", i, n, from+uint64(i))
		}
	}
}

func TestRecordsComeBackInOrderAlsoAfterReopening(t *testing.T) {
	dir := t.TempDir()
	s := openStore(t, Options{Dir: dir})
	n := uint64(0)
	for _, size := range []int{1, 3, 200, 256, 512, 700, 5000, 1} {
		put(t, s, "app", numbered(n, size, 100))
		n += uint64(size)
	}
	first, got := numbersFrom(t, s, "app", 1)
	if first != 1 {
		t.Fatalf("first offset %d, want 1", first)
	}
	wantRun(t, got, 0, n)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	s = openStore(t, Options{Dir: dir})
	_, got = numbersFrom(t, s, "app", 1)
	wantRun(t, got, 0, n)
	put(t, s, "app", numbered(n, 10, 100))
	_, got = numbersFrom(t, s, "app", n-4)
	wantRun(t, got, n-5, 15)
}

func TestSmallBatchesShareABlockAndACommit(t *testing.T) {
	s := openStore(t, Options{CommitEvery: time.Hour})
	var last *Receipt
	for i := range 300 {
		r, err := s.Append(t.Context(), Unit{Batches: []StreamBatch{{"a", numbered(uint64(i), 1, 50)}}})
		if err != nil {
			t.Fatal(err)
		}
		last = r
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if err := last.Wait(t.Context()); err != nil {
		t.Fatal(err)
	}
	s = openStore(t, Options{Dir: s.options.Dir})
	_, got := numbersFrom(t, s, "a", 1)
	wantRun(t, got, 0, 300)
	blocks := 0
	for h, ok := s.Head("a", 1); ok; h, ok = s.Head("a", h.Next) {
		blocks++
	}
	if blocks > 3 { // the first commit comes at once and has what there is
		t.Fatalf("300 records in %d blocks, want at most 3", blocks)
	}
}

func TestACallersOrderIsKeptWhateverTheSizes(t *testing.T) {
	s := openStore(t, Options{})
	n := uint64(0)
	for i := range 400 {
		size := []int{1, 300, 2, 40, 256, 7, 90}[i%7]
		if _, err := s.Append(t.Context(), Unit{Batches: []StreamBatch{{"a", numbered(n, size, 20)}, {"b", numbered(n, 1, 20)}}, Hurry: i%3 == 0}); err != nil {
			t.Fatal(err)
		}
		n += uint64(size)
	}
	put(t, s, "a", numbered(n, 1, 20))
	_, got := numbersFrom(t, s, "a", 1)
	wantRun(t, got, 0, n+1)
}

func TestSecondOpenerIsToldWhoHasTheDirectory(t *testing.T) {
	s := openStore(t, Options{})
	begun := time.Now()
	_, err := Open(Options{Dir: s.options.Dir})
	if !errors.Is(err, ErrInUse) || !strings.Contains(err.Error(), fmt.Sprintf("process %d", os.Getpid())) {
		t.Fatalf("got %v, want ErrInUse naming process %d", err, os.Getpid())
	}
	if took := time.Since(begun); took > time.Second {
		t.Fatalf("refusal took %v, want at most 1s", took)
	}
}

func TestIdentityStaysAndFilesArePrivate(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "data")
	s := openStore(t, Options{Dir: dir})
	agent, fork := s.Identity()
	if agent == [16]byte{} || fork != 1 {
		t.Fatalf("identity %x fork %d", agent, fork)
	}
	put(t, s, "a", numbered(0, 3, 10))
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	again := openStore(t, Options{Dir: dir})
	if a, e := again.Identity(); a != agent || e != 1 {
		t.Fatalf("identity changed to %x fork %d", a, e)
	}
	err := filepath.Walk(dir, func(path string, info os.FileInfo, err error) error {
		want := os.FileMode(0o600)
		if info.IsDir() {
			want = 0o700
		}
		if info.Mode().Perm() != want {
			t.Errorf("%s has mode %v, want %v", path, info.Mode().Perm(), want)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

func TestANewerFormatIsRefusedByName(t *testing.T) {
	dir := t.TempDir()
	text := "format 9\nagent 00112233445566778899aabbccddeeff\nepoch 1\n"
	if err := os.WriteFile(filepath.Join(dir, "identity"), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	_, err := Open(Options{Dir: dir})
	if !errors.Is(err, ErrFormat) || !strings.Contains(err.Error(), "format 9") {
		t.Fatalf("got %v, want ErrFormat naming 9", err)
	}
}

func TestCursorsSurviveWithoutAnyRecord(t *testing.T) {
	s := openStore(t, Options{})
	put(t, s, "a", numbered(0, 10, 10))
	s.MoveCursor("central", "a", 7)
	s.MoveCursor("gone", "a", 3)
	s.DeleteCursor("gone", "a")
	changed := s.Changed()
	select {
	case <-changed: // the commit that cursors alone bring about
	case <-time.After(5 * time.Second):
		t.Fatal("no commit for a moved cursor")
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	s = openStore(t, Options{Dir: s.options.Dir})
	if next, ok := s.Cursor("central", "a"); !ok || next != 7 {
		t.Fatalf("cursor %d %v, want 7", next, ok)
	}
	if all := s.Cursors(); len(all) != 1 {
		t.Fatalf("cursors %v, want one", all)
	}
}

func TestWaitReturnsWhenTheStreamGrows(t *testing.T) {
	s := openStore(t, Options{})
	put(t, s, "a", numbered(0, 2, 10))
	if err := s.Wait(t.Context(), "a", 2); err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- s.Wait(t.Context(), "a", 3) }()
	put(t, s, "b", numbered(0, 2, 10))
	put(t, s, "a", numbered(2, 1, 10))
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := s.Wait(ctx, "a", 99); !errors.Is(err, context.Canceled) {
		t.Fatalf("got %v, want context.Canceled", err)
	}
}

// clock is a time that tests move.
type clock struct{ ns atomic.Int64 }

func newClock() *clock {
	c := &clock{}
	c.ns.Store(time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC).UnixNano())
	return c
}
func (c *clock) Now() time.Time        { return time.Unix(0, c.ns.Load()) }
func (c *clock) step(by time.Duration) { c.ns.Add(int64(by)) }

func TestSeekFindsByArrivalAndArrivalNeverGoesBack(t *testing.T) {
	c := newClock()
	s := openStore(t, Options{Now: c.Now})
	var at []time.Time
	for i := range 10 {
		at = append(at, c.Now())
		put(t, s, "a", numbered(uint64(i*5), 5, 10))
		c.step(time.Minute)
	}
	for i, when := range at {
		if got, want := s.Seek("a", when), uint64(i*5+1); got != want {
			t.Errorf("seek to minute %d: got offset %d, want %d", i, got, want)
		}
	}
	if got := s.Seek("a", c.Now()); got != 51 {
		t.Errorf("seek beyond the end: got %d, want 51", got)
	}
	c.step(-time.Hour)
	put(t, s, "a", numbered(50, 5, 10))
	h, _ := s.Head("a", 51)
	if h.Arrival < at[9].UnixNano() {
		t.Error("arrival went back with the clock")
	}
	if h.MinReceived != 50 || h.MaxReceived != 54 || h.First != 51 || h.Next != 56 {
		t.Errorf("head %+v", h)
	}
}

// noise returns records that hardly compress.
func noise(from uint64, n int) *record.Batch {
	b := record.NewBatch()
	x := from*2 + 1
	var r record.Record
	for i := range n {
		message := binary.BigEndian.AppendUint64(nil, from+uint64(i))
		for range 12 {
			x ^= x << 13
			x ^= x >> 7
			x ^= x << 17
			message = binary.BigEndian.AppendUint64(message, x)
		}
		r.Reset()
		r.Received, r.Message = int64(from)+int64(i), message
		if err := b.Append(&r); err != nil {
			panic(err)
		}
	}
	return b
}
