package file

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/runnel-log/runnel/forwarders"
	"github.com/runnel-log/runnel/forwarders/forwardertest"
)

func lines(t testing.TB, path string) []string {
	t.Helper()
	p, err := os.ReadFile(path)
	if err != nil && !os.IsNotExist(err) {
		t.Fatal(err)
	}
	if len(p) == 0 {
		return nil
	}
	return strings.Split(strings.TrimSuffix(string(p), "\n"), "\n")
}

func TestKeepsTheContract(t *testing.T) {
	for _, format := range []string{forwarders.JSON, forwarders.Text, forwarders.Raw} {
		t.Run(format, func(t *testing.T) {
			forwardertest.Run(t, Kind, func(t *testing.T) *forwardertest.Receiver {
				path := filepath.Join(t.TempDir(), "app.log")
				return &forwardertest.Receiver{
					Options: &Options{Path: path, Format: format},
					Texts:   func() []string { return lines(t, path) },
				}
			})
		})
	}
}

// deliver appends the records from to to and waits until they are on disk.
func deliver(t testing.TB, f forwarders.Forwarder, from, to uint64) {
	t.Helper()
	a, err := f.Deliver(t.Context(), forwardertest.Batch(t, "app", from, to, nil))
	if err != nil {
		t.Fatalf("Deliver: %v", err)
	}
	if n, err := a.Wait(t.Context()); err != nil || n != int(to-from) {
		t.Fatalf("Wait = %d, %v, want %d", n, err, to-from)
	}
}

func wantLines(t testing.TB, path string, n int) {
	t.Helper()
	if got := lines(t, path); len(got) != n {
		t.Errorf("%s has %d lines, want %d", filepath.Base(path), len(got), n)
	}
}

func TestTornLineIsCutOff(t *testing.T) {
	f := func(before, want string) {
		t.Helper()
		path := filepath.Join(t.TempDir(), "app.log")
		if err := os.WriteFile(path, []byte(before), 0o600); err != nil {
			t.Fatal(err)
		}
		log, err := openLog(path)
		if err != nil {
			t.Fatal(err)
		}
		log.close()
		got, err := os.ReadFile(path)
		if err != nil || string(got) != want {
			t.Errorf("%d bytes became %d, want %d (%v)", len(before), len(got), len(want), err)
		}
	}
	long := strings.Repeat("x", 200<<10)
	f("", "")
	f("whole\n", "whole\n")
	f("whole\ntorn", "whole\n")
	f("torn", "")
	f("\n", "\n")
	f("a\n\ntorn", "a\n\n")
	f("whole\n"+long, "whole\n")
	f(long+"\n"+long, long+"\n")
	f(long, "")
}

func TestMovedFileIsReopened(t *testing.T) {
	path := filepath.Join(t.TempDir(), "app.log")
	f := forwardertest.New(t, Kind, &Options{Path: path, Format: forwarders.JSON})
	deliver(t, f, 1, 4)
	if err := os.Rename(path, path+".old"); err != nil {
		t.Fatal(err)
	}
	deliver(t, f, 4, 6)
	wantLines(t, path+".old", 3)
	wantLines(t, path, 2)
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	deliver(t, f, 6, 7)
	wantLines(t, path, 1)
	if err := os.Truncate(path, 0); err != nil { // logrotate's copytruncate
		t.Fatal(err)
	}
	deliver(t, f, 7, 9)
	wantLines(t, path, 2)
}

// A batch whose Ack is open when the file is moved or rotated is made durable
// before the file is let go.
func TestOpenAckSurvivesTheMove(t *testing.T) {
	path := filepath.Join(t.TempDir(), "app.log")
	f := forwardertest.New(t, Kind, &Options{Path: path, Format: forwarders.JSON})
	a, err := f.Deliver(t.Context(), forwardertest.Batch(t, "app", 1, 4, nil))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(path, path+".old"); err != nil {
		t.Fatal(err)
	}
	deliver(t, f, 4, 5)
	if n, err := a.Wait(t.Context()); n != 3 || err != nil {
		t.Errorf("Wait = %d, %v, want 3", n, err)
	}
	wantLines(t, path+".old", 3)
}

func TestRotationKeepsTheNewest(t *testing.T) {
	path := filepath.Join(t.TempDir(), "app.log")
	f := forwardertest.New(t, Kind, &Options{Path: path, Format: forwarders.Text, MaxSize: 200, Keep: 2})
	for i := range uint64(5) {
		deliver(t, f, 1+2*i, 3+2*i) // two lines are about 150 bytes: a file each
	}
	for i, name := range []string{"app.log", "app.log.1", "app.log.2"} {
		got := lines(t, filepath.Join(filepath.Dir(path), name))
		want := []string{"record=00000009", "record=00000007", "record=00000005"}[i]
		if len(got) != 2 || !strings.Contains(got[0], want) {
			t.Errorf("%s holds %q, want two lines from %s", name, got, want)
		}
	}
	if all, _ := filepath.Glob(path + "*"); len(all) != 3 {
		t.Errorf("%d files are left, want 3: %q", len(all), all)
	}
}

func TestSecondWriterIsRefused(t *testing.T) {
	path := filepath.Join(t.TempDir(), "app.log")
	one := forwardertest.New(t, Kind, &Options{Path: path, Format: forwarders.JSON})
	two := forwardertest.New(t, Kind, &Options{Path: path, Format: forwarders.JSON})
	deliver(t, one, 1, 2)
	if _, err := two.Deliver(t.Context(), forwardertest.Batch(t, "app", 2, 3, nil)); err == nil {
		t.Errorf("a second forwarder may write to the same file")
	}
	one.Close()
	deliver(t, two, 2, 3)
	wantLines(t, path, 2)
}

func TestFileIsPrivate(t *testing.T) {
	path := filepath.Join(t.TempDir(), "app.log")
	deliver(t, forwardertest.New(t, Kind, &Options{Path: path, Format: forwarders.JSON}), 1, 2)
	info, err := os.Stat(path)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("mode %v, %v, want 0600", info.Mode(), err)
	}
}

// After a sync that failed nothing written since the last good one can be
// trusted: it is cut off, and every Ack on it fails, whatever a later sync says.
func TestFailedSyncFailsEveryOpenAck(t *testing.T) {
	path := filepath.Join(t.TempDir(), "app.log")
	f := forwardertest.New(t, Kind, &Options{Path: path, Format: forwarders.JSON}).(*Forwarder)
	deliver(t, f, 1, 3)
	var open []forwarders.Ack
	for i := range uint64(2) {
		a, err := f.Deliver(t.Context(), forwardertest.Batch(t, "app", 3+i, 4+i, nil))
		if err != nil {
			t.Fatal(err)
		}
		open = append(open, a)
	}
	f.log.broken = os.ErrInvalid // as sync leaves it
	for i, a := range open {
		if n, err := a.Wait(t.Context()); n != 0 || err == nil {
			t.Errorf("Wait of batch %d = %d, %v, want 0 and an error", i, n, err)
		}
	}
	if _, err := f.Deliver(t.Context(), forwardertest.Batch(t, "app", 5, 6, nil)); err == nil {
		t.Errorf("a batch was written in front of those that are to come again")
	}
	wantLines(t, path, 2)
	deliver(t, f, 3, 6)
	wantLines(t, path, 5)
}
