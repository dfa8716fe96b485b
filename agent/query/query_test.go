package query

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/VictoriaMetrics/metrics"
	"github.com/rs/zerolog"

	"github.com/runnel-log/runnel/record"
)

const testToken = "s3cret-token"

// bench is a server under test and its parts.
type bench struct {
	t      testing.TB
	url    string
	source *memory
	host   *fakeHost
	set    *metrics.Set
	server *Server
	stop   func() error
	client *http.Client
}

// serve starts a server on a port of its own; change may alter its options.
func serve(t testing.TB, change func(*Options)) *bench {
	t.Helper()
	b := &bench{t: t, source: newMemory(), host: &fakeHost{moved: map[string]uint64{"hook/app": 5}}, set: metrics.NewSet(),
		client: &http.Client{Transport: &http.Transport{}}}
	o := Options{Source: b.source, Host: b.host, Token: testToken, Metrics: b.set, Log: zerolog.Nop(),
		Agent: "vm-17", Version: "1.2.3", Started: time.Now()}
	if change != nil {
		change(&o)
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	b.server, b.url = New(o), "http://"+ln.Addr().String()
	done := make(chan error, 1)
	go func() { done <- b.server.Serve(ctx, ln) }()
	b.stop = func() error {
		cancel()
		b.client.CloseIdleConnections()
		err := <-done
		done <- err
		return err
	}
	t.Cleanup(func() {
		if err := b.stop(); err != nil {
			t.Errorf("Serve: %v", err)
		}
	})
	return b
}

// do asks and returns the answer with its body read.
func (b *bench) do(method, path string, body string, header ...string) (*http.Response, string) {
	b.t.Helper()
	req, err := http.NewRequest(method, b.url+path, strings.NewReader(body))
	if err != nil {
		b.t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+testToken)
	for i := 0; i < len(header); i += 2 {
		if req.Header.Set(header[i], header[i+1]); header[i] == "Host" {
			req.Host = header[i+1]
		}
		if header[i+1] == "" {
			req.Header.Del(header[i])
		}
	}
	resp, err := b.client.Do(req)
	if err != nil {
		b.t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		b.t.Fatal(err)
	}
	return resp, string(text)
}

func (b *bench) get(path string) (*http.Response, string) {
	b.t.Helper()
	return b.do("GET", path, "")
}

// line is a record of the stream with a message, received at a second.
func line(message string, second int64) record.Record {
	var r record.Record
	r.Reset()
	r.Received, r.Severity, r.Message = second*1e9, 6, []byte(message)
	return r
}

// got is a record of an answer.
type got struct {
	Stream  string `json:"stream"`
	Offset  uint64 `json:"offset"`
	Message string `json:"message"`
	Origin  string `json:"origin"`
	Agent   string `json:"agent"`
}

func parseLines(t testing.TB, body string) []got {
	t.Helper()
	var all []got
	for s := bufio.NewScanner(strings.NewReader(body)); s.Scan(); {
		var g got
		if err := json.Unmarshal(s.Bytes(), &g); err != nil {
			t.Fatalf("line %q: %v", s.Text(), err)
		}
		all = append(all, g)
	}
	return all
}

func messages(t testing.TB, body string) string {
	t.Helper()
	var words []string
	for _, g := range parseLines(t, body) {
		words = append(words, g.Message)
	}
	return strings.Join(words, " ")
}

func errorOf(t testing.TB, body string) string {
	t.Helper()
	var e struct{ Error string }
	if err := json.Unmarshal([]byte(body), &e); err != nil || e.Error == "" {
		t.Fatalf("body %q is not an error: %v", body, err)
	}
	return e.Error
}

func TestNobodyWithoutTheTokenIsLetIn(t *testing.T) {
	b := serve(t, nil)
	free := map[string]bool{"/": true, "/healthz": true, "/readyz": true, "/metrics": true}
	for path, r := range b.server.routes {
		for _, auth := range []string{"", "Bearer wrong", "Basic czNjcmV0", "Bearer", testToken, "Bearer " + testToken + "x"} {
			b.server.auth.mu.Lock()
			clear(b.server.auth.failures)
			b.server.auth.mu.Unlock()
			resp, body := b.do(r.methods[0], path, "", "Authorization", auth)
			switch {
			case free[path] && resp.StatusCode != 200:
				t.Errorf("%s with %q: got %d, want 200", path, auth, resp.StatusCode)
			case !free[path] && resp.StatusCode != 401:
				t.Errorf("%s with %q: got %d, want 401", path, auth, resp.StatusCode)
			case !free[path] && (errorOf(t, body) == "" || resp.Header.Get("WWW-Authenticate") != "Bearer"):
				t.Errorf("%s with %q: 401 without WWW-Authenticate", path, auth)
			}
		}
	}
	if resp, _ := b.do("GET", "/api/v1/nothing", "", "Authorization", ""); resp.StatusCode != 401 {
		t.Errorf("an unknown path without a token: got %d, want 401", resp.StatusCode)
	}
}

func TestEveryRouteAnswersWithTheToken(t *testing.T) {
	b := serve(t, nil)
	b.source.add(t, "app", line("a", 1))
	for path, r := range b.server.routes {
		if path == "/api/v1/tail" {
			continue // has tests of its own
		}
		for _, method := range r.methods {
			body := ""
			if method == "POST" && path == "/api/v1/cursors" {
				body = `{"forwarder":"hook","stream":"app","set":1}`
			}
			if path == "/api/v1/redrive" {
				body = `{"stream":"app"}`
			}
			if path == tryPath {
				path, body = "/api/v1/modules/classify/try", `{"message":"a"}`
			}
			if resp, text := b.do(method, path, body); resp.StatusCode != 200 {
				t.Errorf("%s %s: got %d %s, want 200", method, path, resp.StatusCode, text)
			}
		}
	}
}

func TestAnOpenAgentWantsNoToken(t *testing.T) {
	b := serve(t, func(o *Options) { o.Open, o.Token = true, "" })
	if resp, _ := b.do("GET", "/api/v1/status", "", "Authorization", ""); resp.StatusCode != 200 {
		t.Errorf("got %d, want 200", resp.StatusCode)
	}
}

func TestWithoutATokenOfItsOwnNobodyIsLetIn(t *testing.T) {
	b := serve(t, func(o *Options) { o.Token = "" })
	for _, auth := range []string{"", "Bearer ", "Bearer x"} {
		if resp, _ := b.do("GET", "/api/v1/status", "", "Authorization", auth); resp.StatusCode != 401 {
			t.Errorf("%q: got %d, want 401", auth, resp.StatusCode)
		}
	}
}

func TestWrongMethodsAreRefused(t *testing.T) {
	b := serve(t, nil)
	for path, r := range b.server.routes {
		for _, method := range []string{"GET", "HEAD", "POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "BREW"} {
			if strings.Contains(strings.Join(r.methods, " ")+" ", method+" ") {
				continue
			}
			resp, _ := b.do(method, path, "")
			if resp.StatusCode != 405 || resp.Header.Get("Allow") != strings.Join(r.methods, ", ") {
				t.Errorf("%s %s: got %d, Allow %q; want 405, %q", method, path, resp.StatusCode, resp.Header.Get("Allow"), r.methods)
			}
		}
	}
}

func TestUnknownPathsNameTheNearest(t *testing.T) {
	b := serve(t, nil)
	f := func(path, want string) {
		t.Helper()
		resp, body := b.get(path)
		if resp.StatusCode != 404 || !strings.Contains(errorOf(t, body), want) {
			t.Errorf("%s: got %d %s, want 404 with %q", path, resp.StatusCode, body, want)
		}
	}
	f("/api/v1/querry", "/api/v1/query")
	f("/api/v1/stats", "/api/v1/status")
	f("/api/v1/ledgers", `there is no "/api/v1/ledgers"`)
	f("/dashboards/of/mine/and/others", "GET / lists")
	f("/../../etc/passwd", "there is no")
}

func TestParametersAreStrict(t *testing.T) {
	b := serve(t, nil)
	b.source.add(t, "app", line("a", 1))
	f := func(path, want string) {
		t.Helper()
		resp, body := b.get(path)
		if resp.StatusCode != 400 || !strings.Contains(errorOf(t, body), want) {
			t.Errorf("%s: got %d %s, want 400 with %q", path, resp.StatusCode, body, want)
		}
	}
	f("/api/v1/query?limt=5", `unknown parameter "limt"; did you mean "limit"?`)
	f("/api/v1/query?strem=app", `did you mean "stream"?`)
	f("/api/v1/query?xyzzy=1", `there are stream, from, to`)
	f("/api/v1/tail?limit=1", `unknown parameter "limit"`)
	f("/api/v1/status?stream=app", `this call takes none`)
	f("/api/v1/query?limit=0", `limit "0" is not a number from 1 to 10000`)
	f("/api/v1/query?limit=10001", `from 1 to 10000`)
	f("/api/v1/query?limit=ten", `limit "ten"`)
	f("/api/v1/query?limit=5&limit=6", `given twice`)
	f("/api/v1/query?order=up", `neither asc nor desc`)
	f("/api/v1/query?stream=App", `not a name`)
	f("/api/v1/query?stream=", `not a name`)
	f("/api/v1/query?stream=../x", `not a name`)
	f("/api/v1/query?from=yesterday", `from: "yesterday" is not a time`)
	f("/api/v1/query?to=-5", `to: "-5": not a span`)
	f("/api/v1/query?from=now&to=-15m", `from is not before to`)
	f("/api/v1/query?from=now&to=now", `from is not before to`)
	f("/api/v1/query?filter=severity+%3D%3D%3D+1", `filter, column`)
	f("/api/v1/query?filter=nosuch+%3D%3D+1", `filter`)
	f("/api/v1/query?filter="+strings.Repeat("a", 5000), `longer than 4096`)
	f("/api/v1/query?grep="+strings.Repeat("a", 1025), `longer than 1024`)
	f("/api/v1/query?cursor=abc", `cursor is not one`)
	f("/api/v1/histogram?interval=0s", `interval`)
	f("/api/v1/histogram?interval=1ms", `more than 1000`)
	f("/api/v1/histogram?interval=5", `interval`)
	f("/api/v1/histogram?from=1700-01-01T00:00:00Z", `too long`)
	f("/api/v1/tail?n=-1", `n "-1"`)
	f("/api/v1/tail?from=x", `not a time`)
	f("/api/v1/query?stream=a"+strings.Repeat("&stream=b", 1)+manyStreams(300), `more than 256 streams`)
}

func manyStreams(n int) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, "&stream=s%d", i)
	}
	return b.String()
}

