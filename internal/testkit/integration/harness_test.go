//go:build integration

package integration

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// patience is how long a test waits for something that should take seconds.
const patience = 90 * time.Second

var (
	binary string // the agent, built once by TestMain
	guest  string // the classify module
)

func TestMain(m *testing.M) {
	os.Exit(func() int {
		dir, err := os.MkdirTemp("", "runnel-integration-")
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		defer os.RemoveAll(dir)
		binary, guest = filepath.Join(dir, "runnel"), filepath.Join(dir, "classify.wasm")
		for _, build := range []*exec.Cmd{
			goBuild(binary, "./cmd/runnel"),
			goBuild(guest, "./examples/modules/classify", "GOOS=wasip1", "GOARCH=wasm"),
		} {
			if out, err := build.CombinedOutput(); err != nil {
				fmt.Fprintf(os.Stderr, "%s: %v\n%s", build, err, out)
				return 1
			}
		}
		return m.Run()
	}())
}

func goBuild(out, pkg string, env ...string) *exec.Cmd {
	args := []string{"build", "-o", out}
	if len(env) > 0 {
		args = append(args, "-buildmode=c-shared")
	}
	cmd := exec.Command("go", append(args, pkg)...)
	cmd.Dir = "../../.."
	cmd.Env = append(append(os.Environ(), "CGO_ENABLED=0"), env...)
	return cmd
}

// process is a program the test started.
type process struct {
	cmd    *exec.Cmd
	output *lockedBuffer
	done   chan struct{}
	err    error
}

// lockedBuffer keeps what a program printed.
type lockedBuffer struct {
	mu  sync.Mutex
	buf bytes.Buffer // guarded by mu
}

func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.Write(p)
}

func (b *lockedBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.String()
}

// start runs a program until the test ends, or until it ends by itself.
func start(t *testing.T, cmd *exec.Cmd) *process {
	t.Helper()
	p := &process{cmd: cmd, output: new(lockedBuffer), done: make(chan struct{})}
	cmd.Stdout, cmd.Stderr = p.output, p.output
	// SIGTERM, or a Docker daemon would leave its children behind.
	if cmd.SysProcAttr == nil {
		cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGTERM}
	}
	started := make(chan error, 1) // its one value
	go p.run(started)
	if err := <-started; err != nil {
		t.Fatalf("%s: %v", cmd, err)
	}
	t.Cleanup(func() {
		p.stop(t)
		if t.Failed() {
			t.Logf("%s printed:\n%s", filepath.Base(cmd.Path), tailOf(p.output.String()))
		}
	})
	return p
}

// run starts the program and waits for its end. It keeps its thread until then:
// the kernel sends the death signal when the thread that forked ends.
func (p *process) run(started chan<- error) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	err := p.cmd.Start()
	started <- err
	if err == nil {
		p.err = p.cmd.Wait()
		close(p.done)
	}
}

func tailOf(s string) string {
	const most = 6000
	if len(s) > most {
		return "…" + s[len(s)-most:]
	}
	return s
}

// stop asks the program to end and waits; it insists after a while.
func (p *process) stop(t *testing.T) {
	t.Helper()
	p.cmd.Process.Signal(syscall.SIGTERM) //nolint:errcheck // it may have ended
	select {
	case <-p.done:
	case <-time.After(patience):
		t.Errorf("%s did not end %s after SIGTERM", filepath.Base(p.cmd.Path), patience)
		p.cmd.Process.Kill() //nolint:errcheck // as above
		<-p.done
	}
}

// eventually calls ok until it returns true; it fails the test after patience.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	ticker := time.NewTicker(20 * time.Millisecond)
	defer ticker.Stop()
	for !ok() {
		select {
		case <-ctx.Done():
			t.Fatalf("waited %s in vain for %s", patience, what)
		case <-ticker.C:
		}
	}
}

// agent is a running runnel.
type agent struct {
	*process
	dir    string // of its config
	client *http.Client
}

// startAgent writes config, which may use $DIR and $GUEST, and runs the agent on it.
func startAgent(t *testing.T, config string) *agent {
	t.Helper()
	return startAgentIn(t, t.TempDir(), config)
}

// startAgentIn is startAgent on a folder that may hold data already. The agent
// inherits sockets as systemd passes them: LISTEN_FDS, from descriptor 3.
func startAgentIn(t *testing.T, dir, config string, sockets ...*os.File) *agent {
	t.Helper()
	path := configure(t, dir, config)
	cmd := exec.Command(binary, "run", "-c", path)
	if len(sockets) > 0 {
		cmd = exec.Command("sh", "-c", `LISTEN_PID=$$ exec "$0" run -c "$1"`, binary, path)
		cmd.Env = append(os.Environ(), fmt.Sprintf("LISTEN_FDS=%d", len(sockets)))
		cmd.ExtraFiles = sockets
	}
	return startAgentAs(t, dir, cmd)
}

