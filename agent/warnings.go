package agent

import (
	"maps"
	"slices"

	"github.com/runnel-log/runnel/internal/config"
	"github.com/runnel-log/runnel/internal/pki"
	"github.com/runnel-log/runnel/internal/tlsconf"
	"github.com/runnel-log/runnel/storage"
)

// Warnings returns what is good in c and may not be what was meant.
func Warnings(c *Config) (ps config.Problems) {
	warn := func(o config.Options, at *config.At) {
		if w, ok := o.(config.Warner); ok {
			w.Warn(at.To(&ps), c.Name)
		}
	}
	for i := range c.Inputs {
		warn(c.Inputs[i].Options, c.Inputs[i].at)
	}
	for i := range c.Forwarders {
		f := &c.Forwarders[i]
		warn(f.Options, f.at)
		c.warnGivesUp(f, f.at.To(&ps))
		if f.Kind.Name == "relay" && slices.ContainsFunc(c.Inputs, func(in InputConfig) bool { return in.Kind.Relays }) {
			warnAlone(f, f.at.To(&ps))
		}
	}
	return ps
}

// warnGivesUp reports a forwarder whose trim_on: end is to keep what has not come to its end,
// in a stream that gives it up all the same when it is full.
func (c *Config) warnGivesUp(f *ForwarderConfig, at *config.At) {
	n := at.Node().Key("trim_on")
	if n == nil {
		return
	}
	if word, _ := n.Text(); word != "end" {
		return
	}
	streams := f.From
	if slices.Contains(streams, allStreams) {
		streams = slices.Sorted(maps.Keys(c.Streams))
	}
	for _, name := range streams {
		if c.Policy(name).OnFull == storage.DropOldest {
			at.Key("trim_on").Problemf("end does not keep what a full stream gives up, and on_full of %q is drop_oldest; write streams: {%q: {on_full: push_back}}", name, name)
			return
		}
	}
}

// warnAlone reports a relay's certificate that lets it bring nothing of others, at an agent that takes such.
func warnAlone(f *ForwarderConfig, at *config.At) {
	for _, d := range tlsconf.DatesOf(f.Options) {
		if d.Key == "cert" {
			pki.WarnAlone(at.Key("tls"), d.File)
		}
	}
}
