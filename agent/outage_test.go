package agent

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// outageConfig pins what has not been delivered, and lets go of the rest at once.
const outageConfig = `agent: {name: vm, data_dir: DIR/data, max_size: MAX}
api: {listen: 'unix://DIR/api.sock'}
inputs: {in: {type: syslog, listen: ["tcp://127.0.0.1:0"]}}
pipelines: {main: {from: [in], stream: app}}
streams: {app: {max_age: 1s, max_size: MAX, on_full: push_back}}
forwarders: {out: {type: syslog, from: [app], to: "tcp://TO"}}
`

// TestOutage: a destination is down while a backlog piles up, and comes back
// while senders go on. First and last arrive, each once and in order; memory
// stays as it was; and the disk gets its room back. The long form measures as
// well: run it with -v.
func TestOutage(t *testing.T) {
	backlog, live, perSecond, size := 200_000, 20_000, 20_000, "64MiB"
	if soak {
		backlog, live, perSecond, size = 10_000_000, 1_000_000, 20_000, "8GiB"
	}
	to := newTarget(t)
	dir := childDirectory(t, strings.NewReplacer("MAX", size, "TO", to.address).Replace(outageConfig))
	c := startChild(t, dir)
	out, err := net.Dial("tcp", c.address)
	if err != nil {
		t.Fatal(err)
	}
	begun := time.Now()
	early := c.sendOutage(t, out, 0, backlog/2)
	c.peak.Store(0)
	late := c.sendOutage(t, out, backlog/2, backlog)
	own, files := c.memory()
	t.Logf("%d records of backlog in %s: %s of memory at most in the first half, %s in the second, at the end %s of its own and %s of files; %d segments",
		backlog, time.Since(begun).Round(time.Millisecond), mib(early), mib(late), mib(own), mib(files), segments(t, dir))
	if n := segments(t, dir); n < 2 {
		t.Errorf("the backlog has %d segments, too few to see one go", n)
	}
	c.peak.Store(0)

	to.up(t)
	to.reaches(t, 1) // after the back-off that it is in
	begun = time.Now()
	var wg sync.WaitGroup
	wg.Go(func() { pace(t, out, backlog, backlog+live, perSecond) })
	to.reaches(t, backlog)
	drained := time.Since(begun)
	wg.Wait()
	to.reaches(t, backlog+live)
	rate := float64(backlog) / drained.Seconds()
	t.Logf("drained in %s at %.0f records a second, %.1f times the live %d: %s of memory at most", drained.Round(time.Millisecond), rate, rate/float64(perSecond), perSecond, mib(c.peak.Load()))
	if soak && rate < 3*float64(perSecond) {
		t.Errorf("it drained at %.0f records a second, want three times the live %d at least", rate, perSecond)
	}
	// What waits for a commit, and for the collector, varies with what else the machine does; a
	// backlog in memory would be gigabytes.
	if most := early + max(early/10, 24<<20); soak && max(late, c.peak.Load()) > most {
		t.Errorf("%s of memory in the second half, %s while it drained; in the first half it was %s", mib(late), mib(c.peak.Load()), mib(early))
	}
	waitUntil(t, "the disk to have its room back", func() bool { return segments(t, dir) == 1 })
	if got := to.arrived.Load(); got != int64(backlog+live) {
		t.Errorf("%d records arrived, want %d, each once", got, backlog+live)
	}
	to.inOrder(t)
}

func mib(n int64) string { return fmt.Sprintf("%d MiB", n>>20) }

// segments counts those of a child.
func segments(t *testing.T, dir string) int {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(dir, "data/store/*.seg"))
	if err != nil {
		t.Fatal(err)
	}
	return len(files)
}

// outageLine is one record of 200 bytes or so, of which a sixth is noise. Its number is the last word.
func outageLine(b []byte, n int) []byte {
	x := uint64(n+1) * 0x9E3779B97F4A7C15
	return fmt.Appendf(b, "<14>1 - vm app %d - - 10.0.%d.%d GET /api/v1/things/%016x%016x%016x%016x HTTP/1.1 200 %d \"Mozilla/5.0 (X11; Linux x86_64)\" %d\n",
		n%977, n%7, n%251, x, x*x, x*0xBF58476D1CE4E5B9, x^x>>29, n%9973, n)
}

// pace writes records from one number to another, so many a second.
func pace(t *testing.T, c net.Conn, from, to, perSecond int) {
	const every = 10 * time.Millisecond
	tick := time.NewTicker(every)
	defer tick.Stop()
	var b []byte
	for n := from; n < to; <-tick.C {
		b = b[:0]
		for range min(to-n, perSecond/int(time.Second/every)) {
			b = outageLine(b, n)
			n++
		}
		if _, err := c.Write(b); err != nil {
			t.Errorf("write record %d: %v", n, err)
			return
		}
	}
}

// child is an agent in another process.
type child struct {
	cmd       *exec.Cmd
	address   string
	committed atomic.Int64 // records on disk, as it says
	told      chan struct{}
	peak      atomic.Int64 // of its memory since that was last set to 0
	done      chan struct{}
}

