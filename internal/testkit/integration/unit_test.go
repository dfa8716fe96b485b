//go:build integration

package integration

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"strings"
	"testing"
)

const unitConfig = `
inputs: {in: {type: syslog, listen: ["tcp://127.0.0.1:$PORT", "udp://127.0.0.1:$PORT", "unix://$RUN/s", "unixgram://$RUN/g"]}}
modules: {classify: {file: $GUEST}}
pipelines: {main: {from: [in], steps: [{module: classify}], stream: app}}
`

// TestUnitIsSafe: what systemd says of the shipped unit; 20 is an exposure of 2.0.
func TestUnitIsSafe(t *testing.T) {
	const unit = "../../../packaging/systemd/runnel.service"
	out, err := exec.Command("systemd-analyze", "security", "--no-pager", "--offline=true", "--threshold=20", unit).CombinedOutput()
	if err != nil {
		t.Errorf("systemd-analyze security: %v\n%s", err, out)
	}
	lines := strings.Split(strings.TrimSpace(string(out)), "\n")
	t.Log(lines[len(lines)-1])
	weaker, err := os.ReadFile(unit)
	if err != nil {
		t.Fatal(err)
	}
	weak := t.TempDir() + "/weak.service"
	if err := os.WriteFile(weak, bytes.ReplaceAll(weaker, []byte("SystemCallFilter"), []byte("#")), 0o600); err != nil {
		t.Fatal(err)
	}
	if exec.Command("systemd-analyze", "security", "--no-pager", "--offline=true", "--threshold=20", weak).Run() == nil {
		t.Error("a unit without its system call filter passes as well: this shows nothing")
	}
}

// TestUnitUnderSystemd runs the unit as it is shipped: it is verified, starts under all
// of its settings with a compiled module, keeps its sockets, is pinged for, reloads, and stops.
func TestUnitUnderSystemd(t *testing.T) {
	port := freePort(t)
	s := startSystemd(t, unitConfig, port, nil)
	verify, err := exec.Command("nsenter", "-t", fmt.Sprint(s.init), "-m", "-p", "systemd-analyze", "verify", "runnel.service", "runnel.socket").CombinedOutput()
	if err != nil || len(verify) > 0 {
		t.Errorf("systemd-analyze verify: %v\n%s", err, verify)
	}
	s.ctl(t, "start", "runnel.service") // waits for READY=1
	if got := s.show(t, "NFileDescriptorStore"); got != "4" {
		t.Errorf("systemd keeps %s descriptors, want the four sockets", got)
	}
	c, err := net.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", port))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	io.WriteString(c, "<11>1 - vm app - - - level=error one\n<11>1 - vm app - - - tw")
	a := s.agent()
	waitForRecords(t, a, "app", 1)

	pid := s.show(t, "MainPID")
	s.ctl(t, "reload", "runnel.service")
	s.ctl(t, "restart", "runnel.service")
	if now := s.show(t, "MainPID"); now == pid || now == "0" {
		t.Errorf("the process was %s and is %s, want another", pid, now)
	}
	io.WriteString(c, "o\n")
	waitForRecords(t, a, "app", 2)

	s.ctl(t, "kill", "--kill-whom=main", "-s", "KILL", "runnel.service")
	late, err := net.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", port)) // nobody is there but systemd
	if err != nil {
		t.Fatalf("while no process runs: %v", err)
	}
	defer late.Close()
	io.WriteString(late, "<11>1 - vm app - - - three\n")
	eventually(t, "systemd to start it again", func() bool {
		return s.show(t, "NRestarts") == "1" && s.show(t, "ActiveState") == "active"
	})
	waitForRecords(t, a, "app", 3)
	var got []string
	for _, r := range a.query(t, "stream=app") {
		got = append(got, r.Message)
	}
	if fmt.Sprint(got) != "[level=error one two three]" {
		t.Errorf("got %q", got)
	}
	s.ctl(t, "stop", "runnel.service")
	if got := s.show(t, "Result") + " " + s.show(t, "NFileDescriptorStore"); got != "success 0" {
		t.Errorf("after the stop: %s, want success and nothing kept", got)
	}
	log, err := os.ReadFile(s.path("/run/agent.log"))
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Contains(log, []byte(`"module loaded"`)) || bytes.Contains(log, []byte("modules are interpreted")) {
		t.Errorf("the module was not compiled:\n%s", log)
	}
}

