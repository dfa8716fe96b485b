package syslog

import (
	"net"
	"strconv"
	"time"

	"github.com/runnel-log/runnel/forwarders"
	"github.com/runnel-log/runnel/internal/config"
	"github.com/runnel-log/runnel/internal/listen"
	"github.com/runnel-log/runnel/internal/tlsconf"
)

// Options is the forwarder's part of the config.
type Options struct {
	To             string          `yaml:"to" required:"true"`
	Format         string          `yaml:"format" oneof:"rfc5424 rfc3164"`
	Framing        string          `yaml:"framing" oneof:"auto lf octet"`
	Message        string          `yaml:"message" oneof:"original json attrs"`
	Timezone       string          `yaml:"timezone"`
	ConnectTimeout config.Duration `yaml:"connect_timeout"`
	AcceptLoss     bool            `yaml:"accept_loss"`
	TLS            tlsconf.Client  `yaml:"tls"`
}

func defaults() *Options {
	return &Options{Format: forwarders.RFC5424, Framing: framingAuto, Message: forwarders.MessageOriginal, Timezone: "local",
		ConnectTimeout: 10 * time.Second}
}

// Check reports a destination that cannot be reached as it is written, and
// keys that do not go with it.
func (o *Options) Check(at *config.At) {
	if _, err := location(o.Timezone); err != nil {
		at.Key("timezone").Problemf("%q is no time zone here; write local, UTC or a name as Europe/Berlin", o.Timezone)
	}
	if o.ConnectTimeout < time.Millisecond || o.ConnectTimeout > 10*time.Minute {
		at.Key("connect_timeout").Problemf("%s is no time to wait for a connection; write 1s to 10m", o.ConnectTimeout)
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
	switch to.Scheme {
	case "unixgram":
		at.Key("to").Problemf("unixgram is not a way to send; write unix:// for a stream socket")
	case "unix":
	default:
		if to.Host == "" {
			at.Key("to").Problemf("%q names no host to send to", o.To)
		}
		if to.Port == 0 {
			at.Key("to").Problemf("%q names no port; 514 is usual, 6514 for tls", o.To)
		}
	}
	if to.Scheme == "udp" && o.Framing != framingAuto {
		at.Key("framing").Problemf("a datagram is a message and has no framing; leave it out")
	}
	if to.Scheme == "tls" {
		o.TLS.Check(at.Key("tls"))
	} else if o.TLS != (tlsconf.Client{}) && o.TLS != (tlsconf.Client{MinVersion: o.TLS.MinVersion}) {
		at.Key("tls").Problemf("%s:// is not encrypted; write to: tls://…, or leave tls out", to.Scheme)
	}
}

// Lossy says that datagrams vanish unnoticed.
func (o *Options) Lossy() (lossy, accepted bool) {
	to, err := listen.Parse(o.To)
	return err == nil && to.Scheme == "udp", o.AcceptLoss
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
	switch to.Scheme {
	case "unix":
		return "unix", to.Path
	case "udp":
		return "udp", net.JoinHostPort(to.Host, strconv.Itoa(to.Port))
	}
	return "tcp", net.JoinHostPort(to.Host, strconv.Itoa(to.Port))
}
