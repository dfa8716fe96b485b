package main

import (
	"context"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"github.com/runnel-log/runnel/agent"
)

// metricsConfig has every kind of part that has metrics.
const metricsConfig = `
agent: {name: vm, data_dir: DIR/data}
api: {listen: "127.0.0.1:0", open: true}
inputs:
  in: {type: syslog, listen: ["tcp://127.0.0.1:0", "unix://DIR/in.sock", "udp://127.0.0.1:0"]}
  web: {type: http, listen: "unix://DIR/web.sock"}
  relp: {type: relp, listen: "unix://DIR/relp.sock"}
  below: {type: relay, listen: "unix://DIR/relay.sock"}
modules: {classify: {file: MODULE, config: {drop_debug: true}}}
pipelines:
  main: {from: [in], stream: app, steps: [{drop: 'message == "no"'}, {module: classify}]}
forwarders:
  out: {type: file, from: [app], path: DIR/out}
  far: {type: syslog, from: [app], to: "udp://127.0.0.1:9", accept_loss: true}
  above: {type: relay, from: [app], to: ["unix://DIR/nobody.sock"]}
`

// TestMetricsDocsNameEveryMetric drives an agent through everything that counts
// and holds docs/metrics.md against what /metrics says, both ways.
func TestMetricsDocsNameEveryMetric(t *testing.T) {
	dir, err := os.MkdirTemp("", "runnel") // a socket's path must be short
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	api := startForMetrics(t, dir)
	driveForMetrics(t, dir, api)

	documented := documentedMetrics(t)
	scraped := map[string][]string{}
	for line := range strings.Lines(get(t, api, "/metrics")) {
		name, labels := seriesOf(line)
		if strings.HasPrefix(name, "go_") || strings.HasPrefix(name, "process_") {
			continue // the page names these two families; their members are Go's and the system's
		}
		scraped[name] = labels
		labels = slices.DeleteFunc(slices.Clone(labels), func(l string) bool { return l == "quantile" })
		if want, ok := documented[name]; !ok || !slices.Equal(labels, want) {
			t.Errorf("%s with labels %q is not in docs/metrics.md; there it has %q", name, labels, want)
		}
	}
	source := sources(t)
	for name := range documented {
		if _, ok := scraped[name]; !ok && !strings.Contains(source, name) {
			t.Errorf("docs/metrics.md names %s, which neither appears nor occurs in the source", name)
		}
	}
	for _, name := range []string{"runnel_input_malformed_total", "runnel_pipeline_dropped_records_total", "runnel_module_records_total",
		"runnel_forwarder_delivered_records_total", "runnel_forwarder_pending_records", "runnel_store_commit_seconds", "runnel_api_requests_total", "runnel_input_requests_total"} {
		if _, ok := scraped[name]; !ok {
			t.Errorf("%s does not appear, although it was driven", name)
		}
	}
}

// startForMetrics runs an agent until the test ends and returns its API's address.
func startForMetrics(t *testing.T, dir string) string {
	t.Helper()
	code, err := guest()
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "classify.wasm"), code, 0o600); err != nil {
		t.Fatal(err)
	}
	text := strings.NewReplacer("DIR", dir, "MODULE", filepath.Join(dir, "classify.wasm")).Replace(metricsConfig)
	ready := make(chan string, 1)
	a := agent.New(agent.Options{
		Load: func() (*agent.Config, error) { return agent.ParseConfig("runnel.yaml", []byte(text), dir, kinds()) },
		Log:  zerolog.Nop(), Ready: func(_ *agent.Config, api string) { ready <- api },
	})
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- a.Run(ctx, nil) }()
	select {
	case api := <-ready:
		t.Cleanup(func() {
			cancel()
			if err := <-done; err != nil {
				t.Error(err)
			}
		})
		return api
	case err := <-done:
		cancel()
		t.Fatal(err)
		return ""
	}
}

