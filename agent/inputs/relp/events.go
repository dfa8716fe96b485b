package relp

import (
	"time"

	"github.com/rs/zerolog"

	"github.com/runnel-log/runnel/agent/inputs"
)

// events are the lines this input can log. Those that a peer can cause are
// sampled: the first ten a second.
type events struct {
	log     zerolog.Logger
	sampled zerolog.Logger
	last    *inputs.LastErrors
}

func newEvents(log zerolog.Logger, last *inputs.LastErrors) events {
	return events{log, log.Sample(&zerolog.BurstSampler{Burst: 10, Period: time.Second}), last}
}

func (e events) protocolBroken(url, peer string, err error) {
	e.last.Set(url, "%s: %v", peer, err)
	e.sampled.Warn().Str("url", url).Str("peer", peer).Err(err).Msg("closed a connection: its peer does not speak RELP")
}

func (e events) tooSlow(url, peer string, err error) {
	e.last.Set(url, "%s: %v", peer, err)
	e.sampled.Warn().Str("url", url).Str("peer", peer).Err(err).Msg("closed a connection: its peer is too slow")
}

func (e events) notTaken(url string, records int, err error) {
	e.last.Set(url, "not stored: %v", err)
	e.sampled.Error().Str("url", url).Int("records", records).Err(err).
		Msg("the pipeline takes nothing; the client gets no answer, and sends again")
}

func (e events) notStored(url string, records int, err error) {
	e.last.Set(url, "not stored: %v", err)
	e.sampled.Error().Str("url", url).Int("records", records).Err(err).
		Msg("whether records reached the disk is unknown; the client gets no answer, and sends again")
}
