package storage

import (
	"encoding/binary"
	"errors"
	"hash/fnv"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"go.etcd.io/bbolt"

	"github.com/runnel-log/runnel/record"
)

// damageStore makes a closed store with a few segments and returns its
// directory and the number of records. Every other block came whole, and its records have origins
// at their own offsets.
func damageStore(t testing.TB) (dir string, n uint64) {
	t.Helper()
	dir = t.TempDir()
	s := openStore(t, Options{Dir: dir, SegmentSize: 256 << 10, CommitEvery: time.Millisecond})
	for i := range 40 {
		if i%2 == 0 {
			put(t, s, "a", noise(n, 300))
		} else {
			putWhole(t, s, "a", noise(n, 300), originFrom(n+1))
		}
		n += 300
		s.MoveCursor("f", "a", n)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	return dir, n
}

// TestASmallBucketIsSalvagedToo has so little in a segment that bbolt keeps it
// all on one page.
func TestASmallBucketIsSalvagedToo(t *testing.T) {
	dir := t.TempDir()
	s := openStore(t, Options{Dir: dir})
	put(t, s, "a", numbered(0, 2, 10))
	put(t, s, "a", numbered(2, 1, 10))
	path := s.segments[0].path
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	clear(b[:8192])
	if err := os.WriteFile(path, b, 0o600); err != nil {
		t.Fatal(err)
	}
	s = openStore(t, Options{Dir: dir})
	_, numbers := numbersFrom(t, s, "a", 1)
	wantRun(t, numbers, 0, 3)
}

// TestAnEmptySegmentHidesNothing has the sync fail with which a new segment gets
// its name: the store goes on in the old one, and the name may come back.
func TestAnEmptySegmentHidesNothing(t *testing.T) {
	dir := t.TempDir()
	s := openStore(t, Options{Dir: dir})
	put(t, s, "a", numbered(0, 10, 10))
	g, err := createSegment(s.dir.segments(), s.sequence, 0, 1<<20)
	if err != nil {
		t.Fatal(err)
	}
	g.close()
	put(t, s, "a", numbered(10, 10, 10))
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		s = openStore(t, Options{Dir: dir})
		_, numbers := numbersFrom(t, s, "a", 1)
		wantRun(t, numbers, 0, uint64(len(numbers)))
		if len(numbers) < 20 {
			t.Fatalf("%d records, want 20", len(numbers))
		}
		put(t, s, "a", numbered(uint64(len(numbers)), 10, 10))
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

// FuzzPages gives what reads pages any file.
func FuzzPages(f *testing.F) {
	dir, _ := damageStore(f)
	names, _ := filepath.Glob(filepath.Join(dir, "store", "*.seg"))
	b, err := os.ReadFile(names[0])
	if err != nil {
		f.Fatal(err)
	}
	f.Add(b[:24<<10], false)
	f.Add(b[:24<<10], true)
	f.Fuzz(func(t *testing.T, b []byte, mend bool) {
		if mend && len(b) >= 2*4096 { // past the checksums of the meta pages
			for _, page := range [][]byte{b, b[4096:]} {
				h := fnv.New64a()
				h.Write(page[boltPageHeader:][:boltMetaSize-8])
				binary.LittleEndian.PutUint64(page[boltPageHeader+boltMetaSize-8:], h.Sum64())
			}
		}
		path := segmentName(t.TempDir(), 1, 0)
		if err := os.WriteFile(path, b, 0o600); err != nil {
			t.Fatal(err)
		}
		r, err := scavenge(path, 1)
		if err != nil {
			t.Fatal(err)
		}
		defer r.pages.f.Close()
		r.pages.accounted(3)
		last := uint64(0)
		for i := range r.entries {
			e := &r.entries[i]
			entry, err := r.read(e.sequence, nil)
			if err == nil {
				_, _, err = open(entry, e.sequence)
			}
			if err != nil || e.sequence <= last {
				t.Fatalf("entry %d after %d: %v", e.sequence, last, err)
			}
			last = e.sequence
		}
	})
}

// harm does one thing to a file that a bad disk or a bad hand might do.
func harm(r *rand.Rand, b []byte) []byte {
	page := func() int { return r.IntN(len(b)/4096) * 4096 }
	switch r.IntN(8) {
	case 0, 1, 2: // one bit
		b[r.IntN(len(b))] ^= 1 << r.IntN(8)
	case 3: // a page of zeros
		clear(b[page():][:4096])
	case 4: // a page over another
		copy(b[page():][:4096], b[page():][:4096])
	case 5:
		b = b[:r.IntN(len(b))]
	case 6: // one meta page, or both
		clear(b[r.IntN(2)*4096:][:4096])
		clear(b[r.IntN(2)*4096:][:4096])
	case 7: // one meta page over the other
		copy(b[:4096], b[4096:8192])
	}
	return b
}

// TestDamageIsNeverServedAndNeverStopsAStart harms one file of a store, many
// times over, and opens it. What lies on pages that were not touched must be served.
func TestDamageIsNeverServedAndNeverStopsAStart(t *testing.T) {
	whole, n := damageStore(t)
	want := messagesOf(n)
	seed := seedOf(t)
	r := rand.New(rand.NewPCG(seed, 0))
	rounds := 60
	if soak {
		rounds = 1000
	}
	served, intact, stored := uint64(0), uint64(0), uint64(0)
	for round := range rounds {
		dir := filepath.Join(t.TempDir(), "d")
		if err := os.CopyFS(dir, os.DirFS(whole)); err != nil {
			t.Fatal(err)
		}
		names, _ := filepath.Glob(filepath.Join(dir, "store", "*"))
		names = slices.DeleteFunc(names, func(name string) bool { return strings.HasSuffix(name, "reserve") })
		name := names[r.IntN(len(names))]
		before, err := os.ReadFile(name)
		after := harm(r, slices.Clone(before))
		if err == nil {
			err = os.WriteFile(name, after, 0o600)
		}
		if err != nil {
			t.Fatal(err)
		}
		s, err := Open(Options{Dir: dir, SegmentSize: 256 << 10})
		if err != nil {
			t.Fatalf("round %d: open refused: %v", round, err)
		}
		lost := touched(t, filepath.Join(whole, "store", filepath.Base(name)), before, after)
		got := checkServed(t, s, want)
		served, intact, stored = served+got, intact+n-lost, stored+n
		if missing := missingOf(s, "a"); got+missing != n {
			t.Errorf("round %d: %d records served, %d stated as damaged, %d were stored; %s", round, got, missing, n, filepath.Base(name))
		}
		put(t, s, "b", numbered(0, 10, 10))
		_, numbers := numbersFrom(t, s, "b", 1)
		wantRun(t, numbers, 0, 10)
		for range 3 { // what is read from pages is written to a replacement
			s.maintain()
		}
		if again := checkServed(t, s, want); again != got {
			t.Errorf("round %d: %d records served, %d after the repair", round, got, again)
		}
		if slices.ContainsFunc(s.segments, func(g *segment) bool { return g.sealed && g.salvage.found.Load() != nil }) {
			t.Errorf("round %d: a damaged segment has no replacement", round)
		}
		_ = s.Close()
		s = openStore(t, Options{Dir: dir, SegmentSize: 256 << 10})
		if again := checkServed(t, s, want); again != got {
			t.Errorf("round %d: %d records served, %d at the next start", round, got, again)
		}
		if err := wantBalanced(s); err != nil {
			t.Errorf("round %d: %v", round, err)
		}
		_ = s.Close()
		os.RemoveAll(dir)
	}
	t.Logf("%d damages: %d records stored, %d of them on untouched pages, %d served", rounds, stored, intact, served)
	if served*100 < intact*99 {
		t.Errorf("%d of %d records on untouched pages were served", served, intact)
	}
}

// touched returns how many records of a segment have a changed page among those
// that hold them.
func touched(t *testing.T, path string, before, after []byte) (records uint64) {
	t.Helper()
	base, _, ok := parseSegmentName(path)
	if !ok {
		return 0
	}
	r, err := scavenge(path, base)
	if err != nil {
		t.Fatal(err)
	}
	defer r.pages.f.Close()
	for i := range r.entries {
		e := &r.entries[i]
		from, to := int(e.leaf)*4096, min((int(e.at)+e.size()+4095)/4096*4096, len(before))
		if e.kind == kindRecords && (to > len(after) || !slices.Equal(before[from:to], after[from:to])) {
			records += uint64(e.count)
		}
	}
	return records
}

// missingOf returns how many records of a stream are in gaps.
func missingOf(s *Store, stream string) (records uint64) {
	gaps := s.Gaps()
	s.mu.RLock()
	defer s.mu.RUnlock()
	st := s.streams[stream]
	st.holes(func(from, to uint64) { records += to - from })
	for _, g := range gaps {
		if _, _, hole := st.hole(g.From); !hole && g.Stream == stream {
			records += g.To - g.From
		}
	}
	return records
}

// messagesOf are the messages of the first n records that damageStore and its like write.
func messagesOf(n uint64) (messages [][]byte) {
	for uint64(len(messages)) < n {
		b := noise(uint64(len(messages)), 300)
		for i := range b.Len() {
			messages = append(messages, slices.Clone(b.At(i).Message()))
		}
		b.Release()
	}
	return messages[:n]
}

// checkServed reads what there is; each record must be the one that was stored.
func checkServed(t *testing.T, s *Store, want [][]byte) (served uint64) {
	t.Helper()
	b := record.NewBatch()
	defer b.Release()
	for at := uint64(1); ; {
		first, err := s.Read("a", at, b)
		if errors.Is(err, io.EOF) {
			return served
		}
		if err != nil {
			t.Fatal(err)
		}
		if first < at {
			t.Fatalf("block at %d after %d", first, at)
		}
		for i := range b.Len() {
			if n := first - 1 + uint64(i); n >= uint64(len(want)) || !slices.Equal(b.At(i).Message(), want[n]) {
				t.Fatalf("offset %d holds number %d, or that altered", n+1, numberOf(b.At(i)))
			}
			if o := b.At(i).Origin(); !o.IsZero() && !sameOrigin(o, originFrom(first+uint64(i))) {
				t.Fatalf("offset %d has the origin %+v", first+uint64(i), o)
			}
			served++
		}
		at = first + uint64(b.Len())
	}
}

// TestTruncationUnderARunningStoreIsSurvived cuts files short that are mapped. The
// process lives on, and what was not cut off is there after a restart.
func TestTruncationUnderARunningStoreIsSurvived(t *testing.T) {
	r := rand.New(rand.NewPCG(seedOf(t), 2))
	rounds := 4
	if soak {
		rounds = 50
	}
	want := messagesOf(6000)
	for round := range rounds {
		s := openStore(t, Options{SegmentSize: 256 << 10})
		for i := range 20 {
			put(t, s, "a", noise(uint64(i*300), 300))
		}
		names, _ := filepath.Glob(filepath.Join(s.options.Dir, "store", "*.seg"))
		to := int64(r.IntN(200 << 10))
		for _, name := range names {
			if err := os.Truncate(name, min(to, sizeOf(name))); err != nil {
				t.Fatal(err)
			}
		}
		checkServed(t, s, want)
		put(t, s, "b", numbered(0, 10, 10)) // in a new segment, since the old one faults
		_, numbers := numbersFrom(t, s, "b", 1)
		wantRun(t, numbers, 0, 10)
		dir := s.options.Dir
		_ = s.Close()
		s = openStore(t, Options{Dir: dir, SegmentSize: 256 << 10})
		served, missing := checkServed(t, s, want), missingOf(s, "a")
		_, fork := s.Identity()
		if served+missing > 6000 || (served+missing < 6000 && fork == 1) {
			t.Errorf("round %d, cut to %d: %d served, %d stated as lost of 6000, fork %d", round, to, served, missing, fork)
		}
		_, numbers = numbersFrom(t, s, "b", 1)
		wantRun(t, numbers, 0, 10)
		if err := wantBalanced(s); err != nil {
			t.Errorf("round %d: %v", round, err)
		}
		_ = s.Close()
	}
}

// TestAFailedCommitIsRepeatedInANewSegment has commits fail with their outcome
// unknown: sometimes they did reach the disk.
func TestAFailedCommitIsRepeatedInANewSegment(t *testing.T) {
	dir := t.TempDir()
	s := openStore(t, Options{Dir: dir})
	n := uint64(0)
	for round := range 12 {
		fail := round%4 != 3
		s.intake.mu.Lock() // the committer is idle: every put has been waited for
		s.commitTx = func(tx *bbolt.Tx) error {
			if !fail {
				return tx.Commit()
			}
			fail = false
			if round%2 == 0 {
				if err := tx.Commit(); err != nil {
					return err
				}
			}
			return syscall.EIO
		}
		s.intake.mu.Unlock()
		put(t, s, "a", numbered(n, 50, 50))
		n += 50
		s.MoveCursor("f", "a", n)
	}
	_, numbers := numbersFrom(t, s, "a", 1)
	wantRun(t, numbers, 0, n)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	s = openStore(t, Options{Dir: dir})
	_, numbers = numbersFrom(t, s, "a", 1)
	wantRun(t, numbers, 0, n)
	if got := info(t, s, "a"); got.Records != n {
		t.Fatalf("%d records, want %d: a repeated commit counts once", got.Records, n)
	}
}

func TestADiskThatRefusesDelaysAcksAndResumes(t *testing.T) {
	s := openStore(t, Options{})
	put(t, s, "a", numbered(0, 5, 10))
	refuse := make(chan struct{})
	tried := make(chan struct{}, 100)
	s.intake.mu.Lock()
	s.commitTx = func(tx *bbolt.Tx) error {
		select {
		case <-refuse:
			return tx.Commit()
		default:
			tried <- struct{}{}
			return &os.PathError{Op: "write", Path: "x", Err: syscall.ENOSPC}
		}
	}
	s.intake.mu.Unlock()
	r, err := s.Append(t.Context(), Unit{Batches: []StreamBatch{{"a", numbered(5, 5, 10)}}, Hurry: true})
	if err != nil {
		t.Fatal(err)
	}
	<-tried
	<-tried
	select {
	case <-r.Done():
		t.Fatal("acknowledged while the disk refused")
	default:
	}
	close(refuse)
	if err := r.Wait(t.Context()); err != nil {
		t.Fatal(err)
	}
	_, numbers := numbersFrom(t, s, "a", 1)
	wantRun(t, numbers, 0, 10)
}

func TestCloseOnARefusingDiskSaysSo(t *testing.T) {
	s := openStore(t, Options{})
	s.intake.mu.Lock()
	s.commitTx = func(*bbolt.Tx) error { return syscall.EIO }
	s.intake.mu.Unlock()
	r, err := s.Append(t.Context(), Unit{Batches: []StreamBatch{{"a", numbered(0, 5, 10)}}, Hurry: true})
	if err != nil {
		t.Fatal(err)
	}
	_ = s.Close()
	if err := r.Wait(t.Context()); !errors.Is(err, ErrClosed) {
		t.Fatalf("got %v, want ErrClosed", err)
	}
	if _, err := s.Append(t.Context(), Unit{Batches: []StreamBatch{{"a", numbered(0, 5, 10)}}, Hurry: true}); !errors.Is(err, ErrClosed) {
		t.Fatalf("got %v, want ErrClosed", err)
	}
}

func TestALostStateIsAFork(t *testing.T) {
	dir, n := damageStore(t)
	if err := os.WriteFile(filepath.Join(dir, "store", "state.db"), []byte(strings.Repeat("not bbolt ", 4000)), 0o600); err != nil {
		t.Fatal(err)
	}
	s := openStore(t, Options{Dir: dir})
	if _, fork := s.Identity(); fork != 2 {
		t.Fatalf("fork %d, want 2", fork)
	}
	_, numbers := numbersFrom(t, s, "a", 1)
	wantRun(t, numbers, 0, n)
	if names, _ := filepath.Glob(filepath.Join(dir, "quarantine", "*")); len(names) != 1 {
		t.Fatalf("quarantine holds %v, want state.db", names)
	}
}

func TestALostIdentityComesBackFromTheState(t *testing.T) {
	dir, _ := damageStore(t)
	s := openStore(t, Options{Dir: dir})
	agent, fork := s.Identity()
	_ = s.Close()
	if err := os.WriteFile(filepath.Join(dir, "identity"), []byte("format 1\nagent zz"), 0o600); err != nil {
		t.Fatal(err)
	}
	s = openStore(t, Options{Dir: dir})
	if a, e := s.Identity(); a != agent || e != fork {
		t.Fatalf("identity %x/%d, want %x/%d", a, e, agent, fork)
	}
}

// TestABranchThatLeadsBackIsRefused makes the one damage that recover could not catch.
func TestABranchThatLeadsBackIsRefused(t *testing.T) {
	dir := t.TempDir()
	s := openStore(t, Options{Dir: dir})
	for i := range 40 {
		put(t, s, "a", noise(uint64(i*300), 300))
	}
	path, root, size := s.segments[0].path, uint64(0), s.segments[0].db.Info().PageSize
	err := s.segments[0].view(func(tx *bbolt.Tx) error {
		root = uint64(tx.Bucket(bucketLog).Root())
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	_ = s.Close()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	page := b[int(root)*size:]
	if binary.LittleEndian.Uint16(page[8:]) != boltBranchFlag {
		t.Fatal("the root of the log is not a branch page")
	}
	binary.LittleEndian.PutUint64(page[boltPageHeader+8:], root)
	if err := os.WriteFile(path, b, 0o600); err != nil {
		t.Fatal(err)
	}
	s = openStore(t, Options{Dir: dir})
	if names, _ := filepath.Glob(filepath.Join(dir, "quarantine", "*.seg")); len(names) != 1 {
		t.Fatalf("quarantine holds %v, want the segment", names)
	}
	put(t, s, "a", numbered(0, 1, 8))
	first, numbers := numbersFrom(t, s, "a", 1)
	if first != 1 || len(numbers) != 12001 {
		t.Fatalf("%d records from %d, want all 12000 and the new one", len(numbers), first)
	}
}

// FuzzEntry gives the decoder of entries any bytes; what it accepts must be a
// batch of the stated count.
func FuzzEntry(f *testing.F) {
	b := &staged{gate: &gate{stream: &stream{name: "app"}}, raw: numbered(0, 20, 40)}
	b.press(true)
	h := header{kind: kindRecords, codec: b.codec, sequence: 5, first: 1, count: 20, rawLen: uint32(b.size), epoch: 1, times: b.times}
	seal(b.entry, &h, "app")
	f.Add(b.entry, uint64(5), false)
	f.Add(b.entry[:90], uint64(5), true)
	w := &staged{gate: b.gate, raw: numbered(0, 20, 40), later: later{origin: originFrom(7)}}
	w.press(true)
	h.later = w.later
	seal(w.entry, &h, "app")
	f.Add(w.entry, uint64(5), false)
	f.Add([]byte{}, uint64(0), true)
	f.Fuzz(func(t *testing.T, entry []byte, sequence uint64, mend bool) {
		if mend && len(entry) >= headerFixed { // past the checksums, into the rest
			mendChecksums(entry)
		}
		h, body, err := open(entry, sequence)
		if err != nil {
			return
		}
		switch h.kind {
		case kindRecords:
			if h.rawLen > 1<<20 {
				return // allowed, but slow to try a million times
			}
			var out record.Batch
			if decodeRecords(&h, body, &out) != nil {
				return
			}
			if out.Len() != int(h.count) {
				t.Fatalf("%d records, header says %d", out.Len(), h.count)
			}
			if err := new(record.Batch).Decode(out.Bytes()); err != nil {
				t.Fatal(err)
			}
		case kindState:
			_ = parseChanges(body, func(change) {})
		}
	})
}

func mendChecksums(entry []byte) {
	le := binary.LittleEndian
	size := int(le.Uint16(entry[atHeaderLen:]))
	if size < headerFixed || size > len(entry) {
		return
	}
	le.PutUint32(entry[atBodyCRC:], checksum(entry[size:]))
	le.PutUint32(entry[atHeaderCRC:], checksum(entry[4:size]))
}

// FuzzIndex gives the decoder of a segment's index any bytes.
func FuzzIndex(f *testing.F) {
	x := segmentIndex{last: 9, streams: map[string][]*run{"app": {{epoch: 7, heads: []head{{first: 1, count: 3}, {first: 4, count: 1}}}}}}
	f.Add(x.encode())
	f.Fuzz(func(t *testing.T, b []byte) {
		if len(b) >= 16 {
			binary.LittleEndian.PutUint32(b, checksum(b[4:]))
		}
		parseIndex(b, 1)
	})
}
