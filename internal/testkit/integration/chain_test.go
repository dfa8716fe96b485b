//go:build integration

package integration

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/runnel-log/runnel/internal/testkit/chain"
)

// containerChain is a chain of agents, TLS and all, whose lowest has containers write to it
// over TCP and over a unix socket. Both sockets stay when it is restarted.
type containerChain struct {
	*chain.Chain
	*docker
	addresses map[string]string // for the syslog driver, by transport
	lines     int               // of each container
	running   []chan error      // of containers; each gets one value
	names     []string          // of all that were started
	kills     int
	restarts  int // of the lowest agent, while lines were to come
}

func startContainerChain(t *testing.T, lines int) *containerChain {
	t.Helper()
	dir, err := os.MkdirTemp("", "chain-") // a socket's path must be short
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	stream, err := net.ListenTCP("tcp", &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	local, err := net.ListenUnix("unix", &net.UnixAddr{Name: dir + "/docker", Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	c := &containerChain{lines: lines, addresses: map[string]string{"tcp": "tcp://" + stream.Addr().String(), "unix": "unix://" + local.Addr().String()}}
	seed := rand.Uint64()
	t.Logf("seed of the proxies: %d", seed)
	c.Chain, err = chain.New(chain.Options{Runnel: binary, Dir: dir, Seed: seed, TLS: true, Said: func(string, ...any) {}, Inputs: fmt.Sprintf(`
inputs: {docker: {type: syslog, listen: [%q, %q]}}
pipelines: {docker: {from: [docker], stream: containers}}
`, c.addresses["tcp"], c.addresses["unix"])})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := c.Chain.Close(); err != nil {
			t.Error(err)
		}
		for _, each := range c.Tiers() {
			if t.Failed() {
				t.Logf("%s has logged:\n%s", each.Name, each.Log())
			}
		}
	})
	for _, l := range []interface{ File() (*os.File, error) }{stream, local} {
		f, err := l.File()
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { f.Close() })
		c.Host.Sockets = append(c.Host.Sockets, f)
	}
	stream.Close()
	local.SetUnlinkOnClose(false)
	local.Close()
	for _, each := range c.Tiers() {
		c.start(t, each)
	}
	c.docker = startDocker(t)
	return c
}

// start starts a tier, and waits until it is ready.
func (c *containerChain) start(t *testing.T, tier *chain.Tier) {
	t.Helper()
	if err := tier.Start(); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	if err := tier.Ready(ctx); err != nil {
		t.Fatal(err)
	}
}

// write has containers begin to write, one over each of the transports.
func (c *containerChain) write(t *testing.T, transports ...string) {
	for _, transport := range transports {
		name, dir, done := fmt.Sprintf("%s-%d", transport, len(c.names)), t.TempDir(), make(chan error, 1)
		c.names, c.running = append(c.names, name), append(c.running, done)
		ctx, cancel := context.WithCancel(t.Context())
		t.Cleanup(cancel)
		go func() {
			_, err := c.try(ctx, dir, container{name: name, args: []string{"lines", fmt.Sprint(c.lines), fmt.Sprint(containerRate)}, lasts: time.Duration(c.lines/containerRate) * time.Second,
				options: map[string]string{"syslog-address": c.addresses[transport], "syslog-format": "rfc5424micro", "tag": "{{.Name}}"}})
			done <- err
		}()
	}
}

// wait waits until all containers have ended, and the host has each of their lines.
func (c *containerChain) wait(t *testing.T) {
	t.Helper()
	for _, done := range c.running {
		if err := <-done; err != nil {
			t.Fatal(err)
		}
	}
	c.running = nil
	all := len(c.names) * c.lines
	eventually(t, fmt.Sprintf("%d lines at the host", all), func() bool { return c.has(c.Host) >= all })
}

// has is how many records a tier has; 0 if it does not say.
func (c *containerChain) has(tier *chain.Tier) (n int) {
	var l ledger
	if tier.Ask("/api/v1/audit", &l) == nil {
		for _, s := range l.Streams {
			n += int(s.Here)
		}
	}
	return n
}

