package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestVerdictsAndExitCodes: what an evaluator types, and what a script sees of it.
func TestVerdictsAndExitCodes(t *testing.T) {
	dir := t.TempDir()
	put := func(name, text string) string {
		t.Helper()
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	acked := put("acked", "run r\nsent 0 0 9\nacked 0 0 7\n")
	f := func(want int, says string, args ...string) {
		t.Helper()
		var out, errors bytes.Buffer
		if got := run(args, &out, &errors); got != want || !strings.Contains(out.String()+errors.String(), says) {
			t.Errorf("%v: exit %d, want %d with %q:\n%s%s", args, got, want, says, &out, &errors)
		}
	}
	f(0, "10, 2 of them never acknowledged", "judge", "--acked", acked, "--arrived", put("all", "run r\narrived 0 0 9\n"))
	f(1, "lost: sender 0, 3 to 4", "judge", "--acked", acked, "--arrived", put("some", "run r\narrived 0 0 2\narrived 0 5 7\n"))
	f(1, `"lost":8`, "judge", "--json", "--acked", acked, "--arrived", put("none", ""))
	f(2, "not a journal", "judge", "--acked", acked, "--arrived", put("text", "what is this\n"))
	f(2, "no such file", "judge", "--acked", acked, "--arrived", filepath.Join(dir, "absent"))
	f(2, "oracle VERB -h", "question")
	f(2, "oracle VERB -h")
	f(2, "--listen", "kill", "--to", "relp://127.0.0.1:1")
	f(2, "want a URL, a space and a command", "kill", "--behind", "runnel run")
	f(2, "no address to send to", "send", "--to", "gopher://127.0.0.1:1", "--count", "1")
	f(0, "", "judge", "-h")
}

// TestARelayIsKilledAndJudged runs a whole trial of a relay that stores nothing: it is
// this test, as an oracle that receives.
func TestARelayIsKilledAndJudged(t *testing.T) {
	if at := os.Getenv(relayAt); at != "" {
		os.Exit(run([]string{"receive", "--listen", at}, os.Stdout, os.Stderr))
	}
	dir := shortDir(t)
	at, behind := "relp+unix://"+filepath.Join(dir, "in"), "relp+unix://"+filepath.Join(dir, "behind")
	t.Setenv(relayAt, at)
	f := func(says string, args ...string) {
		t.Helper()
		var out, errors bytes.Buffer
		args = append(args, "--to", at, "--kills", "8", "--from", "1ms", "--until", "40ms", "--senders", "2", "--seed", "1", "--settle", "1ms",
			"--collect", "echo nothing", "--", os.Args[0], "-test.run", "^TestARelayIsKilledAndJudged$")
		code := run(args, &out, &errors)
		if code != 1 || !strings.Contains(out.String(), says) || !strings.Contains(errors.String(), "acknowledged records are lost") {
			t.Errorf("exit %d, want that it says %q\n%s%s", code, says, &out, &errors)
		}
	}
	f("kills                 8, seed 1\nrestart", "kill")
	f("of each relay     [6 2]", "kill", "--behind", behind+" env "+relayAt+"="+behind+" "+os.Args[0]+" -test.run ^TestARelayIsKilledAndJudged$")
}

// relayAt in the environment makes the test a relay that keeps nothing.
const relayAt = "ORACLE_TEST_RELAY"

func shortDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "oracle")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}
