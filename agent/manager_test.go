package agent

import (
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"github.com/runnel-log/runnel/internal/listen"
	"github.com/runnel-log/runnel/internal/systemd"
	"github.com/runnel-log/runnel/internal/systemd/systemdtest"
)

// underManager returns an agent that is not running, and has what the manager hands it.
func underManager(t *testing.T, keeper *systemdtest.Manager, dir, text string) *testAgent {
	t.Helper()
	m := systemd.Find()
	t.Cleanup(m.Close)
	a := newAgent(dir, text, nil)
	a.Agent = New(Options{Load: a.load, Version: "test", Log: zerolog.New(&a.logs), Manager: m})
	a.sockets = listen.Kept(m, keeper.Handed(t))
	return a
}

// managed is a configuration; LISTEN stands for a further input's address.
const managed = `
inputs:
  in: {type: syslog, listen: ["tcp://127.0.0.1:0", "udp://127.0.0.1:0"]}
  other: {type: syslog, listen: ["LISTEN"]}
pipelines: {main: {from: [in, other], stream: app}}
`

// TestRestartUnderAManager: a connection, with half a message on it, goes on over a
// stop, a start that fails and one that does not; what the configuration no
// longer names is closed by the one that does not.
func TestRestartUnderAManager(t *testing.T) {
	keeper, dir := systemdtest.Start(t, 20), t.TempDir()
	keeper.Setenv(t)
	before := strings.Replace(managed, "LISTEN", "unix://DIR/gone.sock", 1)
	a := underManager(t, keeper, dir, before)
	if err := a.run(); err != nil {
		t.Fatal(err)
	}
	c := a.dial(t, "in", 0)
	io.WriteString(c, "<30>1 - vm app - - - one\n<30>1 - vm app - - - tw")
	a.stored(t, "app", 1)
	if err := a.reload(before); err != nil {
		t.Fatal(err)
	}
	keeper.Wait(t, "RELOADING=1", 0)
	keeper.Wait(t, "READY=1", 0)
	a.stop(t)
	keeper.Wait(t, "STOPPING=1", 0)
	kept := func(when string, want int) {
		t.Helper()
		if got := keeper.Names(); len(got) != want {
			t.Errorf("%s the manager keeps %q, want %d", when, got, want)
		}
	}
	kept("after the stop", 5) // three sockets, and a connection with what is known of it

	busy, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer busy.Close()
	failing := underManager(t, keeper, dir, strings.Replace(managed, "LISTEN", "tcp://"+busy.Addr().String(), 1))
	if err := failing.run(); err == nil || !strings.Contains(err.Error(), "address already in use") {
		t.Fatalf("got %v, want the address in use", err)
	}
	kept("after a start that failed", 5)

	a = underManager(t, keeper, dir, strings.Replace(managed, "LISTEN", "unixgram://DIR/new.sock", 1))
	if err := a.run(); err != nil {
		t.Fatal(err)
	}
	io.WriteString(c, "o\n")
	a.stored(t, "app", 2)
	if gone, err := net.Dial("unix", dir+"/gone.sock"); err == nil {
		gone.Close()
		t.Error("what the configuration no longer names still listens")
	}
	a.stop(t)
	kept("at the end", 5) // another third socket
	if a.metric("runnel_input_malformed_total") > 0 {
		t.Error("half a message was taken for a whole one")
	}
}

// TestConnectionsOfAnInputThatIsGoneEnd: an input that a reload removes or renames
// reads what its senders have said and closes their connections, as without a
// manager: only where this process ends does another one go on with them.
func TestConnectionsOfAnInputThatIsGoneEnd(t *testing.T) {
	const (
		removed = "inputs: {other: {type: syslog, listen: ['unix://DIR/other.sock']}}\npipelines: {main: {from: [other], stream: app}}\n"
		lines   = 1000
	)
	before := strings.Replace(managed, "LISTEN", "unix://DIR/other.sock", 1)
	f := func(name, after string, sockets int) {
		t.Run(name, func(t *testing.T) {
			keeper := systemdtest.Start(t, 20)
			keeper.Setenv(t)
			a := underManager(t, keeper, shortDir(t), before)
			if err := a.run(); err != nil {
				t.Fatal(err)
			}
			first, second := a.dial(t, "in", 0), a.dial(t, "in", 0)
			write(t, first, line("first"))
			a.stored(t, "app", 1)
			write(t, first, strings.Repeat(line("more"), lines))
			write(t, second, line("second"))
			if err := a.reload(after); err != nil {
				t.Fatal(err)
			}
			for _, c := range []net.Conn{first, second} {
				c.SetReadDeadline(time.Now().Add(patience))
				if _, err := c.Read(make([]byte, 1)); err != io.EOF {
					t.Errorf("the sender got %v, want the end", err)
				}
			}
			a.stored(t, "app", lines+2)
			if err := a.options.Manager.Settle(); err != nil {
				t.Fatal(err)
			}
			if got := keeper.Names(); len(got) != sockets || strings.Contains(strings.Join(got, " "), "runnel-conn.") {
				t.Errorf("the manager keeps %q, want %d sockets alone", got, sockets)
			}
			a.stop(t)
		})
	}
	f("removed", removed, 1)
	f("renamed", strings.NewReplacer("  in:", "  new:", "[in, other]", "[new, other]").Replace(before), 3)
}
