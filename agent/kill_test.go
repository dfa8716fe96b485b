package agent

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/runnel-log/runnel/record"
)

// childDir names the environment variable that makes the test binary an agent
// in that folder.
const childDir = "RUNNEL_TEST_CHILD"

// killConfig delivers to a file, whose acks mean fsync.
const killConfig = `
inputs: {in: {type: syslog, listen: ["tcp://127.0.0.1:0"]}}
pipelines: {main: {from: [in], stream: app}}
forwarders: {out: {type: file, from: [app], path: DIR/out, format: text}}
`

// childConfig is the file in a child's folder that has its configuration.
const childConfig = "child.yaml"

// runChild is the agent that is killed. It prints where it listens, and then
// after every commit how many records are on disk.
func runChild(dir string) int {
	text, err := os.ReadFile(filepath.Join(dir, childConfig))
	if err != nil {
		fmt.Println("failed:", err)
		return 1
	}
	a := newAgent(dir, string(text), nil)
	if err := a.run(); err != nil {
		fmt.Println("failed:", err)
		return 1
	}
	fmt.Println("listening", a.status().Inputs[0].Listeners[0].URL)
	for {
		changed := a.store.Changed()
		for _, s := range a.store.Streams() {
			if s.Name == "app" {
				fmt.Println("committed", s.Next-1)
			}
		}
		<-changed
	}
}

// TestKilledAgentGoesOnWhereItWas: what was committed is there after kill -9, in
// order, and the file has every record, in order of first arrival.
func TestKilledAgentGoesOnWhereItWas(t *testing.T) {
	dir := childDirectory(t, killConfig)
	const kills = 4
	sent := 0
	for range kills {
		sent = killOnce(t, dir, sent, func(n int) string { return line("%d", n) })
	}
	a := startAgent(t, dir, killConfig, nil)
	total := len(texts(t, a.store, "app"))
	waitUntil(t, "the file to have everything", func() bool {
		cursor, _ := a.store.Cursor("out", "app")
		return cursor == uint64(total)+1
	})
	write(t, a.dial(t, "in", 0), line("%d", sent))
	a.stored(t, "app", total+1)
	a.stop(t)

	last := -1
	stored := 0
	store := openedAfter(t, dir)
	messages(t, store, "app", func(offset uint64, v record.View) {
		stored++
		n, err := strconv.Atoi(string(v.Message()))
		if err != nil || n <= last || offset != uint64(stored) {
			t.Fatalf("offset %d holds %q after %d", offset, v.Message(), last)
		}
		last = n
	})
	written, err := os.ReadFile(filepath.Join(dir, "out"))
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for s := range strings.Lines(string(written)) {
		s = strings.TrimSpace(s)
		got = append(got, s[strings.LastIndexByte(s, ' ')+1:])
	}
	first := distinct(got)
	checkMessages(t, first, texts(t, store, "app"))
	t.Logf("%d records stored over %d kills, %d delivered twice", stored, kills, len(got)-len(first))
}

// childDirectory is a folder for a child with this configuration.
func childDirectory(t *testing.T, config string) string {
	t.Helper()
	dir := shortDir(t)
	if err := os.WriteFile(filepath.Join(dir, childConfig), []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	return dir
}

// killOnce runs an agent, sends it what say makes of the numbers from from on, kills it
// at some commit, and checks that it had told the truth. It returns the next number.
func killOnce(t *testing.T, dir string, from int, say func(n int) string) (next int) {
	t.Helper()
	before := countOf(t, dir)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	cmd := exec.CommandContext(ctx, os.Args[0])
	cmd.Env = append(os.Environ(), childDir+"="+dir)
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer cmd.Wait() //nolint:errcheck // it was killed
	lines := bufio.NewScanner(out)
	if !lines.Scan() || !strings.HasPrefix(lines.Text(), "listening tcp://") {
		t.Fatalf("the child said %q", lines.Text())
	}
	c, err := net.Dial("tcp", strings.TrimPrefix(lines.Text(), "listening tcp://"))
	if err != nil {
		t.Fatal(err)
	}
	sending := make(chan int, 1)
	go func() {
		n := from
		for ; ; n++ {
			if _, err := io.WriteString(c, say(n)); err != nil {
				break // it was killed
			}
		}
		sending <- n + 1
	}()
	committed := 0
	commits := 3 + rand.IntN(20)
	for seen := 0; lines.Scan(); {
		text, ok := strings.CutPrefix(lines.Text(), "committed ")
		if !ok {
			t.Fatalf("the child said %q", lines.Text())
		}
		if committed, err = strconv.Atoi(text); err != nil {
			t.Fatal(err)
		}
		if seen++; seen == commits {
			if err := cmd.Process.Kill(); err != nil {
				t.Fatal(err)
			}
		}
	}
	next = <-sending
	c.Close()
	if n := countOf(t, dir); n < committed || n < before {
		t.Errorf("%d records are there, and %d had been committed", n, committed)
	}
	return next
}

// countOf opens the store of a folder and counts the records of app.
func countOf(t *testing.T, dir string) int {
	t.Helper()
	s := openedAfter(t, dir)
	defer s.Close()
	for _, stream := range s.Streams() {
		if stream.Name == "app" {
			return int(stream.Records)
		}
	}
	return 0
}