// driveForMetrics sends what is counted: good and malformed records, ones that
// are dropped, a question, a tail, a stranger and a path that does not exist.
func driveForMetrics(t *testing.T, dir, api string) {
	t.Helper()
	c, err := net.Dial("unix", filepath.Join(dir, "in.sock"))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	const lines = "<13>1 - vm app - - - hello\n\x01\xff not syslog\n<13>1 - vm app - - - no\n<15>1 - vm app - - - debug\n\n<13>1 - vm app - - - last\n"
	if _, err := io.WriteString(c, lines); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, api+"/api/v1/tail?n=10&filter="+url.QueryEscape(`message == "last"`), nil)
	if err != nil {
		t.Fatal(err)
	}
	tail, err := http.DefaultClient.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer tail.Body.Close()
	if _, err := tail.Body.Read(make([]byte, 1)); err != nil { // it has been stored
		t.Fatal(err)
	}
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for !strings.Contains(get(t, api, "/metrics"), `runnel_forwarder_delivered_records_total{forwarder="out",stream="app"} 3`) {
		select {
		case <-tick.C:
		case <-ctx.Done():
			t.Fatalf("3 records were not delivered:\n%s", get(t, api, "/metrics"))
		}
	}
	if got := get(t, api, "/api/v1/query"); !strings.Contains(got, "hello") {
		t.Errorf("the query answers %q", got)
	}
	web := http.Client{Transport: &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "unix", filepath.Join(dir, "web.sock"))
	}}}
	defer web.CloseIdleConnections()
	answer, err := web.Post("http://web/", "text/plain", strings.NewReader("over HTTP\n"))
	if err != nil || answer.StatusCode != http.StatusOK {
		t.Fatalf("POST: %v, %v", answer, err)
	}
	answer.Body.Close()
	get(t, api, "/nowhere")
	get(t, api, "/api/v1/histogram")
	get(t, api, "/api/v1/status")
}

func get(t *testing.T, api, path string) string {
	t.Helper()
	answer, err := http.Get(api + path)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	body, err := io.ReadAll(answer.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(body)
}

var series = regexp.MustCompile(`^([a-zA-Z_][a-zA-Z0-9_]*)(?:\{(.*)\})? `)

// seriesOf takes a line of a scrape apart: a metric's name, a summary's without
// its ending, and the names of its labels.
func seriesOf(line string) (name string, labels []string) {
	m := series.FindStringSubmatch(line)
	if m == nil {
		return line, nil
	}
	for _, label := range regexp.MustCompile(`([a-z_]+)="(?:[^"\\]|\\.)*"`).FindAllStringSubmatch(m[2], -1) {
		labels = append(labels, label[1])
	}
	name = m[1]
	for _, ending := range []string{"_sum", "_count"} {
		name = strings.TrimSuffix(name, ending)
	}
	return name, labels
}

// documentedMetrics reads the tables: name → labels.
func documentedMetrics(t *testing.T) map[string][]string {
	t.Helper()
	text, err := os.ReadFile("../../docs/metrics.md")
	if err != nil {
		t.Fatal(err)
	}
	all := map[string][]string{}
	for line := range strings.Lines(string(text)) {
		cells := strings.Split(line, "|")
		if len(cells) != 6 || !strings.HasPrefix(strings.TrimSpace(cells[1]), "`runnel_") {
			continue
		}
		name := strings.Trim(cells[1], " `")
		var labels []string
		for label := range strings.SplitSeq(cells[2], ",") {
			if label = strings.TrimSpace(label); label != "" {
				labels = append(labels, label)
			}
		}
		if _, twice := all[name]; twice || strings.TrimSpace(cells[3]) == "" || strings.TrimSpace(cells[4]) == "" {
			t.Errorf("%s: named twice, or without a unit or a meaning", name)
		}
		all[name] = labels
	}
	return all
}

// sources returns the source of every part that has metrics.
func sources(t *testing.T) string {
	t.Helper()
	var all strings.Builder
	err := filepath.WalkDir("../..", func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
			return err
		}
		text, err := os.ReadFile(path)
		fmt.Fprintf(&all, "%s\n", text)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return all.String()
}
