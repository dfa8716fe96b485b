//go:build integration

package storage

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// mounted mounts a file system of its own for the test, which wants root.
func mounted(t *testing.T, args ...string) (dir string) {
	t.Helper()
	dir = t.TempDir()
	if out, err := exec.Command("mount", append(args, dir)...).CombinedOutput(); err != nil {
		t.Fatalf("mount wants root: %v: %s", err, out)
	}
	t.Cleanup(func() { _ = exec.Command("umount", "-l", dir).Run() })
	return dir
}

// fillUp takes all room but a little, and returns what gives it back.
func fillUp(t *testing.T, dir string) (give func()) {
	t.Helper()
	path := filepath.Join(dir, "filler")
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for block := make([]byte, 64<<10); len(block) >= 512; {
		if _, err := f.Write(block); err != nil {
			block = block[:len(block)/2]
		}
	}
	return func() {
		if err := os.Remove(path); err != nil {
			t.Fatal(err)
		}
	}
}

// TestAFullDiskAcknowledgesNothingAndResumes fills a real file system and empties
// it, twenty times, under a store that pushes back.
func TestAFullDiskAcknowledgesNothingAndResumes(t *testing.T) {
	dir := mounted(t, "-t", "tmpfs", "-o", "size=24m", "runnel-test")
	o := Options{Dir: filepath.Join(dir, "data"), SegmentSize: 1 << 20, CommitEvery: time.Millisecond,
		Policy: func(string) Policy { return Policy{OnFull: PushBack} }}
	s := openStore(t, o)
	acked, slowest := uint64(0), time.Duration(0)
	// store appends once, and says whether that was acknowledged within patience.
	store := func(patience time.Duration) (bool, error) {
		ctx, stop := context.WithTimeout(t.Context(), patience)
		defer stop()
		r, err := s.Append(ctx, Unit{Batches: []StreamBatch{{"a", noise(acked, 300)}}, Hurry: true})
		if err == nil {
			err = r.Wait(ctx)
		}
		if err == nil {
			acked += 300
		}
		return err == nil, err
	}
	for cycle := range 20 {
		for range 3 {
			if ok, err := store(10 * time.Second); !ok {
				t.Fatalf("cycle %d: %v with room on the disk", cycle, err)
			}
		}
		give := fillUp(t, dir)
		refused := 0
		for n := 0; refused < 3 && n < 2000; n++ { // what is in the segments already can be written over
			ok, err := store(300 * time.Millisecond)
			switch {
			case ok:
			case errors.Is(err, ErrFull):
				refused++
			case errors.Is(err, context.DeadlineExceeded): // on its way: it is stored once there is room
				refused++
				acked += 300
			default:
				t.Fatal(err)
			}
		}
		if refused == 0 {
			t.Fatalf("cycle %d: the disk never refused", cycle)
		}
		give()
		begun := time.Now()
		s.MoveCursor("f", "a", acked-300) // delivered: retention may take it
		for ok := false; !ok; {
			ok, _ = store(5 * time.Second)
			if time.Since(begun) > 5*time.Second {
				t.Fatalf("cycle %d: not resumed within 5 s", cycle)
			}
			if !ok {
				select {
				case <-s.Changed():
				case <-time.After(20 * time.Millisecond): // what is refused brings no commit
				}
			}
		}
		slowest = max(slowest, time.Since(begun))
	}
	t.Logf("%d records, slowest resumption %v", acked, slowest)
	i := info(t, s, "a")
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	s = openStore(t, o)
	if at, err := readable(s, "a", i.First); err != nil || at != i.Next || at < acked+1 {
		t.Fatalf("readable up to %d of %d, %d were acknowledged or staged: %v", at, i.Next, acked, err)
	}
	if err := wantBalanced(s); err != nil {
		t.Error(err)
	}
}

// killedOnAFullDisk returns a directory as kill -9 leaves it, on a disk that another
// program has filled since, and what gives the room back. records are acknowledged in it.
func killedOnAFullDisk(t *testing.T, o Options, records uint64) (killed Options, give func()) {
	t.Helper()
	o.Dir = t.TempDir()
	s := openStore(t, o)
	for n := uint64(0); n < records; n += 300 {
		put(t, s, "a", noise(n, 300))
	}
	s.MoveCursor("f", "a", 301)
	if err := s.WaitCursor(t.Context(), "f", "a"); err != nil {
		t.Fatal(err)
	}
	s.maintain()
	killed = o
	disk := mounted(t, "-t", "tmpfs", "-o", "size=24m", "runnel-test")
	killed.Dir = filepath.Join(disk, "data")
	s.maintenance.Lock() // so that nothing is being written
	err := os.CopyFS(killed.Dir, os.DirFS(o.Dir))
	s.maintenance.Unlock()
	if err == nil {
		err = s.Close()
	}
	if err != nil {
		t.Fatal(err)
	}
	return killed, fillUp(t, disk)
}

