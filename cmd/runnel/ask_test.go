package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/VictoriaMetrics/metrics"
	"github.com/rs/zerolog"

	"github.com/runnel-log/runnel/agent/query"
	"github.com/runnel-log/runnel/record"
)

// shelf is a small, honest store: streams of one batch each.
type shelf map[string]*record.Batch

func (s shelf) Streams() []query.Stream {
	var all []query.Stream
	for name, b := range s {
		all = append(all, query.Stream{Name: name, First: 1, Next: 1 + uint64(b.Len()), Records: uint64(b.Len()), Bytes: int64(b.Size())})
	}
	return all
}

func (s shelf) Head(stream string, at uint64) (query.Head, bool) {
	b := s[stream]
	if b == nil || at > uint64(b.Len()) {
		return query.Head{}, false
	}
	return query.Head{First: 1, Next: 1 + uint64(b.Len()), MaxTime: 1 << 62, MaxReceived: b.At(b.Len() - 1).Received()}, true
}

func (s shelf) Read(stream string, at uint64, b *record.Batch) (uint64, uint32, error) {
	if _, ok := s.Head(stream, at); !ok {
		return 0, 0, io.EOF
	}
	b.Reset()
	b.AppendBatch(s[stream], 0, s[stream].Len())
	return 1, 1, nil
}

func (s shelf) Changed() <-chan struct{}     { return nil }
func (s shelf) Identity() ([16]byte, uint32) { return [16]byte{1}, 1 }

// stub is a Host with one forwarder.
type stub struct {
	moved       string
	redrive     query.Redrive
	unexplained int64
}

func (*stub) Status() query.Status {
	return query.Status{
		Agent:     query.AgentStatus{PID: 42, Uptime: 3725, DataDir: "/var/lib/runnel"},
		Inputs:    []query.InputStatus{{Name: "docker", Kind: "syslog", Records: 1234, Bytes: 2048, Rate: 17, Listeners: []query.ListenerStatus{{URL: "udp://:514", KernelDrops: 3}, {URL: "tcp://:514", Connections: 2}}}},
		Pipelines: []query.PipelineStatus{{Name: "main", From: []string{"docker"}, Received: 1234, Stored: 1200, Dropped: map[string]uint64{"filter": 34}}},
		Forwarders: []query.ForwarderStatus{{Name: "hook", Kind: "webhook", To: "https://example.org/h", State: "retrying", LastError: "503 \x1b[2J",
			Streams: []query.CursorStatus{{Stream: "app", Next: 7, End: 2501, LagRecords: 2494, LagBytes: 1 << 20, LagSeconds: 90, Full: &query.FullStatus{InSeconds: 41 * 3600, By: "max_size", Then: "expire"}}}},
			{Name: "up", Kind: "relay", Remembers: true, Streams: []query.CursorStatus{{Stream: "app", Next: 7, End: 2501}}}},
	}
}
func (h *stub) Audit() query.Audit {
	a := query.Audit{Inputs: []query.InputAudit{{Name: "docker", Received: 1234, KernelDrops: 3}},
		Pipelines: []query.PipelineAudit{{Name: "main", Received: map[string]uint64{"docker": 1234}, Stored: map[string]uint64{"app": 1200},
			Dropped: map[string]uint64{"drop": 30, "full": 4}, Unexplained: h.unexplained}}}
	a.Sum()
	return a
}
func (*stub) Reload(context.Context) error { return nil }
func (*stub) Ready() error                 { return nil }
func (*stub) Config() []byte               { return nil }
func (*stub) TryModule(context.Context, string, []*record.Batch) ([]query.Verdict, error) {
	return nil, nil
}
func (h *stub) Redrive(_ context.Context, q query.Redrive) (query.Redriven, error) {
	if h.redrive = q; q.Stream == "nothing" {
		return query.Redriven{}, fmt.Errorf("dead letters of stream %q: %w", q.Stream, query.ErrNotFound)
	}
	if q.Forwarder == "idle" {
		return query.Redriven{Stream: "app.dead", Complete: true, Forwarders: []query.RedriveOf{{Forwarder: "idle", From: 9, Until: 9}}}, nil
	}
	return query.Redriven{Stream: "app.dead", DryRun: q.DryRun, Stopped: q.Stop, Records: 5, Complete: !q.DryRun, Forwarders: []query.RedriveOf{{Forwarder: "hook", Records: 5, From: 3, Until: 9}},
		Left: []query.Letters{{Records: 1}, {Forwarder: "old", Records: 2}}}, nil
}

