package relay

import (
	"net"
	"strconv"
	"time"

	"github.com/runnel-log/runnel/internal/config"
	"github.com/runnel-log/runnel/internal/listen"
	"github.com/runnel-log/runnel/internal/pki"
	"github.com/runnel-log/runnel/internal/tlsconf"
)

// What `compress` may say.
const (
	compressFast   = "fast"
	compressBetter = "better"
	compressNone   = "none"
)

// Options is the forwarder's part of the config.
type Options struct {
	To             []string        `yaml:"to" required:"true"`
	Compress       string          `yaml:"compress" oneof:"fast better none"`
	TrimOn         string          `yaml:"trim_on" oneof:"hop end"`
	ConnectTimeout config.Duration `yaml:"connect_timeout"`
	Timeout        config.Duration `yaml:"timeout"`
	TLS            tlsconf.Client  `yaml:"tls"`
}

func defaults() *Options {
	return &Options{Compress: compressFast, TrimOn: trimOnHop, ConnectTimeout: 10 * time.Second, Timeout: 30 * time.Second}
}

// Remembering returns the receivers, each of which keeps what it has.
func (o *Options) Remembering() (receivers []string) { return o.To }

// Check reports destinations that cannot be reached as they are written, and keys
// that do not go with them.
func (o *Options) Check(at *config.At) {
	if o.ConnectTimeout < time.Millisecond || o.ConnectTimeout > 10*time.Minute {
		at.Key("connect_timeout").Problemf("%s is no time to wait for a connection; write 1s to 10m", o.ConnectTimeout)
	}
	if o.Timeout < time.Millisecond || o.Timeout > time.Hour {
		at.Key("timeout").Problemf("%s is no time to wait for an answer; write 1s to 1h", o.Timeout)
	}
	if o.To != nil && len(o.To) == 0 {
		at.Key("to").Problemf("is empty; write tls://HOST:6515")
	}
	secure, wrong, seen := false, false, make(map[string]bool)
	for i, url := range o.To {
		to, err := usual.Parse(url)
		if err != nil {
			at.Key("to").Index(i).Problemf("%v", err)
			wrong = true
			continue
		}
		wrong = !checkTo(at.Key("to").Index(i), to, url) || wrong
		if seen[url] {
			at.Key("to").Index(i).Problemf("%q is there twice", url)
		}
		seen[url] = true
		secure = secure || to.Scheme == "tls"
	}
	if wrong && !secure { // whether that is to be encrypted nobody knows
		o.TLS.Check(at.Key("tls"))
		return
	}
	o.checkTLS(at.Key("tls"), secure)
}

// usual is where relays listen.
var usual = listen.Usual{Scheme: "tls", Port: 6515, To: true}

// checkTo reports an address that is none for a relay.
func checkTo(at *config.At, to listen.Address, url string) (good bool) {
	switch {
	case to.IsPacket():
		at.Problemf("a relay needs a connection; write tls://HOST:6515")
	case to.IsUnix():
		return true
	case to.Host == "":
		at.Problemf("%q names no host to send to", url)
	case to.Port == 0:
		at.Problemf("%q names no port; 6515 is usual", url)
	case to.Scheme == "tcp" && !to.IsLocal():
		at.Problemf("%q would send in the clear, and to whoever answers; write tls://%s, tcp:// is for this host alone", url, net.JoinHostPort(to.Host, strconv.Itoa(to.Port)))
	default:
		return true
	}
	return false
}

func (o *Options) checkTLS(at *config.At, secure bool) {
	switch {
	case !secure && len(o.To) > 0:
		if o.TLS != (tlsconf.Client{MinVersion: o.TLS.MinVersion}) {
			at.Problemf("no destination is encrypted; write to: tls://…, or leave tls out")
		}
		return
	case !secure:
		return // to is required, and reported as such
	case o.TLS.Cert == "" && o.TLS.Key == "":
		at.Key("cert").Problemf("a relay shows who it is; write the certificate and key that `runnel pki issue` makes for this host")
	}
	if o.TLS.MinVersion == "1.2" {
		at.Key("min_version").Problemf("relays speak TLS 1.3 and nothing below; leave it out")
	}
	o.TLS.Check(at)
}

// Warn reports a certificate that does not go with this agent.
func (o *Options) Warn(at *config.At, agent string) {
	pki.WarnOwn(at.Key("tls"), agent, o.TLS.Cert, "ca", o.TLS.CA)
}

// dialAddress returns what net.Dial wants.
func dialAddress(to listen.Address) (network, address string) {
	if to.IsUnix() {
		return "unix", to.Path
	}
	return "tcp", net.JoinHostPort(to.Host, strconv.Itoa(to.Port))
}
