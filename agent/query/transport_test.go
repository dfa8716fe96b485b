package query

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"io"
	"net"
	"net/http"
	"os"
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

// TestRubbishOnTheAPIsTLSPort: what is no TLS is closed, old versions are not
// spoken, nothing is left open, and others do not notice (faults.md row 36).
func TestRubbishOnTheAPIsTLSPort(t *testing.T) {
	authority := tlstest.NewAuthority(t, "ca")
	certificate, err := tls.LoadX509KeyPair(authority.Issue(t, "api", time.Now().Add(time.Hour)))
	if err != nil {
		t.Fatal(err)
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	o := fuzzOptions(newMemory())
	o.TLS = &tls.Config{Certificates: []tls.Certificate{certificate}}
	s := New(o)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- s.Serve(ctx, ln) }()
	for name, text := range map[string]string{"nothing": "", "HTTP": "GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n", "zeros": string(make([]byte, 4096)),
		"a wrong version": "\x16\x09\x09\x00\x05\x01\x02\x03\x04\x05", "a huge record": "\x16\x03\x01\xff\xff\x01", "half a hello": "\x16\x03\x01\x00\xf4\x01\x00\x00\xf0\x03\x03",
		"an alert": "\x15\x03\x01\x00\x02\x02\x28", "SSL 2": "\x80\x2e\x01\x00\x02\x00\x15\x00\x00\x00\x10"} {
		c, err := net.Dial("tcp", ln.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		c.SetDeadline(time.Now().Add(20 * time.Second))
		io.WriteString(c, text)
		c.(*net.TCPConn).CloseWrite()
		if answer, err := io.ReadAll(c); err != nil && os.IsTimeout(err) || bytes.Contains(answer, []byte("runnel_")) {
			t.Errorf("%s: got %q, %v, want the end", name, answer, err)
		}
		c.Close()
	}
	if c, err := tls.Dial("tcp", ln.Addr().String(), &tls.Config{RootCAs: authority.Pool(), ServerName: "localhost", MinVersion: tls.VersionTLS10, MaxVersion: tls.VersionTLS11}); err == nil {
		t.Error("TLS 1.1 is spoken")
		c.Close()
	}
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true, TLSClientConfig: &tls.Config{RootCAs: authority.Pool(), ServerName: "localhost"}}}
	resp, err := client.Get("https://" + ln.Addr().String() + "/healthz")
	if err != nil || resp.StatusCode != 200 {
		t.Fatalf("a healthy client: got %v, %v", resp, err)
	}
	resp.Body.Close()
	open := func() int {
		s.open.Lock()
		defer s.open.Unlock()
		return len(s.connections)
	}
	for until := time.Now().Add(20 * time.Second); open() > 0; <-time.After(time.Millisecond) {
		if time.Now().After(until) {
			t.Fatalf("%d connections are left", open())
		}
	}
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
}
