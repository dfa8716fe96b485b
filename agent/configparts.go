package agent

import (
	"net/url"
	"slices"
	"strings"

	"github.com/runnel-log/runnel/agent/inputs"
	"github.com/runnel-log/runnel/forwarders"
	"github.com/runnel-log/runnel/internal/config"
	"github.com/runnel-log/runnel/internal/expression"
	"github.com/runnel-log/runnel/internal/tlsconf"
)

// common is what every input and forwarder has besides its kind's own keys.
type common struct {
	Type string `yaml:"type"`
}

// kindOf finds the kind that a section names with its key type.
func kindOf[K any](l *loader, n *config.Node, kinds []K, name func(K) string) (kind K, ok bool) {
	names := make([]string, len(kinds))
	for i, k := range kinds {
		names[i] = name(k)
	}
	at := n.At(&l.problems)
	given := n.Key("type")
	if n.Kind() != config.Map {
		at.Problemf("is %s; write {type: %s, …}", n.Kind(), names[0])
		return kind, false
	}
	if given == nil || given.Kind() == config.Null {
		at.Key("type").Problemf("is missing; write type: %s", config.Choices(names))
		return kind, false
	}
	text, _ := given.Text()
	if i := slices.Index(names, text); i >= 0 {
		return kinds[i], true
	}
	given.At(&l.problems).Problemf("%q is not a kind that this binary has; %s", text, config.Suggest(text, names))
	return kind, false
}

func (l *loader) inputs(section *config.Node) {
	l.section(section, "inputs: {NAME: {type: syslog}}", func(name string, n *config.Node) {
		l.named(section, name)
		kind, ok := kindOf(l, n, l.kinds.Inputs, func(k inputs.Kind) string { return k.Name })
		if !ok {
			return
		}
		options := kind.Options()
		config.DecodeParts(n, &l.problems, &common{}, options)
		addresses := n.Key("listen")
		if addresses != nil && addresses.Kind() == config.List {
			for _, a := range addresses.Items() {
				text, _ := a.Text()
				l.takeURL(a.At(&l.problems), text)
			}
		} else if addresses != nil {
			text, _ := addresses.Text()
			l.takeURL(addresses.At(&l.problems), text)
		}
		l.config.Inputs = append(l.config.Inputs, InputConfig{Name: name, Kind: kind, Options: options, Digest: n.Digest(), at: n.At(&l.problems)})
	})
}

// forwarderSection is what every forwarder has besides its kind's own keys.
type forwarderSection struct {
	common `yaml:",inline"`
	From   []string     `yaml:"from" required:"true"`
	Where  *config.Node `yaml:"where"`
	Start  string       `yaml:"start" oneof:"oldest end"`
}

func (l *loader) forwarders(section *config.Node) {
	at := map[string]*config.Node{}
	l.section(section, "forwarders: {NAME: {type: syslog, from: [app], to: URL}}", func(name string, n *config.Node) {
		l.named(section, name)
		kind, ok := kindOf(l, n, l.kinds.Forwarders, func(k forwarders.Kind) string { return k.Name })
		if !ok {
			return
		}
		s, options := forwarderSection{Start: "oldest"}, kind.Options()
		config.DecodeParts(n, &l.problems, &s, options)
		f := ForwarderConfig{Name: name, Kind: kind, Options: options, From: s.From, Start: s.Start, To: destination(n), Digest: n.Digest() + tlsconf.ReadOnce(options), at: n.At(&l.problems)}
		for i, from := range s.From {
			l.knownStream(n.At(&l.problems).Key("from").Index(i), from)
		}
		if where := s.Where; where != nil && where.Kind() != config.Null {
			f.Where, f.WhereText = l.expression(where, expression.Condition)
		}
		if to := n.Key("to"); to != nil {
			for _, one := range oneOrAll(to) {
				if url, ok := one.Text(); ok {
					l.loop(one.At(&l.problems), url)
				}
			}
		}
		at[name] = n
		l.config.Forwarders = append(l.config.Forwarders, f)
	})
	for i, f := range l.config.Forwarders {
		l.onlyLossy(f, at[f.Name])
		l.rival(f, l.config.Forwarders[:i], at[f.Name])
	}
}

