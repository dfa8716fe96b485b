//go:build integration

package storage

import (
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"
)

// tmpfs is where directories that are made and thrown away by the thousand lie.
func tmpfs(t *testing.T) string {
	t.Helper()
	if dir, err := os.MkdirTemp("/dev/shm", "runnel-"); err == nil {
		t.Cleanup(func() { os.RemoveAll(dir) })
		return dir
	}
	return t.TempDir()
}

// traced runs a fixed child under strace, and returns what it printed and the trace.
func traced(t *testing.T, dir string, patience time.Duration, args ...string) (out []byte, trace string) {
	t.Helper()
	path := filepath.Join(tmpfs(t), "trace")
	ctx, stop := context.WithTimeout(t.Context(), patience)
	defer stop()
	cmd := exec.CommandContext(ctx, "strace", append(append([]string{"-f", "-o", path}, args...), os.Args[0])...)
	cmd.Env = append(os.Environ(), crashDir+"="+dir, fixedWork+"=")
	cmd.Cancel = func() error { return cmd.Process.Kill() } // and the kernel kills what it traces
	cmd.WaitDelay = time.Second
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); err != nil && len(stderr.Bytes()) > 0 {
		t.Fatalf("strace: %v: %s", err, stderr.Bytes())
	}
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return stdout.Bytes(), string(b)
}

// calls counts a system call by the thread that makes most of them, since strace
// counts by thread.
func calls(trace, name string) (most int) {
	counts := map[string]int{}
	for line := range strings.Lines(trace) {
		if pid, rest, ok := strings.Cut(line, " "); ok && strings.HasPrefix(strings.TrimSpace(rest), name+"(") {
			counts[pid]++
			most = max(most, counts[pid])
		}
	}
	return most
}

// places are the counts at which something is injected: all in the long form,
// every 20th by the seed in the short one, and three of those that are rare.
func places(r *rand.Rand, most int) (at []int) {
	step := min(20, (most+2)/3)
	if soak || step == 0 {
		step = 1
	}
	for n := 1 + r.IntN(step); n <= most; n += step {
		at = append(at, n)
	}
	return at
}

// TestEverySystemCallOfAWriteMayFail kills the process at every system call with
// which the store writes, and has each of them fail in every way.
func TestEverySystemCallOfAWriteMayFail(t *testing.T) {
	seed := seedOf(t)
	r := rand.New(rand.NewPCG(seed, 0))
	names := []string{"pwrite64", "fdatasync", "fsync", "ftruncate", "renameat", "unlinkat"}
	root := tmpfs(t)
	out, whole := traced(t, filepath.Join(root, "whole"), time.Minute, "-e", "trace="+strings.Join(names, ","))
	if !acksOf(t, bytes.NewReader(out), map[string]uint64{}) {
		t.Fatalf("the workload does not end by itself: %s", out)
	}
	f := func(name, fault string, goesOn bool) {
		t.Helper()
		injected := 0
		at := places(r, calls(whole, name))
		for _, n := range at {
			dir := filepath.Join(root, "d")
			out, trace := traced(t, dir, time.Minute, "-e", "trace="+name, "-e", fmt.Sprintf("inject=%s:%s:when=%d", name, fault, n))
			if strings.Contains(trace, "INJECTED") || strings.Contains(trace, "killed by SIGKILL") {
				injected++
			}
			acked := map[string]uint64{}
			if done := acksOf(t, bytes.NewReader(out), acked); goesOn && !done && len(acked) > 0 && !bytes.Contains(out, []byte("\nclose:")) {
				t.Errorf("%s %s at %d: the process did not go on:\n%s", name, fault, n, out)
			}
			if err := wantAcked(dir, acked, fault == "error=ENOSPC"); err != nil {
				t.Errorf("%s %s at %d: %v", name, fault, n, err)
			}
			if err := os.RemoveAll(dir); err != nil {
				t.Fatal(err)
			}
		}
		t.Logf("%-10s %-14s %d of %d places, %d injected", name, fault, len(at), calls(whole, name), injected)
		if injected == 0 && len(at) > 0 {
			t.Errorf("%s %s: nothing was injected", name, fault)
		}
	}
	for _, name := range names {
		f(name, "signal=KILL", false)
	}
	for _, name := range names {
		for _, fault := range []string{"error=EIO", "error=ENOSPC"} {
			f(name, fault, true)
		}
	}
}