func TestCursorsAreListedAndMoved(t *testing.T) {
	b := serve(t, nil)
	for i := range 10 {
		b.source.add(t, "app", line("a", int64(i)))
	}
	f := func(body string, code int, want string) {
		t.Helper()
		resp, text := b.do("POST", "/api/v1/cursors", body)
		if resp.StatusCode != code || !strings.Contains(text, want) {
			t.Errorf("%s: got %d %s, want %d with %q", body, resp.StatusCode, text, code, want)
		}
	}
	f(`{"forwarder":"hook","stream":"app","set":3}`, 200, `"next":3`)
	f(`{"forwarder":"hook","stream":"app","skip":2}`, 200, `"next":5`)
	f(`{"forwarder":"hook","stream":"app","set":"oldest"}`, 200, `"next":1`)
	f(`{"forwarder":"hook","stream":"app","set":"end"}`, 200, `"next":11`)
	f(`{"forwarder":"hook","stream":"app","set":12}`, 400, `12 is neither an offset of app, which has 1 to 10, nor its next, 11, nor \"oldest\" or \"end\"`)
	f(`{"forwarder":"hook","stream":"app","set":0}`, 400, `neither an offset`)
	f(`{"forwarder":"hook","stream":"app","set":-1}`, 400, `neither an offset`)
	f(`{"forwarder":"hook","stream":"app","set":"middle"}`, 400, `\"middle\" is neither an offset`)
	f(`{"forwarder":"hook","stream":"app","skip":0}`, 400, `not a number of records`)
	f(`{"forwarder":"hook","stream":"app","skip":18446744073709551615}`, 400, `not a number of records`)
	f(`{"forwarder":"hook","stream":"app"}`, 400, `either set or skip`)
	f(`{"forwarder":"hook","stream":"app","set":1,"skip":1}`, 400, `either set or skip`)
	f(`{"forwarder":"hook","stream":"nope","set":1}`, 404, `not found`)
	f(`{"forwarder":"nope","stream":"app","set":1}`, 404, `not found`)
	f(`{"forwarder":"hook","stream":"app","sett":1}`, 400, `unknown field`)
	f(`{"forwarder":"hook","stream":"app","skip":"1"}`, 400, `body is not`)
	f(`{"forwarder":"hook","stream":"app","set":1} x`, 400, `body is not`)
	f(``, 400, `body is not`)
	f(`[]`, 400, `body is not`)
	if _, body := b.get("/api/v1/cursors"); !strings.Contains(body, `{"cursors":[{"forwarder":"hook","stream":"app","next":11,"end":11,`) {
		t.Errorf("cursors: got %s", body)
	}
}

