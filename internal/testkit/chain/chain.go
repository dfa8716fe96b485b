package chain

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"path/filepath"
	"time"

	"github.com/runnel-log/runnel/internal/pki"
)

// Options are what a chain is made of.
type Options struct {
	Runnel string // the program
	Dir    string // a folder of the chain's own, with a short name
	Seed   uint64 // of the proxies
	TLS    bool   // the tiers speak TLS; else plain TCP, and the proxies know their frames
	Said   func(format string, args ...any)
}

// Chain is a host, a cluster and a central tier, with a proxy between each two.
type Chain struct {
	Host, Cluster, Central *Tier
	Lower, Upper           *Proxy // below the cluster, below the central tier
	Keyed, Lines           string // where the host takes HTTP with keys into the stream keyed, and RELP into lines

	options  Options
	hostText string // its configuration
}

// Tiers are all three, from below.
func (c *Chain) Tiers() []*Tier { return []*Tier{c.Host, c.Cluster, c.Central} }

const (
	hostConfig = `
inputs:
  keyed: {type: http, listen: 'unix://$DIR/http'}
  lines: {type: relp, listen: 'unix://$DIR/relp'}
pipelines:
  keyed: {from: [keyed], stream: keyed}
  lines: {from: [lines], stream: lines}
`
	inputConfig = `
inputs: {below: {type: relay, listen: '%s'%s}}
`
	// What is dropped on its way is waited for; the defaults are made for longer lines.
	forwarderConfig = `
forwarders: {above: {type: relay, from: ["*"], to: ['%s'], connect_timeout: 2s, timeout: 3s%s}}
`
	// Nothing is taken by retention: what is lost is lost on its way.
	streamsConfig = `
streams: {"*": {max_age: 0s, max_size: 0, on_full: push_back}}
`
)

// New makes a chain; nothing runs yet but the proxies.
func New(o Options) (*Chain, error) {
	c := &Chain{options: o, Keyed: "http+unix://" + o.Dir + "/host/http", Lines: "relp+unix://" + o.Dir + "/host/relp"}
	scheme, serve, speak := "tcp://", map[string]string{}, map[string]string{}
	if o.TLS {
		scheme = "tls://"
		if err := certify(o.Dir, serve, speak); err != nil {
			return nil, err
		}
	}
	var ports [2]string
	for i := range ports {
		address, err := freeAddress()
		if err != nil {
			return nil, err
		}
		ports[i] = address
	}
	var err [5]error
	c.Lower, err[0] = NewProxy(ports[0], o.Seed, !o.TLS, o.Said)
	c.Upper, err[1] = NewProxy(ports[1], ^o.Seed, !o.TLS, o.Said)
	if err := errors.Join(err[:]...); err != nil {
		return nil, err
	}
	input := func(name, at string) string { return fmt.Sprintf(inputConfig, scheme+at, serve[name]) }
	forwarder := func(name string, to *Proxy) string {
		return fmt.Sprintf(forwarderConfig, scheme+to.Address(), speak[name])
	}
	tier := func(name, config string) (*Tier, error) {
		return NewTier(o.Runnel, filepath.Join(o.Dir, name), name, config+streamsConfig)
	}
	c.hostText = hostConfig + forwarder("host", c.Lower) + streamsConfig
	c.Host, err[2] = NewTier(o.Runnel, filepath.Join(o.Dir, "host"), "host", c.hostText)
	c.Cluster, err[3] = tier("cluster", input("cluster", ports[0])+forwarder("cluster", c.Upper))
	c.Central, err[4] = tier("central", input("central", ports[1]))
	return c, errors.Join(err[:]...)
}

// Clone copies the host, which must not run, disk and all. The copy has sockets of the
// same names in a folder of its own, called clone, and the same tier above it.
func (c *Chain) Clone() (*Tier, error) {
	t, err := NewTier(c.options.Runnel, filepath.Join(c.options.Dir, "clone"), "host", c.hostText)
	if err != nil {
		return nil, err
	}
	return t, copyFolder(c.Host.data(), t.data())
}

// certify makes an authority and each tier's certificate, as runnel pki does.
func certify(dir string, serve, speak map[string]string) error {
	folder := filepath.Join(dir, "pki")
	a, err := pki.Init(folder, "chain", 24*time.Hour)
	if err != nil {
		return err
	}
	for _, name := range []string{"host", "cluster", "central"} {
		i, err := a.Issue(pki.Request{Host: name, Names: []string{"127.0.0.1"}, Relay: name == "cluster", Valid: time.Hour * 23})
		if err != nil {
			return err
		}
		serve[name] = fmt.Sprintf(", tls: {cert: %s, key: %s, client_ca: %s}", i.Cert, i.Key, a.CertFile())
		speak[name] = fmt.Sprintf(", tls: {cert: %s, key: %s, ca: %s}", i.Cert, i.Key, a.CertFile())
	}
	return nil
}

// freeAddress is on loopback, below the ports that the kernel gives out, so that a tier
// that was killed finds it free.
func freeAddress() (string, error) {
	for range 100 {
		at := fmt.Sprintf("127.0.0.1:%d", 20_000+rand.IntN(12_000))
		if l, err := net.Listen("tcp", at); err == nil {
			return at, l.Close()
		}
	}
	return "", errors.New("no port of a hundred is free")
}

// Close ends all that runs.
func (c *Chain) Close() error {
	for _, t := range c.Tiers() {
		if t.cmd != nil {
			t.Kill()
		}
	}
	return errors.Join(c.Lower.Close(), c.Upper.Close())
}