// TestKilledOnAFullDiskItStartsAgain: all that is stored is served, senders are told that
// nothing more is, and when room comes back so does everything else, by itself.
func TestKilledOnAFullDiskItStartsAgain(t *testing.T) {
	f := func(onFull OnFull, segment int64) {
		t.Helper()
		const records = 9000
		o, give := killedOnAFullDisk(t, Options{SegmentSize: segment, CommitEvery: time.Millisecond,
			Policy: func(string) Policy { return Policy{OnFull: onFull} }}, records)
		s := openStore(t, o)
		if err := s.Trouble(); err == nil || !strings.Contains(err.Error(), "no space left on device") {
			t.Fatalf("%d: trouble is %v right after the opening", onFull, err)
		}
		unit := func() Unit {
			return Unit{Batches: []StreamBatch{{"a", noise(records, 300)}}, Hurry: true, Acks: true}
		}
		first := info(t, s, "a").First
		for range 2 { // maintenance has nothing to do with it
			if at, err := readable(s, "a", first); err != nil || at != records+1 {
				t.Fatalf("%d: readable up to %d, %d were acknowledged: %v", onFull, at, records, err)
			}
			if _, err := s.Append(t.Context(), unit()); !errors.Is(err, ErrFull) {
				t.Fatalf("%d: got %v, want ErrFull", onFull, err)
			}
			s.maintain()
		}
		if got := info(t, s, "a").Records; got == 0 || onFull != DropOldest && got != records {
			t.Errorf("%d: %d records left of %d", onFull, got, records)
		}
		s.MoveCursor("f", "a", records+1) // and it goes on being delivered
		give()
		deadline := time.After(5 * time.Second)
		for s.Trouble() != nil {
			select {
			case <-time.After(10 * time.Millisecond): // the committer tries again by the clock
			case <-deadline:
				t.Fatalf("%d: not resumed within 5 s: %v", onFull, s.Trouble())
			}
		}
		put(t, s, "a", noise(records, 300))
		if at, err := readable(s, "a", info(t, s, "a").First); err != nil || at != records+301 {
			t.Errorf("%d: readable up to %d: %v", onFull, at, err)
		}
		if err := wantBalanced(s); err != nil {
			t.Error(err)
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		s = openStore(t, o)
		if at, err := readable(s, "a", info(t, s, "a").First); err != nil || at != records+301 {
			t.Errorf("%d: readable up to %d after another start: %v", onFull, at, err)
		}
		if next, _ := s.Cursor("f", "a"); next != records+1 {
			t.Errorf("%d: the cursor is at %d", onFull, next)
		}
		if _, fork := s.Identity(); fork != 1 {
			t.Errorf("%d: fork %d", onFull, fork)
		}
	}
	for _, onFull := range []OnFull{PushBack, DropNew, DropOldest} {
		f(onFull, 64<<20) // all of it in one segment
		f(onFull, 1<<20)
	}
}

// TestAFullDiskDoesNotMakeAnUncleanStopClean: what was opened without room for a new segment
// and stopped well still does not write on in the old one, and takes nothing from it.
func TestAFullDiskDoesNotMakeAnUncleanStopClean(t *testing.T) {
	const records = 3000
	o, give := killedOnAFullDisk(t, Options{SegmentSize: 64 << 20}, records)
	for range 2 {
		s := openStore(t, o)
		s.MoveCursor("f", "a", 601)
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
	give()
	s := openStore(t, o)
	if got := segmentFiles(t, s); got != 2 {
		t.Errorf("%d segments, want a new one", got)
	}
	if next, _ := s.Cursor("f", "a"); next != 601 {
		t.Errorf("the cursor is at %d", next)
	}
	put(t, s, "a", noise(records, 300))
	if at, err := readable(s, "a", 1); err != nil || at != records+301 {
		t.Errorf("readable up to %d: %v", at, err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if s = openStore(t, o); segmentFiles(t, s) != 2 {
		t.Errorf("%d segments, and the last stop was a clean one", segmentFiles(t, s))
	}
}

// TestADamagedStateOpensOnAFullDisk: a new state.db and a fork find room in the
// reserve, also where the disk takes the first pages of a file and not the others.
func TestADamagedStateOpensOnAFullDisk(t *testing.T) {
	f := func(room int64, damage func(state string) error) {
		t.Helper()
		const records = 3000
		o, give := killedOnAFullDisk(t, Options{SegmentSize: 64 << 20}, records)
		filler := filepath.Join(filepath.Dir(o.Dir), "filler")
		if err := damage(filepath.Join(o.Dir, "store", "state.db")); err != nil {
			t.Fatal(err)
		}
		if err := os.Truncate(filler, sizeOf(filler)-room); err != nil {
			t.Fatal(err)
		}
		s := openStore(t, o)
		if at, err := readable(s, "a", 1); err != nil || at != records+1 {
			t.Errorf("readable up to %d: %v", at, err)
		}
		if _, fork := s.Identity(); fork != 2 {
			t.Errorf("fork %d", fork)
		}
		give()
	}
	overwrite := func(state string) error {
		b, err := os.OpenFile(state, os.O_WRONLY, 0)
		if err != nil {
			return err
		}
		_, err = b.WriteAt(make([]byte, 8<<10), 0) // both meta pages
		return errors.Join(err, b.Close())
	}
	f(0, overwrite)
	f(8<<10, overwrite)
	f(0, func(state string) error { // gone, and its room is not given back
		return os.Rename(state, filepath.Join(filepath.Dir(filepath.Dir(state)), "elsewhere"))
	})
}

// TestAReadOnlyDiskAcknowledgesNothing has the kernel make the file system
// read-only under the store, as it does when the disk fails.
func TestAReadOnlyDiskAcknowledgesNothing(t *testing.T) {
	image := filepath.Join(t.TempDir(), "image")
	if err := os.WriteFile(image, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(image, 48<<20); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command("mkfs.ext4", "-q", "-F", image).CombinedOutput(); err != nil {
		t.Fatalf("mkfs.ext4: %v: %s", err, out)
	}
	dir := mounted(t, "-o", "loop", image)
	o := Options{Dir: filepath.Join(dir, "data"), CommitEvery: time.Millisecond,
		Policy: func(string) Policy { return Policy{OnFull: PushBack} }}
	s := openStore(t, o)
	acked := uint64(0)
	for range 20 {
		put(t, s, "a", noise(acked, 300))
		acked += 300
	}
	if out, err := exec.Command("mount", "-o", "remount,abort", dir).CombinedOutput(); err != nil {
		t.Fatalf("remount: %v: %s", err, out)
	}
	r, err := s.Append(t.Context(), Unit{Batches: []StreamBatch{{"a", noise(acked, 300)}}, Hurry: true})
	if err != nil {
		t.Fatal(err)
	}
	for deadline := time.After(5 * time.Second); ; { // senders are told within a commit or two
		_, err := s.Append(t.Context(), Unit{Batches: []StreamBatch{{"a", noise(0, 1)}}})
		if errors.Is(err, ErrFull) {
			break
		}
		select {
		case <-r.Done():
			t.Fatalf("acknowledged on a read-only disk: %v", r.err)
		case <-deadline:
			t.Fatal("senders are not told")
		case <-time.After(10 * time.Millisecond):
		}
	}
	_ = s.Close()
	if err := r.Wait(t.Context()); !errors.Is(err, ErrClosed) {
		t.Fatalf("got %v, want ErrClosed", err)
	}
	// What the disk holds now, as after a power loss: other mount namespaces may keep the
	// old file system alive.
	b, err := os.ReadFile(image)
	if err == nil {
		err = os.WriteFile(image+".new", b, 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
	o.Dir = filepath.Join(mounted(t, "-o", "loop", image+".new"), "data")
	s = openStore(t, o)
	if at, err := readable(s, "a", 1); err != nil || at < acked+1 {
		t.Fatalf("readable up to %d, %d were acknowledged: %v", at, acked, err)
	}
	if err := wantBalanced(s); err != nil {
		t.Error(err)
	}
	put(t, s, "a", noise(info(t, s, "a").Next-1, 300))
	_ = s.Close()
}

// TestTheSecondOnADirectoryIsToldWhoHasIt starts another process on a directory
// that is in use.
func TestTheSecondOnADirectoryIsToldWhoHasIt(t *testing.T) {
	s := openStore(t, Options{})
	begun := time.Now()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), crashDir+"="+s.options.Dir, fixedWork+"=")
	out, err := cmd.CombinedOutput()
	if err == nil || !strings.Contains(string(out), fmt.Sprintf("in use by process %d\n", os.Getpid())) {
		t.Fatalf("%v: %s", err, out)
	}
	if took := time.Since(begun); took > 2*time.Second { // a second for the lock, the rest is the process
		t.Fatalf("took %v", took)
	}
}
