package relay

import (
	"fmt"
	"time"

	"github.com/VictoriaMetrics/metrics"
	"github.com/rs/zerolog"

	"github.com/runnel-log/runnel/internal/relaywire"
)

// events are the lines that this forwarder can log.
type events struct{ log zerolog.Logger }

func (e events) connected(url string, w *relaywire.Welcome) {
	e.log.Info().Str("url", url).Str("agent", w.Name).Hex("agent_id", w.Agent[:]).Str("version", w.Build).Msg("connected to the agent above")
}

func (e events) turned(from, to string, cause error) {
	e.log.Warn().Str("from", from).Str("to", to).AnErr("cause", cause).Msg("turned from one agent above to another")
}

func (e events) idleWithout(err error, again time.Duration) {
	e.log.Warn().Err(err).Dur("in_ms", again).Msg("no agent above can be reached; nothing waits for it yet")
}

func (e events) copied(l line, url string) {
	e.log.Error().Str("stream", l.stream).Str("epoch", fmt.Sprintf("%08x", l.epoch)).Str("url", url).
		Msg("a copy of this agent, with its memory, sends too: give the copy a data directory of its own; this one goes on under a new epoch")
}

func (e events) doubted(l line, url string, r relaywire.Range, held bool) {
	log := e.log.Error().Str("stream", l.stream).Str("url", url).Uint64("from", r.From).Uint64("to", r.To)
	if held {
		log.Msg("nobody can tell whether the receiver has these records or those of a copy of this agent; they are not sent, and are kept here until the cursor is moved by hand")
		return
	}
	log.Msg("nobody can tell whether the receiver has these records or those of a copy of this agent; they are not sent, and stay to be read here")
}

// counters are the forwarder's metrics.
type counters struct {
	set                           *metrics.Set
	forwarder                     string
	connects, frames, bytes, here *metrics.Counter
}

func newCounters(set *metrics.Set, forwarder string) *counters {
	counter := func(name string) *metrics.Counter {
		return set.GetOrCreateCounter(fmt.Sprintf("runnel_forwarder_%s{forwarder=%q}", name, forwarder))
	}
	return &counters{set: set, forwarder: forwarder, connects: counter("sessions_total"), frames: counter("frames_total"), bytes: counter("frame_bytes_total"),
		here: counter("known_records_total")}
}

func (c *counters) doubtful(stream string, n int) {
	if n > 0 {
		c.set.GetOrCreateCounter(fmt.Sprintf("runnel_forwarder_doubtful_records_total{forwarder=%q,stream=%q}", c.forwarder, stream)).Add(n)
	}
}
