package agent

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/runnel-log/runnel/record"
)

// overUnix is a client of what listens on a socket file.
func overUnix(path string) *http.Client {
	return &http.Client{Timeout: patience, Transport: &http.Transport{DisableKeepAlives: true,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "unix", path)
		}}}
}

// TestSecretsAreNowhereToBeSeen puts a canary into every field that holds a
// secret, has each of them used, refused and reloaded, and looks for it wherever
// the agent says something.
func TestSecretsAreNowhereToBeSeen(t *testing.T) {
	asked := make(chan string, 100)
	refusing := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		select {
		case asked <- r.URL.RawQuery + " " + r.Header.Get("X-Literal") + " " + r.Header.Get("X-Env"):
		default:
		}
		http.Error(w, "no", http.StatusServiceUnavailable)
	}))
	defer refusing.Close()
	dir := shortDir(t)
	if err := os.WriteFile(filepath.Join(dir, "token"), []byte("canary-api-token\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("RUNNEL_TEST_INPUT", "canary-input-token")
	t.Setenv("RUNNEL_TEST_HEADER", "canary-env-header")
	text := `agent: {name: vm, data_dir: DIR/data}
api: {listen: 'unix://DIR/api.sock', token: {file: token}}
inputs: {in: {type: http, listen: ['unix://DIR/in.sock'], token: {env: RUNNEL_TEST_INPUT}}}
forwarders:
  refused: {type: webhook, from: [default], url: '` + refusing.URL + `/?key=canary-query', headers: {X-Literal: canary-literal, X-Env: {env: RUNNEL_TEST_HEADER}}}
  absent: {type: webhook, from: [default], url: 'http://127.0.0.1:1/?key=canary-query', headers: {X-Literal: canary-literal}}
`
	a := startAgent(t, dir, text, newTaker())
	var said bytes.Buffer
	ask := func(c *http.Client, method, path, token, body string) {
		t.Helper()
		r, err := http.NewRequest(method, "http://localhost"+path, strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Authorization", "Bearer "+token)
		resp, err := c.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		b, _ := io.ReadAll(resp.Body)
		fmt.Fprintf(&said, "%s %s: %d %v %s\n", method, path, resp.StatusCode, resp.Header, b)
	}
	in, api := overUnix(filepath.Join(dir, "in.sock")), overUnix(filepath.Join(dir, "api.sock"))
	ask(in, "POST", "/", "canary-wrong", "a line")
	ask(in, "POST", "/", "canary-input-token", "a line")
	ask(in, "GET", "/", "canary-input-token", "")
	select {
	case got := <-asked:
		if got != "key=canary-query canary-literal canary-env-header" {
			t.Errorf("the receiver was shown %q, want every secret", got)
		}
	case <-time.After(patience):
		t.Fatal("the receiver is not asked")
	}
	failed := func() bool {
		for _, f := range a.status().Forwarders {
			if f.LastError == "" {
				return false
			}
		}
		return true
	}
	for until := time.Now().Add(patience); !failed(); <-time.After(time.Millisecond) {
		if time.Now().After(until) {
			t.Fatalf("no forwarder says what is wrong: %+v", a.status().Forwarders)
		}
	}
	for _, wrong := range []string{"api: {token: canary-literal}\n", strings.Replace(text, "X-Literal: canary-literal", `X-Literal: "canary\nline"`, 1),
		strings.Replace(text, "url:", "urll:", 1), strings.Replace(text, "http://127.0.0.1:1", "ftp://127.0.0.1:1", 1), text + "  x: {type: webhook, from: [nope], url: 'https://me:canary@x/?canary'}\n"} {
		if err := a.reload(wrong); err == nil {
			t.Errorf("this was taken:\n%s", wrong)
		} else {
			fmt.Fprintf(&said, "reload: %v\n", err)
		}
	}
	ask(api, "POST", "/api/v1/reload", "canary-api-token", "")
	if err := a.reload(text); err != nil {
		t.Fatal(err)
	}
	ask(api, "GET", "/api/v1/status", "canary-wrong", "")
	for _, path := range []string{"config", "status", "audit", "cursors", "modules", "streams"} {
		ask(api, "GET", "/api/v1/"+path, "canary-api-token", "")
	}
	ask(api, "GET", "/metrics", "", "")
	c, err := a.load()
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Effective(&said); err != nil {
		t.Fatal(err)
	}
	fmt.Fprintf(&said, "%+v\n%v\n", *c, c.API)
	for _, f := range c.Forwarders {
		fmt.Fprintf(&said, "%+v %+v\n", f, f.Options)
	}
	a.stop(t)
	said.WriteString(a.logs.String())
	if n := strings.Count(said.String(), "401"); n < 2 {
		t.Errorf("%d requests were refused for their token, want both", n)
	}
	for row := range strings.Lines(said.String()) {
		if strings.Contains(row, "canary") {
			t.Errorf("a secret is said: %.300s", row)
		}
	}
}

// TestContentNamesNothing: what a record says is text. It is not expanded, and
// names no file, stream, label or template, whatever field it stands in.
func TestContentNamesNothing(t *testing.T) {
	dir := shortDir(t)
	t.Setenv("RUNNEL_TEST_SECRET", "expanded")
	a := startAgent(t, dir, `
inputs: {in: {type: syslog, listen: ['unix://DIR/in.sock']}, web: {type: http, listen: ['unix://DIR/web.sock']}}
pipelines:
  main: {from: [in], stream: app, steps: [{parse: json}, {set: {copy: 'message', who: 'host'}}, {route: {errors: 'severity <= "err"'}}]}
streams: {app: {max_age: 24h}, errors: {max_age: 24h}}
`, newTaker())
	hostile := []string{"${RUNNEL_TEST_SECRET}", "${env:RUNNEL_TEST_SECRET}", "$${RUNNEL_TEST_SECRET}", "{{.}}", `{{template "x"}}`, "{{printf `%s` 1}}", "${jndi:ldap://127.0.0.1:1/a}",
		"%s%n%d%x", "$(touch pwned)", "`touch pwned`", "../../../../pwned", "/etc/passwd", `..\..\pwned`, "app.dead", "*", "errors", `x",evil="1`, "x\\n# TYPE evil counter", "<script>alert(1)</script>", "=cmd|' /C calc'!A0"}
	c := a.dial(t, "in", 0)
	before := a.metrics.ListMetricNames()
	for _, text := range hostile {
		field := regexp.MustCompile(`[^!-~]`).ReplaceAllString(text, "_")
		write(t, c, fmt.Sprintf("<14>1 - %.255s %.48s %.128s %.32s - %s\n", field, field, field, field, text))
	}
	const many = 10_000 // hosts and programs that were never seen before
	for i := range many {
		write(t, c, fmt.Sprintf("<14>1 - host-%d app-%d %d id-%d - {\"key-%d\":1}\n", i, i, i, i, i))
	}
	a.stored(t, "app", len(hostile)+many)
	web := overUnix(filepath.Join(dir, "web.sock"))
	for i, stream := range hostile {
		body := fmt.Sprintf(`{"stream":%q,"input":%q,"agent":%q,"peer":%q,"offset":9,"origin":"0/0/app/1","message":"m%d"}`, stream, stream, stream, stream, i)
		resp, err := web.Post("http://localhost/", "application/x-ndjson", strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
	}
	if after := a.metrics.ListMetricNames(); len(after) > len(before)+10 || slices.ContainsFunc(after, func(n string) bool { return strings.Contains(n, "evil") || strings.Contains(n, "host-") }) {
		t.Errorf("there were %d metrics, and are %d after %d hosts: %q", len(before), len(after), many, after)
	}
	for _, s := range a.store.Streams() {
		if !slices.Contains([]string{"app", "errors", "default"}, s.Name) {
			t.Errorf("a record made the stream %q", s.Name)
		}
	}
	i := 0
	messages(t, a.store, "app", func(_ uint64, v record.View) {
		if i < len(hostile) {
			copied, _ := v.Attr("copy")
			if string(v.Message()) != hostile[i] || string(copied.Data) != hostile[i] || strings.Contains(string(v.Host()), "expanded") {
				t.Errorf("%q is stored as %q, copied as %q, of host %q", hostile[i], v.Message(), copied.Data, v.Host())
			}
		}
		i++
	})
	known := regexp.MustCompile(`^(data|data/(token|identity|agent|lock|LOCK|wasm.*|cache.*|modules.*|state\.db.*|store|store/.*|quarantine)|.*\.sock|runnel\.yaml)`)
	err := filepath.WalkDir(dir, func(path string, _ fs.DirEntry, err error) error {
		name, _ := filepath.Rel(dir, path)
		if name != "." && !known.MatchString(name) || strings.Contains(name, "pwned") {
			t.Errorf("there is a file %s", name)
		}
		return err
	})
	if err != nil {
		t.Error(err)
	}
}

// TestTheAPITakesNoFilesPlace: a socket that a dead agent left is replaced, and
// anything else that stands there stays; the socket is for the user and the group.
func TestTheAPITakesNoFilesPlace(t *testing.T) {
	path := filepath.Join(shortDir(t), "api.sock")
	if err := os.WriteFile(path, []byte("precious"), 0o600); err != nil {
		t.Fatal(err)
	}
	if l, err := listenAPI(unixScheme + path); err == nil || !strings.Contains(err.Error(), "is no socket") {
		t.Errorf("got %v, %v, want the file refused", l, err)
	}
	if text, err := os.ReadFile(path); string(text) != "precious" {
		t.Errorf("the file holds %q, %v", text, err)
	}
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	dead, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	dead.SetUnlinkOnClose(false)
	dead.Close()
	l, err := listenAPI(unixScheme + path)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o660 {
		t.Errorf("the socket has %v, %v, want 0660", info.Mode(), err)
	}
	if l, err := listenAPI(unixScheme + path); err == nil {
		t.Errorf("got %v, want the socket in use refused", l.Addr())
	}
}