func (h *stub) SetCursor(forwarder, stream string, to uint64) error {
	if forwarder != "hook" && forwarder != "up" {
		return fmt.Errorf("forwarder %q: %w", forwarder, query.ErrNotFound)
	}
	h.moved = fmt.Sprint(forwarder, " ", stream, " ", to)
	return nil
}
func (h *stub) SkipCursor(forwarder, stream string, n uint64) (uint64, error) {
	return 7 + n, h.SetCursor(forwarder, stream, 7+n)
}

// api serves the shelf and returns how to reach it.
func api(t *testing.T, host *stub) (url, tokenFile string) {
	t.Helper()
	s := shelf{"app": record.NewBatch(), "errors": record.NewBatch()}
	var r record.Record
	for i := range 2500 {
		r.Reset()
		r.Received, r.Severity, r.Message = int64(1+i)*1e9, 6, fmt.Appendf(nil, "line %d", i)
		if i == 2499 {
			r.Message = []byte("evil \x1b[2J\u202e\x9b end")
		}
		if err := s["app"].Append(&r); err != nil {
			t.Fatal(err)
		}
	}
	r.Severity, r.Received, r.Message = 3, 9000e9, []byte("boom")
	if err := s["errors"].Append(&r); err != nil {
		t.Fatal(err)
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server := query.New(query.Options{Source: s, Host: host, Token: "t0ken", Metrics: metrics.NewSet(), Log: zerolog.Nop(), Agent: "vm-17", Version: "1.2.3", ScanBytes: 1})
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- server.Serve(ctx, ln) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	tokenFile = filepath.Join(t.TempDir(), "token")
	if err := os.WriteFile(tokenFile, []byte("t0ken\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	return "http://" + ln.Addr().String(), tokenFile
}

// verb runs the program and returns what it printed and its exit code.
func verb(args ...string) (stdout, stderr string, code int) {
	var out, errs bytes.Buffer
	code = run(args, strings.NewReader(""), &out, &errs)
	return out.String(), errs.String(), code
}

func TestQueryFollowsPagesUntilItHasEnough(t *testing.T) {
	url, token := api(t, new(stub))
	f := func(first, last string, count int, args ...string) {
		t.Helper()
		out, errs, code := verb(append([]string{"query", "-o", "raw", "--api", url, "--token-file", token}, args...)...)
		rows := strings.Split(strings.TrimSuffix(out, "\n"), "\n")
		if out == "" {
			rows = nil
		}
		if code != 0 || errs != "" || len(rows) != count || count > 0 && (rows[0] != first || rows[count-1] != last) {
			t.Errorf("%q: got %d rows, exit %d, %s; want %d from %s to %s", args, len(rows), code, errs, count, first, last)
		}
	}
	f("boom", "line 2401", 100, "--stream", "app", "--stream", "errors")
	f("boom", "line 0", 2501, "-n", "0")
	f("line 0", "line 1499", 1500, "-n", "1500", "--order", "asc")
	f("line 9", "line 9", 1, "--from", "10", "--to", "11")
	f("line 2498", "line 249", 10, "-g", "line 249")
	f("boom", "boom", 1, `severity <= "err"`)
	f("boom", "boom", 1, "severity", "<=", `"err"`)
	f("", "", 0, "--from", "-15m", "-g", "-x")
}

func TestQueryCounts(t *testing.T) {
	url, token := api(t, new(stub))
	out, errs, code := verb("query", "--count", "--api", url, "--token-file", token)
	if want := "2501\n         1  err\n      2500  info\n"; out != want || code != 0 {
		t.Errorf("got %q %q, exit %d; want %q", out, errs, code, want)
	}
	if out, _, _ := verb("query", "--count", "-o", "json", "-g", "boom", "--api", url, "--token-file", token); out != `{"severity":{"err":1},"total":1}`+"\n" {
		t.Errorf("as JSON: got %q", out)
	}
}

func TestStatusIsATable(t *testing.T) {
	url, token := api(t, new(stub))
	out, errs, code := verb("status", "--api", url, "--token-file", token)
	for _, want := range []string{"vm-17  runnel 1.2.3  pid 42  up 1h2m", "NAME    KIND    LISTENS ON", "docker  syslog  udp://:514      2     1234  2.0KiB  17/s          -          -     3       -",
		"filter=34", "retrying", "2494  1.0MiB   1m30s      41h", "forwarder hook    -",
		"at this rate the buffer of app is full in 41h"} {
		if !strings.Contains(out, want) {
			t.Errorf("status lacks %q (exit %d %s):\n%s", want, code, errs, out)
		}
	}
	if out, _, code := verb("status", "-o", "json", "--api", url, "--token-file", token); code != 0 || !strings.Contains(out, `"uptime_seconds": 3725`) {
		t.Errorf("as JSON: got %s", out)
	}
}

func TestAuditFailsWhereRecordsAreUnexplained(t *testing.T) {
	host := &stub{}
	url, token := api(t, host)
	f := func(want string, code int, args ...string) {
		t.Helper()
		var stdout, stderr strings.Builder
		got := run(append([]string{"audit", "--api", url, "--token-file", token}, args...), nil, &stdout, &stderr)
		if got != code || !strings.Contains(stdout.String(), want) || (code != 0) != strings.Contains(stderr.String(), "5 records are unexplained") {
			t.Errorf("%q: exit %d, want %d\n%s%s", args, got, code, stdout.String(), stderr.String())
		}
	}
	f("\nunexplained: 0\n", 0)
	f("drop=30,full=4", 0)
	host.unexplained = -5
	f("\nunexplained: 5\n", 1)
	f("\"unexplained\": 5\n}", 1, "-o", "json")
}

func TestCursorsAreMovedByHand(t *testing.T) {
	host := new(stub)
	url, token := api(t, host)
	f := func(code int, moved, text string, args ...string) {
		t.Helper()
		host.moved = ""
		out, errs, got := verb(append(append([]string{"cursor"}, args...), "--api", url, "--token-file", token)...)
		if got != code || host.moved != moved || !strings.Contains(out+"|"+errs, text) {
			t.Errorf("%q: got exit %d, moved %q, %q %q; want %d, %q, %q", args, got, host.moved, out, errs, code, moved, text)
		}
	}
	f(0, "", "hook       app        7  2501  2494   1m30s", "list")
	f(0, "hook app 5", "hook goes on at 5 of app", "set", "hook", "app", "5")
	f(0, "hook app 1", "at 1", "set", "hook", "app", "oldest")
	f(0, "hook app 2501", "at 2501", "set", "hook", "app", "end")
	f(0, "hook app 8", "at 8", "skip", "hook", "app")
	f(0, "hook app 10", "at 10", "skip", "hook", "app", "3")
	f(0, "up app 5", "up goes on at 5 of app\nits receiver keeps what it was told", "set", "up", "app", "5")
	f(0, "up app 9", "up goes on at 9 of app\n|", "set", "up", "app", "9")
	f(2, "", "neither an offset", "set", "hook", "app", "2502")
	f(2, "", "not an offset", "set", "hook", "app", "x")
	f(1, "", "not found", "set", "nobody", "app", "5")
	f(1, "", "not found", "set", "hook", "nothing", "5")
	f(2, "", "does nothing", "skip", "hook", "app", "0")
}

func TestDeadLettersAreRedriven(t *testing.T) {
	host := new(stub)
	url, token := api(t, host)
	f := func(code int, asked query.Redrive, text string, args ...string) {
		t.Helper()
		host.redrive = query.Redrive{}
		out, errs, got := verb(append(append([]string{"redrive"}, args...), "--api", url, "--token-file", token)...)
		if got != code || host.redrive != asked || !strings.Contains(out+errs, text) {
			t.Errorf("%q: got exit %d, asked for %+v, %q %q; want %d, %+v, %q", args, got, host.redrive, out, errs, code, asked, text)
		}
	}
	f(0, query.Redrive{Stream: "app"}, "hook: 5 of app.dead go again, from offset 3 to 8\n1 are of modules, which no forwarder can take\n2 are of the forwarder old, which", "app")
	f(0, query.Redrive{Stream: "app", DryRun: true}, "hook: at least 5 of app.dead would go again", "app", "--dry-run")
	f(0, query.Redrive{Stream: "app", Stop: true}, "hook: stopped at offset 3 of app.dead", "--stop", "app")
	f(0, query.Redrive{Stream: "app", Forwarder: "hook", From: query.Bound{Offset: 3}, To: query.Bound{Time: 1795341600e9}}, "", "app", "--forwarder", "hook", "--from", "3", "--to", "2026-11-22T10:00:00Z")
	f(0, query.Redrive{Stream: "app", From: query.Bound{Offset: 1}}, `"records":5`, "app", "--from", "oldest", "-o", "json")
	f(0, query.Redrive{Stream: "app", Forwarder: "idle"}, "nothing of app.dead is left to go again", "app", "--forwarder", "idle")
	f(1, query.Redrive{Stream: "nothing"}, "not found", "nothing")
	f(2, query.Redrive{}, "is not a time", "app", "--from", "soon")
	f(2, query.Redrive{}, "stands alone", "app", "--stop", "--from=-1h")
	f(2, query.Redrive{}, "expected \"<stream>\"", "--dry-run")
}

func TestMistakesAndFailuresHaveTheirExitCodes(t *testing.T) {
	url, token := api(t, new(stub))
	f := func(code int, text string, args ...string) {
		t.Helper()
		_, errs, got := verb(args...)
		if got != code || !strings.Contains(errs, text) || strings.Count(errs, "\n") != 1 {
			t.Errorf("%q: got exit %d, %q; want %d, one line with %q", args, got, errs, code, text)
		}
	}
	good := []string{"--api", url, "--token-file", token}
	f(2, "column", append(good, "query", "severity ==")...)
	f(2, "is not a time", append(good, "query", "--from", "soon")...)
	f(2, "--order", append(good, "query", "--order", "up")...)
	f(2, "less than 0", append(good, "query", "--limit=-1")...)
	f(2, "--follow", append(good, "query", "--follow", "--count")...)
	f(2, "not a name", append(good, "tail", "--stream", "APP")...)
	f(1, "does not accept the token", "--api", url, "--token-file", tokenFileOf(t, "wrong"), "status")
	f(2, "is empty", "--api", url, "--token-file", tokenFileOf(t, "\n"), "status")
	f(2, "no such file", "--api", url, "--token-file", "/nonexistent", "status")
	f(2, "not the address", "--api", "ftp://x", "status")
	f(2, "in the clear", "--api", "http://192.0.2.1:4780", "--token-file", token, "status")
	f(1, "start it with `runnel run`", "--api", "unix://"+t.TempDir()+"/none.sock", "--token-file", token, "query")
	f(1, "start it with `runnel run`", "--api", closedPort(t), "--token-file", token, "tail")
	if _, errs, code := verb(append(good, "query", "--stream", "ap")...); code != 0 || !strings.Contains(errs, `nothing has been stored in a stream "ap"`) {
		t.Errorf("an unknown stream: got exit %d, %q", code, errs)
	}
}

func tokenFileOf(t *testing.T, text string) string {
	path := filepath.Join(t.TempDir(), "token")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func closedPort(t *testing.T) string {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	return "http://" + ln.Addr().String()
}

func TestNothingThatMovesACursorReachesATerminal(t *testing.T) {
	evil := []byte(`{"message":"a\u001b]0;title\u0007\u001b[2J\u009b\u202e\u2028\u200f\r\n\tend","severity":3,"host":"h\u001b","app":"x\u0085"}`)
	for _, mode := range []string{"text", "raw", "json"} {
		for _, colour := range []bool{false, mode == "text"} {
			var out bytes.Buffer
			g := &globals{Output: mode, Stdout: &out}
			l := g.lines()
			l.terminal, l.colour = true, colour
			if err := errors.Join(l.print(evil), l.out.Flush()); err != nil {
				t.Fatal(err)
			}
			text := out.String()
			if colour {
				for _, c := range []string{"\x1b[0m", "\x1b[1m", "\x1b[2m", "\x1b[31m", "\x1b[1;31m"} {
					text = strings.ReplaceAll(text, c, "")
				}
			}
			for _, r := range strings.TrimSuffix(text, "\n") {
				if isHidden(r) && r != '\t' && r != 0x200f {
					t.Errorf("%s: %U reaches the terminal: %q", mode, r, out.String())
				}
			}
		}
	}
	var out bytes.Buffer
	l := (&globals{Output: "raw", Stdout: &out}).lines()
	if err := errors.Join(l.print(evil), l.out.Flush()); err != nil || out.String() != "a\x1b]0;title\a\x1b[2J\u009b\u202e\u2028\u200f\r\n\tend\n" {
		t.Errorf("into a file: got %q, want the bytes as they are", out.String())
	}
}

func TestSpansAndSizesAreShort(t *testing.T) {
	f := func(got, want string) {
		t.Helper()
		if got != want {
			t.Errorf("got %s, want %s", got, want)
		}
	}
	f(span(0), "-")
	f(span(0.25), "0.2s")
	f(span(90), "1m30s")
	f(span(300), "5m")
	f(span(3725), "1h2m")
	f(span(36000), "10h0m")
	f(span(200000), "2d7h")
	f(size(0), "0B")
	f(size(1023), "1023B")
	f(size(1<<20), "1.0MiB")
	f(size(5<<40), "5.0TiB")
	f(size(5<<50), "5120.0TiB")
	f(rate(0), "0.0/s")
	f(rate(12.6), "13/s")
	f(ago(time.Time{}, time.Now()), "-")
}
