package storage

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"slices"
	"testing"
	"time"

	"github.com/klauspost/compress/s2"

	"github.com/runnel-log/runnel/record"
)

// originFrom is an origin in a stream of another agent, at that offset.
func originFrom(offset uint64) record.Origin {
	return record.Origin{Agent: [16]byte{7, 8, 9}, Epoch: 3, Sequence: offset, Stream: []byte("elsewhere")}
}

func sameOrigin(a, b record.Origin) bool {
	return a.Agent == b.Agent && a.Epoch == b.Epoch && a.Child == b.Child && a.Sequence == b.Sequence && bytes.Equal(a.Stream, b.Stream)
}

// blockOf is the block in which b may have come, compressed better than the store would.
func blockOf(b *record.Batch, o record.Origin) *record.Block {
	return &record.Block{Body: s2.EncodeBetter(nil, b.Bytes()), Origin: o}
}

// putWhole appends a block and waits for the disk.
func putWhole(t testing.TB, s *Store, stream string, b *record.Batch, o record.Origin) (body []byte) {
	t.Helper()
	o.Stream = bytes.Clone(o.Stream)
	k := blockOf(b, o)
	store(t, s, Unit{Batches: []StreamBatch{{stream, b}}, Block: k})
	body = bytes.Clone(k.Body)
	clear(k.Body) // it was borrowed
	clear(k.Origin.Stream)
	return body
}

// wantBlock holds what Block returns against what Read has returned.
func wantBlock(t testing.TB, s *Store, stream string, first uint64, read *record.Batch) (k *record.Block, ok bool) {
	t.Helper()
	k = new(record.Block)
	at, _, ok := s.Block(stream, first, k)
	if !ok {
		return nil, false
	}
	var b record.Batch
	if err := Unpack(k, &b); err != nil {
		t.Fatal(err)
	}
	if at != first || k.Count != read.Len() || !bytes.Equal(b.Bytes(), read.Bytes()) {
		t.Fatalf("the block at %d is one of %d records at %d, and not what Read gives: %d records", first, k.Count, at, read.Len())
	}
	if want := record.DigestOf(read.At(read.Len()-1), nil).Sum(first + uint64(read.Len()) - 1); k.Sum != want {
		t.Fatalf("the block at %d has the sum %x, want %x", first, k.Sum, want)
	}
	return k, true
}

// wantOrigins reads a stream to its end; from offset i on, records have the origins of starts[i].
func wantOrigins(t testing.TB, s *Store, stream string, starts map[uint64]record.Origin) {
	t.Helper()
	b := record.NewBatch()
	defer b.Release()
	var o record.Origin
	for at := uint64(1); ; at += uint64(b.Len()) {
		first, err := s.Read(stream, at, b)
		if errors.Is(err, io.EOF) {
			return
		}
		if err != nil || first != at {
			t.Fatalf("block at %d, want %d: %v", first, at, err)
		}
		wantBlock(t, s, stream, first, b)
		for i := range b.Len() {
			if next, ok := starts[at+uint64(i)]; ok {
				o = next
			}
			if got := b.At(i).Origin(); !sameOrigin(got, o) {
				t.Fatalf("offset %d has the origin %+v, want %+v", at+uint64(i), got, o)
			}
			if !o.IsZero() {
				o.Sequence++
			}
		}
	}
}

