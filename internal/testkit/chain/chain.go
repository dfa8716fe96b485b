package chain

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"time"

	"github.com/runnel-log/runnel/internal/pki"
)

// Options are what a chain is made of.
type Options struct {
	Runnel string // the program
	Dir    string // a folder of the chain's own, with a short name
	Seed   uint64 // of the proxies
	TLS    bool   // the tiers speak TLS; else plain TCP, and the proxies know their frames
	Two    bool   // two clusters, and the host goes to the other when one fails
	End    bool   // records are kept until the last tier has them
	Inputs string // the host's inputs and pipelines; empty: Chain.Keyed and Chain.Lines
	Said   func(format string, args ...any)
}

// Chain is a host, a cluster or two and a central tier, with a proxy on each way.
type Chain struct {
	Host, Central *Tier
	Clusters      []*Tier
	Proxies       []*Proxy // below the central tier for each cluster, then below each cluster
	Keyed, Lines  string   // where the host takes HTTP with keys into the stream keyed, and RELP into lines

	options  Options
	hostText string // its configuration
}

// Tiers are all of them, from below.
func (c *Chain) Tiers() []*Tier {
	return slices.Concat([]*Tier{c.Host}, c.Clusters, []*Tier{c.Central})
}

// Passing are those that have somebody above them, from below.
func (c *Chain) Passing() []*Tier { return c.Tiers()[:1+len(c.Clusters)] }

// Calm has the proxies do no harm any more.
func (c *Chain) Calm() {
	for _, p := range c.Proxies {
		p.Calm()
	}
}

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
forwarders: {above: {type: relay, from: ["*"], to: ['%s'], connect_timeout: 2s, timeout: 3s%s%s}}
`
	// Nothing is taken by retention: what is lost is lost on its way.
	streamsConfig = `
streams: {"*": {max_age: 0s, max_size: 0, on_full: push_back}}
`
)

// New makes a chain; nothing runs yet but the proxies.
func New(o Options) (*Chain, error) {
	c := &Chain{options: o, Keyed: "http+unix://" + o.Dir + "/host/http", Lines: "relp+unix://" + o.Dir + "/host/relp"}
	b := builder{Chain: c, scheme: "tcp://", serve: map[string]string{}, speak: map[string]string{}}
	if o.TLS {
		b.scheme = "tls://"
		b.note(certify(o.Dir, b.serve, b.speak))
	}
	names := []string{"cluster"}
	if o.Two {
		names = append(names, "other")
	}
	var central string
	c.Central, central = b.upper("central", "")
	var ways []string
	for _, name := range names {
		tier, at := b.upper(name, b.forwarder(name, b.proxy(central)))
		c.Clusters = append(c.Clusters, tier)
		ways = append(ways, at)
	}
	for i, at := range ways {
		ways[i] = b.proxy(at)
	}
	if o.Inputs == "" {
		o.Inputs = hostConfig
	}
	c.hostText = o.Inputs + b.forwarder("host", ways...) + streamsConfig
	c.Host = b.tier("host", c.hostText)
	return c, b.err
}

// builder puts a chain together. After the first error it does nothing of use.
type builder struct {
	*Chain
	scheme       string
	serve, speak map[string]string // the tls keys of inputs and forwarders, by tier
	err          error
}

func (b *builder) note(err error) { b.err = errors.Join(b.err, err) }

// upper makes a tier that takes what others bring, and says where.
func (b *builder) upper(name, forwarder string) (t *Tier, at string) {
	at, err := freeAddress()
	b.note(err)
	return b.tier(name, fmt.Sprintf(inputConfig, b.scheme+at, b.serve[name])+forwarder+streamsConfig), at
}

func (b *builder) tier(name, config string) *Tier {
	t, err := NewTier(b.options.Runnel, filepath.Join(b.options.Dir, name), name, config)
	b.note(err)
	return t
}

// proxy makes a proxy for what goes to an address, and returns its own.
func (b *builder) proxy(to string) string {
	p, err := NewProxy(to, b.options.Seed+uint64(len(b.Proxies)), !b.options.TLS, b.options.Said)
	if err != nil {
		b.note(err)
		return ""
	}
	b.Proxies = append(b.Proxies, p)
	return p.Address()
}

// forwarder is the section of one that passes on to any of several addresses.
func (b *builder) forwarder(name string, to ...string) string {
	until := ""
	if b.options.End {
		until = ", trim_on: end"
	}
	return fmt.Sprintf(forwarderConfig, b.scheme+strings.Join(to, "', '"+b.scheme), until, b.speak[name])
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
	for _, name := range []string{"host", "cluster", "other", "central"} {
		i, err := a.Issue(pki.Request{Host: name, Names: []string{"127.0.0.1"}, Relay: name == "cluster" || name == "other", Valid: time.Hour * 23})
		if err != nil {
			return err
		}
		serve[name] = fmt.Sprintf(", tls: {cert: %s, key: %s, client_ca: %s}", i.Cert, i.Key, a.CertFile())
		speak[name] = fmt.Sprintf(", tls: {cert: %s, key: %s, ca: %s}", i.Cert, i.Key, a.CertFile())
	}
	return nil
}

// freeAddress is on loopback, below the ports that the kernel gives out, so that a tier
// that was killed finds it free. Where all of 127.0.0.0/8 is loopback it is one that nobody
// else will come upon meanwhile.
func freeAddress() (string, error) {
	for range 100 {
		at := fmt.Sprintf("127.0.0.1:%d", 20_000+rand.IntN(12_000))
		if runtime.GOOS == "linux" {
			at = fmt.Sprintf("127.%d.%d.%d:%d", 1+rand.IntN(254), rand.IntN(256), 1+rand.IntN(254), 20_000+rand.IntN(12_000))
		}
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
	var err error
	for _, p := range c.Proxies {
		err = errors.Join(err, p.Close())
	}
	return err
}
