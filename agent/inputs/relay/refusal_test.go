package relay

import (
	"crypto/x509"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/runnel-log/runnel/agent/inputs/inputtest"
	"github.com/runnel-log/runnel/internal/relaywire"
	"github.com/runnel-log/runnel/internal/tiers"
)

// Who would close a circle is told the way round.
func TestACircleIsNamed(t *testing.T) {
	all := tiers.New(relaywire.Hop{Agent: inputtest.AgentID, Name: "cluster"})
	all.Told("up", []relaywire.Hop{{Agent: relaywire.Agent{99}, Name: "central"}, {Agent: host.Agent, Name: "vm"}})
	r := inputtest.Start(t, Kind, "", plain, inputtest.Setup{Tiers: all})
	c := newClient(t, inputtest.Dial(t, r.URL(0), ""), host)
	c.say(&relaywire.Hello{Writer: host, Versions: [2]uint16{1, 1}, Name: "vm"})
	if got, want := c.refused(relaywire.CodeLoop), `"vm" → "cluster" → "central" → "vm"; have one of them send elsewhere`; !strings.Contains(got, want) {
		t.Errorf("got %s, want %s in it", got, want)
	}
}

// The log of an input says whose certificate it was that it did not take.
func TestARefusedCertificateIsNamed(t *testing.T) {
	a := newAgents(t)
	r := inputtest.Start(t, Kind, a.dir, a.section, inputtest.Setup{})
	late := a.ca.Pair(t, func(c *x509.Certificate) {
		c.NotAfter = time.Now().Add(-time.Minute)
		c.URIs = []*url.URL{{Scheme: "runnel", Host: "agent", Path: "/late"}}
	})
	if conn, err := inputtest.TryDial(r.URL(0), a.dir, late); err == nil {
		t.Cleanup(func() { conn.Close() })
	}
	said := func() string { return r.Input.(*Input).Status()[0].LastError }
	for until := time.Now().Add(inputtest.Patience); said() == ""; {
		if <-time.After(time.Millisecond); time.Now().After(until) {
			t.Fatal("nothing is said of the refusal")
		}
	}
	for _, want := range []string{"expired", `"client, runnel://agent/late", issued by "agents"`} {
		if !strings.Contains(said(), want) {
			t.Errorf("got %s, want %s in it", said(), want)
		}
	}
}
