package agent

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"github.com/runnel-log/runnel/agent/inputs"
	httpin "github.com/runnel-log/runnel/agent/inputs/http"
	relayin "github.com/runnel-log/runnel/agent/inputs/relay"
	relpin "github.com/runnel-log/runnel/agent/inputs/relp"
	syslogin "github.com/runnel-log/runnel/agent/inputs/syslog"
	"github.com/runnel-log/runnel/agent/query"
	"github.com/runnel-log/runnel/forwarders"
	fileout "github.com/runnel-log/runnel/forwarders/file"
	relayout "github.com/runnel-log/runnel/forwarders/relay"
	syslogout "github.com/runnel-log/runnel/forwarders/syslog"
	"github.com/runnel-log/runnel/forwarders/webhook"
	"github.com/runnel-log/runnel/internal/config"
	"github.com/runnel-log/runnel/record"
	"github.com/runnel-log/runnel/storage"
)

// TestMain builds no guest before one is asked for, and removes them; as a
// child of TestKilledAgentGoesOnWhereItWas it is an agent.
func TestMain(m *testing.M) {
	if dir := os.Getenv(childDir); dir != "" {
		os.Exit(runChild(dir))
	}
	code := m.Run()
	if guests.dir != "" {
		_ = os.RemoveAll(guests.dir)
	}
	os.Exit(code)
}

// guests are built once for the whole run, by the Go that runs the tests.
var guests struct {
	sync.Mutex
	dir string
}

// guest builds the Go guest in a folder, relative to this one, and returns its file.
func guest(tb testing.TB, folder string) string {
	tb.Helper()
	guests.Lock()
	defer guests.Unlock()
	if guests.dir == "" {
		dir, err := os.MkdirTemp("", "runnel-guests")
		if err != nil {
			tb.Fatal(err)
		}
		guests.dir = dir
	}
	path := filepath.Join(guests.dir, filepath.Base(folder)+".wasm")
	if _, err := os.Stat(path); err == nil {
		return path
	}
	cmd := exec.Command("go", "build", "-buildmode=c-shared", "-trimpath", "-ldflags=-s -w", "-o", path, ".")
	cmd.Dir = folder
	cmd.Env = append(os.Environ(), "GOOS=wasip1", "GOARCH=wasm", "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		tb.Fatalf("build guest %s: %v\n%s", folder, err, out)
	}
	return path
}

// conformance is the configuration of the conformance guest, which asks for every
// host service, without its braces.
func conformance(tb testing.TB) string {
	tb.Helper()
	module := guest(tb, conformanceFolder)
	table := filepath.Join(filepath.Dir(module), "table.csv")
	if err := os.WriteFile(table, []byte("key,value\na,b\n"), 0o600); err != nil {
		tb.Fatal(err)
	}
	return fmt.Sprintf("file: %q, grant: [state, metrics], tables: {t: {file: %q}}", module, table)
}

const (
	classifyFolder    = "../examples/modules/classify"
	conformanceFolder = "../guest-sdk/go/conformance"
)

// realKinds are the kinds of the binary, and one more forwarder that delivers to f.
func realKinds(f forwarders.Forwarder) Kinds {
	return Kinds{
		Inputs: []inputs.Kind{syslogin.Kind, httpin.Kind, relpin.Kind, relayin.Kind},
		Forwarders: []forwarders.Kind{fileout.Kind, relayout.Kind, syslogout.Kind, webhook.Kind, {
			Name: "test", Options: func() config.Options { return new(testOptions) },
			New: func(config.Options, forwarders.Setup) (forwarders.Forwarder, error) { return f, nil },
		}},
	}
}

// testOptions are those of the kind test; Note only makes one config differ from another.
type testOptions struct {
	Note int `yaml:"note"`
}

func (*testOptions) Check(*config.At) {}

// logs is what an agent logs, for a test to look at.
type logs struct {
	mu   sync.Mutex
	text strings.Builder // guarded by mu
}

func (l *logs) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

