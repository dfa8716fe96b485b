//go:build integration

package integration

import (
	"bufio"
	"bytes"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

// memoryGroup is a control group of the test's own with a limit of memory.
type memoryGroup struct{ dir, limit, kills string }

// newMemoryGroup makes one, with whichever version the host has. It wants root.
func newMemoryGroup(t *testing.T, bytes int64) *memoryGroup {
	t.Helper()
	g := &memoryGroup{fmt.Sprintf("/sys/fs/cgroup/memory/runnel-test-%d", os.Getpid()), "memory.limit_in_bytes", "memory.oom_control"}
	if _, err := os.Stat("/sys/fs/cgroup/memory"); err != nil {
		g = &memoryGroup{fmt.Sprintf("/sys/fs/cgroup/runnel-test-%d", os.Getpid()), "memory.max", "memory.events"}
	}
	err := os.Mkdir(g.dir, 0o755)
	if err == nil {
		t.Cleanup(func() { // after the processes in it
			if err := os.Remove(g.dir); err != nil {
				t.Error(err)
			}
		})
		err = g.allow(bytes)
	}
	if err != nil {
		t.Fatalf("a control group wants root: %v", err)
	}
	return g
}

func (g *memoryGroup) allow(bytes int64) error {
	return os.WriteFile(filepath.Join(g.dir, g.limit), []byte(strconv.FormatInt(bytes, 10)), 0o644)
}

// run is a command that runs in the group.
func (g *memoryGroup) run(args ...string) *exec.Cmd {
	return exec.Command("sh", append([]string{"-c", `echo $$ > "$0/cgroup.procs" && exec "$@"`, g.dir}, args...)...)
}

// killed returns how many processes of the group the kernel has killed for want of memory.
func (g *memoryGroup) killed(t *testing.T) int {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(g.dir, g.kills))
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(b), "oom_kill ")
	n, err := strconv.Atoi(strings.Fields(rest)[0])
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// flood posts a large body from many clients until it is ended.
func flood(address string, body []byte, clients int) (end func()) {
	var wg sync.WaitGroup
	stop := make(chan struct{})
	for range clients {
		wg.Go(func() {
			client := &http.Client{Transport: &http.Transport{}, Timeout: 10 * time.Second}
			defer client.CloseIdleConnections()
			for {
				select {
				case <-stop:
					return
				default:
				}
				if answer, err := client.Post("http://"+address+"/", "text/plain", bytes.NewReader(body)); err == nil {
					answer.Body.Close()
				}
			}
		})
	}
	return func() { close(stop); wg.Wait() }
}

// largeBody is one of short lines that does not compress.
func largeBody(size int) []byte {
	s := &sender{kind: "flood", noise: newNoise(9)}
	var b bytes.Buffer
	for n := int64(0); b.Len() < size; n++ {
		b.WriteString(s.message(n) + "\n")
	}
	return b.Bytes()
}

// TestAFloodWithinAMemoryLimit floods an agent that may use 128 MiB with senders of
// every kind and sixteen clients with bodies of 7 MiB. It sheds load rather than being
// killed for it, and what it has acknowledged is there.
func TestAFloodWithinAMemoryLimit(t *testing.T) {
	const limit = 128 << 20
	g := newMemoryGroup(t, limit)
	dir := t.TempDir()
	inputs, addresses := loadInputs(t, dir)
	path := configure(t, dir, inputs+"streams: {app: {max_size: 8GiB}}\n")
	a := startAgentAs(t, dir, g.run(binary, "run", "-c", path))
	if got, most := a.metric(t, "go_memlimit_bytes"), float64(limit)*0.8; got > most || got < most-10 {
		t.Errorf("the collector keeps to %.0f bytes, want four fifths of %d", got, limit)
	}
	l := startLoad(t, addresses, 5000, loadKinds...)
	end := sync.OnceFunc(flood(addresses["http"], largeBody(7<<20), 16))
	t.Cleanup(end)
	begun, most := time.Now(), int64(0)
	within(t, floodFor+patience, "the flood", func() bool {
		select {
		case <-a.done:
			t.Fatalf("the agent ended after %s with %d MiB: %v; %d were killed", time.Since(begun), most>>20, a.err, g.killed(t))
		default:
		}
		most = max(most, anonymous(t, a.process))
		return time.Since(begun) > floodFor
	})
	end()
	l.end(t)
	if n := g.killed(t); n > 0 {
		t.Errorf("%d processes were killed", n)
	}
	t.Logf("%s of flood, at most %d MiB of %d", floodFor, most>>20, limit>>20)
	if l.senders["http"].acked.Load() == 0 || l.senders["relp"].acked.Load() == 0 {
		t.Error("nothing was acknowledged")
	}
	a.wantExplained(t)
	wantThere(t, a, l)
	a.stop(t)
}

// TestKilledForWantOfMemory gives the agent too little, so that the kernel kills it in
// the flood: that is like kill -9, and nothing that was acknowledged is lost.
func TestKilledForWantOfMemory(t *testing.T) {
	g := newMemoryGroup(t, 40<<20)
	dir := t.TempDir()
	inputs, addresses := loadInputs(t, dir)
	path := configure(t, dir, inputs+"streams: {app: {max_size: 8GiB}}\n")
	a := startAgentAs(t, dir, g.run(binary, "run", "-c", path))
	l := startLoad(t, addresses, 1000, loadKinds...)
	web, relp := l.senders["http"], l.senders["relp"]
	within(t, patience, "acknowledgements", func() bool { return web.acked.Load() > 100 && relp.acked.Load() > 100 })
	end := sync.OnceFunc(flood(addresses["http"], largeBody(7<<20), 32))
	t.Cleanup(end)
	select {
	case <-a.done:
	case <-time.After(patience):
		t.Error("the agent lives on 40 MiB")
	}
	end()
	if g.killed(t) == 0 {
		t.Errorf("it was not killed for memory: %v", a.err)
	}
	if err := g.allow(1 << 30); err != nil {
		t.Fatal(err)
	}
	a = startAgentAs(t, dir, g.run(binary, "run", "-c", path))
	h, r := web.acked.Load(), relp.acked.Load()
	within(t, patience, "acknowledgements", func() bool { return web.acked.Load() > h && relp.acked.Load() > r })
	l.end(t)
	a.wantExplained(t)
	wantThere(t, a, l)
	a.stop(t)
}

// metric returns the value of a metric without labels.
func (a *agent) metric(t *testing.T, name string) (value float64) {
	t.Helper()
	answer, err := a.client.Get("http://agent/metrics")
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	for lines := bufio.NewScanner(answer.Body); lines.Scan(); {
		if text, ok := strings.CutPrefix(lines.Text(), name+" "); ok {
			if value, err = strconv.ParseFloat(text, 64); err != nil {
				t.Fatal(err)
			}
			return value
		}
	}
	t.Fatalf("no metric %s", name)
	return 0
}
