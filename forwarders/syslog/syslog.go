// Package syslog sends records as syslog messages: RFC 5424 or RFC 3164, over
// UDP, TCP, TLS or a unix stream, by lines or by octet counting. A stream has one
// long-lived connection, and its batches are acknowledged when the peer's
// kernel has acknowledged their bytes. A record must never reach the wire in a form that
// the receiver would take for two.
package syslog

import (
	_ "embed"
	"errors"

	"github.com/runnel-log/runnel/forwarders"
	"github.com/runnel-log/runnel/internal/config"
	"github.com/runnel-log/runnel/internal/listen"
)

//go:embed sample.yaml
var sample string

// Kind is the syslog forwarder.
var Kind = forwarders.Kind{
	Name:    "syslog",
	Sample:  sample,
	Options: func() config.Options { return defaults() },
	New: func(o config.Options, s forwarders.Setup) (forwarders.Forwarder, error) {
		return newForwarder(o.(*Options), s)
	},
}

var errClosed = errors.New("forwarder was closed")

func newForwarder(o *Options, s forwarders.Setup) (forwarders.Forwarder, error) {
	to, err := listen.Parse(o.To)
	if err != nil {
		return nil, err
	}
	zone, err := location(o.Timezone)
	if err != nil {
		return nil, err
	}
	e := &encoder{messages: forwarders.Messages{Format: o.Format, Content: o.Message, Zone: zone, Agent: s.Agent},
		framing: framingOf(o.Framing, to.Scheme)}
	if to.Scheme == "udp" {
		e.most = maxDatagram
		return newDatagrams(o, to, e, s), nil
	}
	return newStream(o, to, e, s)
}

// framingOf settles what auto means. Lines are what every receiver of plain
// TCP understands; RFC 5425 §4.3 asks for octet counting under TLS.
func framingOf(framing, scheme string) string {
	switch {
	case scheme == "udp":
		return framingNone
	case framing != framingAuto:
		return framing
	case scheme == "tls":
		return framingOctet
	}
	return framingLF
}
