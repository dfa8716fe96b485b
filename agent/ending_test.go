package agent

import (
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/runnel-log/runnel/internal/tlsconf/tlstest"
)

// What ends soon is said once a day from 14 days before, until it has ended or its files were
// replaced; a reload says nothing twice.
func TestACertificateThatEndsIsSaidOnceADay(t *testing.T) {
	now := time.Now()
	ca := tlstest.NewAuthority(t, "agents")
	cert, key := ca.Issue(t, "central", now.Add(20*24*time.Hour))
	text := fmt.Sprintf("agent: {data_dir: d}\ninputs: {secure: {type: syslog, listen: ['tls://127.0.0.1:0'], tls: {cert: %q, key: %q}}}\n", cert, key)
	load := func() *Config {
		t.Helper()
		c, err := ParseConfig("runnel.yaml", []byte(text), filepath.Dir(cert), realKinds(nil))
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	var cs certificates
	c := load()
	f := func(at time.Time, want ...string) {
		t.Helper()
		var got []string
		cs.look(c, at, func(part, file, bad string) {
			got = append(got, fmt.Sprintf("%s %s: bad %t", part, filepath.Base(file), bad != ""))
		},
			func(part, file string, until time.Time) {
				got = append(got, fmt.Sprintf("%s %s: soon %s", part, filepath.Base(file), until.Sub(now).Round(time.Hour)))
			})
		if !slices.Equal(got, want) {
			t.Errorf("%s from now it says %q, want %q", at.Sub(now).Round(time.Minute), got, want)
		}
	}
	ending := func(want int) {
		t.Helper()
		if _, all := cs.status(); len(all) != want {
			t.Errorf("the status has %+v, want %d", all, want)
		}
	}
	soon, day := "input secure central.pem: soon 480h0m0s", 24*time.Hour
	f(now)
	ending(0)
	f(now.Add(6*day+time.Hour), soon)
	ending(1)
	f(now.Add(6*day + 2*time.Hour))
	c = load()
	f(now.Add(7 * day))
	f(now.Add(7*day+time.Hour), soon)
	f(now.Add(20*day-time.Minute), soon)
	f(now.Add(20*day+time.Minute), "input secure central.pem: bad true")
	ending(0)
	ca.IssueTo(t, cert, key, "central", now.Add(60*day))
	f(now.Add(20*day+time.Hour), "input secure central.pem: bad false")
	ending(0)
	var out strings.Builder
	cs.write(&out)
	if want := fmt.Sprintf("runnel_tls_certificate_expires_timestamp_seconds{part=\"input secure\",key=\"cert\",file=%q} %d\n", cert, now.Add(60*day).Unix()); !strings.Contains(out.String(), want) {
		t.Errorf("the metrics are\n%swant\n%s", out.String(), want)
	}
}

// An agent whose certificate ends soon says so as it starts, in the log and in the status.
func TestAnAgentSaysWhatEndsSoon(t *testing.T) {
	ca := tlstest.NewAuthority(t, "agents")
	cert, key := ca.Issue(t, "central", time.Now().Add(9*24*time.Hour))
	a := startAgent(t, shortDir(t), fmt.Sprintf("inputs: {secure: {type: syslog, listen: ['tls://127.0.0.1:0'], tls: {cert: %q, key: %q}}}\n", cert, key), newTaker())
	if got := strings.Count(a.logs.String(), `"level":"warn","used_by":"input secure"`); got != 1 || !strings.Contains(a.logs.String(), "a certificate ends soon") {
		t.Errorf("it is said %d times:\n%s", got, a.logs.String())
	}
	s := a.status()
	if len(s.Certificates) != 0 || len(s.Ending) != 1 || s.Ending[0].Part != "input secure" || s.Ending[0].File != cert || time.Until(s.Ending[0].Until) < 8*24*time.Hour {
		t.Errorf("the status has %+v and %+v", s.Certificates, s.Ending)
	}
	var out strings.Builder
	a.metrics.WritePrometheus(&out)
	if !strings.Contains(out.String(), `runnel_tls_certificate_expires_timestamp_seconds{part="input secure",key="cert"`) {
		t.Error("there is no metric of it")
	}
}
