package agent

import (
	"bufio"
	"bytes"
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

	"github.com/runnel-log/runnel/agent/query"
	"github.com/runnel-log/runnel/forwarders"
	"github.com/runnel-log/runnel/record"
	"github.com/runnel-log/runnel/storage"
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
	plan := os.Getenv(childPoint)
	reached := killAt(plan)
	a := newAgent(dir, string(text), reaching{picky{}, reached})
	a.options.points.reached = reached
	if plan != "" {
		a.options.points.segments = 1 << 20 // so that some end
	}
	if err := a.run(); err != nil {
		fmt.Println("failed:", err)
		return 1
	}
	fmt.Println("listening", a.status().Inputs[0].Listeners[0].URL)
	go a.reloadNowAndThen(filepath.Join(dir, otherConfig))
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

// otherConfig is the file that a child puts in place of childConfig and back, if
// it is there.
const otherConfig = "other.yaml"

// reloadNowAndThen swaps the two configurations, in step with commits.
func (a *testAgent) reloadNowAndThen(path string) {
	other, err := os.ReadFile(path)
	if err != nil {
		return
	}
	texts := []string{string(other), a.text}
	for i := 0; ; i++ {
		for range 3 {
			<-a.store.Changed()
		}
		if err := a.reload(texts[i%2]); err != nil {
			fmt.Println("failed:", err)
		}
	}
}

// picky is a receiver that takes everything but poison.
type picky struct{}

func (picky) Close() error { return nil }

func (picky) Deliver(_ context.Context, b *forwarders.Batch) (forwarders.Ack, error) {
	for i := range b.Records.Len() {
		if bytes.Contains(b.Records.At(i).Message(), []byte(poison)) {
			return nil, &forwarders.Refused{Index: i, Answer: "poison"}
		}
	}
	return nil, nil
}

// ledgerConfig has a record meet every fate there is.
const ledgerConfig = `
inputs: {in: {type: syslog, listen: ["tcp://127.0.0.1:0"]}}
modules: {m: {MODULE, on_error: dead_letter}}
pipelines:
  main:
    from: [in]
    stream: app
    steps: [{drop: 'message contains "unwanted"'}, {route: {few: 'message contains "few"'}}, {module: m}]
streams:
  few: {max_size: 1MiB, on_full: drop_new}
forwarders:
  out: {type: test, from: [app, few], note: NOTE}
`

// TestLedgerIsExactAfterKills: whatever kill -9 interrupts, reloads among it, every
// record of the ledger is explained, and it is what can be counted in the store.
func TestLedgerIsExactAfterKills(t *testing.T) {
	config := strings.ReplaceAll(ledgerConfig, "MODULE", conformance(t))
	dir := childDirectory(t, strings.ReplaceAll(config, "NOTE", "1"))
	other := strings.ReplaceAll(config, "NOTE", "2") + "  second: {type: test, from: [\"*\"], where: 'not (message contains \"poison\")'}\n"
	if err := os.WriteFile(filepath.Join(dir, otherConfig), []byte(other), 0o600); err != nil {
		t.Fatal(err)
	}
	say := func(n int) string {
		said := []string{"keep", "unwanted", "drop because", "hold k", "hold k", "release k", "emit more", "merge k +", "fail on purpose", "count n",
			"set k v", "set k w"}
		if n%500 == 0 {
			return line("set k poison")
		}
		if n%100 == 1 { // does not compress
			noise := make([]byte, 20_000)
			for i := range noise {
				noise[i] = byte('0' + rand.IntN(64))
			}
			return line("set few %s", noise)
		}
		return line("%s", said[rand.IntN(len(said))])
	}
	kills, sent := often(8, 200), 0
	var last query.Audit
	for kill := range kills {
		sent = killOnce(t, dir, sent, say)
		store := openedAfter(t, dir)
		last = auditOf(store.Books())
		if last.Unexplained != 0 || len(last.Pipelines) != 1 || last.Pipelines[0].Held != heldIn(store, "main") {
			t.Fatalf("kill %d: %d are held, and the ledger says %+v", kill, heldIn(store, "main"), last)
		}
		wantRecounted(t, store, last)
		for _, f := range last.Forwarders {
			if n := refusedBy(t, store, f.Name, f.Stream); f.Dead != n && f.Rewound == 0 {
				t.Errorf("kill %d: %d records are in the dead letters of the receiver, and the ledger says %+v", kill, n, f)
			}
		}
		if err := store.Close(); err != nil {
			t.Fatal(err)
		}
	}
	p := last.Pipelines[0]
	if p.Dropped[fullReason] == 0 || p.Dropped["drop"] == 0 || p.Emitted == 0 || len(last.Forwarders) < 2 || last.Streams[0].Stored == 0 {
		t.Errorf("not everything was tried: %+v", last)
	}
	t.Logf("%d sent over %d kills: %+v", sent, kills, last)
}

// refusedBy counts the dead letters of one forwarder and stream. None is there twice.
func refusedBy(t *testing.T, store *storage.Store, forwarder, stream string) uint64 {
	t.Helper()
	seen := map[uint64]bool{}
	messages(t, store, stream+deadSuffix, func(_ uint64, v record.View) {
		if by, _ := v.Attr("dead.forwarder"); string(by.Data) == forwarder {
			if at := v.Origin().Sequence; seen[at] {
				t.Errorf("offset %d of %s is in the dead letters of %s twice", at, stream, forwarder)
			} else {
				seen[at] = true
			}
		}
	})
	return uint64(len(seen))
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
