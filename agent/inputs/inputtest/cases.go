package inputtest

import (
	"crypto/tls"
	"crypto/x509"
	"flag"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/txtar"

	"github.com/runnel-log/runnel/agent/inputs"
	"github.com/runnel-log/runnel/internal/listen"
)

// runCase runs one protocol case. Its parts:
//
//	-- config.yaml --   the input's section; $DIR is a directory of its own
//	-- in --            bytes as they stand: one sender, one connection or datagram
//	-- in.quoted --     a Go-quoted string a line: one write, or one datagram, each
//	-- in 1 --          the same to the second address of listen (0 is the first)
//	-- want --          a line a record, as Line writes it; sorted if there are several senders
//
// Each in is a sender of its own, in order, all at once connected. With the
// flag -update the want part is rewritten.
func runCase(t *testing.T, kind inputs.Kind, file string) {
	archive, err := txtar.ParseFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var conf string
	var want *txtar.File
	var senders []*txtar.File
	for i := range archive.Files {
		switch f := &archive.Files[i]; {
		case f.Name == "config.yaml":
			conf = string(f.Data)
		case f.Name == "want":
			want = f
		case strings.HasPrefix(f.Name, "in"):
			senders = append(senders, f)
		default:
			t.Fatalf("%s: unknown part %q", file, f.Name)
		}
	}
	if want == nil || conf == "" || len(senders) == 0 {
		t.Fatalf("%s: want the parts config.yaml, in and want", file)
	}
	dir, conf := Dir(t, conf)
	r := Start(t, kind, dir, conf, Setup{})
	conns := make([]net.Conn, len(senders))
	for i, s := range senders {
		_, index, _ := strings.Cut(s.Name, " ")
		n, _ := strconv.Atoi(index) // none: the first
		conns[i] = Dial(t, r.URL(n), dir)
		defer conns[i].Close()
	}
	for i, s := range senders {
		send(t, s, conns[i])
		conns[i].Close()
	}
	lines := strings.Split(strings.TrimSuffix(string(want.Data), "\n"), "\n")
	if len(want.Data) == 0 {
		lines = nil
	}
	if !update() {
		r.Sink.Wait(t, len(lines))
	}
	r.Stop(t) // everything sent has been read
	got := []string{}
	for _, v := range r.Sink.Records() {
		got = append(got, Line(v))
	}
	if len(senders) > 1 {
		slices.Sort(got)
	}
	if text := strings.Join(got, "\n"); text != strings.Join(lines, "\n") {
		if !update() {
			t.Errorf("got\n%s\nwant\n%s", text, strings.Join(lines, "\n"))
			return
		}
		want.Data = []byte(text + "\n")
		if err := os.WriteFile(file, txtar.Format(archive), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

// update reports whether the test binary was given -update, which several
// suites of one binary may define.
func update() bool {
	f := flag.Lookup("update")
	return f != nil && f.Value.String() == "true"
}

func send(t *testing.T, s *txtar.File, c net.Conn) {
	t.Helper()
	name, _, _ := strings.Cut(s.Name, " ")
	pieces := []string{string(s.Data)}
	if name == "in.quoted" {
		pieces = nil
		for line := range strings.Lines(string(s.Data)) {
			text, err := strconv.Unquote(strings.TrimSuffix(line, "\n"))
			if err != nil {
				t.Fatalf("part %s: %q: %v", s.Name, line, err)
			}
			pieces = append(pieces, text)
		}
	}
	for _, p := range pieces {
		if _, err := c.Write([]byte(p)); err != nil {
			t.Fatalf("part %s: %v", s.Name, err)
		}
	}
}

// Dial connects to a listener's URL. For tls it trusts ca.pem in dir.
func Dial(t testing.TB, url, dir string) net.Conn {
	t.Helper()
	c, err := TryDial(url, dir, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

// TryDial is Dial that may fail, showing a certificate if one is given.
func TryDial(url, dir string, show *tls.Certificate) (net.Conn, error) {
	a, err := listen.Parse(url)
	if err != nil {
		return nil, err
	}
	d := net.Dialer{Timeout: Patience}
	switch a.Scheme {
	case "unix", "unixgram":
		return d.Dial(a.Scheme, a.Path)
	case "tls":
		pem, err := os.ReadFile(filepath.Join(dir, "ca.pem"))
		if err != nil {
			return nil, err
		}
		pool := x509.NewCertPool()
		pool.AppendCertsFromPEM(pem)
		conf := &tls.Config{RootCAs: pool, ServerName: "localhost"}
		if show != nil {
			conf.Certificates = []tls.Certificate{*show}
		}
		return tls.DialWithDialer(&d, "tcp", target(a), conf)
	}
	c, err := d.Dial(a.Scheme, target(a))
	if err == nil {
		err = c.SetDeadline(time.Now().Add(3 * Patience))
	}
	return c, err
}

func target(a listen.Address) string { return net.JoinHostPort(a.Host, strconv.Itoa(a.Port)) }
