package query

import (
	"bufio"
	"context"
	"crypto/tls"
	"net"
	"net/http"
	"path/filepath"
	"testing"
	"time"

	"github.com/runnel-log/runnel/internal/tlsconf/tlstest"
)

// over serves on ln, asks for a record and for a tail with client, and ends.
func over(t *testing.T, ln net.Listener, config *tls.Config, base string, client *http.Client, host string) {
	t.Helper()
	m := newMemory()
	m.add(t, "app", line("stored", 1))
	o := fuzzOptions(m)
	o.TLS = config
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- New(o).Serve(ctx, ln) }()
	ask := func(path string) *bufio.Reader {
		t.Helper()
		req, err := http.NewRequest("GET", base+path, nil)
		if err != nil {
			t.Fatal(err)
		}
		req.Host = host
		resp, err := client.Do(req)
		if err != nil || resp.StatusCode != 200 {
			t.Fatalf("%s: got %v, %v", path, resp, err)
		}
		t.Cleanup(func() { resp.Body.Close() })
		return bufio.NewReader(resp.Body)
	}
	if got := messages(t, read(t, ask("/api/v1/query"))); got != "stored" {
		t.Errorf("query: got %s", got)
	}
	tail := ask("/api/v1/tail?n=1")
	if got := messages(t, read(t, tail)); got != "stored" {
		t.Errorf("tail: got %s", got)
	}
	m.add(t, "app", line("new", 2))
	if got := messages(t, read(t, tail)); got != "new" {
		t.Errorf("tail: got %s", got)
	}
	client.CloseIdleConnections()
	cancel()
	if err := <-done; err != nil {
		t.Errorf("Serve: %v", err)
	}
}

func TestTheAPIOverTLS(t *testing.T) {
	authority := tlstest.NewAuthority(t, "ca")
	certificate, err := tls.LoadX509KeyPair(authority.Issue(t, "api", time.Now().Add(time.Hour)))
	if err != nil {
		t.Fatal(err)
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	client := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: authority.Pool()}}}
	over(t, ln, &tls.Config{Certificates: []tls.Certificate{certificate}}, "https://"+ln.Addr().String(), client, "localhost")
}

// A unix socket is answered under any name: no browser can open one.
func TestTheAPIOverAUnixSocket(t *testing.T) {
	path := filepath.Join(t.TempDir(), "api.sock")
	ln, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	client := &http.Client{Transport: &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "unix", path)
	}}}
	over(t, ln, nil, "http://runnel", client, "any.name")
}
