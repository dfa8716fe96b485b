//go:build integration

package integration

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// interfere has strace change the answers of system calls of a running program;
// end lets it go on alone, and fails the test if nothing was changed.
func interfere(t *testing.T, p *process, calls, how string) (end func()) {
	t.Helper()
	trace := filepath.Join(t.TempDir(), "trace")
	cmd := exec.Command("strace", "-f", "-p", strconv.Itoa(p.cmd.Process.Pid), "-o", trace, "-e", "trace="+calls, "-e", "inject="+calls+":"+how)
	s := start(t, cmd)
	eventually(t, "strace to be attached", func() bool { return strings.Contains(s.output.String(), "attached") })
	ended := false
	end = func() {
		if ended {
			return
		}
		ended = true
		cmd.Process.Signal(syscall.SIGINT) //nolint:errcheck // it may have ended
		<-s.done
		b, err := os.ReadFile(trace)
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Contains(b, []byte("INJECTED")) && !bytes.Contains(b, []byte("DELAYED")) {
			t.Errorf("%s %s: nothing was injected", calls, how)
		}
	}
	t.Cleanup(end)
	return end
}

// TestADiskThatFailsUnderLoad has every write or sync fail for two seconds, in turn as
// a broken disk, a read-only and a full one do: nothing is acknowledged meanwhile,
// /readyz says why, and all goes on within 5 s without a restart.
func TestADiskThatFailsUnderLoad(t *testing.T) {
	y := startTally(t)
	dir := t.TempDir()
	inputs, addresses := loadInputs(t, dir)
	a := startAgentIn(t, dir, inputs+fmt.Sprintf(`
streams: {app: {on_full: push_back}}
forwarders: {hook: {type: webhook, from: [app], url: %q}}
`, y.url))
	l := startLoad(t, addresses, 200, loadKinds...)
	web, relp := l.senders["http"], l.senders["relp"]
	f := func(calls, errno, says string) {
		t.Helper()
		within(t, patience, "acknowledgements", func() bool { return web.acked.Load() > 0 && relp.acked.Load() > 0 })
		end := interfere(t, a.process, calls, "error="+errno)
		known := within(t, 5*time.Second, "/readyz to say why", func() bool {
			ok, why := a.ready(t)
			return !ok && strings.Contains(why, says)
		})
		h, r, refused := web.acked.Load(), relp.acked.Load(), web.refused.Load()
		within(t, 5*time.Second, "refusals by http", func() bool { web.probe(t); return web.refused.Load() >= refused+20 })
		if web.acked.Load() != h || relp.acked.Load() != r {
			t.Errorf("%s %s: acknowledged while the disk takes nothing", calls, errno)
		}
		end()
		again := within(t, 5*time.Second, "acknowledgements and /readyz, once the disk works", func() bool {
			ok, _ := a.ready(t)
			return ok && web.acked.Load() > h && relp.acked.Load() > r
		})
		t.Logf("%-10s %-7s known after %s, went on after %s", calls, errno, known.Round(time.Millisecond), again.Round(time.Millisecond))
	}
	f("fdatasync", "EIO", "input/output error")
	f("pwrite64", "EIO", "input/output error")
	f("pwrite64", "EROFS", "read-only file system")
	f("pwrite64", "ENOSPC", "no space left on device")
	l.end(t)
	l.wantAccounted(t, a, y)
}

