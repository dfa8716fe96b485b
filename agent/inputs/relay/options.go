package relay

import (
	_ "embed" // sample.yaml
	"net/netip"
	"regexp"
	"time"

	"github.com/runnel-log/runnel/agent/inputs"
	"github.com/runnel-log/runnel/internal/config"
	"github.com/runnel-log/runnel/internal/listen"
	"github.com/runnel-log/runnel/internal/pki"
	"github.com/runnel-log/runnel/internal/tlsconf"
)

//go:embed sample.yaml
var sample string

// Kind is the relay input as cmd/runnel/parts.go lists it.
var Kind = inputs.Kind{
	Name:    "relay",
	Sample:  sample,
	Acks:    true,
	Relays:  true,
	Options: func() config.Options { return newOptions() },
	New: func(options config.Options, setup inputs.Setup) (inputs.Input, error) {
		return New(options.(*Options), setup)
	},
}

// Bounds of options.
const (
	minCredit   = 64 << 10
	minInflight = 1 << 20
	maxBytes    = 16 << 30
)

// Options are the relay input's keys in the config, as sample.yaml explains them.
type Options struct {
	Listen         []string        `yaml:"listen" required:"true"`
	Relays         []string        `yaml:"relays"`
	Allow          []string        `yaml:"allow"`
	MaxConnections int             `yaml:"max_connections"`
	MaxInflight    config.Bytes    `yaml:"max_inflight"`
	Credit         config.Bytes    `yaml:"credit"`
	TLS            *tlsconf.Server `yaml:"tls"`

	// patience is how long tests wait; zero is the usual.
	patience patience
}

func newOptions() *Options {
	return &Options{MaxConnections: 16384, MaxInflight: 256 << 20, Credit: 32 << 20}
}

// Check reports addresses that do not parse, clash, lack their tls section or are
// open to strangers, networks that are none, and sizes out of bounds.
func (o *Options) Check(at *config.At) {
	o.checkListen(at)
	for i, network := range o.Allow {
		if _, err := listen.ParseNetwork(network); err != nil {
			at.Key("allow").Index(i).Problemf("%q is not a network; write one such as 10.0.0.0/8 or 192.0.2.7", network)
		}
	}
	for i, name := range o.Relays {
		if name == "" {
			at.Key("relays").Index(i).Problemf("is empty; write the name in a relay's certificate")
		}
	}
	if o.MaxConnections < 1 || o.MaxConnections > 1<<20 {
		at.Key("max_connections").Problemf("%d is out of bounds; write a number from 1 to %d", o.MaxConnections, 1<<20)
	}
	if o.MaxInflight < minInflight || o.MaxInflight > maxBytes {
		at.Key("max_inflight").Problemf("%s is out of bounds; write a size from 1MiB to 16GiB", o.MaxInflight)
	}
	if at.Node().Key("credit") == nil {
		o.Credit = min(o.Credit, max(o.MaxInflight, minInflight))
	}
	if o.Credit > max(o.MaxInflight, minInflight) {
		at.Key("credit").Problemf("%s is more than max_inflight, %s, which all connections share; write less", o.Credit, o.MaxInflight)
	}
	if o.Credit < minCredit || o.Credit > maxBytes {
		at.Key("credit").Problemf("%s is out of bounds; write a size from 64KiB to 16GiB", o.Credit)
	}
}

// usual is where relays listen.
var usual = listen.Usual{Scheme: "tls", Port: 6515}

func (o *Options) checkListen(at *config.At) {
	if len(o.Listen) == 0 {
		at.Key("listen").Problemf("is empty; write an address such as tls://0.0.0.0:6515")
	}
	seen, needTLS := map[string]bool{}, false
	for i, url := range o.Listen {
		where := at.Key("listen").Index(i)
		a, err := usual.Parse(url)
		switch {
		case err != nil:
			where.Problemf("%v", err)
			continue
		case a.IsPacket():
			where.Problemf("%q takes datagrams, and a relay needs a connection; write tls://, or tcp:// or unix:// on this host", url)
			continue
		case seen[a.Key()]:
			where.Problemf("%q is there twice; remove one", url)
		case a.Scheme == "tcp" && !loopback(a.Host):
			where.Problemf("%q would let anybody speak for any agent; write tls://, or an address of this host alone such as tcp://127.0.0.1:6515", url)
		case a.Scheme == "tls" && o.TLS == nil:
			where.Problemf("%q needs certificates; write tls: {cert: FILE, key: FILE, client_ca: FILE} beside listen (`runnel pki` makes them)", url)
		}
		seen[a.Key()] = true
		needTLS = needTLS || a.Scheme == "tls"
	}
	if o.TLS != nil {
		o.checkTLS(at, needTLS || len(seen) == 0)
	}
}

// checkTLS reports a tls section that nobody uses, or that lets in who shows no certificate.
func (o *Options) checkTLS(at *config.At, used bool) {
	section := at.Key("tls")
	o.TLS.Check(section)
	if !used {
		section.Problemf("is used by no address; write one of listen as tls://…, or remove it")
	}
	if o.TLS.ClientCA == "" {
		section.Key("client_ca").Problemf("is missing; write the file of the authority that agents' certificates come from (`runnel pki` makes one)")
	}
	if o.TLS.ClientAuth == "request" {
		section.Key("client_auth").Problemf("\"request\" would let anybody speak for any agent; write require, or remove it")
	}
	if o.TLS.MinVersion == "1.2" {
		section.Key("min_version").Problemf("\"1.2\" is not spoken between agents; write \"1.3\", or remove it")
	}
}

// Warn reports a certificate that does not go with this agent.
func (o *Options) Warn(at *config.At, agent string) {
	if o.TLS != nil {
		pki.WarnOwn(at.Key("tls"), agent, o.TLS.Cert, "client_ca", o.TLS.ClientCA)
	}
}

// loopback reports whether an address is this host's alone.
func loopback(host string) bool {
	if host == "localhost" {
		return true
	}
	ip, err := netip.ParseAddr(host)
	return err == nil && ip.IsLoopback()
}

// streamName is what a stream of another runnel may be called: as in its configuration,
// or the dead letters of such a one.
var streamName = regexp.MustCompile(`^[a-z0-9][a-z0-9_-]{0,63}(\.dead)?$`)

// patience is how long the input waits for a peer.
type patience struct {
	hello  time.Duration // for the first frame, from the connection on
	silent time.Duration // without a byte, and for a frame before it must come at the slowest rate
	write  time.Duration // for what is due to be taken
	room   time.Duration // for memory for a frame
	stored time.Duration // for what has come to be on disk; less than a sender waits for an answer
	favour time.Duration // for a byte of one that has more memory than there is, and before it must come fast
	linger time.Duration // for the peer to read why it is closed
}

var usualPatience = patience{hello: 10 * time.Second, silent: 30 * time.Second, write: 30 * time.Second, room: 20 * time.Second, stored: 10 * time.Second, favour: 5 * time.Second, linger: 500 * time.Millisecond}
