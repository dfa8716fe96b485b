// Package relp is the RELP input: syslog messages over TCP, TLS and unix streams,
// each answered once it is on disk. It hides sockets, sessions and who may send;
// internal/relp reads the frames and internal/syslog the messages. No message is
// ever answered that is not stored, and none is answered with an error: librelp
// throws such a message away. What cannot be stored is left without an answer and
// its connection closed, so that the client sends it again. No peer can cause a panic or
// unbounded memory; one that breaks a bound loses its own connection.
package relp

import (
	"context"
	"fmt"
	"time"

	"github.com/runnel-log/runnel/agent/inputs"
	"github.com/runnel-log/runnel/internal/headroom"
)

const (
	// segment is what clients send at most in one piece, as over Ethernet. rsyslog
	// corks its socket, fills its window and waits for answers: where a window fits
	// into a segment, over loopback, its last byte leaves only 200 ms later, every time.
	segment = 1400
	// socketMode lets every user of the host log.
	socketMode = 0o666
)

// Input is a RELP input; New makes it.
type Input struct {
	*inputs.Server

	options  *Options
	zone     *time.Location
	name     []byte
	agent    []byte
	emit     inputs.Emit
	reached  inputs.Points
	counters *counters
	events   events
	now      func() time.Time
	patience patience
	repeats  *repeats
	budget   *budget
}

// New opens the input's sockets. It returns what listen and tlsconf report,
// each one line.
func New(o *Options, setup inputs.Setup) (*Input, error) {
	zone, err := location(o.Timezone)
	if err != nil {
		return nil, fmt.Errorf("timezone: %w", err)
	}
	in := &Input{
		options: o, zone: zone, name: []byte(setup.Name), agent: []byte(setup.Agent), emit: setup.Emit, reached: setup.Reached,
		counters: newCounters(setup.Metrics, setup.Name), now: o.now, patience: o.patience,
		repeats: setup.Memory.Of(func() any { return newRepeats() }).(*repeats), budget: newBudget(headroom.Share(totalBuffers)),
	}
	if in.now == nil {
		in.now = time.Now
	}
	if in.patience == (patience{}) {
		in.patience = usualPatience
	}
	in.Server, err = inputs.NewServer(inputs.ServerOptions{
		Listen: o.Listen, Mode: socketMode, Segment: segment, TLS: o.TLS, Allow: o.Allow, MaxConnections: o.MaxConnections,
		Session: func(ctx context.Context, c *inputs.Conn) inputs.Session { return in.newSession(ctx, c) },
	}, setup)
	if err != nil {
		return nil, err
	}
	in.events = newEvents(setup.Log, in.Errors())
	return in, nil
}
