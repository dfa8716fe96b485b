//go:build integration

package integration

import (
	"archive/tar"
	"bytes"
	"context"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// docker is a daemon of the test's own.
type docker struct {
	host  string // for -H
	image string
}

// startDocker runs a Docker daemon with its own data, socket and no network,
// and imports the one image the tests need.
func startDocker(t *testing.T) *docker {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Fatal("a Docker daemon needs root; run the integration tests as root")
	}
	dir := t.TempDir()
	d := &docker{host: "unix://" + dir + "/docker.sock", image: "runnel-test"}
	start(t, exec.Command("dockerd", "--data-root", dir+"/data", "--exec-root", dir+"/exec", "--pidfile", dir+"/docker.pid",
		"--host", d.host, "--bridge=none", "--iptables=false", "--ip-masq=false"))
	client := &http.Client{Transport: &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "unix", dir+"/docker.sock")
	}}}
	eventually(t, "the Docker daemon", func() bool {
		answer, err := client.Get("http://docker/_ping")
		if err != nil {
			return false
		}
		answer.Body.Close()
		return answer.StatusCode == http.StatusOK
	})
	program := filepath.Join(dir, "container")
	if out, err := goBuild(program, "./internal/testkit/integration/testdata/container").CombinedOutput(); err != nil {
		t.Fatalf("build the container's program: %v\n%s", err, out)
	}
	code, err := os.ReadFile(program)
	if err != nil {
		t.Fatal(err)
	}
	var image bytes.Buffer
	archive := tar.NewWriter(&image)
	archive.WriteHeader(&tar.Header{Name: "container", Mode: 0o755, Size: int64(len(code))}) //nolint:errcheck // Close reports it
	archive.Write(code)                                                                      //nolint:errcheck // as above
	if err := archive.Close(); err != nil {
		t.Fatal(err)
	}
	load := exec.Command("docker", "-H", d.host, "import", "-", d.image)
	load.Stdin = &image
	if out, err := load.CombinedOutput(); err != nil {
		t.Fatalf("docker import: %v\n%s", err, out)
	}
	return d
}

// run runs a container to its end and returns its full id.
func (d *docker) run(t *testing.T, options map[string]string, args ...string) string {
	t.Helper()
	cidfile := filepath.Join(t.TempDir(), "cid")
	line := []string{"-H", d.host, "run", "--network=none", "--cidfile", cidfile, "--log-driver", "syslog"}
	for k, v := range options {
		line = append(line, "--log-opt", k+"="+v)
	}
	line = append(line, d.image, "/container")
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	if out, err := exec.CommandContext(ctx, "docker", append(line, args...)...).CombinedOutput(); err != nil {
		t.Fatalf("docker %s: %v\n%s", strings.Join(line, " "), err, tailOf(string(out)))
	}
	id, err := os.ReadFile(cidfile)
	if err != nil {
		t.Fatal(err)
	}
	return string(id)
}

// shapes is what the container's `shapes` writes to stdout and to stderr, in
// order. It restates testdata/container/main.go.
var shapes = map[int][]string{
	6: {"01 plain stdout line", "   ", "05 line ending CRLF\r", "06 progress 10%\rprogress 50%\rprogress 100%", "07 nul\x00inside\x00\x00 twice",
		"08 \x1b[31mred\x1b[0m \x1b]0;title\x07", "09 invalid utf8 \ufffd\ufffd \ufffd( \ufffd \ufffd end", "10 \U0001F600 emoji and 日本語",
		`{"level":"warn","msg":"json line","status":503}`, "<13>1 2026-11-22T10:00:00Z h app 1 - - looks like RFC 5424",
		"<0>Nov 22 10:00:00 h app: looks like RFC 3164", "84 <30>1 looks like an octet count", "\ufeffBOM first", "15 trailing blanks   ",
		`16 quotes " and ] brackets [x y="z"]`, "17 last"},
	3: {"02 plain stderr line", "\tat com.example.Main.run(Main.java:42)"},
}

