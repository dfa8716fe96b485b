//go:build integration

package integration

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"
)

// ticks returns the CPU time that a process has used, in hundredths of a second.
func ticks(t *testing.T, p *process) int {
	t.Helper()
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", p.cmd.Process.Pid))
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(b), ") ")
	fields := strings.Fields(rest)
	user, err1 := strconv.Atoi(fields[11])
	system, err2 := strconv.Atoi(fields[12])
	if err1 != nil || err2 != nil {
		t.Fatalf("%q", b)
	}
	return user + system
}

// TestOutOfDescriptors has a thousand connections come to an agent that may open 64
// files. Those beyond wait without costing anything, the store begins new segments all
// the same, /readyz is answered, and once they are gone all goes on within 5 s.
func TestOutOfDescriptors(t *testing.T) {
	dir := t.TempDir()
	inputs, addresses := loadInputs(t, dir)
	path := configure(t, dir, inputs+"\nagent: {name: test-agent, data_dir: $DIR/data, max_size: 64MiB}\n") // segments of 8 MiB
	a := startAgentAs(t, dir, exec.Command("prlimit", "--nofile=64", binary, "run", "-c", path))
	l := startLoad(t, addresses, 4000, "relp")
	relp := l.senders["relp"]
	within(t, patience, "acknowledgements", func() bool { return relp.acked.Load() > 0 })

	var crowd []net.Conn
	leave := func() {
		for _, c := range crowd {
			c.Close()
		}
		crowd = nil
	}
	t.Cleanup(leave)
	for range 1000 {
		c, err := net.Dial("tcp", addresses["tcp"])
		if err != nil {
			t.Fatal(err)
		}
		crowd = append(crowd, c)
	}
	within(t, patience, "the agent to say so", func() bool { return strings.Contains(a.output.String(), "the rest is kept for the store") })
	segments := func() string {
		all, err := filepath.Glob(filepath.Join(dir, "data/store/*.seg"))
		if err != nil || len(all) == 0 {
			t.Fatalf("%v, %v", all, err)
		}
		return all[len(all)-1]
	}
	newest, acked := segments(), relp.acked.Load()
	within(t, patience, "a new segment, and acknowledgements from it", func() bool {
		return segments() > newest && relp.acked.Load() > acked+1000
	})
	if ok, why := a.ready(t); !ok {
		t.Errorf("not ready: %s", why)
	}
	l.end(t)
	before := ticks(t, a.process)
	<-time.After(idleFor) // what is measured is that nothing happens
	share := float64(ticks(t, a.process)-before) / 100 / idleFor.Seconds()
	t.Logf("%.1f %% of a CPU with the backlog full", 100*share)
	if share > 0.2 {
		t.Errorf("%.0f %% of a CPU with nothing to do", 100*share)
	}
	leave()
	later := startLoad(t, addresses, 100, "http", "tcp")
	took := within(t, 5*time.Second, "new connections to be served", func() bool {
		now, _ := a.ledger(t)
		return later.senders["http"].acked.Load() > 0 && now.of("tcp") > 0
	})
	t.Logf("served again after %s", took.Round(time.Millisecond))
	later.end(t)
	a.wantExplained(t)
	wantThere(t, a, l)
	wantThere(t, a, later)
}

// TestTheSoftLimitOfDescriptorsIsRaised to the hard one, as shells and service managers
// give 1 024 for the sake of programs that cannot have more.
func TestTheSoftLimitOfDescriptorsIsRaised(t *testing.T) {
	dir := t.TempDir()
	a := startAgentAs(t, dir, exec.Command("prlimit", "--nofile=64:4096", binary, "run", "-c", configure(t, dir, "")))
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/limits", a.cmd.Process.Pid))
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(b), "Max open files")
	if got, err := strconv.Atoi(strings.Fields(rest)[0]); err != nil || got < 4095 { // Go leaves one
		t.Errorf("it may open %d files, want 4095", got)
	}
}

// TestMoreSegmentsThanDescriptors starts an agent on a store of more files than it may
// open: it says so, and opens it once it may.
func TestMoreSegmentsThanDescriptors(t *testing.T) {
	dir := t.TempDir()
	inputs, addresses := loadInputs(t, dir)
	path := configure(t, dir, inputs+"\nagent: {name: test-agent, data_dir: $DIR/data, max_size: 64MiB}\n")
	a := startAgentAs(t, dir, exec.Command("prlimit", "--nofile=40", binary, "run", "-c", path))
	l := startLoad(t, addresses, 200, "http", "relp")
	within(t, patience, "acknowledgements", func() bool { return l.senders["http"].acked.Load() > 100 && l.senders["relp"].acked.Load() > 100 })
	end := flood(addresses["http"], largeBody(2<<20), 2)
	within(t, patience, "five segments", func() bool {
		all, err := filepath.Glob(filepath.Join(dir, "data/store/*.seg"))
		if err != nil {
			t.Fatal(err)
		}
		return len(all) >= 5
	})
	end()
	l.end(t)
	a.stop(t)
	out, err := exec.Command("prlimit", "--nofile=12", binary, "run", "-c", path).CombinedOutput()
	if err == nil || !strings.Contains(string(out), "too many open files; raise ") {
		t.Errorf("with 12 files: %v: %s", err, out)
	}
	t.Logf("with 12 files: %s", out)
	a = startAgentIn(t, dir, inputs)
	a.wantExplained(t)
	wantThere(t, a, l)
}
