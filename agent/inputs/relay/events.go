package relay

import (
	"time"

	"github.com/rs/zerolog"

	"github.com/runnel-log/runnel/agent/inputs"
	"github.com/runnel-log/runnel/internal/relaywire"
)

// events are the lines this input can log. Those that a peer can cause are
// sampled: the first ten a second.
type events struct {
	log     zerolog.Logger
	sampled zerolog.Logger
	passing zerolog.Logger // of who comes and goes, sampled apart: that hides no error
	last    *inputs.LastErrors
}

func newEvents(log zerolog.Logger, last *inputs.LastErrors) events {
	sampled := func() zerolog.Logger {
		return log.Sample(&zerolog.BurstSampler{Burst: 10, Period: time.Second})
	}
	return events{log, sampled(), sampled(), last}
}

func (e events) connected(url, peer string, agent relaywire.Hop, build string) {
	e.passing.Info().Str("url", url).Str("peer", peer).Str("agent", agent.Name).Hex("agent_id", agent.Agent[:]).Str("version", build).
		Msg("an agent below has connected")
}

func (e events) disconnected(url, peer string, agent relaywire.Hop, why error) {
	e.passing.Info().Str("url", url).Str("peer", peer).Str("agent", agent.Name).AnErr("because", why).Msg("an agent below has gone")
}

func (e events) renamed(agent relaywire.Hop, identity string) {
	e.sampled.Warn().Str("agent", agent.Name).Hex("agent_id", agent.Agent[:]).Str("certificate", identity).
		Msg("an agent below goes by another name than its certificate gives it")
}

func (e events) nameShared(agent relaywire.Hop, peer string) {
	e.sampled.Warn().Str("agent", agent.Name).Hex("agent_id", agent.Agent[:]).Str("peer", peer).
		Msg("two agents below have one name; give one another in agent.name")
}

func (e events) copied(agent relaywire.Hop, peers ...string) {
	e.sampled.Warn().Str("agent", agent.Name).Hex("agent_id", agent.Agent[:]).Strs("peers", peers).
		Msg("two agents below are one by their id: a data directory was copied; stop one, remove its data directory and start it again")
}

func (e events) refused(url, peer string, agent relaywire.Hop, err error) {
	e.last.Set(url, "%s %s: %v", agent.Name, peer, err)
	e.sampled.Error().Str("url", url).Str("peer", peer).Str("agent", agent.Name).Hex("agent_id", agent.Agent[:]).Err(err).
		Msg("refused an agent; what it sends is not taken until that is put right")
}

func (e events) protocolBroken(url, peer string, err error) {
	e.last.Set(url, "%s: %v", peer, err)
	e.sampled.Warn().Str("url", url).Str("peer", peer).Err(err).Msg("closed a connection: its peer breaks the relay's rules")
}

func (e events) tooSlow(url, peer string, err error) {
	e.last.Set(url, "%s: %v", peer, err)
	e.sampled.Warn().Str("url", url).Str("peer", peer).Err(err).Msg("closed a connection: its peer is too slow")
}

func (e events) notTaken(url string, err error) {
	e.last.Set(url, "not stored: %v", err)
	e.sampled.Error().Str("url", url).Err(err).Msg("nothing is taken; the agent below keeps its records, and sends again")
}

func (e events) notStored(url string, err error) {
	e.last.Set(url, "not stored: %v", err)
	e.sampled.Error().Str("url", url).Err(err).
		Msg("whether records reached the disk is unknown; they are not acknowledged, and asked for again")
}

func (e events) gone(agent relaywire.Hop, stream string, records uint64, reason string) {
	e.sampled.Error().Str("agent", agent.Name).Str("stream", stream).Uint64("records", records).Str("by", reason).
		Msg("an agent below has no more what it should have sent")
}

func (e events) looped(url string, agent relaywire.Hop, stream string, records int) {
	e.last.Set(url, "%s: sends records of stream %q that this agent stored first: agents send to each other in a circle, or somebody speaks in this one's name", agent.Name, stream)
	e.sampled.Error().Str("url", url).Str("agent", agent.Name).Hex("agent_id", agent.Agent[:]).Str("stream", stream).Int("records", records).
		Msg("records came back that this agent stored first, and are not stored again: agents send to each other in a circle, or somebody speaks in this one's name")
}

func (e events) unread(key string, err error) {
	e.log.Error().Str("key", key).Err(err).Msg("a piece of what is known of agents below cannot be read; it goes on without, and records may come twice")
}