// A block that came whole lies there as it came, and whoever reads it finds the origins in its
// records: right after it came, from the file, after a restart, page by page, and in a copy.
func TestABlockIsKeptAsItCame(t *testing.T) {
	dir := t.TempDir()
	s := openStore(t, Options{Dir: dir, CommitEvery: time.Millisecond, SegmentSize: 256 << 10})
	put(t, s, "app", numbered(0, 3, 100))
	body := putWhole(t, s, "app", numbered(3, 200, 400), originFrom(1000)) // more than is put together
	put(t, s, "app", numbered(203, 300, 100))
	own := putWhole(t, s, "app", numbered(503, 400, 400), record.Origin{}) // their origin is here
	starts := map[uint64]record.Origin{4: originFrom(1000), 204: {}}
	check := func() {
		t.Helper()
		_, numbers := numbersFrom(t, s, "app", 1)
		wantRun(t, numbers, 0, 903)
		wantOrigins(t, s, "app", starts)
		var k record.Block
		for at, want := range map[uint64][]byte{50: body, 600: own} {
			first, epoch, ok := s.Block("app", at, &k)
			if !ok || !bytes.Equal(k.Body, want) || epoch != s.Parts("app")[0].Epoch {
				t.Fatalf("the block at %d begins at %d with %d bytes of epoch %d, %v, want the %d as they came", at, first, len(k.Body), epoch, ok, len(want))
			}
			if first == 4 && !sameOrigin(k.Origin, originFrom(1000)) || first == 504 && !k.Origin.IsZero() {
				t.Errorf("the block at %d has the origin %+v", first, k.Origin)
			}
		}
		if _, _, ok := s.Block("app", 904, &k); ok {
			t.Error("there is a block behind the last")
		}
		if _, _, ok := s.Block("other", 1, &k); ok {
			t.Error("there is a block of a stream that is not there")
		}
	}
	check()
	s.recent.shrink(0)
	check()
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if r := viewed(t, dir); !r.Good() || r.Records != 903 {
		t.Fatalf("%+v", r)
	}
	s = openStore(t, Options{Dir: dir, SegmentSize: 256 << 10})
	check()
	s.mu.RLock()
	g := s.segments[0]
	s.mu.RUnlock()
	s.salvageNow(g)
	check()
	if err := s.writeSalvaged(); err != nil {
		t.Fatal(err)
	}
	check()
}

// What is too little for a block of its own, or is to be compressed anew, is stored as
// anything else is, and has its origins.
func TestABlockThatIsNotWorthItIsPutTogether(t *testing.T) {
	s := openStore(t, Options{CommitEvery: 500 * time.Millisecond})
	starts := map[uint64]record.Origin{}
	next := uint64(1)
	add := func(b *record.Batch, k *record.Block) {
		t.Helper()
		starts[next] = k.Origin
		next += uint64(b.Len())
		if _, err := s.Append(t.Context(), Unit{Batches: []StreamBatch{{"app", b}}, Block: k}); err != nil {
			t.Fatal(err)
		}
		clear(k.Body)
	}
	small := func(n int, o record.Origin) {
		b := numbered(next-1, n, 20)
		add(b, blockOf(b, o))
	}
	small(1, originFrom(5))
	small(63, originFrom(900))
	small(2, record.Origin{})
	small(3, originFrom(100))
	b := numbered(next-1, 100, 20)
	add(b, &record.Block{Body: literal(b.Bytes()), Origin: originFrom(2000)}) // not compressed at all
	small(1500, originFrom(3000))                                             // it is to be cut
	long := originFrom(8000)
	long.Stream = bytes.Repeat([]byte("s"), 256)
	small(70, long)
	wrong := numbered(next-1, 70, 20)
	add(wrong, &record.Block{Body: s2.Encode(nil, wrong.Bytes()[:4000]), Origin: originFrom(9000)}) // not what it is said to be
	store(t, s, Unit{Batches: []StreamBatch{{"app", numbered(next-1, 1, 20)}}})
	starts[next] = record.Origin{}
	wantOrigins(t, s, "app", starts)
	_, numbers := numbersFrom(t, s, "app", 1)
	wantRun(t, numbers, 0, next)
	var k record.Block
	blocks := 0
	for at := uint64(1); at <= next; at += uint64(k.Count) {
		if _, _, ok := s.Block("app", at, &k); !ok || !k.Origin.IsZero() {
			t.Fatalf("the block at %d has the origin %+v, %v", at, k.Origin, ok)
		}
		blocks++
	}
	if blocks > 9 {
		t.Errorf("%d blocks", blocks)
	}
}

// literal encodes b as an s2 block that is one literal.
func literal(b []byte) []byte {
	dst := binary.AppendUvarint(nil, uint64(len(b)))
	n := len(b) - 1
	return append(append(dst, 63<<2, byte(n), byte(n>>8), byte(n>>16), byte(n>>24)), b...)
}

