package syslog

import (
	_ "embed" // sample.yaml
	"net/netip"
	"time"

	"github.com/runnel-log/runnel/agent/inputs"
	"github.com/runnel-log/runnel/internal/config"
	"github.com/runnel-log/runnel/internal/listen"
	"github.com/runnel-log/runnel/internal/syslog"
	"github.com/runnel-log/runnel/internal/tlsconf"
)

//go:embed sample.yaml
var sample string

// Kind is the syslog input as cmd/runnel/parts.go lists it.
var Kind = inputs.Kind{
	Name:    "syslog",
	Sample:  sample,
	Options: func() config.Options { return newOptions() },
	New: func(options config.Options, setup inputs.Setup) (inputs.Input, error) {
		return New(options.(*Options), setup)
	},
}

// Bounds of max_message: shorter would cut what every receiver must take
// (RFC 5424 §6.1), longer could not be stored with its header.
const (
	minMessage = 480
	maxMessage = 16 << 20
)

// Options are the syslog input's keys in the config, as sample.yaml explains them.
type Options struct {
	Listen         []string        `yaml:"listen" required:"true"`
	Format         string          `yaml:"format" oneof:"auto rfc5424 rfc3164"`
	MaxMessage     config.Bytes    `yaml:"max_message"`
	Timezone       string          `yaml:"timezone"`
	Allow          []string        `yaml:"allow"`
	MaxConnections int             `yaml:"max_connections"`
	Rate           Rate            `yaml:"rate"`
	TLS            *tlsconf.Server `yaml:"tls"`

	// now is the clock of tests; nil is time.Now.
	now func() time.Time
}

func newOptions() *Options {
	return &Options{Format: "auto", MaxMessage: 1 << 20, Timezone: "local", MaxConnections: 4096, Rate: Rate{Per: time.Second}}
}

// Check reports addresses that do not parse, clash or lack their tls section,
// networks that are none, and sizes out of bounds.
func (o *Options) Check(at *config.At) {
	o.checkListen(at)
	if o.MaxMessage < minMessage || o.MaxMessage > maxMessage {
		at.Key("max_message").Problemf("%s is out of bounds; write a size from %d to 16MiB", o.MaxMessage, minMessage)
	}
	if _, err := location(o.Timezone); err != nil {
		at.Key("timezone").Problemf("%q is not a zone this host knows; write local, UTC or a name such as Europe/Paris", o.Timezone)
	}
	for i, network := range o.Allow {
		if _, err := parseNetwork(network); err != nil {
			at.Key("allow").Index(i).Problemf("%q is not a network; write one such as 10.0.0.0/8 or 192.0.2.7", network)
		}
	}
	if o.MaxConnections < 1 || o.MaxConnections > 1<<20 {
		at.Key("max_connections").Problemf("%d is out of bounds; write a number from 1 to %d", o.MaxConnections, 1<<20)
	}
	o.Rate.check(at.Key("rate"))
}

func (o *Options) checkListen(at *config.At) {
	if len(o.Listen) == 0 {
		at.Key("listen").Problemf("is empty; write an address such as udp://127.0.0.1:514")
	}
	seen, needTLS := map[string]bool{}, false
	for i, url := range o.Listen {
		where := at.Key("listen").Index(i)
		a, err := listen.Parse(url)
		switch {
		case err != nil:
			where.Problemf("%v", err)
			continue
		case seen[a.Key()]:
			where.Problemf("%q is there twice; remove one", url)
		case a.Scheme == "tls" && o.TLS == nil:
			where.Problemf("%q needs a certificate; write tls: {cert: FILE, key: FILE} beside listen", url)
		}
		seen[a.Key()] = true
		needTLS = needTLS || a.Scheme == "tls"
	}
	if o.TLS == nil {
		return
	}
	o.TLS.Check(at.Key("tls"))
	if !needTLS && len(seen) > 0 {
		at.Key("tls").Problemf("is used by no address; write one of listen as tls://…, or remove it")
	}
}

// location reads a timezone; "local" is this host's.
func location(name string) (*time.Location, error) {
	if name == "local" || name == "Local" || name == "" {
		return time.Local, nil
	}
	return time.LoadLocation(name)
}

// parseNetwork reads a network, or one address as the network of it alone.
func parseNetwork(s string) (netip.Prefix, error) {
	if ip, err := netip.ParseAddr(s); err == nil && ip.Zone() == "" {
		ip = ip.Unmap()
		return netip.PrefixFrom(ip, ip.BitLen()), nil
	}
	p, err := netip.ParsePrefix(s)
	return p.Masked(), err
}

// parser returns a parser for one connection or socket.
func (o *Options) parser(zone *time.Location) syslog.Parser {
	return syslog.Parser{Format: syslog.Format(o.Format), Location: zone}
}
