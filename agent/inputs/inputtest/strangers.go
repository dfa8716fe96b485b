package inputtest

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"fmt"
	"io"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"github.com/runnel-log/runnel/agent/inputs"
	"github.com/runnel-log/runnel/internal/tlsconf/tlstest"
)

// strangers shows an input that requires clients' certificates all that is none:
// not one gets a record in, each is counted and logged once at most, no
// connection stays, and those who may send do not notice (faults.md row 36).
func strangers(t *testing.T, kind inputs.Kind, say Say) {
	dir, text := Dir(t, "listen: tls://127.0.0.1:0\ntls: {cert: server.pem, key: server.key, client_ca: clients.pem, client_auth: require}\n")
	ca, other := tlstest.NewAuthority(t, "clients"), tlstest.NewAuthority(t, "clients") // of one name
	pem, err := os.ReadFile(ca.File)
	if err == nil {
		err = os.WriteFile(filepath.Join(dir, "clients.pem"), pem, 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
	var log bytes.Buffer
	r := Start(t, kind, dir, text, Setup{Log: zerolog.New(zerolog.SyncWriter(&log))})
	healthy := shows(t, r, dir, ca.Pair(t, func(*x509.Certificate) {}))
	if err := say(t, healthy, "before"); err != nil {
		t.Fatal(err)
	}
	r.Sink.Wait(t, 1)
	wrong := certificates(t, ca, other)
	for name, pair := range wrong {
		c, err := dialTLS(r, pair, 0)
		if err == nil { // with TLS 1.3 the client has finished before the server has looked
			c.SetDeadline(time.Now().Add(Patience))
			_ = say(t, c, "stranger "+name)
			c.CloseWrite()
			io.Copy(io.Discard, c)
			c.Close()
		}
	}
	versions := []uint16{tls.VersionTLS10, tls.VersionTLS11}
	for _, v := range versions {
		if c, err := dialTLS(r, ca.Pair(t, func(*x509.Certificate) {}), v); err == nil {
			t.Errorf("version %x was spoken", v)
			c.Close()
		}
	}
	garbage := rubbish(t)
	for name, b := range garbage {
		c := Dial(t, strings.Replace(r.URL(0), "tls:", "tcp:", 1), dir)
		c.SetDeadline(time.Now().Add(Patience))
		c.Write(b)
		c.(*net.TCPConn).CloseWrite()
		if _, err := io.Copy(io.Discard, c); err != nil && os.IsTimeout(err) {
			t.Errorf("%s: the connection is still open", name)
		}
		c.Close()
	}
	if err := say(t, healthy, "after"); err != nil {
		t.Error(err)
	}
	r.Sink.Wait(t, 2)
	healthy.Close()
	for until := time.Now().Add(Patience); r.Input.Status()[0].Connections > 0 && time.Now().Before(until); {
		<-time.After(time.Millisecond)
	}
	if n := r.Input.Status()[0].Connections; n != 0 {
		t.Errorf("%d connections are left", n)
	}
	r.Stop(t)
	if n := r.Sink.Len(); n != 2 {
		t.Errorf("%d records, want the healthy client's 2", n)
		for _, v := range r.Sink.Records() {
			t.Logf("%s", v.Message())
		}
	}
	refused := len(wrong) + len(versions) + len(garbage)
	counted := r.Count(`runnel_input_errors_total{input="in",reason="handshake"}`) + r.Count(`runnel_input_errors_total{input="in",reason="plain_text"}`)
	if counted != float64(refused) {
		t.Errorf("%v of %d were counted", counted, refused)
	}
	if said := strings.Count(log.String(), `"level":"warn"`); said < 1 || said > refused {
		t.Errorf("%d warnings for %d refused:\n%s", said, refused, log.String())
	}
}

// certificates are those that must not be let in by ca; other is an authority of
// the same name. What a certificate calls its owner lets nobody in.
func certificates(t *testing.T, ca, other *tlstest.Authority) map[string]*tls.Certificate {
	all := map[string]*tls.Certificate{
		"none":      nil,
		"expired":   ca.Pair(t, func(c *x509.Certificate) { c.NotAfter = time.Now().Add(-time.Minute) }),
		"not yet":   ca.Pair(t, func(c *x509.Certificate) { c.NotBefore = time.Now().Add(30 * time.Minute) }),
		"a server":  ca.Pair(t, func(c *x509.Certificate) { c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth} }),
		"code":      ca.Pair(t, func(c *x509.Certificate) { c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageCodeSigning} }),
		"wrong CA":  other.Pair(t, func(*x509.Certificate) {}),
		"no key of": ca.Pair(t, func(*x509.Certificate) {}),
		"critical": ca.Pair(t, func(c *x509.Certificate) {
			c.ExtraExtensions = []pkix.Extension{{Id: []int{1, 3, 6, 1, 4, 1, 99999, 1}, Critical: true, Value: []byte{5, 0}}}
		}),
	}
	all["no key of"].PrivateKey = all["wrong CA"].PrivateKey
	chain := *all["wrong CA"] // a good certificate behind a wrong one is no chain
	chain.Certificate = append(chain.Certificate[:1:1], ca.Pair(t, func(*x509.Certificate) {}).Certificate...)
	all["wrong chain"] = &chain
	intermediate := *all["wrong CA"] // signed by nobody that ca has signed
	intermediate.Certificate = append(intermediate.Certificate[:1:1], other.Pair(t, func(c *x509.Certificate) {
		c.IsCA, c.BasicConstraintsValid, c.KeyUsage, c.Subject.CommonName = true, true, x509.KeyUsageCertSign, "clients"
	}).Certificate...)
	all["own intermediate"] = &intermediate
	for i, name := range []string{"*", "*.", "*.*", "*.com", "localhost", "127.0.0.1", "client\x00.evil.example", "CLIENT", "cliént", "client.", ".client", strings.Repeat("a", 300)} {
		all[fmt.Sprintf("name %q", name)] = other.Pair(t, func(c *x509.Certificate) {
			c.Subject = pkix.Name{CommonName: name}
			c.SerialNumber = big.NewInt(int64(i + 2))
			if strings.Trim(name, "abcdefghijklmnopqrstuvwxyz.*") == "" {
				c.DNSNames = []string{name}
			}
		})
	}
	return all
}

