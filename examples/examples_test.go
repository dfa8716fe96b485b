//go:build integration

package examples

import (
	"bufio"
	"context"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// patience is how long a test waits for what should take a second.
const patience = 60 * time.Second

// example is one folder's agent, running.
type example struct {
	dir, api, runnel string
	port             int
	env              []string
}

// buildOnce makes the binary and the module that the examples name.
var buildOnce = sync.OnceValues(func() (dir string, err error) {
	if dir, err = os.MkdirTemp("", "runnel-examples-"); err != nil {
		return "", err
	}
	for out, args := range map[string][]string{"runnel": {"./cmd/runnel"}, "classify.wasm": {"-buildmode=c-shared", "./examples/modules/classify"}} {
		cmd := exec.Command("go", append([]string{"build", "-o", filepath.Join(dir, out)}, args...)...)
		cmd.Dir, cmd.Env = "..", append(os.Environ(), "CGO_ENABLED=0")
		if out == "classify.wasm" {
			cmd.Env = append(cmd.Env, "GOOS=wasip1", "GOARCH=wasm")
		}
		if text, err := cmd.CombinedOutput(); err != nil {
			return dir, fmt.Errorf("%s: %w\n%s", cmd, err, text)
		}
	}
	return dir, nil
})

func TestMain(m *testing.M) {
	code := m.Run()
	dir, _ := buildOnce() // a failure has been told by the test
	os.RemoveAll(dir)
	os.Exit(code)
}

// start checks and runs folder/runnel.yaml as it stands, on ports and folders
// of the test's own.
func start(t *testing.T, folder string, env ...string) *example {
	t.Helper()
	built, err := buildOnce()
	if err != nil {
		t.Fatal(err)
	}
	e := &example{dir: t.TempDir(), api: "127.0.0.1:" + fmt.Sprint(freePort(t)), runnel: filepath.Join(built, "runnel"), port: freePort(t)}
	e.env = append(append(os.Environ(), "RUNNEL_DATA="+e.dir+"/data", "RUNNEL_API="+e.api, fmt.Sprintf("RUNNEL_PORT=%d", e.port),
		"RUNNEL_SOCKET="+e.dir+"/docker.sock", "RUNNEL_MODULES="+built, "LOGS="+e.dir), env...)
	// A copy: where the umask is 002, git makes files that a group may write, and those are refused.
	text, err := os.ReadFile(filepath.Join(folder, "runnel.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	config := filepath.Join(e.dir, "runnel.yaml")
	if err := os.WriteFile(config, text, 0o600); err != nil {
		t.Fatal(err)
	}
	e.command(t, "check", "-c", config)
	cmd := exec.Command(e.runnel, "run", "-c", config)
	cmd.Env = e.env
	runUntilReady(t, cmd)
	return e
}

// runUntilReady runs an agent until the test ends, and returns when it is ready.
func runUntilReady(t *testing.T, cmd *exec.Cmd) {
	t.Helper()
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGTERM}
	log, err := cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	ready, started, ended := make(chan struct{}), make(chan error, 1), make(chan error, 1) // one value each, ready none
	var text strings.Builder                                                               // read after the end
	go func() {
		// The kernel sends the death signal when the thread that forked ends: keep it.
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		err := cmd.Start()
		started <- err
		if err != nil {
			return
		}
		for lines := bufio.NewScanner(log); lines.Scan(); {
			text.WriteString(lines.Text() + "\n")
			if strings.Contains(lines.Text(), "runnel is ready") {
				close(ready)
			}
		}
		ended <- cmd.Wait()
	}()
	if err := <-started; err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cmd.Process.Signal(syscall.SIGTERM) //nolint:errcheck // it may have ended
		if err := <-ended; err != nil {
			t.Errorf("the agent ended with %v", err)
		}
		if t.Failed() {
			t.Log(text.String())
		}
	})
	select {
	case <-ready:
	case err := <-ended:
		ended <- err
		t.Fatal("the agent ended before it was ready")
	case <-time.After(patience):
		t.Fatal("the agent is not ready")
	}
}

// command runs a verb and returns what it printed.
func (e *example) command(t *testing.T, args ...string) string {
	t.Helper()
	cmd := exec.Command(e.runnel, args...)
	cmd.Env = e.env
	var said strings.Builder // a warning that a stream is still empty is no record
	cmd.Stderr = &said
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("runnel %s: %v\n%s%s", strings.Join(args, " "), err, out, said.String())
	}
	return string(out)
}

// query returns the messages of a stream, oldest first, once there are n.
func (e *example) query(t *testing.T, stream string, n int) []string {
	t.Helper()
	var got []string
	eventually(t, fmt.Sprintf("%d records in %s", n, stream), func() bool {
		out := e.command(t, "query", "--api", "http://"+e.api, "--token-file", e.dir+"/data/token", "--stream", stream, "--order", "asc", "-o", "raw")
		got = strings.Split(strings.TrimSuffix(out, "\n"), "\n")
		return out != "" && len(got) >= n
	})
	return got
}

func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	ticker := time.NewTicker(50 * time.Millisecond)
	defer ticker.Stop()
	for !ok() {
		select {
		case <-ctx.Done():
			t.Fatalf("waited in vain for %s", what)
		case <-ticker.C:
		}
	}
}

func freePort(t *testing.T) int {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port
}

