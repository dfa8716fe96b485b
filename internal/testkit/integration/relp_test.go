//go:build integration

package integration

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/runnel-log/runnel/internal/testkit/oracle"
)

// relpFromRsyslog runs an rsyslogd that forwards what comes on TCP over RELP.
func relpFromRsyslog(t *testing.T, in, out int, ca, cert, key string) *process {
	tls := ""
	if ca != "" {
		tls = fmt.Sprintf(`tls="on" tls.caCert=%q tls.myCert=%q tls.myPrivKey=%q tls.authMode="name" tls.permittedPeer=["127.0.0.1"]`, ca, cert, key)
	}
	return startRsyslog(t, fmt.Sprintf(`
main_queue(queue.type="FixedArray" queue.size="150000" queue.workerThreads="1")
module(load="imtcp")
module(load="omrelp")
input(type="imtcp" port="%d" address="127.0.0.1")
action(type="omrelp" target="127.0.0.1" port="%d" template="RSYSLOG_SyslogProtocol23Format"
  action.resumeRetryCount="-1" action.resumeInterval="1" %s)
`, in, out, tls), "", "", "")
}

// relpToRsyslog runs an rsyslogd that writes what comes over RELP to a file before
// it answers: its main queue hands over directly.
func relpToRsyslog(t *testing.T, in int, file, ca, cert, key string) *process {
	tls := ""
	if ca != "" {
		tls = fmt.Sprintf(`tls="on" tls.caCert=%q tls.myCert=%q tls.myPrivKey=%q tls.authMode="name" tls.permittedPeer=["127.0.0.1"]`, ca, cert, key)
	}
	return startRsyslog(t, fmt.Sprintf(`
main_queue(queue.type="Direct")
module(load="imrelp")
template(name="tabbed" type="string" string="%%pri%%\t%%hostname%%\t%%app-name%%\t%%procid%%\t%%msgid%%\t%%msg%%\t%%timestamp:::date-rfc3339%%\t%%structured-data%%\n")
input(type="imrelp" port="%d" %s)
action(type="omfile" file="%s" template="tabbed" flushOnTXEnd="on" asyncWriting="off")
`, in, tls, file), "", "", "")
}

func relpInput(port int, ca, cert, key string) string {
	listen := fmt.Sprintf("listen: 'tcp://127.0.0.1:%d'", port)
	if ca != "" {
		listen = fmt.Sprintf("listen: 'tls://127.0.0.1:%d', tls: {cert: %s, key: %s, client_ca: %s, client_auth: require}", port, cert, key, ca)
	}
	return fmt.Sprintf("inputs: {net: {type: relp, %s}}\npipelines: {main: {from: [net], stream: app}}\nstreams: {app: {max_size: 4GiB}}", listen)
}

// TestFromRsyslogOverRELP has omrelp send, in the clear and under TLS with both certificates.
func TestFromRsyslogOverRELP(t *testing.T) {
	for _, secure := range []bool{false, true} {
		t.Run(fmt.Sprintf("tls=%v", secure), func(t *testing.T) {
			in, out := freePort(t), freePort(t)
			ca, cert, key := "", "", ""
			if secure {
				authority := newAuthority(t)
				ca = authority.file
				cert, key = authority.issue(t, "127.0.0.1")
			}
			a := startAgent(t, relpInput(out, ca, cert, key))
			p := relpFromRsyslog(t, in, out, ca, cert, key)
			waitForPort(t, p, in)
			sendSamples(t, fmt.Sprintf("127.0.0.1:%d", in), false)
			waitForRecords(t, a, "app", interop)
			p.stop(t)
			checkRecords(t, a.query(t, "stream=app"))
			if said := p.output.String(); strings.Contains(said, "error") {
				t.Errorf("rsyslogd complains: %s", said)
			}
		})
	}
}

// kill ends a program without a word.
func (p *process) kill(t *testing.T) {
	t.Helper()
	if err := p.cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	<-p.done
}

