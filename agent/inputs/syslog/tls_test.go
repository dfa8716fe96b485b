package syslog

import (
	"bytes"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"github.com/runnel-log/runnel/agent/inputs/inputtest"
	"github.com/runnel-log/runnel/internal/tlsconf/tlstest"
)

// TestClientCertificates: what client_auth lets in, over the real socket.
func TestClientCertificates(t *testing.T) {
	dir := t.TempDir()
	ca, stranger := tlstest.NewAuthority(t, "ca"), tlstest.NewAuthority(t, "stranger")
	later := time.Now().Add(time.Hour)
	ca.IssueTo(t, filepath.Join(dir, "server.pem"), filepath.Join(dir, "server.key"), "server", later)
	copyFile(t, ca.File, filepath.Join(dir, "ca.pem"))
	shown := map[string]*tls.Certificate{"none": nil}
	for name, from := range map[string]func() (string, string){
		"good":     func() (string, string) { return ca.Issue(t, "good", later) },
		"expired":  func() (string, string) { return ca.Issue(t, "expired", time.Now().Add(-time.Minute)) },
		"wrong CA": func() (string, string) { return stranger.Issue(t, "wrong", later) },
	} {
		pair, err := tls.LoadX509KeyPair(from())
		if err != nil {
			t.Fatal(err)
		}
		shown[name] = &pair
	}
	f := func(auth string, in ...string) {
		t.Helper()
		conf := "listen: tls://127.0.0.1:0\ntls: {cert: server.pem, key: server.key"
		if auth != "none" {
			conf += ", client_ca: ca.pem, client_auth: " + auth
		}
		r := inputtest.Start(t, Kind, dir, conf+"}", inputtest.Setup{})
		refused := 0
		for name, cert := range shown {
			c, err := inputtest.TryDial(r.URL(0), dir, cert)
			if err == nil {
				fmt.Fprintf(c, "<13>1 - - - - - - %s\n", name)
				c.(*tls.Conn).CloseWrite()
				_, err = io.Copy(io.Discard, c) // the verdict of TLS 1.3 comes with the first read
				c.Close()
			}
			want := false
			for _, w := range in {
				want = want || w == name
			}
			if (err == nil) != want {
				t.Errorf("client_auth %s, certificate %s: got %v, want it let in: %v", auth, name, err, want)
			}
			if !want {
				refused++
			}
		}
		r.Stop(t)
		got := map[string]bool{}
		for _, v := range r.Sink.Records() {
			got[string(v.Message())] = true
		}
		if len(got) != len(in) {
			t.Errorf("client_auth %s: got messages of %v, want of %v", auth, got, in)
		}
		counted(t, r, `runnel_input_errors_total{input="in",reason="handshake"}`, float64(refused))
	}
	// A client's library leaves out a certificate that the server's list of
	// authorities does not ask for; with "request" it then counts as none.
	f("none", "none", "good", "expired", "wrong CA")
	f("request", "none", "good", "wrong CA")
	f("require", "good")
}

