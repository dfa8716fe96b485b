package storage

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/runnel-log/runnel/record"
)

// fixedWork in the environment has a child do the fixed workload in crashDir. Its
// value may name a point at which it kills itself, and how often it passes
// before: "commit 3".
const fixedWork = "RUNNEL_FIXED_WORK"

func fixedOptions(dir string) Options {
	return Options{Dir: dir, SegmentSize: 1 << 20, CommitEvery: time.Millisecond, MaxSize: 64 << 20,
		Policy: func(stream string) Policy {
			if stream == "b" {
				return Policy{MaxSize: 40_000}
			}
			return Policy{}
		}}
}

// fixedUnits is how many units the fixed workload has.
const fixedUnits = 24

// fixedChild does always the same: units of records and state, one after the
// other, with maintenance in between, so that segments rotate, expire and are
// rewritten. It prints what was acknowledged.
func fixedChild(dir string) {
	fail := func(what string, err error) {
		fmt.Println(what, err)
		os.Exit(1)
	}
	o := fixedOptions(dir)
	o.Reached = killAt(os.Getenv(fixedWork))
	s, err := Open(o)
	if err != nil {
		fail("open:", err)
	}
	w, err := writerOf(s)
	if err != nil {
		fail("state:", err)
	}
	for n := range fixedUnits {
		receipt, reached, err := w.append(s, map[string]int{"a": 1 + n%7*10, "b": 40}, true)
		if err == nil {
			err = receipt.Wait(context.Background())
		}
		if err != nil {
			fail("append:", err)
		}
		line := "ack"
		for stream, next := range reached {
			s.MoveCursor("f", stream, next)
			line += fmt.Sprintf(" %s %d", stream, next)
		}
		fmt.Println(line)
		s.point("acknowledged")
		if n%3 == 2 {
			s.rotate.Store(true) // with the next unit
		}
		if n%4 == 3 {
			s.maintain()
		}
	}
	if err := s.Close(); err != nil {
		fail("close:", err)
	}
	fmt.Println("done")
}

// killAt returns what kills the process when it reaches a point for the nth time.
func killAt(plan string) func(point string) {
	var at string
	var n int
	if count, _ := fmt.Sscanf(plan, "%s %d", &at, &n); count != 2 {
		return nil
	}
	reached := make(chan int, 1) // a counter that several goroutines share
	reached <- 0
	return func(point string) {
		if point != at {
			return
		}
		passed := <-reached + 1
		if passed == n {
			self, _ := os.FindProcess(os.Getpid())
			_ = self.Kill()
			select {}
		}
		reached <- passed
	}
}

// acksOf reads what a fixed child printed.
func acksOf(t *testing.T, out io.Reader, acked map[string]uint64) (done bool) {
	t.Helper()
	for in := bufio.NewScanner(out); in.Scan(); {
		fields := strings.Fields(in.Text())
		switch {
		case len(fields)%2 == 1 && fields[0] == "ack":
			for i := 1; i < len(fields); i += 2 {
				var next uint64
				if _, err := fmt.Sscan(fields[i+1], &next); err != nil {
					t.Fatal(err)
				}
				acked[fields[i]] = max(acked[fields[i]], next)
			}
		case in.Text() == "done":
			done = true
		case strings.HasPrefix(in.Text(), "open: "), strings.HasPrefix(in.Text(), "close: "): // nothing was acknowledged before, or after
		default:
			t.Errorf("child says %q", in.Text())
		}
	}
	return done
}

// wantAcked opens a directory and compares what it has with what was acknowledged:
// all of a, the end of b, and the state of the last unit. A disk that was full
// made room by the oldest of a, too.
func wantAcked(dir string, acked map[string]uint64, full bool) error {
	begun := time.Now()
	s, err := Open(fixedOptions(dir))
	if err != nil {
		return err
	}
	defer s.Close()
	if took := time.Since(begun); took > 2*time.Second {
		return fmt.Errorf("opening took %v", took)
	}
	for stream, want := range acked {
		first, next := bounds(s, stream)
		if next <= want {
			return fmt.Errorf("%s ends before %d, %d records were acknowledged", stream, next, want)
		}
		if stream == "a" && first != 1 && !full {
			return fmt.Errorf("a begins at %d", first)
		}
		at, err := readable(s, stream, first)
		for err == nil && at < want+1 { // retention may be at work at this moment
			if first, _ = bounds(s, stream); first <= at {
				break
			}
			at, err = readable(s, stream, first)
		}
		if err != nil || at < want+1 {
			return fmt.Errorf("%s is readable up to %d, %d records were acknowledged: %w", stream, at, want, err)
		}
	}
	if gaps := s.Gaps(); len(gaps) > 0 {
		return fmt.Errorf("gaps: %+v", gaps)
	}
	if err := wantBalanced(s); err != nil {
		return err
	}
	return wantOneTruth(s, true)
}

// bounds returns the offsets between which a stream has records.
func bounds(s *Store, stream string) (first, next uint64) {
	for _, i := range s.Streams() {
		if i.Name == stream {
			return i.First, i.Next
		}
	}
	return 0, 0
}

// TestKilledAtNamedPointsKeepsWhatWasAcknowledged ends the process at places of our
// own that no system call marks, again and again on one directory. At some of them
// a segment is damaged beforehand, so that it is killed while it salvages.
func TestKilledAtNamedPointsKeepsWhatWasAcknowledged(t *testing.T) {
	often := 3
	if soak {
		often = 40
	}
	for _, point := range []string{"commit", "committed", "acknowledged", "rotate", "checkpoint", "trim", "salvage"} {
		t.Run(point, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			acked, killed := map[string]uint64{}, 0
			for n := range often {
				passing := 1 + n%7
				if point == "salvage" || point == "trim" { // once a run
					if passing = 1; n > 0 {
						forgetMetas(t, dir)
					}
				}
				cmd := exec.Command(os.Args[0])
				cmd.Env = append(os.Environ(), crashDir+"="+dir, fmt.Sprintf("%s=%s %d", fixedWork, point, passing))
				out, err := cmd.Output()
				if err != nil {
					killed++
				}
				acksOf(t, bytes.NewReader(out), acked)
				if err := wantAcked(dir, acked, false); err != nil {
					t.Fatalf("%d: %v\n%s", n, err, out)
				}
			}
			if killed*2 < often {
				t.Errorf("killed %d times of %d", killed, often)
			}
		})
	}
}

// forgetMetas clears both meta pages of the oldest segment.
func forgetMetas(t *testing.T, dir string) {
	t.Helper()
	names, _ := filepath.Glob(filepath.Join(dir, "store", "*.seg"))
	f, err := os.OpenFile(names[0], os.O_WRONLY, 0)
	if err == nil {
		_, err = f.WriteAt(make([]byte, 8192), 0)
		f.Close()
	}
	if err != nil {
		t.Fatal(err)
	}
}

// readable reads a stream from an offset and returns where it cannot go on.
func readable(s *Store, stream string, at uint64) (uint64, error) {
	b := record.NewBatch()
	defer b.Release()
	for {
		first, err := s.Read(stream, at, b)
		if err == io.EOF {
			return at, nil
		}
		if err != nil || first > at { // blocks may have been put together meanwhile
			return at, err
		}
		for i := range b.Len() {
			if got := numberOf(b.At(i)); got != first-1+uint64(i) {
				return at, fmt.Errorf("offset %d holds number %d", first+uint64(i), got)
			}
		}
		at = first + uint64(b.Len())
	}
}
