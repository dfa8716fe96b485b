package tlsconf

import (
	"os"
	"strings"
	"testing"
	"time"

	"github.com/runnel-log/runnel/internal/tlsconf/tlstest"
)

// Each file is looked at as it is used: what cannot be used leaves what was, and what is read once stays.
func TestDatesAreOfWhatIsInUse(t *testing.T) {
	ca := tlstest.NewAuthority(t, "test authority")
	cert, key := ca.Issue(t, "own", later())
	options := &struct {
		TLS  *Server
		Out  Client
		none *Server
	}{TLS: &Server{Cert: cert, Key: key, ClientCA: ca.File}, Out: Client{CA: ca.File}}
	all := DatesOf(options)
	if len(all) != 3 || all[0].Key != "cert" || all[1].Key != "client_ca" || all[2].Key != "ca" || options.none != nil {
		t.Fatalf("got %v, want cert, client_ca and ca", all)
	}
	f := func(d *Dates, at time.Duration, want string) {
		t.Helper()
		err := d.Look(time.Now().Add(at))
		if want == "" && err != nil || want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
			t.Errorf("in %s got %v, want %q", at, err, want)
		}
	}
	for _, d := range all {
		f(d, 0, "")
		f(d, 3*time.Hour, d.File+" expired on ")
		f(d, -72*time.Hour, d.File+" is valid only from ")
	}
	f(all[2], 3*time.Hour, "renew it, and reload")

	moved := func(file string) { touch(t, file, time.Now().Add(time.Minute)) }
	ca.IssueTo(t, cert, key+".new", "own", time.Now().Add(-time.Minute)) // half of a pair
	moved(cert)
	f(all[0], 0, "")
	if err := os.Rename(key+".new", key); err != nil {
		t.Fatal(err)
	}
	moved(key)
	f(all[0], 0, "expired on")
	ca.IssueTo(t, cert, key, "own", later())
	f(all[0], 0, "")
	if err := os.Remove(cert); err != nil {
		t.Fatal(err)
	}
	f(all[0], 0, "")

	before := ReadOnce(options)
	ca.IssueTo(t, ca.File, key, "no authority", time.Now().Add(-time.Minute))
	moved(ca.File)
	f(all[1], 0, "expired on")
	f(all[2], 0, "")
	if ReadOnce(options) == before {
		t.Error("another authority changes nothing")
	}
}

// Of several authorities one in date is enough.
func TestOldAuthoritiesStayBesideTheirSuccessors(t *testing.T) {
	ca := tlstest.NewAuthority(t, "test authority")
	cert, key := ca.Issue(t, "old", time.Now().Add(-time.Minute))
	d := DatesOf(&struct{ TLS Client }{Client{CA: cert}})[0]
	if err := d.Look(time.Now()); err == nil {
		t.Error("all are old, and nothing is said")
	}
	old, err := os.ReadFile(cert)
	if err != nil {
		t.Fatal(err)
	}
	good, err := os.ReadFile(ca.File)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(key, append(old, good...), 0o600); err != nil {
		t.Fatal(err)
	}
	d = DatesOf(&struct{ TLS Client }{Client{CA: key}})[0]
	if err := d.Look(time.Now()); err != nil {
		t.Error(err)
	}
}