// configure writes config and what every agent here has. A config with an agent
// section of its own names the data directory $DIR/data.
func configure(t *testing.T, dir, config string) (path string) {
	t.Helper()
	if !strings.Contains(config, "\nagent:") {
		config += "\nagent: {name: test-agent, data_dir: $DIR/data}\n"
	}
	config += "\napi: {listen: 'unix://$DIR/api.sock', open: true}\n"
	config = strings.NewReplacer("$DIR", dir, "$GUEST", guest).Replace(config)
	path = filepath.Join(dir, "runnel.yaml")
	if err := os.WriteFile(path, []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// startAgentAs runs the agent of a folder that is configured, with a command of the test's own.
func startAgentAs(t *testing.T, dir string, cmd *exec.Cmd) *agent {
	t.Helper()
	a := &agent{process: start(t, cmd), dir: dir}
	a.client = &http.Client{Transport: &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "unix", dir+"/api.sock")
	}}}
	eventually(t, "the agent to be ready", func() bool {
		select {
		case <-a.done:
			t.Fatalf("the agent ended: %v\n%s", a.err, a.output)
		default:
		}
		answer, err := a.client.Get("http://agent/readyz")
		if err != nil {
			return false
		}
		answer.Body.Close()
		return answer.StatusCode == http.StatusOK
	})
	t.Cleanup(func() { // before it is stopped: whatever the test did, the ledger explains it
		select {
		case <-a.done:
		default:
			a.wantExplained(t)
		}
	})
	return a
}

// storedRecord is what a query returns, as far as these tests look at it.
type storedRecord struct {
	Time     time.Time
	Stream   string
	Offset   uint64
	Facility int
	Severity int
	Host     string
	App      string
	ProcID   string
	MsgID    string
	Message  string
	Attrs    map[string]any
	SD       map[string]map[string]any
	Flags    []string
	Input    string
	Peer     string
}

// query asks the API for everything in a stream, oldest first.
func (a *agent) query(t *testing.T, parameters string) []storedRecord {
	t.Helper()
	var all []storedRecord
	cursor := ""
	for {
		answer, err := a.client.Get("http://agent/api/v1/query?order=asc&limit=10000&" + parameters + cursor)
		if err != nil {
			t.Fatal(err)
		}
		if answer.StatusCode != http.StatusOK {
			body, _ := io.ReadAll(answer.Body)
			t.Fatalf("query %s: %s: %s", parameters, answer.Status, body)
		}
		lines := json.NewDecoder(answer.Body)
		for {
			var r storedRecord
			if err := lines.Decode(&r); err == io.EOF {
				break
			} else if err != nil {
				t.Fatalf("query %s: %v", parameters, err)
			}
			all = append(all, r)
		}
		answer.Body.Close()
		next := answer.Header.Get("Runnel-Next")
		if next == "" || answer.Header.Get("Runnel-Complete") == "true" {
			return all
		}
		cursor = "&cursor=" + next
	}
}

// receiver is a TCP syslog server that keeps every line.
type receiver struct {
	net.Listener
	mu    sync.Mutex
	lines []string // guarded by mu
}

func startReceiver(t *testing.T) *receiver {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	r := &receiver{Listener: l}
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			wg.Go(func() {
				defer c.Close()
				lines := bufio.NewScanner(c)
				lines.Buffer(nil, 4<<20)
				for lines.Scan() {
					r.mu.Lock()
					r.lines = append(r.lines, lines.Text())
					r.mu.Unlock()
				}
			})
		}
	})
	t.Cleanup(func() { l.Close() })
	return r
}

func (r *receiver) got() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.lines[:len(r.lines):len(r.lines)]
}

// hook is a webhook receiver that keeps every record once per time it came.
type hook struct {
	mu      sync.Mutex
	records []storedRecord // guarded by mu
	url     string
}

func startHook(t *testing.T) *hook {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	h := &hook{url: "http://" + l.Addr().String() + "/hook"}
	server := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
		var batch []storedRecord
		lines := json.NewDecoder(q.Body)
		for {
			var r storedRecord
			if err := lines.Decode(&r); err == io.EOF {
				break
			} else if err != nil { // cut short: take none of it
				http.Error(w, err.Error(), http.StatusBadRequest)
				return
			}
			batch = append(batch, r)
		}
		h.mu.Lock()
		defer h.mu.Unlock()
		h.records = append(h.records, batch...)
	})}
	go server.Serve(l) //nolint:errcheck // ends with Close
	t.Cleanup(func() { server.Close() })
	return h
}

func (h *hook) got() []storedRecord {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.records[:len(h.records):len(h.records)]
}

// freePort returns a TCP port that was free a moment ago. It is below those that the
// kernel gives out, which it may give to another before the daemon has opened it.
func freePort(t *testing.T) int {
	t.Helper()
	for range 100 {
		port := 20_000 + rand.IntN(12_000)
		if l, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", port)); err == nil {
			l.Close()
			return port
		}
	}
	t.Fatal("no port of a hundred is free")
	return 0
}

// streams asks the API what streams there are.
func (a *agent) streams(t *testing.T) []struct {
	Name    string
	Records uint64
} {
	t.Helper()
	answer, err := a.client.Get("http://agent/api/v1/streams")
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	body, err := io.ReadAll(answer.Body)
	if err != nil {
		t.Fatal(err)
	}
	var wrapped struct {
		Streams []struct {
			Name    string
			Records uint64
		}
	}
	if json.Unmarshal(body, &wrapped.Streams) == nil {
		return wrapped.Streams
	}
	if err := json.Unmarshal(body, &wrapped); err != nil {
		t.Fatalf("streams: %v: %s", err, body)
	}
	return wrapped.Streams
}
