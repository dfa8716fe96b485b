//go:build integration

package integration

import (
	"bytes"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

// stdout and stderr are what the container's `shapes` writes, byte for byte and
// in order. They restate testdata/container/main.go.
var (
	stdout = []string{"01 plain stdout line", "   ", "05 line ending CRLF\r", "06 progress 10%\rprogress 50%\rprogress 100%", "07 nul\x00inside\x00\x00 twice",
		"08 \x1b[31mred\x1b[0m \x1b]0;title\x07", "09 invalid utf8 \xff\xfe \xc3( \xe2\x82 \xf0\x9f\x98 end", "10 \U0001F600 emoji and 日本語",
		`{"level":"warn","msg":"json line","status":503}`, "<13>1 2026-11-22T10:00:00Z h app 1 - - looks like RFC 5424",
		"<0>Nov 22 10:00:00 h app: looks like RFC 3164", "84 <30>1 looks like an octet count", "\ufeffBOM first", "15 trailing blanks   ",
		`16 quotes " and ] brackets [x y="z"]`, "17 last"}
	stderr = []string{"02 plain stderr line", "\tat com.example.Main.run(Main.java:42)"}
)

// A tag is a shape of Docker's tag option, and what it must become.
type tag struct {
	template string
	app      func(name, id string) string
	id       func(id string) any // attrs.container_id; nil: none
}

func short(id string) any { return id[:12] }
func full(id string) any  { return id }
func none(string) any     { return nil }

var tags = []tag{
	{"", func(_, id string) string { return id[:12] }, short},
	{"{{.Name}}/{{.ID}}", func(name, id string) string { return name + "/" + id[:12] }, short},
	{"{{.FullID}}", func(_, id string) string { return id }, full},
	{"{{.ImageName}}/{{.Name}}/{{.ID}}", func(name, id string) string { return "runnel-test/" + name + "/" + id[:12] }, short},
	{"{{.Name}}", func(name, _ string) string { return name }, none},
	// An environment variable reaches the wire only so.
	{"{{(.ExtraAttributes nil).TEAM}}.{{.ID}}", func(_, id string) string { return "zoë." + id[:12] }, short},
}

// everyTransport is an agent that listens on all five transports.
type everyTransport struct {
	*agent
	addresses [5]string // as Docker writes them
	ca        string    // for the one under TLS
	raw       string    // a file to which it forwards every message
}

func startEveryTransport(t *testing.T) *everyTransport {
	t.Helper()
	ca := newAuthority(t)
	cert, key := ca.issue(t, "127.0.0.1")
	port, tlsPort := freePort(t), freePort(t)
	a := startAgent(t, fmt.Sprintf(`
inputs:
  docker:
    type: syslog
    listen: ["udp://127.0.0.1:%d", "tcp://127.0.0.1:%d", "unix://$DIR/stream.sock", "unixgram://$DIR/dgram.sock"]
  secure:
    type: syslog
    listen: ["tls://127.0.0.1:%d"]
    tls: {cert: %s, key: %s}
pipelines:
  main: {from: [docker, secure], stream: app}
forwarders:
  raw: {type: file, from: [app], path: $DIR/raw.log, format: raw}
`, port, port, tlsPort, cert, key))
	return &everyTransport{agent: a, ca: ca.file, raw: a.dir + "/raw.log", addresses: [5]string{
		fmt.Sprintf("udp://127.0.0.1:%d", port), fmt.Sprintf("tcp://127.0.0.1:%d", port), fmt.Sprintf("tcp+tls://127.0.0.1:%d", tlsPort),
		"unix://" + a.dir + "/stream.sock", "unixgram://" + a.dir + "/dgram.sock"}}
}

// TestDockerFormatsAndTransports sends the awkward lines through all four
// formats over all five transports and wants every byte back, in order. The tag
// changes from one to the next, so that each format meets nearly every shape.
func TestDockerFormatsAndTransports(t *testing.T) {
	a, d := startEveryTransport(t), startDocker(t)
	for i, address := range a.addresses {
		transport, _, _ := strings.Cut(address, ":")
		for j, format := range []string{"", "rfc3164", "rfc5424", "rfc5424micro"} {
			tag := tags[(i+j)%len(tags)]
			t.Run(transport+"/"+format+"/"+tag.template, func(t *testing.T) {
				options := map[string]string{"syslog-address": address, "env": "TEAM"}
				if format != "" {
					options["syslog-format"] = format
				}
				if tag.template != "" {
					options["tag"] = tag.template
				}
				if transport == "tcp+tls" {
					options["syslog-tls-ca-cert"] = a.ca
				}
				before := len(a.query(t, "stream=app"))
				name := fmt.Sprintf("shapes-%d-%d", i, j)
				w := wanted{format: format, procid: strconv.Itoa(d.cmd.Process.Pid), from: time.Now()}
				id := d.run(t, container{name: name, env: "TEAM=zoë", options: options, args: []string{"shapes"}})
				w.to, w.app, w.id = time.Now(), tag.app(name, id), tag.id(id)
				checkShapes(t, a, before, w)
			})
		}
	}
}

// wanted is what the records of one container must say.
type wanted struct {
	format      string
	procid, app string
	id          any
	from, to    time.Time
}

func checkShapes(t *testing.T, a *everyTransport, before int, w wanted) {
	t.Helper()
	lines := len(stdout) + len(stderr)
	var records []storedRecord
	eventually(t, fmt.Sprintf("%d records", lines), func() bool {
		records = a.query(t, "stream=app")[before:]
		return len(records) >= lines
	})
	if len(records) != lines {
		t.Errorf("got %d records of the container, want %d", len(records), lines)
	}
	host, err := os.Hostname()
	if err != nil {
		t.Fatal(err)
	}
	msgid, flags := w.app, []string(nil) // Docker repeats the tag as msgid
	switch w.format {
	case "":
		host, msgid, flags = "test-agent", "", []string{"host_filled"} // Docker's default format names no host
	case "rfc3164":
		msgid = ""
	}
	if w.format != "rfc5424micro" {
		w.from = w.from.Truncate(time.Second)
	}
	got := map[int][]string{}
	for _, r := range records {
		got[r.Severity] = append(got[r.Severity], r.Message)
		if r.Facility != 3 || r.Host != host || r.App != w.app || r.ProcID != w.procid || r.MsgID != msgid || len(r.SD) != 0 {
			t.Errorf("got %+v, want facility 3, host %q, app %q, procid %s, msgid %q", r, host, w.app, w.procid, msgid)
		}
		if r.Attrs["container_id"] != w.id || !slices.Equal(r.Flags, flags) {
			t.Errorf("%q: container_id %v, flags %v; want %v and %v", r.Message, r.Attrs["container_id"], r.Flags, w.id, flags)
		}
		if r.Time.Before(w.from.Truncate(time.Microsecond)) || r.Time.After(w.to) {
			t.Errorf("time of %q is %s, want it in [%s, %s]", r.Message, r.Time, w.from, w.to)
		}
	}
	for severity, lines := range map[int][]string{6: stdout, 3: stderr} {
		if want := asJSON(lines); !slices.Equal(got[severity], want) {
			t.Errorf("severity %d:\n got %q\nwant %q", severity, got[severity], want)
		}
	}
	checkRaw(t, a.raw, before)
}

// asJSON is what JSON makes of bytes that are not UTF-8: U+FFFD for each.
func asJSON(lines []string) []string {
	var all []string
	for _, line := range lines {
		all = append(all, string([]rune(line)))
	}
	return all
}

// checkRaw wants the bytes of one container's lines in the file, after those of
// others. The order between stdout and stderr is nobody's to know.
func checkRaw(t *testing.T, file string, before int) {
	t.Helper()
	n := before + len(stdout) + len(stderr)
	var lines [][]byte
	eventually(t, fmt.Sprintf("%d lines in the file", n), func() bool {
		b, err := os.ReadFile(file)
		lines = bytes.SplitAfter(b, []byte("\n"))
		return err == nil && len(lines) > n
	})
	var out, err []string
	for _, line := range lines[before:n] {
		fields := strings.SplitN(strings.TrimSuffix(string(line), "\n"), " ", 8) // after an RFC 5424 header
		switch {
		case len(fields) == 8 && fields[0] == "<30>1":
			out = append(out, fields[7])
		case len(fields) == 8 && fields[0] == "<27>1":
			err = append(err, fields[7])
		default:
			t.Errorf("raw line %q has no header", line)
		}
	}
	if !slices.Equal(out, stdout) || !slices.Equal(err, stderr) {
		t.Errorf("raw bytes:\n got %q and %q\nwant %q and %q", out, err, stdout, stderr)
	}
}

// TestEveryLineOfAContainerArrivesOnce sends 100 000 lines from one container
// through a Go module to a TCP syslog server and to a webhook.
func TestEveryLineOfAContainerArrivesOnce(t *testing.T) {
	const lines = 100_000
	ca := newAuthority(t)
	cert, key := ca.issue(t, "127.0.0.1")
	d := startDocker(t)
	for i, transport := range []string{"tcp", "tcp+tls", "unix", "unixgram"} {
		t.Run(transport, func(t *testing.T) {
			tcp, web := startReceiver(t), startHook(t)
			port, tlsPort := freePort(t), freePort(t)
			a := startAgent(t, fmt.Sprintf(`
inputs:
  docker:
    type: syslog
    listen: ["tcp://127.0.0.1:%d", "tls://127.0.0.1:%d", "unix://$DIR/stream.sock", "unixgram://$DIR/dgram.sock"]
    tls: {cert: %s, key: %s}
modules:
  classify: {file: $GUEST, config: {drop_debug: true}}
pipelines:
  main: {from: [docker], steps: [{module: classify}], stream: app}
forwarders:
  tcp: {type: syslog, from: [app], to: "tcp://%s", format: rfc5424, framing: lf}
  hook: {type: webhook, from: [app], url: %s}
`, port, tlsPort, cert, key, tcp.Addr(), web.url))
			addresses := map[string]string{"tcp": fmt.Sprintf("tcp://127.0.0.1:%d", port), "tcp+tls": fmt.Sprintf("tcp+tls://127.0.0.1:%d", tlsPort),
				"unix": "unix://" + a.dir + "/stream.sock", "unixgram": "unixgram://" + a.dir + "/dgram.sock"}
			options := map[string]string{"syslog-address": addresses[transport], "syslog-format": "rfc5424micro"}
			if transport == "tcp+tls" {
				options["syslog-tls-ca-cert"] = ca.file
			}
			d.run(t, container{name: fmt.Sprintf("lines-%d", i), options: options, args: []string{"lines", fmt.Sprint(lines)}})
			eventually(t, "all lines at both receivers", func() bool { return len(tcp.got()) >= lines && len(web.got()) >= lines })
			checkNumbered(t, "TCP", tcp.got(), lines)
			var messages []string
			for _, r := range web.got() {
				messages = append(messages, " - "+r.Message)
				if r.Attrs["class"] != "text" {
					t.Fatalf("%q did not pass the module: attributes %v", r.Message, r.Attrs)
				}
			}
			checkNumbered(t, "webhook", messages, lines)
		})
	}
}

// numbered is how line i of a container ends.
func numbered(i int) string {
	return fmt.Sprintf(" - line %07d of a container that writes and writes", i)
}

// checkNumbered wants the lines 0 to n-1, each once and in order.
func checkNumbered(t *testing.T, where string, got []string, n int) {
	t.Helper()
	if len(got) != n {
		t.Errorf("%s: got %d lines, want %d", where, len(got), n)
	}
	for i, line := range got {
		if !strings.HasSuffix(line, numbered(i)) {
			t.Fatalf("%s: line %d is %q, want %q at its end", where, i, line, numbered(i))
		}
	}
}