func TestRedrivesAreAskedFor(t *testing.T) {
	b := serve(t, nil)
	f := func(body string, code int, want string) {
		t.Helper()
		resp, text := b.do("POST", "/api/v1/redrive", body)
		if resp.StatusCode != code || !strings.Contains(text, want) {
			t.Errorf("%s: got %d %s, want %d with %q", body, resp.StatusCode, text, code, want)
		}
	}
	f(`{"stream":"app","forwarder":"hook","from":7,"to":"2026-11-22T10:00:00Z"}`, 200,
		`{"stream":"app.dead","records":3,"forwarders":[{"forwarder":"hook","records":3,"from":1,"until":5}],"left":[],"complete":true}`)
	f(`{"stream":"app","from":"oldest","dry_run":true}`, 200, `"records":3`)
	f(`{"stream":"app","stop":true}`, 200, `"records":3`)
	want := []Redrive{{Stream: "app", Forwarder: "hook", From: Bound{Offset: 7}, To: Bound{Time: 1795341600e9}}, {Stream: "app", From: Bound{Offset: 1}, DryRun: true}, {Stream: "app", Stop: true}}
	if !slices.Equal(b.host.redrives, want) {
		t.Errorf("asked for %+v, want %+v", b.host.redrives, want)
	}
	f(`{"stream":"none"}`, 404, "not found")
	f(`{"stream":""}`, 400, "must name a stream")
	f(`{"stream":"app","stop":true,"from":1}`, 400, "stands alone")
	f(`{"stream":"app","from":0}`, 400, "neither an offset")
	f(`{"stream":"app","from":"soon"}`, 400, "is not a time")
	f(`{"stream":"app","too":1}`, 400, "unknown field")
	f(``, 400, "body is not")
}

