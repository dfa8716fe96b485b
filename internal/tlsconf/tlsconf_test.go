package tlsconf

import (
	"crypto/tls"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/runnel-log/runnel/internal/config"
	"github.com/runnel-log/runnel/internal/tlsconf/tlstest"
)

func later() time.Time { return time.Now().Add(time.Hour) }

// handshake connects a client to a server and returns both sides' errors, and
// the certificate that the client saw.
func handshake(t *testing.T, server, client *tls.Config) (state tls.ConnectionState, serverErr, clientErr error) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	done := make(chan error, 1)
	go func() {
		c, err := l.Accept()
		if err != nil {
			done <- err
			return
		}
		defer c.Close()
		c.SetDeadline(time.Now().Add(10 * time.Second))
		s := tls.Server(c, server)
		if err = s.Handshake(); err == nil {
			_, err = s.Write([]byte("x"))
		}
		done <- err
	}()
	raw, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer raw.Close()
	raw.SetDeadline(time.Now().Add(10 * time.Second))
	c := tls.Client(raw, client)
	// In TLS 1.3 the server's verdict on our certificate comes with its first byte.
	if _, clientErr = c.Read(make([]byte, 1)); clientErr == nil {
		state = c.ConnectionState()
	}
	raw.Close()
	return state, <-done, clientErr
}

func clientConfig(ca *tlstest.Authority) *tls.Config {
	return &tls.Config{RootCAs: ca.Pool(), ServerName: "localhost"}
}

func TestReplacedCertificateIsServed(t *testing.T) {
	ca := tlstest.NewAuthority(t, "test authority")
	cert, key := ca.Issue(t, "first", later())
	now := time.Now()
	var reloads []error
	s := &Server{Cert: cert, Key: key}
	w := &watch[*tls.Config]{files: []string{cert, key}, load: s.load, now: func() time.Time { return now }, every: checkEvery,
		onReload: func(err error) { reloads = append(reloads, err) }}
	if err := w.start(); err != nil {
		t.Fatal(err)
	}
	served := func() string { return w.get().Certificates[0].Leaf.Subject.CommonName }
	expect := func(name string, calls int) {
		t.Helper()
		if got := served(); got != name || len(reloads) != calls {
			t.Errorf("got %s after %d reloads %v, want %s after %d", got, len(reloads), reloads, name, calls)
		}
	}
	expect("first", 0)
	ca.IssueTo(t, cert, key, "second", later())
	touch(t, cert, now.Add(time.Minute))
	expect("first", 0) // looked less than a second ago
	now = now.Add(2 * time.Second)
	expect("second", 1)
	now = now.Add(2 * time.Second)
	expect("second", 1)

	// Half a replacement does not fit, and is said once; the second half does.
	other := filepath.Join(t.TempDir(), "other")
	ca.IssueTo(t, cert, other, "third", later())
	touch(t, cert, now.Add(2*time.Minute))
	now = now.Add(2 * time.Second)
	expect("second", 2)
	if reloads[1] == nil || !strings.Contains(reloads[1].Error(), "is not the key of") {
		t.Errorf("bad pair: got %v", reloads[1])
	}
	now = now.Add(2 * time.Second)
	expect("second", 2)
	if err := os.Rename(other, key); err != nil {
		t.Fatal(err)
	}
	touch(t, key, now.Add(3*time.Minute))
	now = now.Add(2 * time.Second)
	expect("third", 3)

	if err := os.Remove(cert); err != nil {
		t.Fatal(err)
	}
	now = now.Add(2 * time.Second)
	expect("third", 4)
}

func touch(t *testing.T, file string, at time.Time) {
	t.Helper()
	if err := os.Chtimes(file, at, at); err != nil {
		t.Fatal(err)
	}
}

