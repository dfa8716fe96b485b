package agent

import (
	"crypto/tls"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/runnel-log/runnel/internal/tlsconf/tlstest"
)

// TestABadCertificateIsNamedAndOutlived: the status says what is wrong with the
// receiver's certificate, tries are spaced, and once it shows a good one everything arrives,
// in order and once, with nobody touching the agent.
func TestABadCertificateIsNamedAndOutlived(t *testing.T) {
	ca, other := tlstest.NewAuthority(t, "test"), tlstest.NewAuthority(t, "somebody else")
	var mu sync.Mutex
	var shown *tls.Certificate // guarded by mu, as are
	var handshakes int
	var got []string
	show := func(by *tlstest.Authority, until time.Time) {
		pair, err := tls.LoadX509KeyPair(by.Issue(t, "server", until))
		if err != nil {
			t.Fatal(err)
		}
		mu.Lock()
		defer mu.Unlock()
		shown, handshakes = &pair, 0
	}
	h := httptest.NewUnstartedServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			return
		}
		mu.Lock()
		defer mu.Unlock()
		for s := range strings.Lines(string(body)) {
			got = append(got, messageOf(s))
		}
	}))
	h.Config.ErrorLog = log.New(io.Discard, "", 0) // handshakes that fail are what this is about
	h.TLS = &tls.Config{GetConfigForClient: func(*tls.ClientHelloInfo) (*tls.Config, error) {
		mu.Lock()
		defer mu.Unlock()
		handshakes++
		return &tls.Config{Certificates: []tls.Certificate{*shown}, SessionTicketsDisabled: true}, nil
	}}
	h.StartTLS()
	t.Cleanup(h.Close)

	show(ca, time.Now().Add(-time.Minute))
	a := startAgent(t, shortDir(t), fmt.Sprintf(`
inputs: {in: {type: syslog, listen: ["tcp://127.0.0.1:0"]}}
pipelines: {main: {from: [in], stream: app}}
forwarders: {hook: {type: webhook, from: [app], url: %q, tls: {ca: %q}, batch: {records: 100, wait: 1ms}}}
`, h.URL, ca.File), nil)
	c := a.dial(t, "in", 0)
	var want []string
	for n, bad := range []struct {
		by    *tlstest.Authority
		until time.Time
		says  string
	}{{ca, time.Now().Add(-time.Minute), "expired"}, {other, time.Now().Add(time.Hour), "unknown authority"}} {
		show(bad.by, bad.until)
		h.CloseClientConnections()
		for i := range 100 {
			want = append(want, fmt.Sprintf("%d-%d", n, i))
			write(t, c, line("%s", want[len(want)-1]))
		}
		waitUntil(t, "the status to say "+bad.says, func() bool {
			f := a.status().Forwarders[0]
			return f.State == "retrying" && strings.Contains(f.LastError, bad.says)
		})
		mu.Lock()
		if handshakes > 5 {
			t.Errorf("%s: %d handshakes before anybody could look; tries are not spaced", bad.says, handshakes)
		}
		mu.Unlock()
		show(ca, time.Now().Add(time.Hour))
		waitUntil(t, "everything to be delivered", func() bool {
			mu.Lock()
			defer mu.Unlock()
			return len(got) >= len(want)
		})
		mu.Lock()
		checkMessages(t, got, want)
		mu.Unlock()
		waitUntil(t, "the state to be up", func() bool { return a.status().Forwarders[0].State == "up" })
	}
}
