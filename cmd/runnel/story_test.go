package main

import (
	"context"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
)

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"runnel": main})
}

// guest builds the example module once, for the stories that run one.
var guest = sync.OnceValues(func() ([]byte, error) {
	dir, err := os.MkdirTemp("", "runnel-guest-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	path := filepath.Join(dir, "classify.wasm")
	cmd := exec.Command("go", "build", "-buildmode=c-shared", "-o", path, "../../examples/modules/classify")
	cmd.Env = append(os.Environ(), "GOOS=wasip1", "GOARCH=wasm", "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		os.Stderr.Write(out)
		return nil, err
	}
	return os.ReadFile(path)
})

// TestStories runs testdata/script: what a user types, and what they see. Each
// story has a free port in $PORT, and its agent's API at $API.
func TestStories(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir: "testdata/script",
		Setup: func(e *testscript.Env) error {
			for _, name := range []string{"PORT", "PORT2"} {
				l, err := net.Listen("tcp", "127.0.0.1:0")
				if err != nil {
					return err
				}
				_, port, _ := net.SplitHostPort(l.Addr().String())
				l.Close()
				e.Setenv(name, port)
			}
			e.Setenv("API", "unix://"+e.WorkDir+"/api.sock")
			e.Setenv("RUNNEL_DATA", e.WorkDir+"/data")
			e.Setenv("GOCOVERDIR", e.WorkDir)
			if cache, err := exec.Command("go", "env", "GOCACHE").Output(); err == nil { // a module's Go is not compiled anew for each story
				e.Setenv("GOCACHE", strings.TrimSpace(string(cache)))
			}
			code, err := guest()
			if err != nil {
				return err
			}
			return os.WriteFile(filepath.Join(e.WorkDir, "classify.wasm"), code, 0o600)
		},
		Cmds: map[string]func(ts *testscript.TestScript, neg bool, args []string){
			"ready":      waitReady,
			"eventually": eventually,
			"reload":     reload,
			"harm":       harm,
		},
	})
}

// storyPatience bounds how long a story waits.
const storyPatience = 2 * time.Minute

// waitReady waits until the agent at $API is ready.
func waitReady(ts *testscript.TestScript, _ bool, _ []string) {
	path := strings.TrimPrefix(ts.Getenv("API"), "unix://")
	client := &http.Client{Transport: &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "unix", path)
	}}}
	defer client.CloseIdleConnections()
	poll(ts, "the agent to be ready", func() bool {
		answer, err := client.Get("http://agent/readyz")
		if err != nil {
			return false
		}
		answer.Body.Close()
		return answer.StatusCode == http.StatusOK
	})
}

// reload NAME sends SIGHUP to the background command of that name: testscript's
// own kill knows no such signal.
func reload(ts *testscript.TestScript, _ bool, args []string) {
	for _, c := range ts.BackgroundCmds() {
		if err := c.Process.Signal(syscall.SIGHUP); err != nil {
			ts.Fatalf("%v", err)
		}
	}
}

// harm DIR overwrites every segment in a folder, all of it.
func harm(ts *testscript.TestScript, _ bool, args []string) {
	names, err := filepath.Glob(filepath.Join(args[0], "*.seg"))
	if err != nil || len(names) == 0 {
		ts.Fatalf("no segments in %s", args[0])
	}
	for _, name := range names {
		info, err := os.Stat(name)
		ts.Check(err)
		ts.Check(os.WriteFile(name, make([]byte, info.Size()), 0o600))
	}
}

// eventually WANT COMMAND… runs a command until its output contains WANT.
func eventually(ts *testscript.TestScript, _ bool, args []string) {
	if len(args) < 2 {
		ts.Fatalf("usage: eventually WANT COMMAND [ARG…]")
	}
	poll(ts, args[0], func() bool {
		return ts.Exec(args[1], args[2:]...) == nil && strings.Contains(ts.ReadFile("stdout"), args[0])
	})
}

func poll(ts *testscript.TestScript, what string, ok func() bool) {
	ticker := time.NewTicker(50 * time.Millisecond)
	defer ticker.Stop()
	deadline := time.After(storyPatience)
	for !ok() {
		select {
		case <-ticker.C:
		case <-deadline:
			ts.Fatalf("waited %s in vain for %s", storyPatience, what)
		}
	}
}