// kill kills the upper tiers in turn, so often, each time when the last one has got more.
func (c *containerChain) kill(t *testing.T, times int) {
	t.Helper()
	for range times {
		all, had := len(c.names)*c.lines, c.has(c.Central)
		eventually(t, "records at the last tier", func() bool {
			n := c.has(c.Central)
			return n > had || n >= all
		})
		victim := []*chain.Tier{c.Clusters[0], c.Central}[c.kills%2]
		c.kills++
		victim.Kill()
		c.start(t, victim)
	}
}

// restartHost has the lowest agent end properly and start again, when it has got more. It
// reports whether there were lines to come then.
func (c *containerChain) restartHost(t *testing.T) bool {
	t.Helper()
	all, had := len(c.names)*c.lines, c.has(c.Host)
	eventually(t, "more lines at the host", func() bool {
		n := c.has(c.Host)
		return n > had || n >= all
	})
	if err := c.Host.Stop(); err != nil {
		t.Fatalf("%v\n%s", err, c.Host.Log())
	}
	c.start(t, c.Host)
	return c.has(c.Host) < all
}

// TestContainersThroughAChain has containers write to the lowest of three agents while
// the upper two are killed, and the network between them does harm. The lowest is
// restarted while they write, and killed when they do not, since syslog has no
// acknowledgement. Every line is at the last tier once and in order.
func TestContainersThroughAChain(t *testing.T) {
	c := startContainerChain(t, containerLines)
	for range containerRounds {
		c.write(t, "tcp", "unix", "unix")
		c.kill(t, containerKills)
		c.wait(t)
		c.Host.Kill()
		c.start(t, c.Host)

		for enough := c.restarts + 2; c.restarts < enough; c.wait(t) {
			c.write(t, "unix", "unix") // whose lines wait in the kernel; over TCP those on their way would be lost
			for c.restartHost(t) {
				c.restarts++
				c.kill(t, 1)
			}
		}
	}
	c.Calm()
	c.rest(t)
	c.judge(t)
}

// rest waits until nothing is to be passed on any more.
func (c *containerChain) rest(t *testing.T) {
	t.Helper()
	for _, tier := range c.Passing() {
		eventually(t, tier.Name+" to have passed everything on", func() bool {
			var l ledger
			if tier.Ask("/api/v1/audit", &l) != nil {
				return false
			}
			for _, f := range l.Forwarders {
				if f.Pending > 0 {
					return false
				}
			}
			return len(l.Forwarders) > 0
		})
	}
}

// judge holds the ledgers, the stores and the lines of each container against what
// they should be.
func (c *containerChain) judge(t *testing.T) {
	t.Helper()
	for _, tier := range c.Tiers() {
		var l ledger
		if err := tier.Ask("/api/v1/audit", &l); err != nil || l.Unexplained != 0 {
			t.Errorf("%s: %v, the ledger says %+v", tier.Name, err, l)
		}
		if err := tier.Stop(); err != nil {
			t.Error(err)
		}
		if said, err := tier.Complaints(); err != nil || len(said) > 0 {
			t.Errorf("%v, %s complains: %s", err, tier.Name, strings.Join(said, "\n"))
		}
	}
	host, err := chain.Read(t.Context(), c.Host)
	if err != nil {
		t.Fatal(err)
	}
	for _, tier := range []*chain.Tier{c.Clusters[0], c.Central} {
		got, err := chain.Read(t.Context(), tier)
		if err != nil {
			t.Fatal(err)
		}
		if d := got.Compare(host); d != (chain.Difference{}) {
			t.Errorf("%s: %+v", tier.Name, d)
		}
	}
	messages := map[string][]string{}
	if err := c.Central.Export(t.Context(), func(r chain.Stored) error {
		messages[r.App] = append(messages[r.App], " - "+r.Message)
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	if len(messages) != len(c.names) {
		t.Errorf("lines of %d containers are at the last tier, want those of %d", len(messages), len(c.names))
	}
	for _, name := range c.names {
		checkNumbered(t, name, messages[name], c.lines)
	}
	t.Logf("%d lines of %d containers; %d kills above, %d restarts of the host meanwhile", host.Len(), len(c.names), c.kills, c.restarts)
	for _, p := range c.Proxies {
		said, err := p.Done()
		t.Logf("proxy: %s, %v", said, err)
	}
}
