package http

import (
	_ "embed" // sample.yaml
	"strings"
	"time"

	"github.com/runnel-log/runnel/agent/inputs"
	"github.com/runnel-log/runnel/internal/config"
	"github.com/runnel-log/runnel/internal/listen"
	"github.com/runnel-log/runnel/internal/syslog"
	"github.com/runnel-log/runnel/internal/tlsconf"
)

//go:embed sample.yaml
var sample string

// Kind is the HTTP input as cmd/runnel/parts.go lists it.
var Kind = inputs.Kind{
	Name:    "http",
	Sample:  sample,
	Options: func() config.Options { return newOptions() },
	Acks:    true,
	New: func(options config.Options, setup inputs.Setup) (inputs.Input, error) {
		return New(options.(*Options), setup)
	},
}

// Bounds of max_message and max_body. A body is held in memory whole, and so
// are the records made of it.
const (
	minMessage = 480
	maxMessage = 16 << 20
	minBody    = 64 << 10
	maxBody    = 16 << 20
)

// Options are the HTTP input's keys in the config, as sample.yaml explains them.
type Options struct {
	Listen         []string        `yaml:"listen" required:"true"`
	Token          config.Secret   `yaml:"token"`
	MaxBody        config.Bytes    `yaml:"max_body"`
	MaxMessage     config.Bytes    `yaml:"max_message"`
	Format         string          `yaml:"format" oneof:"auto rfc5424 rfc3164"`
	Timezone       string          `yaml:"timezone"`
	Allow          []string        `yaml:"allow"`
	MaxConnections int             `yaml:"max_connections"`
	TLS            *tlsconf.Server `yaml:"tls"`

	times times
}

// times are bounds that only tests change.
type times struct {
	handshake time.Duration // of TLS
	header    time.Duration // for a request's header
	idle      time.Duration // a connection may be silent between two requests
	grace     time.Duration // a body may be slower than bodyRate for so long
	store     time.Duration // a client waits for the disk, or for other bodies to be read; then it is told to come again
}

func newOptions() *Options {
	return &Options{MaxBody: 8 << 20, MaxMessage: 1 << 20, Format: "auto", Timezone: "local", MaxConnections: 4096,
		times: times{handshake: 5 * time.Second, header: 10 * time.Second, idle: 10 * time.Minute, grace: 30 * time.Second, store: 30 * time.Second}}
}

// Check reports addresses that do not parse, clash or lack their tls section,
// addresses beyond this host that anybody could write to, networks that are
// none, and sizes out of bounds.
func (o *Options) Check(at *config.At) {
	if o.TLS != nil {
		o.TLS.Check(at.Key("tls"))
	}
	o.checkListen(at)
	if o.MaxBody < minBody || o.MaxBody > maxBody {
		at.Key("max_body").Problemf("%s is out of bounds; write a size from 64KiB to 16MiB", o.MaxBody)
	}
	if o.MaxMessage < minMessage || o.MaxMessage > maxMessage {
		at.Key("max_message").Problemf("%s is out of bounds; write a size from %d to 16MiB", o.MaxMessage, minMessage)
	}
	if _, err := location(o.Timezone); err != nil {
		at.Key("timezone").Problemf("%q is not a zone this host knows; write local, UTC or a name such as Europe/Paris", o.Timezone)
	}
	for i, network := range o.Allow {
		if _, err := listen.ParseNetwork(network); err != nil {
			at.Key("allow").Index(i).Problemf("%q is not a network; write one such as 10.0.0.0/8 or 192.0.2.7", network)
		}
	}
	if o.MaxConnections < 1 || o.MaxConnections > 1<<20 {
		at.Key("max_connections").Problemf("%d is out of bounds; write a number from 1 to %d", o.MaxConnections, 1<<20)
	}
}

func (o *Options) checkListen(at *config.At) {
	if len(o.Listen) == 0 {
		at.Key("listen").Problemf("is empty; write an address such as 127.0.0.1:4781")
	}
	seen, needTLS := map[string]bool{}, false
	for i, text := range o.Listen {
		where := at.Key("listen").Index(i)
		a, err := o.address(text)
		switch {
		case err != nil:
			where.Problemf("%v", err)
			continue
		case a.IsPacket():
			where.Problemf("%q takes datagrams; write HOST:PORT or unix:///PATH", text)
			continue
		case seen[a.Key()]:
			where.Problemf("%q is there twice; remove one", text)
		case a.Scheme == "tls" && o.TLS == nil:
			where.Problemf("%q needs a certificate; write tls: {cert: FILE, key: FILE} beside listen", text)
		case !a.IsLocal() && !o.guarded(a):
			where.Problemf("%q can be reached from other hosts, and anybody there could write; write token: {file: PATH} beside listen, or require clients' certificates (tls: {client_ca: FILE})", text)
		}
		seen[a.Key()] = true
		needTLS = needTLS || a.Scheme == "tls"
	}
	if o.TLS != nil && !needTLS && len(seen) > 0 {
		at.Key("tls").Problemf("is used by no address; write one of listen as HOST:PORT or tls://HOST:PORT, or remove it")
	}
}

// guarded reports whether only those who show a credential can write at a.
func (o *Options) guarded(a listen.Address) bool {
	certificates := a.Scheme == "tls" && o.TLS != nil && o.TLS.ClientCA != "" && o.TLS.ClientAuth != "request"
	return !o.Token.IsZero() || certificates
}

// address reads HOST:PORT, which is TLS where there is a tls section, or a URL
// as the other inputs have them.
func (o *Options) address(text string) (listen.Address, error) {
	if !strings.Contains(text, "://") && strings.Contains(text, ":") && !strings.HasPrefix(text, "/") {
		scheme := "tcp://"
		if o.TLS != nil {
			scheme = "tls://"
		}
		text = scheme + text
	}
	return listen.Parse(text)
}

// location reads a timezone; "local" is this host's.
func location(name string) (*time.Location, error) {
	if name == "local" || name == "Local" || name == "" {
		return time.Local, nil
	}
	return time.LoadLocation(name)
}

// parser returns a parser for one body.
func (o *Options) parser(zone *time.Location) syslog.Parser {
	return syslog.Parser{Format: syslog.Format(o.Format), Location: zone}
}