func (l *logs) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

// testAgent is an agent in this process.
type testAgent struct {
	*Agent
	dir   string // its config's folder; data is in dir/data
	kinds Kinds
	logs  logs
	api   string
	end   context.CancelFunc
	done  chan error

	mu   sync.Mutex
	text string // guarded by mu: of the configuration
}

// newAgent returns an agent that is not running. text is its configuration,
// less agent and api, with DIR for its folder.
func newAgent(dir, text string, f forwarders.Forwarder) *testAgent {
	a := &testAgent{dir: dir, kinds: realKinds(f), text: text, done: make(chan error, 1)}
	a.Agent = New(Options{Load: a.load, Version: "test", Log: zerolog.New(&a.logs)})
	return a
}

const preamble = "agent: {name: vm, data_dir: DIR/data}\napi: {listen: 'unix://DIR/api.sock'}\n"

func (a *testAgent) load() (*Config, error) {
	a.mu.Lock()
	text := a.text
	a.mu.Unlock()
	if !strings.HasPrefix(text, "agent:") {
		text = preamble + text
	}
	return ParseConfig("runnel.yaml", []byte(strings.ReplaceAll(text, "DIR", a.dir)), a.dir, a.kinds)
}

// run runs the agent and returns once it is ready, or what kept it from that.
func (a *testAgent) run() error {
	ctx, cancel := context.WithCancel(context.Background())
	ready := make(chan string, 1)
	a.options.Ready = func(_ *Config, api string) { ready <- api }
	a.end = cancel
	go func() { a.done <- a.Run(ctx, nil) }()
	select {
	case a.api = <-ready:
		return nil
	case err := <-a.done:
		cancel()
		return err
	}
}

// startAgent runs an agent until the test ends, or stop.
func startAgent(t *testing.T, dir, text string, f forwarders.Forwarder) *testAgent {
	t.Helper()
	return startPrepared(t, dir, text, f, func(*testAgent) {})
}

// startPrepared is startAgent of one that is prepared first.
func startPrepared(t *testing.T, dir, text string, f forwarders.Forwarder, prepare func(*testAgent)) *testAgent {
	t.Helper()
	a := newAgent(dir, text, f)
	prepare(a)
	if err := a.run(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if a.end != nil {
			a.stop(t)
		}
		if t.Failed() {
			said := a.logs.String()
			t.Logf("the agent said last:\n%s", said[max(0, len(said)-4<<10):])
		}
	})
	return a
}

// stop ends the agent and returns how long that took.
func (a *testAgent) stop(t *testing.T) time.Duration {
	t.Helper()
	begun := time.Now()
	a.end()
	a.end = nil
	select {
	case err := <-a.done:
		if err != nil {
			t.Errorf("the agent ended with %v", err)
		}
	case <-time.After(patience):
		t.Fatalf("the agent does not stop\n%s", stacks())
	}
	took := time.Since(begun)
	wantExplained(t, auditOf(a.store.Books())) // whatever the test did to it
	return took
}

func (a *testAgent) configure(text string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.text = text
}

// reload puts another configuration in place.
func (a *testAgent) reload(text string) error {
	a.configure(text)
	return a.Reload(context.Background())
}

func (a *testAgent) status() query.Status { return host{a.Agent}.Status() }

// address is where the nth listener of an input is.
func (a *testAgent) address(t *testing.T, input string, n int) (network, address string) {
	t.Helper()
	for _, in := range a.status().Inputs {
		if in.Name == input {
			network, address, _ = strings.Cut(in.Listeners[n].URL, "://")
			return network, address
		}
	}
	t.Fatalf("no input %s", input)
	return "", ""
}

