package agent

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/runnel-log/runnel/forwarders"
)

// childPoint in the environment has a child end at a point, when it passes that for
// the nth time: "staged 3".
const childPoint = "RUNNEL_TEST_POINT"

// pointDelivered is where a receiver has records, and the cursor has not moved.
const pointDelivered = "delivered"

// killAt returns what kills the process at a point; nil if there is no plan.
func killAt(plan string) func(point string) {
	var at string
	var n int64
	if count, _ := fmt.Sscanf(plan, "%s %d", &at, &n); count != 2 {
		return nil
	}
	var passed atomic.Int64
	return func(point string) {
		if point == at && passed.Add(1) == n {
			self, _ := os.FindProcess(os.Getpid())
			_ = self.Kill()
			select {}
		}
	}
}

// reaching is a receiver whose acks reach a point.
type reaching struct {
	forwarders.Forwarder
	reached func(point string)
}

func (r reaching) Deliver(ctx context.Context, b *forwarders.Batch) (forwarders.Ack, error) {
	if _, err := r.Forwarder.Deliver(ctx, b); err != nil {
		return nil, err
	}
	return reachedAck{b.Records.Len(), r.reached}, nil
}

type reachedAck struct {
	n       int
	reached func(point string)
}

func (a reachedAck) Wait(context.Context) (int, error) {
	if a.reached != nil {
		a.reached(pointDelivered)
	}
	return a.n, nil
}

// killable is an agent in a process of its own.
type killable struct {
	cmd     *exec.Cmd
	dir     string
	ended   chan struct{} // closed when it has
	listens string        // where its first input does
	wall    time.Duration // from exec until it was ready
	cpu     time.Duration // that it had used by then
}

// startKillable runs an agent on a child's folder. It returns nil if the agent ends
// before it is ready.
func startKillable(t *testing.T, dir, plan string) *killable {
	t.Helper()
	k := &killable{cmd: exec.Command(os.Args[0]), dir: dir, ended: make(chan struct{})}
	k.cmd.Env = append(os.Environ(), childDir+"="+dir, childPoint+"="+plan)
	k.cmd.Stderr = os.Stderr
	out, err := k.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	begun := time.Now()
	if err := k.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(k.kill)
	lines, first := bufio.NewScanner(out), make(chan string, 1)
	go func() {
		defer close(k.ended)
		if lines.Scan() {
			first <- lines.Text()
		}
		close(first)
		for lines.Scan() { //nolint:revive // or it would block on its output
		}
		k.cmd.Wait() //nolint:errcheck // it is killed
	}()
	select {
	case said, ok := <-first:
		if !ok {
			<-k.ended
			return nil
		}
		if !strings.HasPrefix(said, "listening ") {
			t.Fatalf("the child said %q", said)
		}
		k.listens = strings.TrimPrefix(said, "listening ")
	case <-time.After(patience):
		t.Fatal("the child does not start")
	}
	k.wall, k.cpu = time.Since(begun), cpuOf(k.cmd.Process.Pid)
	return k
}

// kill ends it without a word.
func (k *killable) kill() {
	_ = k.cmd.Process.Kill() // it may have ended
	<-k.ended
}

// ask asks its API.
func (k *killable) ask(t *testing.T, path string) string {
	t.Helper()
	return askIn(t, k.dir, path)
}

// askIn asks the API of the agent in a folder.
func askIn(t *testing.T, dir, path string) string {
	t.Helper()
	token, err := os.ReadFile(filepath.Join(dir, "data", "token"))
	if err != nil {
		t.Fatal(err)
	}
	client := &http.Client{Timeout: patience, Transport: &http.Transport{DisableKeepAlives: true,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return (&net.Dialer{}).DialContext(ctx, "unix", filepath.Join(dir, "api.sock"))
		}}}
	q, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://localhost"+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	q.Header.Set("Authorization", "Bearer "+strings.TrimSpace(string(token)))
	answer, err := client.Do(q)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	if err != nil || answer.StatusCode != http.StatusOK {
		t.Fatalf("%s: %d %s, %v", path, answer.StatusCode, text, err)
	}
	return string(text)
}

// cpuOf is the time that a process has used, 0 where that is not known.
func cpuOf(pid int) time.Duration {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0
	}
	_, rest, _ := strings.Cut(string(text), ") ")
	fields := strings.Fields(rest)
	if len(fields) < 13 {
		return 0
	}
	user, _ := strconv.Atoi(fields[11])
	system, _ := strconv.Atoi(fields[12])
	return time.Duration(user+system) * 10 * time.Millisecond // USER_HZ is 100 on every Linux
}
