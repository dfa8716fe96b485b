package storage

import (
	"bufio"
	"crypto/rand"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/runnel-log/runnel/record"
)

// residentSegments returns how many bytes of the segment files of s are mapped in now.
func residentSegments(t *testing.T, s *Store) (total int64) {
	t.Helper()
	f, err := os.Open("/proc/self/smaps")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	segment := false
	for lines := bufio.NewScanner(f); lines.Scan(); {
		line := lines.Text()
		if strings.Contains(line, "-") && strings.Contains(line, "/") {
			segment = strings.HasSuffix(line, ".seg") && strings.Contains(line, s.options.Dir)
		}
		if value, ok := strings.CutPrefix(line, "Rss:"); ok && segment {
			kib, err := strconv.ParseInt(strings.TrimSuffix(strings.TrimSpace(value), " kB"), 10, 64)
			if err != nil {
				t.Fatal(err)
			}
			total += kib << 10
		}
	}
	return total
}

// TestReadPagesAreGivenBack reads a store much larger than giveBackEvery and
// wants most of it out of the process's memory again.
func TestReadPagesAreGivenBack(t *testing.T) {
	s := openStore(t, Options{Policy: func(string) Policy { return Policy{MaxSize: 1 << 30} }})
	noise := make([]byte, 64<<10) // it does not compress
	var r record.Record
	const n = 900
	for range n {
		rand.Read(noise)
		b := record.NewBatch()
		r.Reset()
		r.Message = noise
		if err := b.Append(&r); err != nil {
			t.Fatal(err)
		}
		if _, err := s.Append(t.Context(), Unit{Batches: []StreamBatch{{"app", b}}}); err != nil {
			t.Fatal(err)
		}
	}
	put(t, s, "app", numbered(n+1, 1, 8)) // on disk after all of them
	b := record.NewBatch()
	read := int64(0)
	for at := uint64(1); at <= n; {
		first, err := s.Read("app", at, b)
		if err != nil {
			t.Fatal(err)
		}
		read += int64(b.Size())
		at = first + uint64(b.Len())
	}
	if got := residentSegments(t, s); read < 8*giveBackEvery || got > 2*giveBackEvery {
		t.Errorf("%d bytes read, %d of the segments still mapped in; want at most %d", read, got, 2*giveBackEvery)
	}
}

// TestNothingBehindTheMappingIsGivenBack cuts segments short, which then say
// that they are longer than what is mapped of them. What lies behind a mapping
// is the Go runtime's, as often as not.
func TestNothingBehindTheMappingIsGivenBack(t *testing.T) {
	dir, _ := damageStore(t)
	names, _ := filepath.Glob(filepath.Join(dir, "store", "*.seg"))
	tried := 0
	for _, name := range names {
		if err := os.Truncate(name, sizeOf(name)/3); err != nil {
			t.Fatal(err)
		}
		g, err := openSegment(name, 256<<10, true)
		if err != nil {
			continue
		}
		defer g.close()
		said, mapped := g.size.Load(), mappingOf(t, g.db.Info().Data)
		if said > mapped {
			tried++
		}
		if g.mapped <= 0 || g.mapped > mapped {
			t.Errorf("%s: %d bytes may be given back, and %d are mapped", filepath.Base(name), g.mapped, mapped)
		}
	}
	if tried == 0 {
		t.Error("no segment said that it is longer than its mapping; nothing was tried")
	}
}

// mappingOf returns the length of the mapping that begins at address.
func mappingOf(t *testing.T, address uintptr) int64 {
	t.Helper()
	maps, err := os.ReadFile("/proc/self/maps")
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(maps)) {
		var from, to uintptr
		if n, _ := fmt.Sscanf(line, "%x-%x", &from, &to); n == 2 && from == address {
			return int64(to - from)
		}
	}
	t.Fatalf("nothing is mapped at %#x", address)
	return 0
}

// TestWrittenPagesAreGivenBack: commits look at pages around those they write, and
// a backlog that grows for hours must not have them all in the process.
func TestWrittenPagesAreGivenBack(t *testing.T) {
	s := openStore(t, Options{})
	noise := make([]byte, 5<<10) // it does not compress
	most := int64(0)
	for i := range 150 {
		u := Unit{Hurry: true}
		for stream := range 25 { // a block each, and so a page that is looked at
			rand.Read(noise)
			b := record.NewBatch()
			if err := b.Append(&record.Record{Message: noise}); err != nil {
				t.Fatal(err)
			}
			u.Batches = append(u.Batches, StreamBatch{fmt.Sprint(stream), b})
		}
		receipt, err := s.Append(t.Context(), u)
		if err == nil {
			err = receipt.Wait(t.Context())
		}
		if err != nil {
			t.Fatal(err)
		}
		if i%10 == 0 {
			most = max(most, residentSegments(t, s))
		}
	}
	if most > giveBackEvery {
		t.Errorf("up to %d KiB of what was written are mapped in, want at most %d", most>>10, giveBackEvery>>10)
	}
	t.Logf("up to %d KiB mapped in", most>>10)
}
