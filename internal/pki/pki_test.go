package pki

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/runnel-log/runnel/internal/tlsconf"
)

const year = 365 * 24 * time.Hour

func newAuthority(t *testing.T) *Authority {
	t.Helper()
	a, err := Init(filepath.Join(t.TempDir(), "pki"), "test", year)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func issue(t *testing.T, a *Authority, r Request) *Issued {
	t.Helper()
	if r.Valid == 0 {
		r.Valid = time.Hour
	}
	i, err := a.Issue(r)
	if err != nil {
		t.Fatal(err)
	}
	return i
}

// handshake connects one agent's forwarder with another's input, each with what
// its configuration would name, and returns what the server has seen.
func handshake(t *testing.T, at string, server, client *Issued, serverCA, clientCA string) (tls.ConnectionState, error) {
	t.Helper()
	in, err := (&tlsconf.Server{Cert: server.Cert, Key: server.Key, ClientCA: serverCA, MinVersion: "1.3"}).Config(nil)
	if err != nil {
		t.Fatal(err)
	}
	out, err := (&tlsconf.Client{Cert: client.Cert, Key: client.Key, CA: clientCA, ServerName: at, MinVersion: "1.3"}).Config()
	if err != nil {
		t.Fatal(err)
	}
	l, err := tls.Listen("tcp", "127.0.0.1:0", in)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	type seen struct {
		state tls.ConnectionState
		err   error
	}
	saw := make(chan seen, 1) // its one value
	go func() {
		c, err := l.Accept()
		if err != nil {
			saw <- seen{err: err}
			return
		}
		defer c.Close()
		_, err = io.ReadAll(c) // until the client closes; the handshake comes first
		saw <- seen{c.(*tls.Conn).ConnectionState(), err}
	}()
	raw, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer raw.Close()
	c := tls.Client(raw, out)
	clientErr := c.HandshakeContext(t.Context())
	_ = c.Close() // after a failure there is nothing to close properly
	s := <-saw
	return s.state, errors.Join(clientErr, s.err)
}

func TestBothEndsOfARelayTakeTheCertificates(t *testing.T) {
	a := newAuthority(t)
	host := issue(t, a, Request{Host: "host7.example.org"})
	cluster := issue(t, a, Request{Host: "10.0.0.7", Names: []string{"cluster.example.org", "::1"}, Relay: true})
	for _, at := range []string{"10.0.0.7", "cluster.example.org", "::1"} {
		state, err := handshake(t, at, cluster, host, a.CertFile(), a.CertFile())
		if err != nil || state.Version != tls.VersionTLS13 {
			t.Fatalf("%s: %v, version %x", at, err, state.Version)
		}
		if got := names(state.PeerCertificates[0]); got != "runnel://agent/host7.example.org" {
			t.Errorf("the host is %s", got)
		}
	}
	state, err := handshake(t, "host7.example.org", host, cluster, a.CertFile(), a.CertFile())
	if err != nil {
		t.Fatal(err)
	}
	if got := names(state.PeerCertificates[0]); got != AgentURI+"10.0.0.7 "+RelayURI+"10.0.0.7" {
		t.Errorf("the cluster's is %s", got)
	}
}

func names(c *x509.Certificate) string {
	var all []string
	for _, u := range c.URIs {
		all = append(all, u.String())
	}
	return strings.Join(all, " ")
}

func TestAStrangerIsRefused(t *testing.T) {
	a, b := newAuthority(t), newAuthority(t)
	host, cluster, stranger := issue(t, a, Request{Host: "host"}), issue(t, a, Request{Host: "cluster"}), issue(t, b, Request{Host: "host"})
	f := func(want, at string, server, client *Issued) {
		t.Helper()
		if _, err := handshake(t, at, server, client, a.CertFile(), a.CertFile()); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %s", err, want)
		}
	}
	f("unknown authority", "cluster", cluster, stranger)
	f("unknown authority", "host", stranger, host)
	f("not elsewhere", "elsewhere", cluster, host)
}

func TestNothingIsWrittenOver(t *testing.T) {
	a := newAuthority(t)
	i := issue(t, a, Request{Host: "host"})
	before := content(t, a.dir)
	for _, name := range []string{CertFile, KeyFile} {
		if _, err := Init(a.dir, "another", year); !errors.Is(err, ErrExists) {
			t.Errorf("got %v, want ErrExists", err)
		}
		if _, err := a.Issue(Request{Host: "host", Valid: time.Hour}); !errors.Is(err, ErrExists) {
			t.Errorf("got %v, want ErrExists", err)
		}
		if after := content(t, a.dir); !slices.Equal(after, before) {
			t.Errorf("the folder has changed: %q", after)
		}
		// One of the two is enough to keep both as they are.
		for _, gone := range []string{filepath.Join(a.dir, name), map[string]string{CertFile: i.Cert, KeyFile: i.Key}[name]} {
			if err := os.Rename(gone, gone+".away"); err != nil {
				t.Fatal(err)
			}
		}
		before = content(t, a.dir)
		if _, err := Init(a.dir, "another", year); !errors.Is(err, ErrExists) {
			t.Errorf("without %s: got %v, want ErrExists", name, err)
		}
		if _, err := a.Issue(Request{Host: "host", Valid: time.Hour}); !errors.Is(err, ErrExists) {
			t.Errorf("without its %s: got %v, want ErrExists", name, err)
		}
		if after := content(t, a.dir); !slices.Equal(after, before) {
			t.Errorf("the folder has changed: %q", after)
		}
		for _, gone := range []string{filepath.Join(a.dir, name), map[string]string{CertFile: i.Cert, KeyFile: i.Key}[name]} {
			if err := os.Rename(gone+".away", gone); err != nil {
				t.Fatal(err)
			}
		}
		before = content(t, a.dir)
	}
}