func TestServerConfigServes(t *testing.T) {
	ca := tlstest.NewAuthority(t, "test authority")
	cert, key := ca.Issue(t, "server", later())
	c, err := (&Server{Cert: cert, Key: key, MinVersion: "1.3"}).Config(nil)
	if err != nil {
		t.Fatal(err)
	}
	state, serverErr, clientErr := handshake(t, c, clientConfig(ca))
	if serverErr != nil || clientErr != nil || state.Version != tls.VersionTLS13 {
		t.Errorf("got version %x, %v, %v", state.Version, serverErr, clientErr)
	}
	old := clientConfig(ca)
	old.MaxVersion = tls.VersionTLS12
	if _, _, err := handshake(t, c, old); err == nil {
		t.Error("min_version 1.3 spoke 1.2")
	}
	lax, err := (&Server{Cert: cert, Key: key}).Config(nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, serverErr, clientErr := handshake(t, lax, old); serverErr != nil || clientErr != nil {
		t.Errorf("TLS 1.2 by default: %v, %v", serverErr, clientErr)
	}
	old.MinVersion, old.MaxVersion = tls.VersionTLS10, tls.VersionTLS11
	if _, _, err := handshake(t, lax, old); err == nil {
		t.Error("spoke TLS 1.1")
	}
}

func TestClientAuth(t *testing.T) {
	ca, stranger := tlstest.NewAuthority(t, "test authority"), tlstest.NewAuthority(t, "stranger")
	cert, key := ca.Issue(t, "server", later())
	shown := map[string]*Client{"none": {CA: ca.File}}
	for name, from := range map[string]*tlstest.Authority{"good": ca, "wrong CA": stranger} {
		c, k := from.Issue(t, "client", later())
		shown[name] = &Client{CA: ca.File, Cert: c, Key: k}
	}
	c, k := ca.Issue(t, "expired", time.Now().Add(-time.Minute))
	shown["expired"] = &Client{CA: ca.File, Cert: c, Key: k}
	f := func(auth, shows string, want bool) {
		t.Helper()
		s := &Server{Cert: cert, Key: key, ClientAuth: auth}
		if auth != "none" {
			s.ClientCA = ca.File
		}
		server, err := s.Config(nil)
		if err != nil {
			t.Fatal(err)
		}
		client, err := shown[shows].Config()
		if err != nil {
			t.Fatal(err)
		}
		client.ServerName = "localhost"
		_, serverErr, clientErr := handshake(t, server, client)
		if got := serverErr == nil && clientErr == nil; got != want {
			t.Errorf("client_auth %q, certificate %s: let in %v, want %v (server %v, client %v)", auth, shows, got, want, serverErr, clientErr)
		}
	}
	for _, shows := range []string{"none", "good", "wrong CA", "expired"} {
		f("none", shows, true)
	}
	f("request", "none", true)
	f("request", "good", true)
	f("request", "expired", false)
	f("", "none", false) // with a client_ca, require is the default
	f("", "good", true)
	f("require", "none", false)
	f("require", "good", true)
	f("require", "expired", false)
	f("require", "wrong CA", false)
	if _, err := (&Server{Cert: cert, Key: key, ClientAuth: "require"}).Config(nil); err == nil {
		t.Error("client_auth require without client_ca was accepted")
	}
}

type options struct {
	TLS    *Server `yaml:"tls"`
	Client *Client `yaml:"client"`
}

func (o *options) Check(at *config.At) {
	if o.TLS != nil {
		o.TLS.Check(at.Key("tls"))
	}
	if o.Client != nil {
		o.Client.Check(at.Key("client"))
	}
}

func TestCheckSaysWhatIsWrong(t *testing.T) {
	dir := t.TempDir()
	ca := tlstest.NewAuthority(t, "test authority")
	write := func(name, text string) {
		t.Helper()
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	in := func(name string) string { return filepath.Join(dir, name) }
	ca.IssueTo(t, in("a.pem"), in("a.key"), "a", later())
	ca.IssueTo(t, in("b.pem"), in("b.key"), "b", later())
	ca.IssueTo(t, in("old.pem"), in("old.key"), "old", time.Date(2024, 5, 6, 7, 8, 0, 0, time.UTC))
	write("empty.pem", "")
	write("junk.pem", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n")
	write("locked.key", "-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----\n")
	f := func(section string, want ...string) {
		t.Helper()
		var ps config.Problems
		n, ps := config.ParseIn("runnel.yaml", dir, []byte(section))
		if len(ps) > 0 {
			t.Fatal(ps)
		}
		var o options
		config.Decode(n, &o, &ps)
		if len(ps) != len(want) {
			t.Errorf("%s\n got %v\nwant %d problems", section, ps, len(want))
			return
		}
		for i := range want {
			if got := strings.ReplaceAll(ps[i].Path+": "+ps[i].Text, dir+"/", ""); got != want[i] {
				t.Errorf("%s\n got %s\nwant %s", section, got, want[i])
			}
		}
	}
	if err := syscall.Mkfifo(in("pipe"), 0o600); err != nil {
		t.Fatal(err)
	}
	f("tls: {cert: a.pem, key: a.key}")
	f("tls: {cert: pipe, key: a.key}", `tls.cert: pipe: it is a pipe, not a regular file`)
	f("tls: {cert: a.pem, key: pipe}", `tls.key: pipe: it is a pipe, not a regular file`)
	f("tls: {cert: a.pem, key: a.key, client_ca: /dev/zero}", `tls.client_ca: /dev/zero: it is a device, not a regular file`)
	f("tls: {cert: a.pem, key: b.key}", `tls.key: b.key is not the key of a.pem`)
	f("tls: {cert: missing.pem, key: a.key}", `tls.cert: missing.pem: no such file or directory`)
	f("tls: {cert: a.pem, key: missing.key}", `tls.key: missing.key: no such file or directory`)
	f("tls: {cert: empty.pem, key: a.key}", `tls.cert: empty.pem holds no certificate in PEM form`)
	f("tls: {cert: junk.pem, key: a.key}", `tls.cert: junk.pem: x509: malformed certificate`)
	f("tls: {cert: a.pem, key: a.pem}", `tls.key: a.pem holds no private key in PEM form`)
	f("tls: {cert: a.pem, key: locked.key}", `tls.key: locked.key is encrypted; store it decrypted, with mode 0600`)
	f("tls: {cert: old.pem, key: old.key, client_ca: old.pem}") // dates are looked at elsewhere
	f("tls: {cert: a.pem, key: a.key, client_auth: require}",
		`tls.client_auth: "require" needs client_ca: the authorities whose certificates are good`)
	f("tls: {cert: a.pem, key: a.key, client_auth: none, client_ca: b.pem}",
		`tls.client_auth: "none" leaves client_ca unused; write require, or remove client_ca`)
	f("tls: {cert: a.pem, key: a.key, client_ca: empty.pem}", `tls.client_ca: empty.pem holds no certificate in PEM form`)
	f("client: {cert: a.pem}", `client.cert: needs its key as well; write key: FILE`)
	f("client: {key: a.key}", `client.key: needs its certificate as well; write cert: FILE`)
	f("client: {ca: missing}", `client.ca: missing: no such file or directory`)
	f("client: {ca: a.pem, insecure_skip_verify: true}",
		`client.insecure_skip_verify: takes any server, so ca and server_name mean nothing; remove it or them`)
	f("client: {ca: a.pem, server_name: x, cert: a.pem, key: a.key}")
}

func TestClientCertificateIsReadAgain(t *testing.T) {
	ca := tlstest.NewAuthority(t, "test authority")
	cert, key := ca.Issue(t, "first", later())
	c, err := (&Client{CA: ca.File, Cert: cert, Key: key}).Config()
	if err != nil {
		t.Fatal(err)
	}
	got, err := c.GetClientCertificate(nil)
	if err != nil || got.Leaf.Subject.CommonName != "first" {
		t.Errorf("got %v, %v", got.Leaf.Subject, err)
	}
	if _, err := (&Client{CA: "/nonexistent"}).Config(); err == nil {
		t.Error("a missing ca was accepted")
	}
	if _, err := (&Client{Cert: cert, Key: "/nonexistent"}).Config(); err == nil {
		t.Error("a missing key was accepted")
	}
}