// dial connects to the nth listener of an input.
func (a *testAgent) dial(t *testing.T, input string, n int) net.Conn {
	t.Helper()
	network, address := a.address(t, input, n)
	c, err := net.Dial(network, address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

// stored waits until a stream has had n records.
func (a *testAgent) stored(t *testing.T, stream string, n int) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	if err := a.store.Wait(ctx, stream, uint64(n)); err != nil {
		t.Fatalf("waiting for %d records in %s: %v; there are %+v", n, stream, err, a.store.Streams())
	}
}

// metric adds up the samples whose names begin so.
func (a *testAgent) metric(prefix string) (total uint64) {
	for _, name := range a.metrics.ListMetricNames() {
		if strings.HasPrefix(name, prefix) {
			total += a.metrics.GetOrCreateCounter(name).Get()
		}
	}
	return total
}

// shortDir is a temporary folder whose path leaves room for a socket's name.
func shortDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "runnel")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}

// openedAfter opens the store of an agent that has ended, however it did. The
// ledger explains every record in it.
func openedAfter(t *testing.T, dir string) *storage.Store {
	t.Helper()
	s, err := storage.Open(storage.Options{Dir: filepath.Join(dir, "data"), Log: zerolog.Nop()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	wantExplained(t, auditOf(s.Books()))
	return s
}

// messages calls each with every message of a stream, in order.
func messages(t *testing.T, s *storage.Store, stream string, each func(offset uint64, v record.View)) {
	t.Helper()
	b := record.NewBatch()
	defer b.Release()
	for at := uint64(1); ; {
		first, err := s.Read(stream, at, b)
		if errors.Is(err, io.EOF) {
			return
		}
		if err != nil {
			t.Fatal(err)
		}
		// Blocks may have been merged since the last was read: then this one begins before at.
		for i := at - min(at, first); i < uint64(b.Len()); i++ {
			each(first+i, b.At(int(i)))
		}
		at = first + uint64(b.Len())
	}
}

func texts(t *testing.T, s *storage.Store, stream string) (all []string) {
	t.Helper()
	messages(t, s, stream, func(_ uint64, v record.View) { all = append(all, string(v.Message())) })
	return all
}

// line is a syslog message as a sender writes it.
func line(format string, args ...any) string {
	return "<14>1 - vm app - - - " + fmt.Sprintf(format, args...) + "\n"
}

func write(t *testing.T, c net.Conn, text string) {
	t.Helper()
	if _, err := io.WriteString(c, text); err != nil {
		t.Fatal(err)
	}
}

// held is what a process must give back.
type held struct{ goroutines, descriptors int }

// holding counts what this process has now. fasthttp's cleaner of idle workers
// holds nothing, and notices only after ten seconds that its server has ended.
func holding(t *testing.T) held {
	t.Helper()
	h := held{}
	for stack := range strings.SplitSeq(stacks(), "\n\n") {
		if !strings.Contains(stack, "fasthttp.(*workerPool).Start") {
			h.goroutines++
		}
	}
	entries, err := os.ReadDir("/proc/self/fd")
	if err == nil { // elsewhere there is no way to count
		h.descriptors = len(entries)
	}
	return h
}

// returned waits until no more is held than before.
func (h held) returned(t *testing.T) {
	t.Helper()
	var now held
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	deadline := time.After(patience)
	for {
		now = holding(t)
		if now.goroutines <= h.goroutines && now.descriptors <= h.descriptors {
			return
		}
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatalf("%+v are held, before it were %+v\n%s", now, h, stacks())
		}
	}
}

func stacks() string {
	b := make([]byte, 1<<20)
	return string(b[:runtime.Stack(b, true)])
}

// warm runs an agent once, so that what the process makes only once is there.
func warm(t *testing.T) {
	t.Helper()
	dir := shortDir(t)
	a := newAgent(dir, "inputs: {in: {type: syslog, listen: ['tcp://127.0.0.1:0', 'unix://DIR/in.sock', 'udp://127.0.0.1:0']}}\n", newTaker())
	if err := a.run(); err != nil {
		t.Fatal(err)
	}
	c := a.dial(t, "in", 0)
	write(t, c, line("warm"))
	a.stored(t, "default", 1)
	c.Close()
	a.stop(t)
}
