package client

import (
	"context"
	"errors"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestTheAgentIsFoundThroughItsConfiguration(t *testing.T) {
	dir := t.TempDir()
	t.Chdir(dir)
	t.Setenv("RUNNEL_TOKEN", "")
	t.Setenv("RUNNEL_DATA", "")
	write := func(name, text string) string {
		t.Helper()
		path := filepath.Join(dir, name)
		if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o700), os.WriteFile(path, []byte(text), 0o600)); err != nil {
			t.Fatal(err)
		}
		return path
	}
	write("runnel-data/token", "default\n")
	write("data/token", "configured\n")
	write("elsewhere", "named\n")
	f := func(flags Flags, config, api, token string) {
		t.Helper()
		os.Remove(filepath.Join(dir, "runnel.yaml"))
		if config != "" {
			write("runnel.yaml", config)
		}
		at, err := Locate(flags)
		if err != nil || at.API != api || at.Token != token {
			t.Errorf("%+v, %q: got %+v, %v; want %s %s", flags, config, at, err, api, token)
		}
	}
	f(Flags{}, "", DefaultAPI, "default")
	f(Flags{}, "agent: {data_dir: data}", DefaultAPI, "configured")
	f(Flags{}, "agent: {data_dir: "+dir+"/data}\napi: {listen: '127.0.0.1:9'}", "http://127.0.0.1:9", "configured")
	f(Flags{}, "api: {listen: '0.0.0.0:9', tls: {cert: a, key: b}, token: {file: elsewhere}}", "https://127.0.0.1:9", "named")
	f(Flags{}, "api: {listen: 'unix:///run/r.sock'}", "unix:///run/r.sock", "") // its data is in /var/lib/runnel, not here
	f(Flags{}, "agent: {data_dir: data}\nnonsense: [", DefaultAPI, "default") // no YAML at all
	f(Flags{}, "agent: {data_dir: data}\nnonsense: 5", DefaultAPI, "configured")
	f(Flags{API: "http://127.0.0.1:7"}, "agent: {data_dir: data}", "http://127.0.0.1:7", "configured")
	f(Flags{API: "https://far.example:4780"}, "agent: {data_dir: data}", "https://far.example:4780", "")
	f(Flags{API: "https://far.example:4780", TokenFile: "elsewhere"}, "", "https://far.example:4780", "named")
	f(Flags{Config: write("other.yaml", "agent: {data_dir: data}")}, "", DefaultAPI, "configured")
	t.Setenv("RUNNEL_TOKEN", "environment")
	f(Flags{}, "", DefaultAPI, "environment")
	f(Flags{TokenFile: "elsewhere"}, "", DefaultAPI, "named")
	if _, err := Locate(Flags{Config: "none.yaml"}); err == nil {
		t.Error("a configuration that is not there: got no error")
	}
}

func TestTheTokenGoesNowhereElse(t *testing.T) {
	f := func(api, token, want string) {
		t.Helper()
		_, err := New(Location{API: api, Token: token})
		if got := ""; err != nil {
			got = err.Error()
			if want == "" || !strings.Contains(got, want) || token != "" && strings.Contains(got, token) {
				t.Errorf("%s: got %q, want %q", api, got, want)
			}
		} else if want != "" {
			t.Errorf("%s: got no error, want %q", api, want)
		}
	}
	f("http://127.0.0.1:4780", "t0ken", "")
	f("http://localhost:4780/", "t0ken", "")
	f("http://[::1]:4780", "t0ken", "")
	f("https://far.example", "t0ken", "")
	f("unix:///run/x.sock", "t0ken", "")
	f("http://far.example", "t0ken", "in the clear")
	f("http://far.example", "", "")
	f("http://user:pw@localhost", "t0ken", "not the address")
	f("http://localhost/path", "t0ken", "not the address")
	f("localhost:4780", "t0ken", "not the address")
	f("unix://", "t0ken", "no path")
}

func TestAUnixSocketIsReachedAndRedirectsAreNotFollowed(t *testing.T) {
	path := filepath.Join(t.TempDir(), "api.sock")
	ln, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	server := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch {
		case r.Header.Get("Authorization") != "Bearer t0ken":
			http.Error(w, `{"error":"no"}`, http.StatusUnauthorized)
		case r.URL.Path == "/away":
			http.Redirect(w, r, "http://127.0.0.1:1/", http.StatusFound)
		default:
			w.Write([]byte(`{"asked":"` + r.URL.RawQuery + `"}`)) //nolint:errcheck // the client tells
		}
	})}
	go server.Serve(ln) //nolint:errcheck // ends with the listener
	t.Cleanup(func() { server.Close() })
	c, err := New(Location{API: "unix://" + path, Token: "t0ken"})
	if err != nil {
		t.Fatal(err)
	}
	var got struct{ Asked string }
	if err := c.GetJSON(context.Background(), "/api", url.Values{"a": {"b c"}}, &got); err != nil || got.Asked != "a=b+c" {
		t.Errorf("got %+v, %v", got, err)
	}
	var refusal *Refusal
	if err := c.GetJSON(context.Background(), "/away", nil, &got); !errors.As(err, &refusal) || refusal.Code != 302 {
		t.Errorf("a redirect: got %v, want it refused", err)
	}
}