// TestDockerFormatsAndTransports sends the awkward lines through all four
// formats over all five transports and wants every byte back, in order.
func TestDockerFormatsAndTransports(t *testing.T) {
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
`, port, port, tlsPort, cert, key))
	d := startDocker(t)
	addresses := map[string]string{
		"udp": fmt.Sprintf("udp://127.0.0.1:%d", port), "tcp": fmt.Sprintf("tcp://127.0.0.1:%d", port),
		"tls":  fmt.Sprintf("tcp+tls://127.0.0.1:%d", tlsPort),
		"unix": "unix://" + a.dir + "/stream.sock", "unixgram": "unixgram://" + a.dir + "/dgram.sock",
	}
	tags := []string{"", "{{.Name}}/{{.ID}}", "{{.FullID}}", "app-{{.ID}}"}
	n := 0
	for transport, address := range addresses {
		for _, format := range []string{"", "rfc3164", "rfc5424", "rfc5424micro"} {
			tag := tags[n%len(tags)]
			n++
			t.Run(transport+"/"+format+"/"+tag, func(t *testing.T) {
				options := map[string]string{"syslog-address": address}
				if format != "" {
					options["syslog-format"] = format
				}
				if tag != "" {
					options["tag"] = tag
				}
				if transport == "tls" {
					options["syslog-tls-ca-cert"] = ca.file
				}
				id := d.run(t, options, "shapes")
				checkShapes(t, a, id, format)
			})
		}
	}
}

func checkShapes(t *testing.T, a *agent, id, format string) {
	t.Helper()
	want := len(shapes[6]) + len(shapes[3])
	filter := "stream=app&filter=" + escape(fmt.Sprintf(`attrs.container_id startsWith %q`, id[:12]))
	var records []storedRecord
	eventually(t, fmt.Sprintf("%d records of container %s", want, id[:12]), func() bool {
		records = a.query(t, filter)
		return len(records) >= want
	})
	if len(records) != want {
		t.Errorf("got %d records of the container, want %d", len(records), want)
	}
	host, err := os.Hostname()
	if err != nil {
		t.Fatal(err)
	}
	if format == "" {
		host = "test-agent" // Docker's default format names no host: the agent's own is filled in
	}
	got := map[int][]string{}
	for _, r := range records {
		got[r.Severity] = append(got[r.Severity], r.Message)
		if r.Facility != 3 || r.Host != host || !strings.Contains(r.App, id[:12]) {
			t.Errorf("facility %d, host %q, app %q of %q; want 3, %q and a tag with %s", r.Facility, r.Host, r.App, r.Message, host, id[:12])
		}
		if time.Since(r.Time).Abs() > time.Hour {
			t.Errorf("time %s of %q is not now", r.Time, r.Message)
		}
	}
	for severity, lines := range shapes {
		if fmt.Sprintf("%q", got[severity]) != fmt.Sprintf("%q", lines) {
			t.Errorf("severity %d:\n got %q\nwant %q", severity, got[severity], lines)
		}
	}
}

// TestEveryLineOfAContainerArrivesOnce sends 100 000 lines from one container
// through a Go module to a TCP syslog server and to a webhook.
func TestEveryLineOfAContainerArrivesOnce(t *testing.T) {
	const lines = 100_000
	tcp, web := startReceiver(t), startHook(t)
	for _, transport := range []string{"tcp", "unix", "unixgram"} {
		t.Run(transport, func(t *testing.T) {
			tcpBefore, webBefore := len(tcp.got()), len(web.got())
			port := freePort(t)
			a := startAgent(t, fmt.Sprintf(`
inputs:
  docker: {type: syslog, listen: ["tcp://127.0.0.1:%d", "unix://$DIR/stream.sock", "unixgram://$DIR/dgram.sock"]}
modules:
  classify: {file: $GUEST, config: {drop_debug: true}}
pipelines:
  main: {from: [docker], steps: [{module: classify}], stream: app}
forwarders:
  tcp: {type: syslog, from: [app], to: "tcp://%s", format: rfc5424}
  hook: {type: webhook, from: [app], url: %s}
`, port, tcp.Addr(), web.url))
			d := startDocker(t)
			addresses := map[string]string{"tcp": fmt.Sprintf("tcp://127.0.0.1:%d", port),
				"unix": "unix://" + a.dir + "/stream.sock", "unixgram": "unixgram://" + a.dir + "/dgram.sock"}
			d.run(t, map[string]string{"syslog-address": addresses[transport], "syslog-format": "rfc5424micro"}, "lines", fmt.Sprint(lines))
			eventually(t, "all lines at both receivers", func() bool {
				return len(tcp.got()) >= tcpBefore+lines && len(web.got()) >= webBefore+lines
			})
			checkNumbered(t, "TCP", tcp.got()[tcpBefore:], lines)
			checkNumbered(t, "webhook", web.got()[webBefore:], lines)
		})
	}
}

// checkNumbered wants the lines 0 to n-1, each once and in order.
func checkNumbered(t *testing.T, where string, got []string, n int) {
	t.Helper()
	if len(got) != n {
		t.Errorf("%s: got %d lines, want %d", where, len(got), n)
	}
	for i, line := range got {
		if want := fmt.Sprintf("line %07d of", i); !strings.Contains(line, want) {
			t.Fatalf("%s: line %d is %q, want %q in it", where, i, line, want)
		}
	}
}