func startChild(t *testing.T, dir string) *child {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	c := &child{cmd: exec.CommandContext(ctx, os.Args[0]), told: make(chan struct{}, 1), done: make(chan struct{})}
	c.cmd.Env = append(os.Environ(), childDir+"="+dir)
	c.cmd.Stderr = os.Stderr
	out, err := c.cmd.StdoutPipe()
	if err == nil {
		err = c.cmd.Start()
	}
	if err != nil {
		cancel()
		t.Fatal(err)
	}
	lines := bufio.NewScanner(out)
	var wg sync.WaitGroup
	t.Cleanup(func() { cancel(); wg.Wait(); c.cmd.Wait() }) //nolint:errcheck // it was told to end, or is killed
	if !lines.Scan() || !strings.HasPrefix(lines.Text(), "listening tcp://") {
		t.Fatalf("the child said %q", lines.Text())
	}
	c.address = strings.TrimPrefix(lines.Text(), "listening tcp://")
	wg.Go(func() {
		defer close(c.done)
		for lines.Scan() {
			if n, err := strconv.ParseInt(strings.TrimPrefix(lines.Text(), "committed "), 10, 64); err == nil {
				c.committed.Store(n)
				select {
				case c.told <- struct{}{}:
				default:
				}
			}
		}
	})
	wg.Go(c.runWatch)
	return c
}

// runWatch looks at the child's memory until it has ended.
func (c *child) runWatch() {
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			own, files := c.memory()
			c.peak.Store(max(c.peak.Load(), own+files))
		case <-c.done:
			return
		}
	}
}

// memory is what the child has resident, and what of files: pages that the
// system can have back at any time. It is 0 where the system does not say.
func (c *child) memory() (own, files int64) {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/statm", c.cmd.Process.Pid))
	if fields := strings.Fields(string(b)); err == nil && len(fields) > 2 {
		resident, _ := strconv.ParseInt(fields[1], 10, 64) // the kernel writes numbers
		shared, _ := strconv.ParseInt(fields[2], 10, 64)
		return (resident - shared) * int64(os.Getpagesize()), shared * int64(os.Getpagesize())
	}
	return 0, 0
}

// sendOutage writes records from one number to another, waits until they are on
// disk, and returns the most memory that the child had meanwhile.
func (c *child) sendOutage(t *testing.T, to io.Writer, from, until int) int64 {
	t.Helper()
	var b []byte
	for n := from; n < until; n++ {
		if b = outageLine(b, n); len(b) < 64<<10 && n < until-1 {
			continue
		}
		if _, err := to.Write(b); err != nil {
			t.Fatal(err)
		}
		b = b[:0]
	}
	deadline := time.After(patience)
	for c.committed.Load() < int64(until) {
		select {
		case <-c.told:
		case <-deadline:
			t.Fatalf("%d of %d records are on disk", c.committed.Load(), until)
		}
	}
	return c.peak.Load()
}

// target is a syslog receiver at an address at which nobody listens at first. It
// keeps no messages but looks at their numbers.
type target struct {
	address string
	arrived atomic.Int64
	last    atomic.Int64 // number
	changed chan struct{}

	mu    sync.Mutex
	wrong []string // guarded by mu
}

func newTarget(t *testing.T) *target {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	to := &target{address: l.Addr().String(), changed: make(chan struct{}, 1)}
	to.last.Store(-1)
	return to
}

// up has it listen, until the test ends.
func (to *target) up(t *testing.T) {
	t.Helper()
	l, err := net.Listen("tcp", to.address)
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	ended := make(chan struct{})
	wg.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			wg.Go(func() { defer c.Close(); to.read(c) })
			wg.Go(func() { <-ended; c.Close() })
		}
	})
	t.Cleanup(func() { l.Close(); close(ended); wg.Wait() })
}

func (to *target) read(c net.Conn) {
	r := bufio.NewReaderSize(c, 256<<10)
	for {
		text, err := r.ReadSlice('\n')
		if err != nil {
			return
		}
		text = bytes.TrimSuffix(text, []byte("\n"))
		n, err := strconv.ParseInt(string(text[bytes.LastIndexByte(text, ' ')+1:]), 10, 64)
		if want := to.last.Load() + 1; err != nil || n != want {
			to.mu.Lock()
			if len(to.wrong) < 10 {
				to.wrong = append(to.wrong, fmt.Sprintf("%q, want number %d", text, want))
			}
			to.mu.Unlock()
		}
		to.last.Store(n)
		to.arrived.Add(1)
		select {
		case to.changed <- struct{}{}:
		default:
		}
	}
}

// reaches waits until so many have arrived; as long as some do, it is patient.
func (to *target) reaches(t *testing.T, n int) {
	t.Helper()
	const patience = retryMost + patience // it may have begun to wait just now
	timer := time.NewTimer(patience)
	defer timer.Stop()
	for to.arrived.Load() < int64(n) {
		select {
		case <-to.changed:
			timer.Reset(patience)
		case <-timer.C:
			t.Fatalf("%d of %d records arrived, and no more are coming", to.arrived.Load(), n)
		}
	}
}

// inOrder fails the test where what arrived was not the numbers one after another.
func (to *target) inOrder(t *testing.T) {
	t.Helper()
	to.mu.Lock()
	defer to.mu.Unlock()
	for _, text := range to.wrong {
		t.Errorf("arrived: %s", text)
	}
}