func TestReloadAndReadinessPassOnWhatTheHostSays(t *testing.T) {
	b := serve(t, nil)
	if resp, body := b.do("POST", "/api/v1/reload", ""); resp.StatusCode != 200 || body != "{\"reloaded\":true}\n" {
		t.Errorf("reload: got %d %s", resp.StatusCode, body)
	}
	b.host.mu.Lock()
	b.host.reloadErr, b.host.notReady = errors.New("runnel.yaml:3:1: no"), errors.New("the disk is full")
	b.host.mu.Unlock()
	if resp, body := b.do("POST", "/api/v1/reload", ""); resp.StatusCode != 400 || errorOf(t, body) != "runnel.yaml:3:1: no" {
		t.Errorf("refused reload: got %d %s", resp.StatusCode, body)
	}
	if resp, body := b.get("/readyz"); resp.StatusCode != 503 || errorOf(t, body) != "the disk is full" {
		t.Errorf("readyz: got %d %s", resp.StatusCode, body)
	}
	if resp, body := b.get("/healthz"); resp.StatusCode != 200 || body != "ok\n" {
		t.Errorf("healthz: got %d %s", resp.StatusCode, body)
	}
}

func TestStatusStreamsAndConfig(t *testing.T) {
	b := serve(t, nil)
	b.source.add(t, "b", line("x", 5), line("y", 6))
	b.source.add(t, "a", line("x", 7))
	var st Status
	if _, body := b.get("/api/v1/status"); json.Unmarshal([]byte(body), &st) != nil || st.Agent.Name != "vm-17" ||
		st.Agent.Version != "1.2.3" || st.Inputs[0].Records != 7 || st.Modules == nil {
		t.Errorf("status: got %s", body)
	}
	if _, body := b.get("/api/v1/streams"); !strings.Contains(body, `"streams":[{"name":"a"`) ||
		!strings.Contains(body, `{"name":"b","first":1,"next":3,"records":2`) || !strings.Contains(body, `"newest_received":"1970-01-01T00:00:06Z"`) {
		t.Errorf("streams: got %s", body)
	}
	if resp, body := b.get("/api/v1/config"); body != "agent:\n  name: vm-17\n" || resp.Header.Get("Content-Type") != "application/yaml" {
		t.Errorf("config: got %q as %s", body, resp.Header.Get("Content-Type"))
	}
}