// Small blocks that came whole are put together with their neighbours when a segment is
// rewritten, and their records have origins of their own from then on; large ones stay.
func TestRewritingKeepsTheOriginsOfBlocks(t *testing.T) {
	s := openStore(t, Options{CommitEvery: time.Nanosecond, SegmentSize: 4 << 20})
	starts := map[uint64]record.Origin{}
	next := uint64(1)
	for i := range smallRun {
		for _, n := range []int{64, 70, 65, 400} {
			starts[next] = originFrom(uint64(10_000*i + n))
			putWhole(t, s, "app", numbered(next-1, n, 200), starts[next])
			next += uint64(n)
		}
		starts[next] = record.Origin{}
		put(t, s, "app", numbered(next-1, 3, 200))
		next += 3
		s.rotate.Store(true)
	}
	put(t, s, "app", numbered(next-1, 1, 200))
	before := segmentFiles(t, s)
	for range 3 {
		s.maintain()
	}
	if after := segmentFiles(t, s); after >= before {
		t.Fatalf("%d segments, and %d before", after, before)
	}
	wantOrigins(t, s, "app", starts)
	s.recent.shrink(0)
	wantOrigins(t, s, "app", starts)
	whole, joined := 0, 0
	var k record.Block
	for at := uint64(1); at < next; at += uint64(k.Count) {
		if _, _, ok := s.Block("app", at, &k); !ok {
			t.Fatalf("no block at %d", at)
		}
		if k.Count == 400 && !k.Origin.IsZero() {
			whole++
		} else if k.Origin.IsZero() && k.Count > 150 {
			joined++
		}
	}
	if whole != smallRun || joined < smallRun {
		t.Errorf("%d large blocks are whole, and %d small ones joined", whole, joined)
	}
}

// A block of a build that had no sums is read, and is not handed out whole.
func TestABlockWithoutASumIsRead(t *testing.T) {
	b := &staged{gate: &gate{stream: &stream{name: "app"}}, raw: numbered(0, 100, 50)}
	b.press(true)
	old := slices.Concat(make([]byte, headerSize("app", &later{})), b.entry[headerSize("app", &b.later):])
	h := header{kind: kindRecords, codec: b.codec, sequence: 5, first: 1, count: 100, rawLen: uint32(b.size), epoch: 9, times: b.times}
	seal(old, &h, "app")
	if len(old) != len(b.entry)-fieldHeader-fieldSumLen {
		t.Errorf("its header has %d bytes less than one with a sum", len(b.entry)-len(old))
	}
	got, body, err := open(old, 5)
	var read record.Batch
	if err == nil {
		err = decodeRecords(&got, body, &read)
	}
	if err != nil || got.sum != 0 || !got.origin.IsZero() || !bytes.Equal(read.Bytes(), b.raw.Bytes()) {
		t.Errorf("sum %x, origin %+v: %v", got.sum, got.origin, err)
	}
}

// Fields that a build does not know are skipped; those that contradict themselves are damage.
func TestLaterFieldsAreSkippedOrWhole(t *testing.T) {
	known := later{sum: 77, origin: originFrom(9)}
	all := known.append(nil)
	f := func(what string, fields []byte, want bool) {
		t.Helper()
		var got later
		if ok := got.parse(fields, 10); ok != want || ok && (got.sum != 77 || !sameOrigin(got.origin, known.origin)) {
			t.Errorf("%s: %+v, %v, want %v", what, got, ok, want)
		}
	}
	origin := func(o record.Origin) []byte { return (&later{sum: 77, origin: o}).append(nil) }
	f("as they are", all, true)
	f("one behind them", append(slices.Clone(all), 200, 1, 0, 9), true)
	f("one before them", append([]byte{3, 0, 0}, all...), true)
	f("half a header", append(slices.Clone(all), 200, 1), false)
	f("a field cut off", all[:len(all)-1-len("elsewhere")], false)
	f("a sum of seven bytes", append([]byte{fieldSum, 7, 0, 1, 2, 3, 4, 5, 6, 7}, all...), false)
	f("an origin of nothing", append(slices.Clone(all), append([]byte{fieldOrigin, 28, 0}, make([]byte, 28)...)...), false)
	f("one beyond the last offset", origin(originFrom(1<<64-5)), false)
	long := originFrom(9)
	long.Stream = bytes.Repeat([]byte("s"), 256)
	f("a name that is too long", origin(long), false)
}