// write sends lines, as they are, to an address.
func write(t *testing.T, network, address string, lines ...string) {
	t.Helper()
	c, err := net.Dial(network, address)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	for _, line := range lines {
		if _, err := fmt.Fprintf(c, "%s\n", line); err != nil {
			t.Fatal(err)
		}
	}
}

func want(t *testing.T, where string, got, want []string) {
	t.Helper()
	if !slices.Equal(got, want) {
		t.Errorf("%s:\n got %q\nwant %q", where, got, want)
	}
}

func TestDockerHost(t *testing.T) {
	e := start(t, "docker-host")
	write(t, "unix", e.dir+"/docker.sock",
		`<30>1 2026-11-22T10:15:07.255024Z vm web/0123456789ab 2833 web/0123456789ab - {"path":"/healthz","status":200}`,
		`<30>1 2026-11-22T10:15:07.255025Z vm web/0123456789ab 2833 web/0123456789ab - {"path":"/pay","status":200,"card":"4111 1111 1111 1111"}`,
		`<30>1 2026-11-22T10:15:07.255026Z vm web/0123456789ab 2833 web/0123456789ab - {"level":"error","msg":"it broke"}`,
		`<30>1 2026-11-22T10:15:07.255027Z vm web/0123456789ab 2833 web/0123456789ab - {"level":"debug","msg":"noise"}`)
	want(t, "errors", e.query(t, "errors", 1), []string{`{"level":"error","msg":"it broke"}`})
	app := e.query(t, "app", 1)
	if len(app) != 1 || strings.Contains(app[0], "4111 1111 1111 1111") || !strings.Contains(app[0], "/pay") {
		t.Errorf("app: got %q, want the payment alone with its card redacted", app)
	}
}

// server is a syslog server that keeps what it gets.
func server(t *testing.T) (address string, lines chan string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	lines = make(chan string, 1000) // more than any test sends
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				buf := make([]byte, 64<<10)
				for {
					n, err := c.Read(buf)
					if err != nil {
						return
					}
					lines <- string(buf[:n])
				}
			}()
		}
	}()
	return l.Addr().String(), lines
}

func TestEdgeToSyslog(t *testing.T) {
	address, lines := server(t)
	e := start(t, "edge-to-syslog", "SYSLOG_SERVER="+address)
	write(t, "tcp", fmt.Sprintf("127.0.0.1:%d", e.port), `<15>1 2026-11-22T10:15:07Z vm app 1 - - debug`, `<14>1 2026-11-22T10:15:07Z vm app 1 ID7 [x@1 y="z"] kept`)
	const sent = `56 <14>1 2026-11-22T10:15:07Z vm app 1 ID7 [x@1 y="z"] kept`
	got := ""
	for deadline := time.After(patience); len(got) < len(sent); {
		select {
		case more := <-lines:
			got += more
		case <-deadline:
			t.Fatalf("the server got %q", got)
		}
	}
	if got != sent {
		t.Errorf("the server got %q, want %q", got, sent)
	}
}

func TestRsyslogReplacement(t *testing.T) {
	address, lines := server(t)
	e := start(t, "rsyslog-replacement", "SYSLOG_SERVER="+address)
	write(t, "udp", fmt.Sprintf("127.0.0.1:%d", e.port), `<38>Nov 22 10:00:00 vm sshd[812]: Accepted publickey for root`)
	write(t, "tcp", fmt.Sprintf("127.0.0.1:%d", e.port), `<11>Nov 22 10:00:01 vm app: it broke`, `<14>Nov 22 10:00:02 vm nginx: GET /healthz 200`,
		`<14>Nov 22 10:00:03 vm nginx: GET / 200`)
	want(t, "auth", e.query(t, "auth", 1), []string{"Accepted publickey for root"})
	want(t, "errors", e.query(t, "errors", 1), []string{"it broke"})
	want(t, "app", e.query(t, "app", 1), []string{"GET / 200"})
	for _, name := range []string{"auth.log", "errors.log"} {
		eventually(t, name, func() bool {
			b, err := os.ReadFile(filepath.Join(e.dir, name))
			return err == nil && strings.Count(string(b), "\n") == 1
		})
	}
	got := ""
	eventually(t, "three lines at the relay", func() bool {
		select {
		case more := <-lines:
			got += more
		default:
		}
		return strings.Count(got, "\n") == 3
	})
	if strings.Contains(got, "healthz") {
		t.Errorf("the relay got a health check: %q", got)
	}
}

// TestChain runs the three tiers with the command that make chain runs, until a line
// has come through; what was started then ends, and leaves nothing.
func TestChain(t *testing.T) {
	built, err := buildOnce()
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	cmd := exec.CommandContext(ctx, "chain/run", "--once")
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) } // it ends what it has started
	dir := t.TempDir()
	cmd.Env = append(os.Environ(), "RUNNEL="+built+"/runnel", "TMPDIR="+dir, fmt.Sprintf("CHAIN_PORT=%d", 20_000+3*rand.IntN(4_000)))
	out, err := cmd.CombinedOutput()
	if err != nil || !strings.Contains(string(out), `"agent":"host"`) || !strings.Contains(string(out), `"message":"the first line, from host to central"`) {
		t.Errorf("%v, want the host's line in\n%s", err, out)
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) > 0 {
		t.Errorf("it leaves %v, %v", left, err)
	}
}