// TestADiskThatTurnsReadOnly has the kernel give a file system up under the agent, as it
// does when the disk fails: nothing more is acknowledged, and what was is there when
// the disk is mounted again.
func TestADiskThatTurnsReadOnly(t *testing.T) {
	image := filepath.Join(t.TempDir(), "image")
	if err := os.WriteFile(image, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(image, 64<<20); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command("mkfs.ext4", "-q", "-F", image).CombinedOutput(); err != nil {
		t.Fatalf("mkfs.ext4: %v: %s", err, out)
	}
	disk, dir := mounted(t, "-o", "loop", image), t.TempDir()
	inputs, addresses := loadInputs(t, dir)
	config := inputs + "streams: {app: {on_full: push_back}}\nagent: {name: test-agent, data_dir: " + disk + "/data}\n"
	a := startAgentIn(t, dir, config)
	l := startLoad(t, addresses, 200, "http", "relp")
	web, relp := l.senders["http"], l.senders["relp"]
	within(t, patience, "acknowledgements", func() bool { return web.acked.Load() > 100 && relp.acked.Load() > 100 })
	if out, err := exec.Command("mount", "-o", "remount,abort", disk).CombinedOutput(); err != nil {
		t.Fatalf("remount: %v: %s", err, out)
	}
	within(t, 5*time.Second, "/readyz to say why", func() bool {
		ok, why := a.ready(t)
		return !ok && strings.Contains(why, "the disk takes nothing: ")
	})
	refused := web.refused.Load()
	within(t, 5*time.Second, "refusals by http", func() bool { web.probe(t); return web.refused.Load() > refused })
	a.wantExplained(t)
	a.stop(t)
	// What the disk holds now, as after a power loss: other mount namespaces may keep the
	// old file system alive.
	b, err := os.ReadFile(image)
	if err == nil {
		err = os.WriteFile(image+".new", b, 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
	config = strings.ReplaceAll(config, disk, mounted(t, "-o", "loop", image+".new"))
	a = startAgentIn(t, dir, config)
	h, r := web.acked.Load(), relp.acked.Load()
	within(t, patience, "acknowledgements", func() bool { return web.acked.Load() > h && relp.acked.Load() > r })
	l.end(t)
	a.wantExplained(t)
	wantThere(t, a, l)
}

// wantThere checks that every acknowledged message is in the store.
func wantThere(t *testing.T, a *agent, l *load) {
	t.Helper()
	if missing := l.missing(t, a); missing > 0 {
		t.Errorf("%d acknowledged messages are not there", missing)
	}
}

// missing counts the acknowledged messages that are not in the store.
func (l *load) missing(t *testing.T, a *agent) (n int) {
	t.Helper()
	y := &tally{times: map[string][]uint8{}}
	for _, r := range a.query(t, "stream=app") {
		if fields := strings.SplitN(r.Message, " ", 3); len(fields) == 3 {
			y.note(fields[0], fields[1])
		}
	}
	for kind, s := range l.senders {
		missing, again := y.of(kind, s.acked.Load())
		t.Logf("%-5s acknowledged %d, refused %d times, %d connections broken; %d not there, %d twice",
			kind, s.acked.Load(), s.refused.Load(), s.broken.Load(), missing, again)
		n += missing
	}
	return n
}

// anonymous returns the memory that a process has of its own.
func anonymous(t *testing.T, p *process) int64 {
	t.Helper()
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", p.cmd.Process.Pid))
	if err != nil {
		t.Fatal(err)
	}
	_, rest, ok := strings.Cut(string(b), "RssAnon:")
	if !ok {
		return 0 // it is ending
	}
	n, err := strconv.ParseInt(strings.Fields(rest)[0], 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	return n << 10
}

// slowMemory is what the agent may use while the disk does not answer: 64 MiB wait
// for it, encoded and compressed, beside what it uses at rest and garbage.
const slowMemory = 192 << 20

// TestASlowDiskUnderLoad has syncs take from one second to thirty: acknowledgements
// wait, no connection breaks, memory is bounded, and nothing is lost.
func TestASlowDiskUnderLoad(t *testing.T) {
	t.Parallel() // it waits
	y := startTally(t)
	dir := t.TempDir()
	inputs, addresses := loadInputs(t, dir)
	a := startAgentIn(t, dir, inputs+fmt.Sprintf("forwarders: {hook: {type: webhook, from: [app], url: %q}}\n", y.url))
	l := startLoad(t, addresses, 2000, loadKinds...)
	web, relp := l.senders["http"], l.senders["relp"]
	for _, delay := range delays {
		within(t, patience, "acknowledgements", func() bool { return web.acked.Load() > 0 && relp.acked.Load() > 0 })
		end := interfere(t, a.process, "fdatasync", fmt.Sprintf("delay_enter=%d:when=1", delay.Microseconds()))
		begun, still, most, why := time.Now(), quiet{}, int64(0), ""
		slowest := time.Duration(0)
		within(t, delay+30*time.Second, "the sync", func() bool {
			most = max(most, anonymous(t, a.process))
			if ok, said := a.ready(t); !ok {
				why = said
			}
			slowest = max(slowest, still.since(relp.acked.Load()))
			return slowest > delay*9/10 && time.Since(begun) > delay && still.since(relp.acked.Load()) < time.Second/10
		})
		end()
		t.Logf("delayed by %s: %d MiB, /readyz said %q", delay, most>>20, why)
		if most > slowMemory {
			t.Errorf("delayed by %s: %d bytes of memory, want at most %d", delay, most, slowMemory)
		}
		if said := strings.Contains(why, "has not answered for"); said != (delay > 11*time.Second) {
			t.Errorf("delayed by %s: /readyz said %q", delay, why)
		}
	}
	l.end(t)
	for kind, s := range l.senders {
		if s.broken.Load() > 0 {
			t.Errorf("%s: %d connections broke", kind, s.broken.Load())
		}
	}
	l.wantAccounted(t, a, y)
}

// TestTruncatedUnderTheAgent cuts a segment short while the agent writes and reads, and
// kills the agent then, if that has not: it starts again, states what is gone, and
// everything else is there.
func TestTruncatedUnderTheAgent(t *testing.T) {
	for range truncations {
		dir := t.TempDir()
		inputs, addresses := loadInputs(t, dir)
		config := inputs + "agent: {name: test-agent, data_dir: $DIR/data, max_size: 64MiB}\n" // segments of 8 MiB
		a := startAgentIn(t, dir, config)
		l := startLoad(t, addresses, 2000, "http", "relp")
		web, relp := l.senders["http"], l.senders["relp"]
		within(t, patience, "acknowledgements", func() bool { return web.acked.Load() > 1000 && relp.acked.Load() > 1000 })
		segments, err := filepath.Glob(filepath.Join(dir, "data/store/*.seg"))
		if err != nil || len(segments) == 0 {
			t.Fatalf("%v, %v", segments, err)
		}
		path := segments[rand.IntN(len(segments))]
		info, err := os.Stat(path)
		if err != nil {
			t.Fatal(err)
		}
		to := rand.Int64N(min(info.Size(), 3<<20)) // of which most is in use
		if err := os.Truncate(path, to); err != nil {
			t.Fatal(err)
		}
		still := quiet{}
		within(t, patience, "some more commits, or a crash", func() bool {
			select {
			case <-a.done:
				return true
			default:
				return still.since(web.acked.Load()) > 2*time.Second || web.acked.Load() > 1500
			}
		})
		a.cmd.Process.Kill() //nolint:errcheck // it may have ended
		<-a.done
		a = startAgentIn(t, dir, config)
		h, r := web.acked.Load(), relp.acked.Load()
		within(t, patience, "acknowledgements", func() bool { return web.acked.Load() > h && relp.acked.Load() > r })
		l.end(t)
		missing, last := l.missing(t, a), a.wantExplained(t)
		stated, gaps := uint64(0), uint64(0)
		for _, s := range last.Streams {
			stated += s.Damaged + s.Lost
		}
		for _, g := range last.Gaps {
			gaps += g.Records
		}
		t.Logf("cut %s from %d to %d bytes: %d missing, %d stated, %d of them in gaps", filepath.Base(path), info.Size(), to, missing, stated, gaps)
		if uint64(missing) > stated {
			t.Errorf("%d acknowledged messages are missing, and the ledger states %d", missing, stated)
		}
		a.stop(t)
	}
}

// TestTheSecondAgentIsToldWhoHasTheDirectory, within a second, and does not disturb the first.
func TestTheSecondAgentIsToldWhoHasTheDirectory(t *testing.T) {
	dir, other := t.TempDir(), t.TempDir()
	inputs, addresses := loadInputs(t, dir)
	a := startAgentIn(t, dir, inputs)
	l := startLoad(t, addresses, 200, "http")
	path := configure(t, other, fmt.Sprintf("\nagent: {name: second, data_dir: %s/data}\n", dir))
	begun := time.Now()
	out, err := exec.Command(binary, "run", "-c", path).CombinedOutput()
	took := time.Since(begun)
	if err == nil || !strings.Contains(string(out), fmt.Sprintf("in use by process %d", a.cmd.Process.Pid)) {
		t.Errorf("%v: %s", err, out)
	}
	if took > 3*time.Second { // a second for the lock; the rest is a busy machine's to start a process
		t.Errorf("it took %s", took)
	}
	t.Logf("after %s: %s", took.Round(time.Millisecond), out)
	h := l.senders["http"].acked.Load()
	within(t, patience, "acknowledgements", func() bool { return l.senders["http"].acked.Load() > h })
	l.end(t)
	a.wantExplained(t)
	wantThere(t, a, l)
}
