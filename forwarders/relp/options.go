package relp

import (
	"net"
	"strconv"
	"time"

	"github.com/runnel-log/runnel/forwarders"
	"github.com/runnel-log/runnel/internal/config"
	"github.com/runnel-log/runnel/internal/listen"
	"github.com/runnel-log/runnel/internal/tlsconf"
)

// maxWindow bounds what a window costs: the answers that are out of order.
const maxWindow = 1 << 20

// Options is the forwarder's part of the config.
type Options struct {
	To             string          `yaml:"to" required:"true"`
	Format         string          `yaml:"format" oneof:"rfc5424 rfc3164"`
	Message        string          `yaml:"message" oneof:"original json attrs"`
	Timezone       string          `yaml:"timezone"`
	Window         int             `yaml:"window"`
	ConnectTimeout config.Duration `yaml:"connect_timeout"`
	Timeout        config.Duration `yaml:"timeout"`
	TLS            tlsconf.Client  `yaml:"tls"`
}

func defaults() *Options {
	return &Options{Format: forwarders.RFC5424, Message: forwarders.MessageOriginal, Timezone: "local", Window: 1024,
		ConnectTimeout: 10 * time.Second, Timeout: 90 * time.Second}
}

// Check reports a destination that cannot be reached as it is written, and
// keys that do not go with it.
func (o *Options) Check(at *config.At) {
	if _, err := location(o.Timezone); err != nil {
		at.Key("timezone").Problemf("%q is no time zone here; write local, UTC or a name as Europe/Berlin", o.Timezone)
	}
	if o.Window < 1 || o.Window > maxWindow {
		at.Key("window").Problemf("%d is out of bounds; write a number of records from 1 to %d", o.Window, maxWindow)
	}
	if o.ConnectTimeout < time.Millisecond || o.ConnectTimeout > 10*time.Minute {
		at.Key("connect_timeout").Problemf("%s is no time to wait for a connection; write 1s to 10m", o.ConnectTimeout)
	}
	if o.Timeout < time.Millisecond || o.Timeout > time.Hour {
		at.Key("timeout").Problemf("%s is no time to wait for an answer; write 1s to 1h", o.Timeout)
	}
	if o.To == "" {
		return // required, and reported as such
	}
	to, err := listen.Parse(o.To)
	if err != nil {
		at.Key("to").Problemf("%v", err)
		return
	}
	o.checkTo(at, to)
}

func (o *Options) checkTo(at *config.At, to listen.Address) {
	switch {
	case to.IsPacket():
		at.Key("to").Problemf("RELP needs a connection; write tcp://, tls:// or unix://")
		return
	case to.IsUnix():
	case to.Host == "":
		at.Key("to").Problemf("%q names no host to send to", o.To)
	case to.Port == 0:
		at.Key("to").Problemf("%q names no port; 2514 is usual", o.To)
	}
	if to.Scheme == "tls" {
		o.TLS.Check(at.Key("tls"))
	} else if o.TLS != (tlsconf.Client{}) && o.TLS != (tlsconf.Client{MinVersion: o.TLS.MinVersion}) {
		at.Key("tls").Problemf("%s:// is not encrypted; write to: tls://…, or leave tls out", to.Scheme)
	}
}

// location reads a time zone as the config writes it.
func location(name string) (*time.Location, error) {
	if name == "local" {
		return time.Local, nil
	}
	return time.LoadLocation(name)
}

// dialAddress returns what net.Dial wants.
func dialAddress(to listen.Address) (network, address string) {
	if to.IsUnix() {
		return "unix", to.Path
	}
	return "tcp", net.JoinHostPort(to.Host, strconv.Itoa(to.Port))
}
