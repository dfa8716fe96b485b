package chain

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"time"
)

// Tier is one agent, in a process of its own.
type Tier struct {
	Name    string
	Dir     string     // its configuration, its data, its sockets and its log
	Sockets []*os.File // that it inherits, as from systemd, each time it starts
	Before  []string   // words before the program's, of one that becomes it: where it runs
	runnel  string     // the program
	cmd     *exec.Cmd
	ended   chan struct{} // closed when it has
	err     error         // set before that
	client  *http.Client
}

// NewTier writes the configuration of an agent; $DIR in it is dir, which must be short
// enough for sockets. The agent's own section and its API are added.
func NewTier(runnel, dir, name, config string) (*Tier, error) {
	config += "\nagent: {name: " + name + ", data_dir: $DIR/data}\napi: {listen: 'unix://$DIR/api.sock', open: true}\n"
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	t := &Tier{Name: name, Dir: dir, runnel: runnel}
	t.client = &http.Client{Timeout: time.Minute, Transport: &http.Transport{DisableKeepAlives: true, DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "unix", dir+"/api.sock")
	}}}
	return t, os.WriteFile(filepath.Join(dir, "runnel.yaml"), []byte(strings.ReplaceAll(config, "$DIR", dir)), 0o600)
}

// Start starts the agent. It may not be ready yet.
func (t *Tier) Start() error {
	log, err := os.OpenFile(t.logFile(), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return err
	}
	defer log.Close()
	words := append(slices.Clone(t.Before), t.runnel, "run", "-c", filepath.Join(t.Dir, "runnel.yaml"), "--log-format", "json")
	t.cmd = exec.Command(words[0], words[1:]...)
	if len(t.Sockets) > 0 {
		t.cmd = exec.Command("sh", append([]string{"-c", `LISTEN_PID=$$ exec "$0" "$@"`}, t.cmd.Args...)...)
		t.cmd.Env, t.cmd.ExtraFiles = append(os.Environ(), fmt.Sprintf("LISTEN_FDS=%d", len(t.Sockets))), t.Sockets
	}
	t.cmd.Stdout, t.cmd.Stderr = log, log
	t.cmd.SysProcAttr = parting()
	t.ended = make(chan struct{})
	started := make(chan error, 1) // its one value
	go t.run(started)
	return <-started
}

// run starts the program and waits for its end, on one thread: where a process dies
// with its parent, the parent is the thread.
func (t *Tier) run(started chan<- error) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	err := t.cmd.Start()
	started <- err
	if err == nil {
		t.err = t.cmd.Wait()
	}
	close(t.ended)
}

// Runs reports whether the process is there, and if not, what it ended with.
func (t *Tier) Runs() (bool, error) {
	select {
	case <-t.ended:
		return false, t.err
	default:
		return true, nil
	}
}

// Ready waits until the agent is.
func (t *Tier) Ready(ctx context.Context) error {
	for {
		answer, err := t.client.Get("http://agent/readyz")
		if err == nil {
			answer.Body.Close()
			if answer.StatusCode == http.StatusOK {
				return nil
			}
		}
		if runs, err := t.Runs(); !runs {
			return fmt.Errorf("%s ended by itself: %w\n%s", t.Name, err, t.Log())
		}
		if ctx.Err() != nil {
			return fmt.Errorf("%s is not ready: %w\n%s", t.Name, errors.Join(err, ctx.Err()), t.Log())
		}
		pause(ctx, 10*time.Millisecond)
	}
}

// Kill ends it without a word.
func (t *Tier) Kill() {
	_ = t.cmd.Process.Kill() // it may have ended
	<-t.ended
}

// Stop asks it to end, and waits until it has.
func (t *Tier) Stop() error {
	_ = t.cmd.Process.Signal(syscall.SIGTERM) // as above
	select {
	case <-t.ended:
		return t.err
	case <-time.After(time.Minute):
		t.Kill()
		return fmt.Errorf("%s did not end a minute after SIGTERM", t.Name)
	}
}

// Freeze stops the process where it is; Thaw has it go on.
func (t *Tier) Freeze() { _ = t.cmd.Process.Signal(syscall.SIGSTOP) } // it may have ended

// Thaw undoes Freeze.
func (t *Tier) Thaw() { _ = t.cmd.Process.Signal(syscall.SIGCONT) } // as above

// Ask asks the agent's API, and puts the answer into v.
func (t *Tier) Ask(path string, v any) error {
	answer, err := t.client.Get("http://agent" + path)
	if err != nil {
		return fmt.Errorf("%s: %w", t.Name, err)
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	if err == nil && answer.StatusCode != http.StatusOK {
		err = errors.New(answer.Status)
	}
	if err == nil {
		err = json.Unmarshal(text, v)
	}
	if err != nil {
		return fmt.Errorf("%s: %s: %w: %s", t.Name, path, err, text)
	}
	return nil
}

func (t *Tier) logFile() string { return filepath.Join(t.Dir, "log") }

// Log is the end of what the agent has logged.
func (t *Tier) Log() string {
	const most = 8000
	text, err := os.ReadFile(t.logFile())
	if err != nil {
		return err.Error()
	}
	return string(text[max(0, len(text)-most):])
}

// Complaints are the lines that the agent has logged as errors: what somebody should
// act on. A run in which nothing is lost has none.
func (t *Tier) Complaints() (all []string, err error) {
	text, err := os.ReadFile(t.logFile())
	for line := range bytes.Lines(text) {
		if bytes.Contains(line, []byte(`"level":"error"`)) || isBug(string(line)) {
			all = append(all, t.Name+": "+strings.TrimSpace(string(line)))
		}
	}
	return all, err
}

// isBug reports whether a line says what no disk and no network is to blame for.
func isBug(line string) bool {
	return strings.Contains(line, "panic:") || strings.Contains(line, "DATA RACE") || strings.Contains(line, "bug:")
}

// Stored is a record as export prints it, as far as a chain cares.
type Stored struct {
	Stream  string
	App     string
	Offset  uint64
	Origin  string // where it was first stored: agent, epoch, stream and offset
	Message string
}

// Export calls f with every record of the agent's store, stream by stream in
// order. The agent must not run.
func (t *Tier) Export(ctx context.Context, f func(Stored) error) error {
	cmd := exec.CommandContext(ctx, t.runnel, "store", "export", t.data())
	var said bytes.Buffer
	cmd.Stderr = &said
	out, err := cmd.StdoutPipe()
	if err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return err
	}
	lines := json.NewDecoder(bufio.NewReaderSize(out, 1<<20))
	for {
		var r Stored
		if err = lines.Decode(&r); err != nil {
			break
		}
		if err = f(r); err != nil {
			break
		}
	}
	if errors.Is(err, io.EOF) {
		err = nil
	}
	_, _ = io.Copy(io.Discard, out) // or it would not end
	if err = errors.Join(err, cmd.Wait()); err != nil {
		return fmt.Errorf("export %s: %w\n%s", t.Name, err, &said)
	}
	return nil
}