// oneOrAll returns the items of a list, or the one that stands in its place.
func oneOrAll(n *config.Node) []*config.Node {
	if n.Kind() == config.List {
		return n.Items()
	}
	return []*config.Node{n}
}

// knownStream reports a stream to forward from that nothing stores into.
func (l *loader) knownStream(at *config.At, name string) {
	if name == allStreams || l.config.known[strings.TrimSuffix(name, deadSuffix)] {
		return
	}
	if l.config.keepsStreams() {
		stream(at, strings.TrimSuffix(name, deadSuffix))
		return
	}
	names := make([]string, 0, len(l.config.known))
	for k := range l.config.known {
		names = append(names, k)
	}
	slices.Sort(names)
	if near, ok := config.Nearest(name, names); ok {
		at.Problemf("%q is no stream here; did you mean %s?", name, near)
		return
	}
	at.Problemf("%q is no stream here; write one of %s, or \"*\" for all", name, config.Choices(names))
}

// onlyLossy reports a forwarder that may lose records unnoticed where a stream
// has no other, unless the file says that this is accepted.
func (l *loader) onlyLossy(f ForwarderConfig, n *config.Node) {
	if lossy, accepted := isLossy(f); !lossy || accepted {
		return
	}
	for _, stream := range l.expanded(f.From) {
		alone := true
		for _, other := range l.config.Forwarders {
			if lossy, _ := isLossy(other); !lossy && slices.Contains(l.expanded(other.From), stream) {
				alone = false
			}
		}
		if alone {
			n.At(&l.problems).Key("to").Problemf("loses records without anyone noticing, and stream %q goes nowhere else; use tcp:// or tls://, or write accept_loss: true", stream)
			return
		}
	}
}

// rival reports a forwarder that sends a stream where one before it in the file sends it too, and where what
// either leaves out can come from neither: the receiver remembers.
func (l *loader) rival(f ForwarderConfig, before []ForwarderConfig, n *config.Node) {
	for _, other := range before {
		receiver, stream := f.rivals(other)
		if stream != "" {
			n.At(&l.problems).Key("from").Problemf("forwarder %q sends %q to %s too: what it leaves out counts as settled there, and this one could not send it; write one forwarder for both, or take the stream out of one",
				other.Name, stream, receiver)
			return
		}
	}
}

// rivals returns a receiver that remembers, and a stream that both send to it; empty: there is none.
func (c *ForwarderConfig) rivals(other ForwarderConfig) (receiver, stream string) {
	mine, ok := c.Options.(forwarders.Remembering)
	theirs, too := other.Options.(forwarders.Remembering)
	if !ok || !too {
		return "", ""
	}
	for _, receiver := range mine.Remembering() {
		if !slices.Contains(theirs.Remembering(), receiver) {
			continue
		}
		for _, from := range slices.Concat(c.From, other.From) {
			if from == allStreams && slices.Contains(c.From, from) && slices.Contains(other.From, from) || c.covers(from) && other.covers(from) {
				return receiver, from
			}
		}
	}
	return "", ""
}

func isLossy(f ForwarderConfig) (lossy, accepted bool) {
	if o, ok := f.Options.(forwarders.Lossy); ok {
		return o.Lossy()
	}
	return false, false
}

// expanded puts the streams in place of "*".
func (l *loader) expanded(from []string) []string {
	if !slices.Contains(from, allStreams) {
		return from
	}
	var all []string
	for name := range l.config.known {
		all = append(all, name)
	}
	slices.Sort(all)
	return all
}

// destination says where a forwarder sends, without passwords and queries.
func destination(n *config.Node) string {
	for _, key := range []string{"to", "url", "path"} {
		given := n.Key(key)
		if given == nil {
			continue
		}
		var shown []string
		for _, item := range oneOrAll(given) {
			text, _ := item.Text()
			if u, err := url.Parse(text); err == nil {
				u.User, u.RawQuery, u.Fragment = nil, "", ""
				shown = append(shown, u.String())
			}
		}
		return strings.Join(shown, ", ")
	}
	return ""
}
