package storage

import (
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"strconv"
	"testing"
	"time"

	"github.com/runnel-log/runnel/record"
)

// model is what a store must look like: per stream the numbers in order, and
// the cursors.
type model struct {
	streams map[string][]uint64 // number of offset i+1
	passed  map[uint64]bool     // numbers of records that came from elsewhere, where they were at the offset after their number
	first   map[string]uint64   // lowest offset still there, as last seen
	cursors map[string]uint64
	next    uint64
}

// seedOf returns a seed that can be given again: RUNNEL_SEED=n go test -run Model.
func seedOf(t *testing.T) uint64 {
	seed := uint64(time.Now().UnixNano())
	if text := os.Getenv("RUNNEL_SEED"); text != "" {
		n, err := strconv.ParseUint(text, 10, 64)
		if err != nil {
			t.Fatal(err)
		}
		seed = n
	}
	t.Logf("RUNNEL_SEED=%d", seed)
	return seed
}

// TestModel does random things to a store and to the model, reopening in
// between, and compares everything that can be seen.
func TestModel(t *testing.T) {
	seed := seedOf(t)
	for run := range uint64(5) {
		t.Run(fmt.Sprint(run), func(t *testing.T) { runModel(t, rand.New(rand.NewPCG(seed, run)), run) })
	}
}

func runModel(t *testing.T, r *rand.Rand, run uint64) {
	c := newClock()
	policies := []Policy{{}, {MaxSize: 60_000}, {MaxAge: 10 * time.Minute}, {MaxSize: 40_000, OnFull: DropOldest, MaxAge: time.Hour}}
	o := Options{Dir: t.TempDir(), SegmentSize: 64 << 10, Now: c.Now, CommitEvery: time.Millisecond,
		Policy: func(stream string) Policy { return policies[stream[0]-'a'] }}
	if run%2 == 1 {
		o.MaxSize = 2 << 20
	}
	m := &model{streams: map[string][]uint64{}, passed: map[uint64]bool{}, first: map[string]uint64{}, cursors: map[string]uint64{}}
	s := openStore(t, o)
	for range 200 {
		switch k := r.IntN(100); {
		case k < 60:
			m.append(t, s, r)
		case k < 70:
			stream := string(rune('a' + r.IntN(4)))
			next := 1 + r.Uint64N(uint64(len(m.streams[stream])+1))
			s.MoveCursor("f", stream, next)
			m.cursors[stream] = next
		case k < 80:
			c.step(time.Duration(r.IntN(300)) * time.Second)
		case k < 88:
			s.maintain()
		case k < 95:
			m.compare(t, s)
		default:
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
			s = openStore(t, o)
			m.compare(t, s)
		}
	}
	m.compare(t, s)
}

// append stores a few batches into random streams at once.
func (m *model) append(t *testing.T, s *Store, r *rand.Rand) {
	t.Helper()
	var batches []StreamBatch
	for range 1 + r.IntN(3) {
		stream := string(rune('a' + r.IntN(4)))
		n := []int{1, 1, 2, 30, 300, 600}[r.IntN(6)]
		batches = append(batches, StreamBatch{stream, numbered(m.next, n, 8+r.IntN(200))})
		for range n {
			m.streams[stream] = append(m.streams[stream], m.next)
			m.next++
		}
	}
	u := Unit{Batches: batches, Hurry: r.IntN(2) == 0}
	if len(batches) == 1 && r.IntN(2) == 0 {
		b := batches[0].Records
		u.Block = blockOf(b, originFrom(m.next-uint64(b.Len())+1))
		for i := range b.Len() {
			m.passed[m.next-1-uint64(i)] = true
		}
	}
	receipt, err := s.Append(t.Context(), u)
	if err != nil {
		t.Fatal(err)
	}
	if r.IntN(4) > 0 {
		if err := receipt.Wait(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
}

// compare reads everything. Retention may have taken a prefix, and never gives
// it back.
func (m *model) compare(t *testing.T, s *Store) {
	t.Helper()
	r, err := s.Append(t.Context(), Unit{Batches: []StreamBatch{{"a", numbered(m.next, 1, 8)}}, Hurry: true}) // a barrier
	if err != nil {
		t.Fatal(err)
	}
	if err := r.Wait(t.Context()); err != nil {
		t.Fatal(err)
	}
	m.streams["a"] = append(m.streams["a"], m.next)
	m.next++
	for _, info := range s.Streams() {
		want := m.streams[info.Name]
		if info.Next != uint64(len(want))+1 {
			t.Fatalf("%s: next %d, want %d", info.Name, info.Next, len(want)+1)
		}
		if info.First < m.first[info.Name] {
			t.Fatalf("%s: first went back from %d to %d", info.Name, m.first[info.Name], info.First)
		}
		m.first[info.Name] = info.First
		if info.Records != info.Next-info.First {
			t.Fatalf("%s: %d records between %d and %d", info.Name, info.Records, info.First, info.Next)
		}
		m.read(t, s, info, want)
		if next, ok := m.cursors[info.Name]; ok {
			if got, _ := s.Cursor("f", info.Name); got != next {
				t.Fatalf("%s: cursor at %d, want %d", info.Name, got, next)
			}
		}
	}
}

func (m *model) read(t *testing.T, s *Store, info StreamInfo, want []uint64) {
	t.Helper()
	b := record.NewBatch()
	defer b.Release()
	next := info.First
	for at := uint64(1); ; at = next {
		first, err := s.Read(info.Name, at, b)
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		if first < next || (first > next && next != info.First) {
			t.Fatalf("%s: block at %d, want %d", info.Name, first, next)
		}
		if at == 1 {
			m.first[info.Name] = max(m.first[info.Name], first) // retention may run meanwhile
		}
		for i := range b.Len() {
			got := numberOf(b.At(i))
			if got != want[first-1+uint64(i)] {
				t.Fatalf("%s: offset %d holds %d, want %d", info.Name, first+uint64(i), got, want[first-1+uint64(i)])
			}
			origin := record.Origin{}
			if m.passed[got] {
				origin = originFrom(got + 1)
			}
			if o := b.At(i).Origin(); !sameOrigin(o, origin) {
				t.Fatalf("%s: offset %d has the origin %+v, want %+v", info.Name, first+uint64(i), o, origin)
			}
		}
		wantBlock(t, s, info.Name, first, b)
		next = first + uint64(b.Len())
	}
	if next != info.Next && info.Records > 0 {
		t.Fatalf("%s: read up to %d, want %d", info.Name, next, info.Next)
	}
}