func TestMetricsAreForPrometheus(t *testing.T) {
	b := serve(t, nil)
	b.set.NewCounter(`runnel_input_records_total{input="docker"}`).Add(3)
	b.get("/api/v1/query")
	b.get("/api/v1/" + strings.Repeat("x", 50))
	_, body := b.get("/metrics")
	for _, want := range []string{`runnel_input_records_total{input="docker"} 3`, `runnel_tail_clients 0`, "process_resident_memory_bytes",
		`runnel_api_requests_total{path="/api/v1/query",code="200"} 1`, `runnel_api_requests_total{path="other",code="404"} 1`, "runnel_query_scanned_bytes_total"} {
		if !strings.Contains(body, want+"\n") && !strings.Contains(body, want+" ") {
			t.Errorf("metrics lack %s:\n%s", want, body)
		}
	}
	for s := bufio.NewScanner(strings.NewReader(body)); s.Scan(); {
		if strings.Contains(s.Text(), "vmrange") {
			t.Errorf("not Prometheus: %s", s.Text())
		}
	}
}

func TestTheGreetingIsSafeAndNamesEveryRoute(t *testing.T) {
	b := serve(t, nil)
	resp, body := b.do("GET", "/", "", "Authorization", "")
	for header, want := range map[string]string{"Content-Security-Policy": "default-src 'none'", "X-Content-Type-Options": "nosniff",
		"X-Frame-Options": "DENY", "Referrer-Policy": "no-referrer", "Content-Type": "text/plain", "Cache-Control": "no-store"} {
		if got := resp.Header.Get(header); !strings.Contains(got, want) {
			t.Errorf("%s: got %q, want %q in it", header, got, want)
		}
	}
	for path := range b.server.routes {
		if !strings.Contains(body, path) {
			t.Errorf("the greeting does not name %s", path)
		}
	}
}

func TestTheDocumentNamesEveryRouteParameterAndHeader(t *testing.T) {
	doc, err := os.ReadFile(filepath.Join("..", "..", "docs", "api.md"))
	if err != nil {
		t.Fatal(err)
	}
	b := serve(t, nil)
	var words []string
	for path := range b.server.routes {
		words = append(words, "`"+path+"`", path)
	}
	for _, params := range [][]string{queryParams, tailParams, histogramParams} {
		for _, p := range params {
			words = append(words, "`"+p+"`")
		}
	}
	words = append(words, headerNext, headerComplete, headerDamaged, headerUnknown, "401", "403", "404", "405", "408", "413", "421", "429", "431", "503")
	for _, word := range words {
		if !bytes.Contains(doc, []byte(word)) {
			t.Errorf("docs/api.md does not name %s", word)
		}
	}
}
