package storage

import (
	"bufio"
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"sync"
	"testing"
	"time"
)

// crashDir names the data directory of a child that is going to be killed.
const crashDir = "RUNNEL_CRASH_DIR"

func TestMain(m *testing.M) {
	if dir := os.Getenv(crashDir); dir != "" {
		if _, fixed := os.LookupEnv(fixedWork); fixed {
			fixedChild(dir)
		} else {
			crashChild(dir)
		}
		return
	}
	os.Exit(m.Run())
}

func crashOptions(dir string) Options {
	return Options{Dir: dir, SegmentSize: 256 << 10, CommitEvery: time.Millisecond}
}

// crashChild appends to four streams for ever and prints what was acknowledged.
// A record's number is its offset less one, which the child knows from the state
// alone: it goes on where that says.
func crashChild(dir string) {
	fail := func(what string, err error) {
		fmt.Println(what, err)
		os.Exit(1)
	}
	s, err := Open(crashOptions(dir))
	if err != nil {
		fail("open:", err)
	}
	w, err := writerOf(s)
	if err != nil {
		fail("state:", err)
	}
	var out sync.Mutex
	var wg sync.WaitGroup
	for n, stream := range []string{"a", "b", "c"} {
		wg.Go(func() {
			r := rand.New(rand.NewPCG(uint64(os.Getpid()), uint64(n)))
			for {
				counts := map[string]int{stream: 1 + r.IntN(400), "d": r.IntN(3)}
				if r.IntN(10) == 0 {
					counts = nil // as a tick that only sets state
				}
				receipt, reached, err := w.append(s, counts, n == 0)
				if err == nil {
					err = receipt.Wait(context.Background())
				}
				if err != nil {
					fail("append:", err)
				}
				if next, ok := reached[stream]; ok {
					s.MoveCursor("f", stream, next)
				}
				out.Lock()
				for stream, next := range reached {
					fmt.Println("ack", stream, next)
				}
				out.Unlock()
			}
		})
	}
	wg.Wait()
}

// TestKilledAtAnyPointKeepsWhatWasAcknowledged kills the store's process again
// and again. Everything acknowledged must be there, once and in order.
func TestKilledAtAnyPointKeepsWhatWasAcknowledged(t *testing.T) {
	seed := seedOf(t)
	r := rand.New(rand.NewPCG(seed, 0))
	dir := t.TempDir()
	acked := map[string]uint64{}
	lines := 0
	for kill := range 30 {
		lines += killed(t, dir, r, acked)
		s, err := Open(crashOptions(dir))
		if err != nil {
			t.Fatalf("kill %d: %v", kill, err)
		}
		if err := wantOneTruth(s, true); err != nil {
			t.Fatalf("kill %d: %v", kill, err)
		}
		from := uint64(1)
		if kill%10 != 9 { // all of it now and then, else the end
			from = 0
		}
		for stream, want := range acked {
			at := from
			if at == 0 {
				at = max(1, want-min(want, 2000))
			}
			_, numbers := numbersFrom(t, s, stream, at)
			wantRun(t, numbers, at-1, uint64(len(numbers)))
			if got := at - 1 + uint64(len(numbers)); got < want {
				t.Fatalf("kill %d: %s holds %d records, %d were acknowledged", kill, stream, got, want)
			}
			if next, _ := s.Cursor("f", stream); next > info(t, s, stream).Next {
				t.Fatalf("kill %d: cursor at %d is beyond %d", kill, next, info(t, s, stream).Next)
			}
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if lines < 100 {
		t.Fatalf("the children acknowledged %d times, want at least 100", lines)
	}
}

// killed runs a child until a random moment after its first acknowledgements.
func killed(t *testing.T, dir string, r *rand.Rand, acked map[string]uint64) (lines int) {
	t.Helper()
	child := exec.Command(os.Args[0])
	child.Env = append(os.Environ(), crashDir+"="+dir)
	out, err := child.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := child.Start(); err != nil {
		t.Fatal(err)
	}
	wait := time.Duration(r.IntN(60_000)) * time.Microsecond
	early := r.IntN(5) == 0 // while it is opening, too
	if early {
		time.AfterFunc(wait/4, func() { _ = child.Process.Kill() })
	}
	for in := bufio.NewScanner(out); in.Scan(); {
		var stream string
		var at uint64
		if n, _ := fmt.Sscanf(in.Text(), "ack %s %d", &stream, &at); n != 2 {
			t.Errorf("child says %q", in.Text())
			continue
		}
		acked[stream] = max(acked[stream], at)
		if lines++; lines == 1 && !early {
			time.AfterFunc(wait, func() { _ = child.Process.Kill() })
		}
	}
	_ = child.Wait()
	return lines
}
