package storage

import (
	"errors"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// viewed checks a directory without changing it.
func viewed(t *testing.T, dir string) *Report {
	t.Helper()
	s, err := View(Options{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	return s.Check(nil)
}

// digest is the names and sizes of all files, and the content of those that may
// not change at all.
func digest(t *testing.T, dir string) (all string) {
	t.Helper()
	err := filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		b, err := os.ReadFile(path)
		all += path + " " + string(checksumText(b)) + "\n"
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

func checksumText(b []byte) []byte {
	sum := checksum(b)
	return []byte{byte(sum), byte(sum >> 8), byte(sum >> 16), byte(sum >> 24)}
}

func TestASoundStoreIsFoundGood(t *testing.T) {
	dir, n := damageStore(t)
	before := digest(t, dir)
	r := viewed(t, dir)
	if !r.Good() || len(r.Gaps) > 0 || r.Records != n || r.Blocks != 40 || r.States == 0 {
		t.Fatalf("%+v", r)
	}
	if digest(t, dir) != before {
		t.Fatal("looking at the store changed it")
	}
	if r, err := Repair(Options{Dir: dir}, nil); err != nil || !r.Good() || digest(t, dir) != before {
		t.Fatalf("a repair of a sound store: %+v, %v", r, err)
	}
}

// TestAfterARepairAllIsServedOrStated harms stores, checks them, repairs them and
// checks again.
func TestAfterARepairAllIsServedOrStated(t *testing.T) {
	whole, n := damageStore(t)
	want := messagesOf(n)
	r := rand.New(rand.NewPCG(seedOf(t), 1))
	found := 0
	for round := range 30 {
		dir := filepath.Join(t.TempDir(), "d")
		if err := os.CopyFS(dir, os.DirFS(whole)); err != nil {
			t.Fatal(err)
		}
		names, _ := filepath.Glob(filepath.Join(dir, "store", "*"))
		names = slices.DeleteFunc(names, func(name string) bool { return strings.HasSuffix(name, "reserve") })
		state := false // its checkpoint is harmed
		for range 1 + r.IntN(3) {
			name := names[r.IntN(len(names))]
			state = state || filepath.Base(name) == "state.db"
			b, err := os.ReadFile(name)
			if err == nil && len(b) > 8192 {
				err = os.WriteFile(name, harm(r, b), 0o600)
			}
			if err != nil {
				t.Fatal(err)
			}
		}
		before := digest(t, dir)
		report := viewed(t, dir)
		if digest(t, dir) != before {
			t.Fatalf("round %d: looking at the store changed it", round)
		}
		lost := uint64(0)
		for _, g := range report.Lost {
			lost += g.To - g.From
		}
		if !report.Good() {
			found++
		}
		if _, err := Repair(Options{Dir: dir}, nil); err != nil {
			t.Fatalf("round %d: %v", round, err)
		}
		again := viewed(t, dir)
		if !again.Good() {
			t.Errorf("round %d: after the repair: %+v, before: %+v", round, again, report)
		}
		s := openStore(t, Options{Dir: dir, SegmentSize: 256 << 10})
		// Nobody knows how long the stream was where there is no checkpoint, or an older one (bbolt's other
		// meta page) and the newest entries behind it are gone as well.
		unknowable := report.StateLost || state && report.StateBehind
		if served := checkServed(t, s, want); served+lost > n || (served+lost < n && !unknowable) || again.Records != served {
			t.Errorf("round %d: %d served, %d were found lost, %d stored; the check read %d", round, served, lost, n, again.Records)
		}
		_ = s.Close()
		os.RemoveAll(dir)
	}
	if found < 10 {
		t.Errorf("%d of 30 stores were found damaged", found)
	}
}

func TestAQuarantinedFileCanBeRead(t *testing.T) {
	dir, n := damageStore(t)
	names, _ := filepath.Glob(filepath.Join(dir, "store", "*.seg"))
	b, err := os.ReadFile(names[1])
	if err != nil {
		t.Fatal(err)
	}
	clear(b[:8192])
	if err := os.WriteFile(names[1], b, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Repair(Options{Dir: dir}, nil); err != nil {
		t.Fatal(err)
	}
	files, err := Quarantined(dir)
	if err != nil || len(files) != 1 {
		t.Fatalf("%v, %v", files, err)
	}
	s, err := ViewFile(Options{}, files[0])
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if i := info(t, s, "a"); i.Records == 0 || i.First == 1 || i.Records != i.Next-i.First {
		t.Fatalf("%+v", i)
	}
	checkServed(t, s, messagesOf(n))
}

func TestWhatIsLookedAtIsNoAgents(t *testing.T) {
	s := openStore(t, Options{})
	if _, err := View(Options{Dir: s.options.Dir}); !errors.Is(err, ErrInUse) {
		t.Fatalf("got %v, want ErrInUse", err)
	}
	if _, err := View(Options{Dir: t.TempDir()}); !errors.Is(err, ErrNoStore) {
		t.Fatalf("got %v, want ErrNoStore", err)
	}
	dir := s.options.Dir
	put(t, s, "a", numbered(0, 10, 10))
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	v, err := View(Options{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	defer v.Close()
	if _, err := v.Append(t.Context(), Unit{Batches: []StreamBatch{{"a", numbered(0, 1, 1)}}}); !errors.Is(err, ErrClosed) {
		t.Fatalf("got %v, want ErrClosed", err)
	}
}
