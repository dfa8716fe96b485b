// Package relay is the relay input: records that another runnel has stored, each
// taken exactly once (docs/format/relay.md). It hides sockets, sessions, certificates and
// what is known of every agent that ever spoke here; internal/relaywire has the frames and
// the rules. No frame is ever acknowledged that is not on disk together with what is
// known of it, nothing is stored that is known, and no peer may speak for an agent that its
// certificate does not allow. No peer can cause a panic or unbounded memory; one that
// breaks a rule or a bound loses its own connection.
package relay

import (
	"context"
	"time"

	"github.com/runnel-log/runnel/agent/inputs"
	"github.com/runnel-log/runnel/internal/headroom"
	"github.com/runnel-log/runnel/internal/relaywire"
	"github.com/runnel-log/runnel/internal/tiers"
	"github.com/runnel-log/runnel/internal/tlsconf"
)

// stopTime bounds a session's end: what is not on disk by then is not acknowledged,
// and asked for again.
const stopTime = 2 * time.Second

// Input is a relay input; New makes it.
type Input struct {
	*inputs.Server

	options  *Options
	name     string
	own      relaywire.Hop
	version  string
	relay    inputs.Relay
	trouble  func() error // of the store
	reached  inputs.Points
	after    func() <-chan struct{} // setup.Ended
	tiers    *tiers.Tiers
	counters *counters
	events   events
	patience patience
	budget   *budget
	known    *known
}

// New opens the input's sockets. It returns what listen and tlsconf report,
// each one line.
func New(o *Options, setup inputs.Setup) (*Input, error) {
	in := &Input{
		options: o, name: setup.Name, own: relaywire.Hop{Agent: setup.AgentID, Name: setup.Agent}, version: setup.Version,
		relay: setup.Relay, trouble: setup.Trouble, reached: setup.Reached, after: setup.Ended, tiers: setup.Tiers,
		counters: newCounters(setup.Metrics, setup.Name), patience: o.patience,
		budget: newBudget(headroom.Share(int(o.MaxInflight))),
	}
	if in.patience == (patience{}) {
		in.patience = usualPatience
	}
	var err error
	in.Server, err = inputs.NewServer(inputs.ServerOptions{
		Listen: o.Listen, TLS: o.mutual(), Allow: o.Allow, MaxConnections: o.MaxConnections,
		Session: func(ctx context.Context, c *inputs.Conn) inputs.Session { return in.newSession(ctx, c) },
	}, setup)
	if err != nil {
		return nil, err
	}
	in.events = newEvents(setup.Log, in.Errors())
	in.known = setup.Memory.Of(func() any { return newKnown(setup.Marks, in.events) }).(*known)
	return in, nil
}

// mutual is the tls section, by which both ends show a certificate.
func (o *Options) mutual() *tlsconf.Server {
	if o.TLS == nil || o.TLS.ClientCA == "" {
		return nil
	}
	both := *o.TLS
	both.ClientAuth, both.MinVersion = "require", "1.3"
	return &both
}
