package storage

import (
	"encoding/binary"
	"errors"
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
// directory and the number of records.
func damageStore(t testing.TB) (dir string, n uint64) {
	t.Helper()
	dir = t.TempDir()
	s := openStore(t, Options{Dir: dir, SegmentSize: 256 << 10, CommitEvery: time.Millisecond})
	for range 40 {
		put(t, s, "a", noise(n, 300))
		n += 300
		s.MoveCursor("f", "a", n)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	return dir, n
}

// harm does one thing to a file that a bad disk or a bad hand might do.
func harm(r *rand.Rand, b []byte) []byte {
	page := func() int { return r.IntN(len(b)/4096) * 4096 }
	switch r.IntN(6) {
	case 0, 1, 2: // one bit
		b[r.IntN(len(b))] ^= 1 << r.IntN(8)
	case 3: // a page of zeros
		clear(b[page():][:4096])
	case 4: // a page over another
		copy(b[page():][:4096], b[page():][:4096])
	case 5:
		b = b[:r.IntN(len(b))]
	}
	return b
}

// TestDamageIsNeverServedAndNeverStopsAStart harms one file of a store, many
// times over, and opens it.
func TestDamageIsNeverServedAndNeverStopsAStart(t *testing.T) {
	whole, n := damageStore(t)
	want := noise(0, 300)
	message := slices.Clone(want.At(7).Message())
	seed := seedOf(t)
	r := rand.New(rand.NewPCG(seed, 0))
	served, possible := uint64(0), uint64(0)
	const rounds = 60
	for round := range rounds {
		dir := filepath.Join(t.TempDir(), "d")
		if err := os.CopyFS(dir, os.DirFS(whole)); err != nil {
			t.Fatal(err)
		}
		names, _ := filepath.Glob(filepath.Join(dir, "store", "*"))
		names = slices.DeleteFunc(names, func(name string) bool { return strings.HasSuffix(name, "reserve") })
		name := names[r.IntN(len(names))]
		b, err := os.ReadFile(name)
		if err == nil {
			err = os.WriteFile(name, harm(r, b), 0o600)
		}
		if err != nil {
			t.Fatal(err)
		}
		s, err := Open(Options{Dir: dir, SegmentSize: 256 << 10})
		if err != nil {
			t.Fatalf("round %d: open refused: %v", round, err)
		}
		served += checkServed(t, s, n, message)
		possible += n
		put(t, s, "b", numbered(0, 10, 10))
		_, numbers := numbersFrom(t, s, "b", 1)
		wantRun(t, numbers, 0, 10)
		_ = s.Close()
		os.RemoveAll(dir)
	}
	t.Logf("%.1f %% of the records survived %d damages to one of their files", 100*float64(served)/float64(possible), rounds)
	if served*10 < possible*7 {
		t.Errorf("only %d of %d records were served", served, possible)
	}
}

// checkServed reads what there is; each record must be the one that was stored.
func checkServed(t *testing.T, s *Store, n uint64, message []byte) (served uint64) {
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
			if got := numberOf(b.At(i)); got != first-1+uint64(i) || got >= n {
				t.Fatalf("offset %d holds number %d", first+uint64(i), got)
			}
			if numberOf(b.At(i)) == 7 && string(b.At(i).Message()) != string(message) {
				t.Fatal("record 7 was altered")
			}
			served++
		}
		at = first + uint64(b.Len())
	}
}

func TestTruncationUnderARunningStoreIsSurvived(t *testing.T) {
	s := openStore(t, Options{SegmentSize: 256 << 10})
	for i := range 20 {
		put(t, s, "a", noise(uint64(i*300), 300))
	}
	names, _ := filepath.Glob(filepath.Join(s.options.Dir, "store", "*.seg"))
	for _, name := range names {
		if err := os.Truncate(name, 8192); err != nil {
			t.Fatal(err)
		}
	}
	checkServed(t, s, 6000, noise(0, 8).At(7).Message())
	put(t, s, "b", numbered(0, 10, 10)) // in a new segment, since the old one faults
	_, numbers := numbersFrom(t, s, "b", 1)
	wantRun(t, numbers, 0, 10)
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

func TestALostStateBeginsANewEpoch(t *testing.T) {
	dir, n := damageStore(t)
	if err := os.WriteFile(filepath.Join(dir, "store", "state.db"), []byte(strings.Repeat("not bbolt ", 4000)), 0o600); err != nil {
		t.Fatal(err)
	}
	s := openStore(t, Options{Dir: dir})
	if _, epoch := s.Identity(); epoch != 2 {
		t.Fatalf("epoch %d, want 2", epoch)
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
	agent, epoch := s.Identity()
	_ = s.Close()
	if err := os.WriteFile(filepath.Join(dir, "identity"), []byte("format 1\nagent zz"), 0o600); err != nil {
		t.Fatal(err)
	}
	s = openStore(t, Options{Dir: dir})
	if a, e := s.Identity(); a != agent || e != epoch {
		t.Fatalf("identity %x/%d, want %x/%d", a, e, agent, epoch)
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
	if h, ok := s.Head("a", 1); !ok || h.First != 12001 {
		t.Fatalf("%+v, want offsets to go on at 12001: the checkpoint knew", h)
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
			if decodeRecords(&h, body, &out) == nil && out.Len() != int(h.count) {
				t.Fatalf("%d records, header says %d", out.Len(), h.count)
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
	x := segmentIndex{last: 9, streams: map[string][]head{"app": {{first: 1, count: 3}, {first: 4, count: 1}}}}
	f.Add(x.encode())
	f.Fuzz(func(t *testing.T, b []byte) {
		if len(b) >= 16 {
			binary.LittleEndian.PutUint32(b, checksum(b[4:]))
		}
		parseIndex(b)
	})
}
