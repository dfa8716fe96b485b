//go:build integration

package integration

import (
	"context"
	"fmt"
	"net"
	"os/exec"
	"strings"
	"testing"
)

// What a restart costs a container that writes to a unix socket. In both cases
// the agent reads what Docker's driver had written before it closes, so nothing
// is lost that was sent. They differ in what happens while it is away.

const (
	restartLines = 50_000
	restartRate  = 10_000 // lines a second, so that the container is still writing
)

const restartConfig = `
inputs: {docker: {type: syslog, listen: ["unix://$DIR/unix.sock", "unixgram://$DIR/unixgram.sock"]}}
pipelines: {main: {from: [docker], stream: app}}
`

// writeThrough runs a container that writes to the agent's unix socket, and
// restarts the agent each time it has stored so many records more.
func writeThrough(t *testing.T, d *docker, transport string, a *agent, restart func() *agent, at ...uint64) *agent {
	t.Helper()
	ended := make(chan error, 1) // its one value
	dir := t.TempDir()
	ctx, cancel := context.WithCancel(t.Context())
	t.Cleanup(cancel)
	go func() {
		_, err := d.try(ctx, dir, container{name: "writer-" + transport, options: map[string]string{
			"syslog-address": transport + "://" + a.dir + "/" + transport + ".sock", "syslog-format": "rfc5424micro"}, args: []string{"lines", fmt.Sprint(restartLines), fmt.Sprint(restartRate)}})
		ended <- err
	}()
	for _, n := range at {
		waitForRecords(t, a, "app", n)
		a.stop(t)
		a = restart()
	}
	select {
	case err := <-ended:
		t.Fatalf("the container ended before the last restart did (%v): this shows nothing", err)
	default:
	}
	if err := <-ended; err != nil {
		t.Fatal(err)
	}
	return a
}

// TestRestartBehindAKeptSocketLosesNothing restarts the agent three times while
// somebody else, as systemd would, keeps the listening socket: what Docker
// writes meanwhile waits in the kernel.
func TestRestartBehindAKeptSocketLosesNothing(t *testing.T) {
	d, dir := startDocker(t), t.TempDir()
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: dir + "/unix.sock", Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	socket, err := l.File()
	if err != nil {
		t.Fatal(err)
	}
	defer socket.Close()
	run := func() *agent { return startAgentIn(t, dir, restartConfig, socket) }
	a := writeThrough(t, d, "unix", run(), run, 5_000, 15_000, 25_000)
	waitForRecords(t, a, "app", restartLines)
	var messages []string
	for _, r := range a.query(t, "stream=app") {
		messages = append(messages, " - "+r.Message)
	}
	checkNumbered(t, "stored", messages, restartLines)
}

// TestRestartLosesNothingThatWasSent restarts the agent with its own socket:
// while nobody listens Docker is refused, drops the line, and says so in its
// log. The hole is just that: lines before and after it are all there, once and in
// order, and Docker has reported each that is not.
func TestRestartLosesNothingThatWasSent(t *testing.T) {
	d := startDocker(t)
	for _, transport := range []string{"unix", "unixgram"} {
		t.Run(transport, func(t *testing.T) {
			dir, already := t.TempDir(), strings.Count(d.output.String(), refused)
			run := func() *agent { return startAgentIn(t, dir, restartConfig) }
			a := writeThrough(t, d, transport, run(), run, 10_000)
			a.stop(t) // which reads what the container wrote last
			stored := checkHole(t, run())
			reported := strings.Count(d.output.String(), refused) - already
			if lost := restartLines - stored; lost != reported && d.reportsEachLine(t) {
				t.Errorf("%d lines are missing, and Docker reports %d as refused", lost, reported)
			}
		})
	}
}

// refused is in what dockerd says of a line that its driver could not send.
const refused = "Failed to log msg"

// checkHole wants the container's lines in order and once, with one hole at
// most, and returns how many there are.
func checkHole(t *testing.T, a *agent) (stored int) {
	t.Helper()
	next, holes := 0, 0
	records := a.query(t, "stream=app")
	for _, r := range records {
		var i int
		if _, err := fmt.Sscanf(r.Message, "line %d of", &i); err != nil || i < next || !strings.HasSuffix(numbered(i), r.Message) {
			t.Fatalf("got %q (%v), want line %d or a later one", r.Message, err, next)
		}
		if i > next {
			holes++
			t.Logf("lines %d to %d are missing", next, i-1)
		}
		next = i + 1
	}
	if next != restartLines || holes > 1 {
		t.Errorf("the last line is %d, with %d holes before it; want %d and at most one", next-1, holes, restartLines-1)
	}
	return len(records)
}

// reportsEachLine says whether this Docker logs every line that it drops; later
// ones limit the rate at which they do.
func (d *docker) reportsEachLine(t *testing.T) bool {
	t.Helper()
	out, err := exec.Command("docker", "-H", d.host, "version", "--format", "{{.Server.Version}}").Output()
	if err != nil {
		t.Fatal(err)
	}
	return strings.HasPrefix(string(out), "20.")
}
