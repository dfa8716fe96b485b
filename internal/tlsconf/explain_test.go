package tlsconf

import (
	"io"
	"strings"
	"testing"
	"time"

	"github.com/runnel-log/runnel/internal/config"
	"github.com/runnel-log/runnel/internal/tlsconf/tlstest"
)

// Each end says which certificate it is that was refused.
func TestRefusedCertificatesAreNamed(t *testing.T) {
	ca, other := tlstest.NewAuthority(t, "test authority"), tlstest.NewAuthority(t, "another authority")
	cert, key := ca.Issue(t, "server", later())
	server, err := (&Server{Cert: cert, Key: key, ClientCA: ca.File}).Config(nil)
	if err != nil {
		t.Fatal(err)
	}
	f := func(by *tlstest.Authority, name string, until time.Time, serverSays, clientSays []string) {
		t.Helper()
		own := &Client{CA: ca.File, ServerName: "localhost"}
		if by != nil {
			own.Cert, own.Key = by.Issue(t, name, until)
		}
		config, err := own.Config()
		if err != nil {
			t.Fatal(err)
		}
		_, serverErr, clientErr := handshake(t, server, config)
		if serverErr == nil || clientErr == nil {
			t.Fatalf("%s: errors %v and %v, want both", name, serverErr, clientErr)
		}
		f := func(got string, want []string) {
			t.Helper()
			for _, w := range want {
				if !strings.Contains(got, w) {
					t.Errorf("%s: got %s, want %q in it", name, got, w)
				}
			}
		}
		f(OfPeer(serverErr).Error(), serverSays)
		f(OfOwn(clientErr, own.Cert, config).Error(), clientSays)
	}
	f(ca, "old", time.Now().Add(-time.Minute), []string{`"old, localhost", issued by "test authority"`, "expired"},
		[]string{"expired certificate: the receiver says so of this agent's own certificate: ", "old.pem expired on ", "renew it"})
	f(other, "stranger", later(), []string{`"stranger, localhost", issued by "another authority"`},
		[]string{"this agent's own certificate, ", `stranger.pem, of "stranger, localhost", issued by "another authority", valid until `, "client_ca"})
	f(nil, "nobody", later(), nil, []string{"which shows none; write tls.cert"})
	if OfOwn(io.EOF, "", nil) != io.EOF || OfServed(io.EOF, "", nil) != io.EOF || OfPeer(io.EOF) != io.EOF {
		t.Error("another error is changed")
	}
}

// The server's own certificate is named at both ends too: at the client as what it was shown, at the server as the file.
func TestAServersRefusedCertificateIsNamed(t *testing.T) {
	ca, other := tlstest.NewAuthority(t, "test authority"), tlstest.NewAuthority(t, "another authority")
	f := func(by *tlstest.Authority, until time.Time, serverSays, clientSays string) {
		t.Helper()
		cert, key := by.Issue(t, "central", until)
		server, err := (&Server{Cert: cert, Key: key}).Config(nil)
		if err != nil {
			t.Fatal(err)
		}
		client, err := (&Client{CA: ca.File, ServerName: "localhost"}).Config()
		if err != nil {
			t.Fatal(err)
		}
		_, serverErr, clientErr := handshake(t, server, client)
		if serverErr == nil || clientErr == nil {
			t.Fatalf("errors %v and %v, want both", serverErr, clientErr)
		}
		if got := OfPeer(OfServed(serverErr, cert, server)).Error(); !strings.Contains(got, "the sender says so of this agent's own certificate") || !strings.Contains(got, cert+serverSays) {
			t.Errorf("the server says %s", got)
		}
		if got := OfPeer(OfOwn(clientErr, "", client)).Error(); !strings.Contains(got, clientSays) || strings.Contains(got, "this agent") {
			t.Errorf("the client says %s", got)
		}
	}
	f(ca, time.Now().Add(-time.Minute), " expired on ", `it showed the certificate of "central, localhost", issued by "test authority"`)
	f(other, later(), `, of "central, localhost", issued by "another authority", valid until `, `it showed the certificate of "central, localhost", issued by "another authority"`)
}

// Where a file is not there, its name is shown as it was looked for; what may be a secret that
// stands in place of a name is not.
func TestMissingFilesAreNamedAsTheyWereLookedFor(t *testing.T) {
	dir := t.TempDir()
	f := func(value, ca, want string) {
		t.Helper()
		t.Setenv("RUNNEL_TEST_FOLDER", value)
		n, ps := config.ParseIn("runnel.yaml", dir, []byte("ca: '"+ca+"'"))
		if len(ps) > 0 {
			t.Fatal(ps)
		}
		config.Decode(n, &Client{}, &ps) // and checks
		if len(ps) != 1 || ps[0].Path != "ca" || ps[0].Text != want {
			t.Errorf("got %v, want %s", ps, want)
		}
	}
	f(dir+"/certificates", "${RUNNEL_TEST_FOLDER}/ca.pem", dir+"/certificates/ca.pem: no such file or directory")
	f("canary-token", "${RUNNEL_TEST_FOLDER}", dir+"/${RUNNEL_TEST_FOLDER}: no such file or directory")
	f("/not\na file", "${RUNNEL_TEST_FOLDER}", "${RUNNEL_TEST_FOLDER}: no such file or directory")
}