func copyFile(t *testing.T, from, to string) {
	t.Helper()
	b, err := os.ReadFile(from)
	if err == nil {
		err = os.WriteFile(to, b, 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// TestCertificateRotation replaces the files under a running input: open
// connections go on, new ones see the new certificate.
func TestCertificateRotation(t *testing.T) {
	dir := t.TempDir()
	ca := tlstest.NewAuthority(t, "ca")
	cert, key := filepath.Join(dir, "server.pem"), filepath.Join(dir, "server.key")
	ca.IssueTo(t, cert, key, "first", time.Now().Add(time.Hour))
	copyFile(t, ca.File, filepath.Join(dir, "ca.pem"))
	var log lockedBuffer
	r := inputtest.Start(t, Kind, dir, "listen: tls://127.0.0.1:0\ntls: {cert: server.pem, key: server.key}", inputtest.Setup{Log: zerolog.New(&log)})
	seen := func(c net.Conn) string {
		return c.(*tls.Conn).ConnectionState().PeerCertificates[0].Subject.CommonName
	}
	old := inputtest.Dial(t, r.URL(0), dir)
	if got := seen(old); got != "first" {
		t.Fatalf("got certificate %s", got)
	}
	ca.IssueTo(t, cert, key, "second", time.Now().Add(time.Hour))
	for until := time.Now().Add(inputtest.Patience); ; { // files are looked at once a second
		if seen(inputtest.Dial(t, r.URL(0), dir)) == "second" {
			break
		}
		if time.Now().After(until) {
			t.Fatal("the new certificate is not served")
		}
	}
	io.WriteString(old, "<13>1 - - - - - - still here\n")
	r.Sink.Wait(t, 1)
	if !strings.Contains(log.String(), "certificate replaced") {
		t.Errorf("the log does not say so: %s", log.String())
	}
}

// TestTLSGarbage: what is no TLS, or only its beginning, is counted and closed;
// other connections do not notice (faults.md row 36).
func TestTLSGarbage(t *testing.T) {
	dir, conf := inputtest.Dir(t, "listen: tls://127.0.0.1:0\ntls: {cert: server.pem, key: server.key}")
	r := inputtest.Start(t, Kind, dir, conf, inputtest.Setup{})
	healthy := inputtest.Dial(t, r.URL(0), dir)
	io.WriteString(healthy, "<13>1 - - - - - - before\n")
	r.Sink.Wait(t, 1)
	plain := strings.Replace(r.URL(0), "tls:", "tcp:", 1)
	hello := clientHello(t)
	f := func(name string, bytes []byte, closeWrite bool) {
		t.Helper()
		c := inputtest.Dial(t, plain, dir)
		c.Write(bytes)
		if closeWrite {
			c.(*net.TCPConn).CloseWrite()
		}
		c.SetReadDeadline(time.Now().Add(handshakeTime + 3*time.Second))
		if _, err := io.Copy(io.Discard, c); err != nil && os.IsTimeout(err) {
			t.Errorf("%s: the connection is still open", name)
		}
	}
	f("plain text", []byte("<13>1 - - - - - - plain\n"), false)
	f("an HTTP request", []byte("GET / HTTP/1.1\r\n\r\n"), false)
	f("a record of a wrong version", []byte{22, 9, 9, 0, 5, 1, 2, 3, 4, 5}, false)
	f("a huge record", []byte{22, 3, 1, 0xff, 0xff, 1}, true)
	f("an alert first", []byte{21, 3, 1, 0, 2, 2, 40}, false)
	f("nothing", nil, true)
	f("half a hello and the end", hello[:len(hello)/2], true)
	f("half a hello and silence", hello[:len(hello)/2], false) // closed by the handshake's deadline
	f("a hello and then text", append(bytes.Clone(hello), "<13>1 - - - - - - plain\n"...), true)
	io.WriteString(healthy, "<13>1 - - - - - - after\n")
	r.Sink.Wait(t, 2)
	r.Stop(t)
	if n := r.Sink.Len(); n != 2 {
		t.Errorf("got %d records, want the healthy connection's 2", n)
	}
	plainText := r.Count(`runnel_input_errors_total{input="in",reason="plain_text"}`)
	handshake := r.Count(`runnel_input_errors_total{input="in",reason="handshake"}`)
	if plainText < 2 || plainText+handshake != 9 {
		t.Errorf("counted %v of plain text and %v failed handshakes, want 9 together", plainText, handshake)
	}
}

// clientHello returns the first bytes that a client sends.
func clientHello(t *testing.T) []byte {
	t.Helper()
	client, server := net.Pipe()
	defer server.Close()
	go func() {
		tls.Client(client, &tls.Config{ServerName: "localhost"}).Handshake()
		client.Close()
	}()
	b := make([]byte, 4096)
	n, err := server.Read(b)
	if err != nil {
		t.Fatal(err)
	}
	return b[:n]
}

// TestStopDuringHandshake does not wait for a peer that says nothing.
func TestStopDuringHandshake(t *testing.T) {
	dir, conf := inputtest.Dir(t, "listen: tls://127.0.0.1:0\ntls: {cert: server.pem, key: server.key}")
	r := inputtest.Start(t, Kind, dir, conf, inputtest.Setup{})
	for range 20 {
		inputtest.Dial(t, strings.Replace(r.URL(0), "tls:", "tcp:", 1), dir)
	}
	ok := inputtest.Dial(t, r.URL(0), dir) // they have all been accepted once this one is served
	io.WriteString(ok, "<13>1 - - - - - - x\n")
	r.Sink.Wait(t, 1)
	began := time.Now()
	r.Stop(t)
	if took := time.Since(began); took > soon {
		t.Errorf("stopping took %s", took)
	}
}

// hesitant is a client's connection that waits before it says anything.
type hesitant struct {
	net.Conn
	wait sync.Once
	do   func()
}

func (c *hesitant) Write(b []byte) (int, error) {
	c.wait.Do(c.do)
	return c.Conn.Write(b)
}

// TestAStopFinishesHandshakes: Docker starts no container whose handshake is cut off.
func TestAStopFinishesHandshakes(t *testing.T) {
	dir, conf := inputtest.Dir(t, "listen: tls://127.0.0.1:0\ntls: {cert: $DIR/server.pem, key: $DIR/server.key}\n")
	r := inputtest.Start(t, Kind, dir, conf, inputtest.Setup{})
	in := r.Input.(*Input)
	raw, err := net.Dial("tcp", strings.TrimPrefix(r.URL(0), "tls://"))
	if err != nil {
		t.Fatal(err)
	}
	defer raw.Close()
	stopped := make(chan struct{})
	draining := func() bool {
		in.mu.Lock()
		defer in.mu.Unlock()
		for c := range in.conns {
			return c.draining.Load()
		}
		return false
	}
	c := tls.Client(&hesitant{Conn: raw, do: func() {
		go func() { r.Stop(t); close(stopped) }()
		for !draining() {
			runtime.Gosched()
		}
	}}, &tls.Config{InsecureSkipVerify: true}) //nolint:gosec // it is the handshake that is looked at
	if err := c.Handshake(); err != nil {
		t.Fatalf("the handshake under way at the stop: %v", err)
	}
	if n, err := c.Read(make([]byte, 1)); n != 0 || err != io.EOF {
		t.Errorf("got %d bytes and %v, want a goodbye", n, err)
	}
	<-stopped
	counted(t, r, `runnel_input_errors_total{input="in",reason="handshake"}`, 0)
}