// TestSocketUnitUnderSystemd: the sockets of the unit are the agent's, with the
// receive buffer that systemd may give and the agent may not; a first sender starts it.
func TestSocketUnitUnderSystemd(t *testing.T) {
	port := freePort(t)
	s := startSystemd(t, `
inputs: {in: {type: syslog, listen: ["tcp://:$PORT", "udp://:$PORT", "unix:///run/runnel-log.sock", "unixgram:///run/runnel-dev-log"]}}
pipelines: {main: {from: [in], stream: app}}
`, port, nil)
	s.ctl(t, "start", "runnel.socket")
	for network, addr := range map[string]string{"udp": fmt.Sprintf("127.0.0.1:%d", port), "tcp": fmt.Sprintf("127.0.0.1:%d", port),
		"unix": s.path("/run/runnel-log.sock"), "unixgram": s.path("/run/runnel-dev-log")} {
		c, err := net.Dial(network, addr)
		if err != nil {
			t.Fatalf("%s: %v", network, err)
		}
		defer c.Close()
		fmt.Fprintf(c, "<30>1 - vm app - - - over %s\n", network)
	}
	eventually(t, "the agent to be started for them", func() bool { return s.show(t, "ActiveState") == "active" })
	waitForRecords(t, s.agent(), "app", 4)
	log, err := os.ReadFile(s.path("/run/agent.log"))
	if err != nil {
		t.Fatal(err)
	}
	if bytes.Contains(log, []byte("smaller receive buffer")) {
		t.Errorf("the buffer of the socket unit is not there:\n%s", log)
	}
	if got := s.show(t, "NFileDescriptorStore"); got != "0" {
		t.Errorf("systemd keeps %s descriptors twice", got)
	}
}

// TestWatchdogUnderSystemd: the agent pings, and one that hangs is killed and
// started again, with its sockets.
func TestWatchdogUnderSystemd(t *testing.T) {
	port := freePort(t)
	s := startSystemd(t, unitConfig, port, nil)
	s.set(t, "WatchdogSec=2s")
	s.ctl(t, "start", "runnel.service")
	for range 3 {
		last := s.show(t, "WatchdogTimestampMonotonic")
		eventually(t, "a ping", func() bool { return s.show(t, "WatchdogTimestampMonotonic") != last })
	}
	if got := s.show(t, "NRestarts"); got != "0" {
		t.Fatalf("it was restarted %s times while it pinged", got)
	}
	s.ctl(t, "kill", "--kill-whom=main", "-s", "STOP", "runnel.service")
	c, err := net.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", port))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	io.WriteString(c, "<11>1 - vm app - - - written to one that hangs\n")
	eventually(t, "systemd to end and start it", func() bool {
		return s.show(t, "NRestarts") == "1" && s.show(t, "ActiveState") == "active"
	})
	waitForRecords(t, s.agent(), "app", 1)
}

// TestInterpreterNeedsNoWritableCode: with engine: interpreter the unit can be
// stricter still, and the guest runs. It does so without that key as well, as what
// cannot be compiled is interpreted, with a warning.
func TestInterpreterNeedsNoWritableCode(t *testing.T) {
	f := func(name, engine string) {
		t.Run(name, func(t *testing.T) {
			port := freePort(t)
			s := startSystemd(t, unitConfig+"\nagent: {name: test-agent, data_dir: /var/lib/runnel"+engine+"}\n", port, nil)
			s.set(t, "MemoryDenyWriteExecute=yes")
			s.ctl(t, "start", "runnel.service")
			c, err := net.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", port))
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			io.WriteString(c, "<11>1 - vm app - - - through the interpreter\n")
			waitForRecords(t, s.agent(), "app", 1)
			log, err := os.ReadFile(s.path("/run/agent.log"))
			if err != nil || !bytes.Contains(log, []byte("modules are interpreted")) {
				t.Errorf("nobody says that modules are interpreted (%v):\n%s", err, log)
			}
		})
	}
	f("asked for", ", engine: interpreter")
	f("forced", "")
}