// TestADiskThatLiesAboutAWriteIsFoundOut has writes claim success and do nothing,
// or only half. What is lost so must be found and stated, and never served.
func TestADiskThatLiesAboutAWriteIsFoundOut(t *testing.T) {
	r := rand.New(rand.NewPCG(seedOf(t), 0))
	root := tmpfs(t)
	_, whole := traced(t, filepath.Join(root, "whole"), time.Minute, "-e", "trace=pwrite64")
	injected, lost := 0, uint64(0)
	at := places(r, calls(whole, "pwrite64"))
	for _, n := range at {
		if n == 1 {
			continue // what is short by more than it has ends the process
		}
		dir := filepath.Join(root, "d")
		out, trace := traced(t, dir, time.Minute, "-e", "trace=pwrite64", "-e", fmt.Sprintf("inject=pwrite64:retval=100:when=%d", n))
		injected += strings.Count(trace, "INJECTED")
		acked := map[string]uint64{}
		acksOf(t, bytes.NewReader(out), acked)
		s, err := Open(fixedOptions(dir))
		if err != nil {
			t.Fatalf("at %d: start refused: %v", n, err)
		}
		served := uint64(0)
		for first := uint64(1); ; {
			at, err := readable(s, "a", first)
			if err != nil {
				t.Fatalf("at %d: %v", n, err)
			}
			served += at - first
			h, ok := s.Head("a", at)
			if !ok {
				break
			}
			first = h.Next
		}
		missing := uint64(0)
		if s.streams["a"] != nil {
			missing = missingOf(s, "a")
		}
		// Where the state is lost as well nobody knows how long the stream was; then history has forked.
		_, fork := s.Identity()
		if lost += missing; served+missing < acked["a"] && fork == 1 {
			t.Errorf("at %d: %d served and %d stated as lost, %d were acknowledged", n, served, missing, acked["a"])
		}
		if err := wantBalanced(s); err != nil {
			t.Errorf("at %d: %v", n, err)
		}
		_ = s.Close()
		if err := os.RemoveAll(dir); err != nil {
			t.Fatal(err)
		}
	}
	t.Logf("%d of %d places, %d injected, %d records lost and stated", len(at), calls(whole, "pwrite64"), injected, lost)
	if injected == 0 {
		t.Error("nothing was injected")
	}
}

// TestAnAcknowledgementNeverPrecedesItsSync has a sync fail while everything else
// goes on, and looks at the trace: between the failed sync and the next that works,
// nothing is acknowledged.
func TestAnAcknowledgementNeverPrecedesItsSync(t *testing.T) {
	r := rand.New(rand.NewPCG(seedOf(t), 0))
	root := tmpfs(t)
	_, whole := traced(t, filepath.Join(root, "whole"), time.Minute, "-e", "trace=fdatasync")
	ack := regexp.MustCompile(`write\(1, "ack`)
	for _, n := range places(r, calls(whole, "fdatasync")) {
		dir := filepath.Join(root, "d")
		_, trace := traced(t, dir, time.Minute, "-e", "trace=fdatasync,write", "-e", fmt.Sprintf("inject=fdatasync:error=EIO:when=%d", n))
		broken := ""
		for line := range strings.Lines(trace) {
			pid, _, _ := strings.Cut(line, " ")
			switch {
			case strings.Contains(line, "INJECTED"):
				broken = pid
			case broken == pid && strings.Contains(line, "fdatasync") && strings.HasSuffix(strings.TrimSpace(line), "= 0"):
				broken = ""
			case broken != "" && ack.MatchString(line) && committerOf(trace) == broken:
				t.Errorf("at %d: acknowledged between a failed sync and the next:\n%s", n, line)
			}
		}
		if err := os.RemoveAll(dir); err != nil {
			t.Fatal(err)
		}
	}
}

// committerOf returns the thread that syncs most.
func committerOf(trace string) (pid string) {
	counts := map[string]int{}
	for line := range strings.Lines(trace) {
		if p, rest, ok := strings.Cut(line, " "); ok && strings.HasPrefix(strings.TrimSpace(rest), "fdatasync(") {
			if counts[p]++; counts[p] > counts[pid] {
				pid = p
			}
		}
	}
	return pid
}

// TestASlowDiskDelaysAcknowledgementsOnly has syncs take a second.
func TestASlowDiskDelaysAcknowledgementsOnly(t *testing.T) {
	dir := filepath.Join(tmpfs(t), "d")
	begun := time.Now()
	out, trace := traced(t, dir, time.Minute, "-e", "trace=fdatasync", "-e", "inject=fdatasync:delay_enter=1000000:when=20..60+20")
	if strings.Count(trace, "DELAYED") < 2 || time.Since(begun) < time.Second {
		t.Fatal("nothing was delayed")
	}
	acked := map[string]uint64{}
	if !acksOf(t, bytes.NewReader(out), acked) {
		t.Fatalf("the process did not go on: %s", out)
	}
	if err := wantAcked(dir, acked, false); err != nil {
		t.Fatal(err)
	}
}
