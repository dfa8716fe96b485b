//go:build integration

package integration

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// mounted mounts a file system of the test's own, which wants root.
func mounted(t *testing.T, args ...string) (dir string) {
	t.Helper()
	dir, err := os.MkdirTemp("", "runnel-disk-") // a socket's path must be short
	if err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command("mount", append(args, dir)...).CombinedOutput(); err != nil {
		t.Fatalf("mount wants root: %v: %s", err, out)
	}
	t.Cleanup(func() {
		_ = exec.Command("umount", "-l", dir).Run() // what the agent left open ends with it
		_ = os.Remove(dir)
	})
	return dir
}

// filler takes all room of a file system, and what the agent gives back too.
type filler struct{ file *os.File }

func newFiller(t *testing.T, dir string) *filler {
	t.Helper()
	f, err := os.Create(filepath.Join(dir, "filler"))
	if err != nil {
		t.Fatal(err)
	}
	return &filler{f}
}

func (f *filler) fill() {
	for block := make([]byte, 64<<10); len(block) >= 512; {
		if _, err := f.file.Write(block); err != nil {
			block = block[:len(block)/2]
		}
	}
}

func (f *filler) empty(t *testing.T) {
	t.Helper()
	if err := os.Remove(f.file.Name()); err != nil {
		t.Fatal(err)
	}
	if err := f.file.Close(); err != nil {
		t.Fatal(err)
	}
}

// within calls ok until it is true, and returns how long that took.
func within(t *testing.T, most time.Duration, what string, ok func() bool) time.Duration {
	t.Helper()
	begun := time.Now()
	for tick := time.NewTicker(10 * time.Millisecond); !ok(); <-tick.C {
		if time.Since(begun) > most {
			t.Fatalf("waited %s in vain for %s", most, what)
		}
	}
	return time.Since(begun)
}

// TestAFullDiskUnderLoad fills the disk and empties it, again and again, while
// senders of every kind go on. http says 503 with Retry-After and relp withholds its
// answers, whatever on_full says; syslog is taken, and what finds no room is
// counted as on_full says. /readyz says why. All goes on within 5 s of the first room.
func TestAFullDiskUnderLoad(t *testing.T) {
	for _, policy := range []string{"push_back", "drop_new", "drop_oldest"} {
		t.Run(policy, func(t *testing.T) {
			dir := mounted(t, "-t", "tmpfs", "-o", "size=96m", "runnel-test")
			y := startTally(t)
			inputs, addresses := loadInputs(t, dir)
			a := startAgentIn(t, dir, inputs+fmt.Sprintf(`
streams: {app: {on_full: %s}}
forwarders: {hook: {type: webhook, from: [app], url: %q}}
agent: {name: test-agent, data_dir: $DIR/data, max_size: 64MiB}
`, policy, y.url))
			l := startLoad(t, addresses, 1000, loadKinds...)
			web, relp := l.senders["http"], l.senders["relp"]
			moved := func(n int64) func() bool {
				h, r := web.acked.Load()+n, relp.acked.Load()+n
				return func() bool { return web.acked.Load() >= h && relp.acked.Load() >= r }
			}
			slowest := time.Duration(0)
			for range fullCycles {
				within(t, patience, "acknowledgements", moved(300))
				refused, why, withheld := web.refused.Load(), "", quiet{}
				f := newFiller(t, dir)
				within(t, patience, "refusals by http, silence of relp, and /readyz to say why", func() bool {
					f.fill()
					web.probe(t)
					if ok, said := a.ready(t); !ok && (strings.Contains(said, "no space left") || strings.Contains(said, "store is full")) {
						why = said
					}
					return withheld.since(relp.acked.Load()) > time.Second/2 && web.refused.Load() >= refused+3 && why != ""
				})
				f.empty(t)
				again := moved(1)
				slowest = max(slowest, within(t, 5*time.Second, "acknowledgements and /readyz, once there is room", func() bool {
					ok, _ := a.ready(t)
					return again() && ok
				}))
			}
			l.end(t)
			last := l.wantAccounted(t, a, y)
			dropped, rejected := last.Pipelines[0].Dropped["full"], last.Pipelines[0].Rejected
			t.Logf("%d cycles, the slowest went on after %s; %d dropped as full, %d rejected", fullCycles, slowest.Round(time.Millisecond), dropped, rejected)
			switch {
			case policy == "drop_new" && dropped == 0:
				t.Error("nothing was dropped as full")
			case policy == "push_back" && (dropped > 0 || last.inputDrops() == 0):
				t.Errorf("%d dropped as full, %d by inputs; want all that found no room dropped by their inputs", dropped, last.inputDrops())
			}
			select {
			case <-a.done:
				t.Errorf("the agent ended: %v", a.err)
			default:
			}
		})
	}
}

// quiet tells how long a number has not moved.
type quiet struct {
	last int64
	at   time.Time
}

func (q *quiet) since(n int64) time.Duration {
	if q.at.IsZero() || n != q.last {
		q.last, q.at = n, time.Now()
	}
	return time.Since(q.at)
}

// inputDrops returns what inputs dropped for want of room.
func (l *ledger) inputDrops() (n uint64) {
	for _, in := range l.Inputs {
		n += in.Dropped
	}
	return n
}