// rubbish is what comes to a TLS port and is none.
func rubbish(t *testing.T) map[string][]byte {
	hello := firstBytes(t)
	return map[string][]byte{
		"nothing":         nil,
		"syslog":          []byte("<13>1 - - - - - - stranger\n"),
		"HTTP":            []byte("POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1\r\n\r\nx"),
		"RELP":            []byte("1 open 15 relp_version=0\n\n"),
		"zeros":           make([]byte, 4096),
		"ones":            bytes.Repeat([]byte{0xff}, 4096),
		"a wrong version": {22, 9, 9, 0, 5, 1, 2, 3, 4, 5},
		"a huge record":   {22, 3, 1, 0xff, 0xff, 1},
		"an empty record": {22, 3, 1, 0, 0},
		"an alert":        {21, 3, 1, 0, 2, 2, 40},
		"data first":      {23, 3, 3, 0, 4, 'x', 'x', 'x', 'x'},
		"SSL 2":           {0x80, 0x2e, 1, 0, 2, 0, 0x15, 0, 0, 0, 16},
		"half a hello":    hello[:len(hello)/2],
		"hello and text":  append(bytes.Clone(hello), "<13>1 - - - - - - stranger\n"...),
		"two hellos":      append(bytes.Clone(hello), hello...),
	}
}

// firstBytes returns what a client begins with.
func firstBytes(t *testing.T) []byte {
	t.Helper()
	client, server := net.Pipe()
	defer server.Close()
	go func() {
		tls.Client(client, &tls.Config{ServerName: "localhost"}).Handshake() //nolint:errcheck // it is broken off
		client.Close()
	}()
	b := make([]byte, 4096)
	n, err := server.Read(b)
	if err != nil {
		t.Fatal(err)
	}
	return b[:n]
}

// shows connects with a certificate that is let in.
func shows(t *testing.T, r *Running, dir string, pair *tls.Certificate) *tls.Conn {
	t.Helper()
	c, err := dialTLS(r, pair, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

// dialTLS connects and shows pair whatever the server asks for. version is the
// only one spoken, if it is not 0.
func dialTLS(r *Running, pair *tls.Certificate, version uint16) (*tls.Conn, error) {
	config := &tls.Config{InsecureSkipVerify: true, MinVersion: version, MaxVersion: version} // the server is not in question here
	config.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
		if pair == nil {
			return new(tls.Certificate), nil
		}
		return pair, nil
	}
	return tls.DialWithDialer(&net.Dialer{Timeout: Patience}, "tcp", strings.TrimPrefix(r.URL(0), "tls://"), config)
}
