package agent

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/runnel-log/runnel/internal/config"
	"github.com/runnel-log/runnel/internal/tlsconf/tlstest"
)

// An agent whose certificates have expired starts and takes what it can; everybody is told, and what waited goes on
// once the files are replaced, with nobody touching the agent.
func TestAnExpiredCertificateStopsNoStart(t *testing.T) {
	ca := tlstest.NewAuthority(t, "agents")
	serverCert, serverKey := ca.Issue(t, "central", time.Now().Add(time.Hour))
	above := startAgent(t, shortDir(t), fmt.Sprintf(`
inputs: {chain: {type: relay, listen: ["tls://127.0.0.1:0"], tls: {cert: %q, key: %q, client_ca: %q}}}
`, serverCert, serverKey, ca.File), nil)
	_, to := above.address(t, "chain", 0)

	late := time.Now().Add(-time.Hour)
	cert, key := ca.Issue(t, "vm", late)
	inCert, inKey := ca.Issue(t, "in", late)
	text := fmt.Sprintf(`
inputs:
  in: {type: syslog, listen: ["tcp://127.0.0.1:0"]}
  secure: {type: syslog, listen: ["tls://127.0.0.1:0"], tls: {cert: %q, key: %q}}
pipelines: {main: {from: [in, secure], stream: app}}
forwarders: {up: {type: relay, from: [app], to: ["tls://%s"], tls: {cert: %q, key: %q, ca: %q}}}
`, inCert, inKey, to, cert, key, ca.File)
	below := startAgent(t, shortDir(t), text, nil)
	feed(t, below, 1, 101) // over the other input it takes as ever
	waitUntil(t, "the forwarder to say why it waits", func() bool {
		f := below.status().Forwarders[0]
		return f.State == "retrying" && strings.Contains(f.LastError, cert+" expired on ")
	})
	var bad []string
	for _, c := range below.status().Certificates {
		bad = append(bad, c.Part+" "+c.Error)
	}
	if len(bad) != 2 || !strings.HasPrefix(bad[0], "input secure "+inCert+" expired on ") || !strings.HasPrefix(bad[1], "forwarder up "+cert+" expired on ") {
		t.Errorf("the status says %q", bad)
	}
	if got := below.logs.String(); strings.Count(got, "a certificate is out of date") != 2 || !strings.Contains(got, `"level":"error","used_by":"forwarder up"`) {
		t.Errorf("the log says\n%s", got)
	}
	if err := (host{below.Agent}).Ready(); err != nil {
		t.Errorf("it is not ready, and takes records: %v", err)
	}
	_, secure := below.address(t, "secure", 0)
	trusting := &tls.Config{RootCAs: ca.Pool(), ServerName: "localhost"}
	if c, err := tls.Dial("tcp", secure, trusting); err == nil {
		c.Close()
		t.Error("a sender that looks took an expired certificate")
	} else if !strings.Contains(err.Error(), "certificate has expired") {
		t.Errorf("a sender is told %v", err)
	}
	checkSays(t, below, "runnel.yaml", "inputs.secure.tls.cert", "forwarders.up.tls.cert")

	ca.IssueTo(t, inCert, inKey, "in", time.Now().Add(time.Hour))
	ca.IssueTo(t, cert, key, "vm", time.Now().Add(time.Hour))
	arrives(t, above, 100)
	waitUntil(t, "the status to have nothing to say of certificates", func() bool { return len(below.status().Certificates) == 0 })
	waitUntil(t, "the input to show the new one", func() bool {
		c, err := tls.Dial("tcp", secure, trusting)
		if err != nil {
			return false
		}
		return c.Close() == nil
	})
	checkSays(t, below, "runnel.yaml")
	if got := strings.Count(below.logs.String(), "a certificate is in date again"); got != 2 {
		t.Errorf("%d certificates are said to be in date again, want 2", got)
	}
}

// Of a receiver's certificate that has expired the sender says that it is the receiver's, and the receiver which file it is.
func TestAnExpiredReceiverIsNamedAtBothEnds(t *testing.T) {
	ca := tlstest.NewAuthority(t, "agents")
	serverCert, serverKey := ca.Issue(t, "central", time.Now().Add(-time.Hour))
	above := startAgent(t, shortDir(t), fmt.Sprintf(`
inputs: {chain: {type: relay, listen: ["tls://127.0.0.1:0"], tls: {cert: %q, key: %q, client_ca: %q}}}
`, serverCert, serverKey, ca.File), nil)
	_, to := above.address(t, "chain", 0)
	cert, key := ca.Issue(t, "vm", time.Now().Add(time.Hour))
	below := startAgent(t, shortDir(t), fmt.Sprintf(hostConfig, "'tls://"+to+"'", fmt.Sprintf(", tls: {cert: %q, key: %q, ca: %q}", cert, key, ca.File)), nil)
	waitUntil(t, "the sender to say whose it is", func() bool {
		return strings.Contains(below.status().Forwarders[0].LastError, `expired`) &&
			strings.Contains(below.status().Forwarders[0].LastError, `it showed the certificate of "central, localhost", issued by "agents"`)
	})
	waitUntil(t, "the receiver to say which file it is", func() bool {
		return strings.Contains(above.status().Inputs[0].Listeners[0].LastError, "the sender says so of this agent's own certificate: "+serverCert+" expired on ")
	})
}

// checkSays looks whether `runnel check` of an agent's configuration names what is out of date, and nothing else.
func checkSays(t *testing.T, a *testAgent, file string, paths ...string) {
	t.Helper()
	c, err := a.load()
	if err != nil {
		t.Fatal(err)
	}
	var found config.Problems
	if err = Check(context.Background(), c); err != nil && !errors.As(err, &found) {
		t.Fatal(err)
	}
	if len(found) != len(paths) {
		t.Fatalf("check says %v, want something of %q", err, paths)
	}
	for i, p := range found {
		if p.File != file || p.Line == 0 || p.Path != paths[i] || !strings.Contains(p.Text, "expired on") {
			t.Errorf("check says %s, want something of %s", p, paths[i])
		}
	}
}

// What a forwarder reads once, the authorities that it trusts, it reads again at a reload.
func TestAReloadReadsTheAuthoritiesAgain(t *testing.T) {
	old, next := tlstest.NewAuthority(t, "old"), tlstest.NewAuthority(t, "next")
	serverCert, serverKey := next.Issue(t, "central", time.Now().Add(time.Hour))
	above := startAgent(t, shortDir(t), fmt.Sprintf(`
inputs: {chain: {type: relay, listen: ["tls://127.0.0.1:0"], tls: {cert: %q, key: %q, client_ca: %q}}}
`, serverCert, serverKey, next.File), nil)
	_, to := above.address(t, "chain", 0)
	cert, key := next.Issue(t, "vm", time.Now().Add(time.Hour))
	ca := old.File
	text := fmt.Sprintf(`
inputs: {in: {type: syslog, listen: ["tcp://127.0.0.1:0"]}}
pipelines: {main: {from: [in], stream: app}}
forwarders: {up: {type: relay, from: [app], to: ["tls://%s"], tls: {cert: %q, key: %q, ca: %q}}}
`, to, cert, key, ca)
	below := startAgent(t, shortDir(t), text, nil)
	feed(t, below, 1, 11)
	waitUntil(t, "the forwarder to trust nobody", func() bool {
		return strings.Contains(below.status().Forwarders[0].LastError, "unknown authority")
	})
	next.CopyTo(t, ca)
	if err := below.reload(text); err != nil {
		t.Fatal(err)
	}
	arrives(t, above, 10)
}