// samplesOnce checks that every sample is there, in the order of first arrival, and
// returns how many came again.
func samplesOnce(t *testing.T, messages []string) (again int) {
	t.Helper()
	next := 0
	for _, m := range messages {
		number, _, _ := strings.Cut(strings.TrimPrefix(m, "message "), ":")
		n, err := strconv.Atoi(number)
		switch {
		case err != nil:
			t.Fatalf("message %.60q", m)
		case n < next:
			again++
		case n > next:
			t.Fatalf("message %d came where %d was due", n, next)
		default:
			next++
		}
	}
	if next != interop {
		t.Errorf("got %d messages, want %d", next, interop)
	}
	return again
}

func messagesOf(records []storedRecord) (messages []string, flagged int) {
	for _, r := range records {
		if strings.HasPrefix(r.Message, "message ") {
			messages = append(messages, r.Message)
			if len(r.Flags) > 0 {
				flagged++
			}
		}
	}
	return messages, flagged
}

// TestKilledWhileRsyslogSends kills the agent three times while omrelp sends: what
// it has answered is there, and at most a window a kill comes twice.
func TestKilledWhileRsyslogSends(t *testing.T) {
	const window = 128 // librelp's
	in, out, dir := freePort(t), freePort(t), t.TempDir()
	a := startAgentIn(t, dir, relpInput(out, "", "", ""))
	p := relpFromRsyslog(t, in, out, "", "", "")
	waitForPort(t, p, in)
	sent := make(chan struct{})
	go func() {
		defer close(sent)
		sendSamples(t, fmt.Sprintf("127.0.0.1:%d", in), false)
	}()
	kills := 0
	for _, at := range []uint64{interop / 10, interop / 3, interop * 2 / 3} {
		waitForRecords(t, a, "app", at)
		a.kill(t)
		kills++
		a = startAgentIn(t, dir, relpInput(out, "", "", ""))
	}
	<-sent
	waitForRecords(t, a, "app", interop)
	eventually(t, "the last message", func() bool {
		messages, _ := messagesOf(a.query(t, "stream=app&grep="+escape(fmt.Sprintf("message %d:", interop-1))))
		return len(messages) > 0
	})
	p.stop(t)
	messages, flagged := messagesOf(a.query(t, "stream=app"))
	again := samplesOnce(t, messages)
	t.Logf("%d came twice in %d kills, %d flagged", again, kills, flagged)
	if again > kills*window {
		t.Errorf("%d came twice in %d kills, want at most %d", again, kills, kills*window)
	}
}

// TestToRsyslogOverRELP has imrelp receive, in the clear and under TLS.
func TestToRsyslogOverRELP(t *testing.T) {
	for _, secure := range []bool{false, true} {
		t.Run(fmt.Sprintf("tls=%v", secure), func(t *testing.T) {
			in, out := freePort(t), freePort(t)
			file := filepath.Join(t.TempDir(), "received")
			to, ca, cert, key := fmt.Sprintf("to: 'tcp://127.0.0.1:%d'", out), "", "", ""
			if secure {
				authority := newAuthority(t)
				ca = authority.file
				cert, key = authority.issue(t, "127.0.0.1")
				to = fmt.Sprintf("to: 'tls://127.0.0.1:%d', tls: {ca: %s, cert: %s, key: %s}", out, ca, cert, key)
			}
			p := relpToRsyslog(t, out, file, ca, cert, key)
			startAgent(t, relpForwarding(in, to))
			sendSamples(t, fmt.Sprintf("127.0.0.1:%d", in), false)
			lines := waitForLines(t, file, interop)
			if len(lines) != interop {
				t.Errorf("got %d lines, want %d", len(lines), interop)
			}
			for i, line := range lines {
				s := sample{i}
				if fields := strings.Split(line, "\t"); len(fields) != 8 || strings.Join(fields[:6], "\t") != s.tabbed() ||
					!sameInstant(fields[6], s.time()) || fields[7] != s.sd() {
					t.Fatalf("line %d:\n got %q\nwant %q, %s, %s", i, line, s.tabbed(), s.time(), s.sd())
				}
			}
			p.stop(t)
		})
	}
}

func relpForwarding(in int, to string) string {
	return fmt.Sprintf(`
inputs: {net: {type: syslog, listen: ["tcp://127.0.0.1:%d"]}}
pipelines: {main: {from: [net], stream: app}}
streams: {app: {max_size: 4GiB}}
forwarders: {out: {type: relp, from: [app], %s}}`, in, to)
}

