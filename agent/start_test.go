package agent

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// TestFailedStartLeavesNothingOpen: one clear line, and sockets, descriptors,
// goroutines and the data directory are given back, whatever it was that failed.
func TestFailedStartLeavesNothingOpen(t *testing.T) {
	warm(t)
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	dir := shortDir(t)
	module := conformance(t)
	write := func(name, content string) {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("file", "")
	// What it returns is of the wrong type, which only compiling it shows.
	write("bad.wasm", strings.Replace(string(mustRead(t, "../wasm/workbench/keep.wasm")), "\x42\x00\x0b", "\x41\x00\x0b", 1))
	write("token", "\n")
	const good = "inputs: {in: {type: syslog, listen: ['tcp://127.0.0.1:0', 'unix://DIR/in.sock', 'udp://127.0.0.1:0']}}\n"
	const forwards = "forwarders: {out: {type: webhook, from: [default], url: 'http://127.0.0.1:1/'}}\n"
	before := holding(t)
	f := func(name, text string, want ...string) {
		t.Helper()
		a := newAgent(dir, text, newTaker())
		begun := time.Now()
		err := a.run()
		if err == nil {
			a.stop(t)
			t.Fatalf("%s: the agent started", name)
		}
		for _, w := range want {
			if !strings.Contains(err.Error(), w) {
				t.Errorf("%s: got %q, want it to say %q", name, err, w)
			}
		}
		if strings.Contains(err.Error(), "\n") {
			t.Errorf("%s: more than a line: %q", name, err)
		}
		failed := time.Since(begun)
		before.returned(t)
		for _, socket := range []string{"in.sock", "api.sock"} {
			if _, err := net.Dial("unix", filepath.Join(dir, socket)); err == nil {
				t.Errorf("%s: somebody answers at %s", name, socket)
			}
		}
		t.Logf("%s, after %s: %v", name, failed.Round(time.Millisecond), err)
	}
	second := func(listen string) string {
		return strings.Replace(good, "}}\n", "}, second: {type: syslog, listen: ["+listen+"]}}\n", 1) + forwards
	}
	modules := func(m string) string {
		return good + forwards + "modules: {ok: {" + module + "}, m: {" + m + "}}\n"
	}
	f("a folder that cannot be", strings.Replace(preamble, "DIR/data", "DIR/file/data", 1)+good, "data directory", "not a directory", "agent.data_dir")
	f("a data directory that is a file", strings.Replace(preamble, "DIR/data", "DIR/file", 1)+good, "not a directory")
	f("a port of the API in use", fmt.Sprintf("agent: {name: vm, data_dir: DIR/data}\napi: {listen: '%s'}\n", taken.Addr())+good, "api:", "address already in use", "api.listen")
	f("a second input's port in use", second(fmt.Sprintf("'unix://DIR/second.sock', 'tcp://%s'", taken.Addr())), `input "second"`, "address already in use", "choose another port")
	f("a socket in no folder", second("'unix://DIR/none/second.sock'"), `input "second"`, "none/second.sock")
	f("a module that does not compile", modules("file: bad.wasm"), `module "m"`, "bad.wasm")
	f("a module that refuses its config", modules(module+", config: {refuse: not like this}"), `module "m"`, "not like this")
	f("a module that traps at once", modules(module+", config: {panic: true}"), `module "m"`, "asked to")

	a := startAgent(t, dir, good+forwards, nil)
	other := newAgent(dir, strings.Replace(preamble, "DIR/api.sock", "DIR/other.sock", 1)+"inputs: {in: {type: syslog, listen: ['tcp://127.0.0.1:0']}}\n", nil)
	err = other.run()
	if err == nil {
		t.Fatal("a second agent started on the same directory")
	}
	for _, w := range []string{filepath.Join(dir, "data"), "in use", fmt.Sprint(os.Getpid())} {
		if !strings.Contains(err.Error(), w) {
			t.Errorf("a second agent on the directory: got %q, want it to say %q", err, w)
		}
	}
	t.Logf("a second agent: %v", err)
	a.stop(t)
	before.returned(t)
}

// TestAgentTakesOverADeadOnesSockets: socket files that a killed agent left are no obstacle.
func TestAgentTakesOverADeadOnesSockets(t *testing.T) {
	dir := shortDir(t)
	for _, name := range []string{"in.sock", "api.sock"} {
		l, err := net.Listen("unix", filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		l.(*net.UnixListener).SetUnlinkOnClose(false)
		l.Close()
	}
	a := startAgent(t, dir, "inputs: {in: {type: syslog, listen: ['unix://DIR/in.sock']}}\n", nil)
	write(t, a.dial(t, "in", 0), line("hello"))
	a.stored(t, "default", 1)
	c, err := net.Dial("unix", filepath.Join(dir, "api.sock"))
	if err != nil {
		t.Fatal(err)
	}
	c.Close()
}

// TestATokenThatWasBeingMadeKeepsNobodyFromStarting: kill -9 may leave the file that
// was to become the token, never a token that is empty.
func TestATokenThatWasBeingMadeKeepsNobodyFromStarting(t *testing.T) {
	dir := shortDir(t)
	token := filepath.Join(dir, "data", tokenFile)
	if err := os.MkdirAll(filepath.Dir(token), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(token+".new", []byte("half"), 0o400); err != nil {
		t.Fatal(err)
	}
	a := startAgent(t, dir, "inputs: {in: {type: syslog, listen: ['tcp://127.0.0.1:0']}}\n", newTaker())
	a.stop(t)
	made := strings.TrimSpace(string(mustRead(t, token)))
	if info, err := os.Stat(token); err != nil || len(made) != 64 || info.Mode().Perm() != 0o600 {
		t.Errorf("token %q, %v, %v", made, info.Mode(), err)
	}
	if _, err := os.Stat(token + ".new"); err == nil {
		t.Error("what was to become the token is still there")
	}
}