// content is each file of a folder: mode, name and text.
func content(t *testing.T, dir string) (all []string) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		text, err := os.ReadFile(filepath.Join(dir, e.Name()))
		if err != nil {
			t.Fatal(err)
		}
		info, err := e.Info()
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, info.Mode().String()+" "+e.Name()+" "+string(text))
	}
	return all
}

func TestKeysAreTheirOwnersAlone(t *testing.T) {
	a := newAuthority(t)
	i := issue(t, a, Request{Host: "host"})
	for file, want := range map[string]os.FileMode{i.Key: 0o600, filepath.Join(a.dir, KeyFile): 0o600, a.dir: 0o700 | os.ModeDir} {
		info, err := os.Stat(file)
		if err != nil || info.Mode() != want {
			t.Errorf("%s: %v, %v, want %v", file, info.Mode(), err, want)
		}
	}
}

func TestWhatCannotBeIssuedLeavesNothing(t *testing.T) {
	a := newAuthority(t)
	before := content(t, a.dir)
	f := func(want error, r Request) {
		t.Helper()
		if r.Valid == 0 {
			r.Valid = time.Hour
		}
		if _, err := a.Issue(r); !errors.Is(err, want) {
			t.Errorf("%+v: got %v, want %v", r, err, want)
		}
		if after := content(t, a.dir); !slices.Equal(after, before) {
			t.Errorf("%+v: the folder has changed", r)
		}
	}
	for _, host := range []string{"", ".", "a..b", "../up", "a/b", "*.example.org", "host name", "-a", "a-", "10.0.0.999", "10.0.0.7/24", "münchen", "a\n", strings.Repeat("a", 64), strings.Repeat("abcdefg.", 32) + "org"} {
		f(ErrName, Request{Host: host})
		f(ErrName, Request{Host: "host", Names: []string{host}})
	}
	f(ErrLong, Request{Host: "host", Valid: year + 2*time.Second})
	f(ErrExists, Request{Host: "ca"})
	short, err := Init(filepath.Join(t.TempDir(), "short"), "over", -time.Second)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := short.Issue(Request{Host: "host", Valid: time.Hour}); !errors.Is(err, ErrLong) || !strings.Contains(err.Error(), "make another") {
		t.Errorf("an authority that is over: %v", err)
	}
}

func TestALongNameIsInTheNamesAlone(t *testing.T) {
	a := newAuthority(t)
	long := strings.Repeat("abcdefg.", 20) + "org"
	i := issue(t, a, Request{Host: long})
	if state, err := handshake(t, long, i, i, a.CertFile(), a.CertFile()); err != nil || state.PeerCertificates[0].Subject.CommonName != "" {
		t.Errorf("got %v, %v", state.PeerCertificates, err)
	}
}

func TestOpenSaysWhatIsWrong(t *testing.T) {
	f := func(want string, harm func(dir string) error) {
		t.Helper()
		dir := newAuthority(t).dir
		if err := harm(dir); err != nil {
			t.Fatal(err)
		}
		if _, err := Open(dir); err == nil || !strings.Contains(strings.ReplaceAll(err.Error(), dir, "DIR"), want) {
			t.Errorf("got %v, want %s", err, want)
		}
	}
	f("no authority in DIR", func(dir string) error { return os.RemoveAll(dir) })
	f("DIR/ca.key: no such file", func(dir string) error { return os.Remove(filepath.Join(dir, KeyFile)) })
	f("DIR/ca.key has no PRIVATE KEY in PEM form", func(dir string) error { return os.WriteFile(filepath.Join(dir, KeyFile), []byte("x"), 0o600) })
	f("DIR/ca.pem has no CERTIFICATE in PEM form", func(dir string) error { return os.WriteFile(filepath.Join(dir, CertFile), nil, 0o600) })
	f("DIR/ca.key is not the key of DIR/ca.pem", func(dir string) error {
		return os.Rename(filepath.Join(newAuthority(t).dir, KeyFile), filepath.Join(dir, KeyFile))
	})
	f("is no authority's certificate", func(dir string) error {
		a, err := Open(dir)
		if err != nil {
			return err
		}
		i := issue(t, a, Request{Host: "host"})
		return errors.Join(os.Rename(i.Cert, filepath.Join(dir, CertFile)), os.Rename(i.Key, filepath.Join(dir, KeyFile)))
	})
}