// waitForLines returns the samples of a file once there are n.
func waitForLines(t *testing.T, file string, n int) (lines []string) {
	t.Helper()
	eventually(t, fmt.Sprintf("%d lines in %s", n, file), func() bool {
		if info, err := os.Stat(file); err != nil || info.Size() < int64(n)*100 {
			return false
		}
		lines = sampleLines(file)
		return len(lines) >= n
	})
	return lines
}

// TestKilledWhileRsyslogReceives kills imrelp twice, or the agent once, while the
// agent sends. What imrelp has answered is in its file, and at most a window a kill
// of imrelp comes twice. A kill of the agent repeats what it had sent since its
// cursor was last stored, which is a second's worth at most where nothing else is.
func TestKilledWhileRsyslogReceives(t *testing.T) {
	const window = 1024 // the forwarder's
	for _, whom := range []string{"imrelp", "agent"} {
		t.Run(whom, func(t *testing.T) {
			in, out, dir := freePort(t), freePort(t), t.TempDir()
			file := filepath.Join(t.TempDir(), "received")
			config := relpForwarding(in, fmt.Sprintf("to: 'tcp://127.0.0.1:%d'", out))
			a := startAgentIn(t, dir, config)
			sendSamples(t, fmt.Sprintf("127.0.0.1:%d", in), false)
			waitForRecords(t, a, "app", interop) // or killing the agent would lose what TCP cannot keep
			p := relpToRsyslog(t, out, file, "", "", "")
			most := 2 * window
			if waitForLines(t, file, interop/5); whom == "imrelp" {
				p.kill(t)
				p = relpToRsyslog(t, out, file, "", "", "")
				waitForLines(t, file, interop/2)
				p.kill(t)
				p = relpToRsyslog(t, out, file, "", "", "")
			} else {
				a.kill(t)
				a, most = startAgentIn(t, dir, config), interop
			}
			var messages []string
			eventually(t, "the last line", func() bool {
				messages = messages[:0]
				for _, line := range sampleLines(file) {
					messages = append(messages, strings.Split(line, "\t")[5])
				}
				return len(messages) > 0 && strings.HasPrefix(messages[len(messages)-1], fmt.Sprintf("message %d:", interop-1))
			})
			again := samplesOnce(t, messages)
			t.Logf("%d came twice", again)
			if again > most {
				t.Errorf("%d came twice, want at most %d", again, most)
			}
			a.stop(t)
			p.stop(t)
		})
	}
}

// TestAnsweredOverRELPSurvivesKill is the promise itself, of the program that people
// run: the agent is killed twelve times under load, and every message that was answered
// is there, in order; what came twice had no answer when a connection broke.
func TestAnsweredOverRELPSurvivesKill(t *testing.T) {
	const kills, window = 12, 128
	port, dir := freePort(t), t.TempDir()
	a := startAgentIn(t, dir, relpInput(port, "", "", ""))
	sent, err := oracle.NewSent("")
	if err != nil {
		t.Fatal(err)
	}
	enough, done := make(chan struct{}), make(chan error, 1)
	to := fmt.Sprintf("relp://127.0.0.1:%d", port)
	go func() {
		done <- oracle.Send(t.Context(), oracle.Load{To: func() string { return to }, Window: window}, sent, enough)
	}()
	for range kills {
		before, more := sent.Acknowledged()
		for n := before; n < before+4000; n, more = sent.Acknowledged() {
			select {
			case <-more:
			case <-time.After(patience):
				t.Fatal("nothing more is answered")
			}
		}
		a.kill(t)
		a = startAgentIn(t, dir, relpInput(port, "", "", ""))
	}
	close(enough)
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	arrived, err := oracle.NewArrived("")
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range a.query(t, "stream=app") {
		arrived.Take([]byte(r.Message))
	}
	v := oracle.Judge(sent, arrived)
	t.Logf("%+v", v)
	if v.Lost+v.Duplicated+v.Disordered+v.Altered+v.Unknown+v.Unanswered > 0 || v.Repeated > kills*window {
		t.Errorf("of what was answered, something is lost, or came twice without being sent again: %+v", v)
	}
}
