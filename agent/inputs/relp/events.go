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

func newEvents(log zerolog.Logger) events {
	return events{log, log.Sample(&zerolog.BurstSampler{Burst: 10, Period: time.Second}), new(inputs.LastErrors)}
}

func (e events) listening(url string) {
	e.log.Info().Str("url", url).Msg("listening")
}

func (e events) acceptFailed(url string, err error, wait time.Duration) {
	e.last.Set(url, "accept: %v", err)
	e.sampled.Error().Str("url", url).Err(err).Dur("retry_in_ms", wait).
		Msg("cannot accept connections; senders wait")
}

func (e events) denied(url, peer string) {
	e.last.Set(url, "%s: refused, allow does not name it", peer)
	e.sampled.Warn().Str("url", url).Str("peer", peer).Msg("refused a peer that allow does not name")
}

func (e events) limitReached(url, peer, which string, limit int) {
	e.last.Set(url, "%s: refused, %s of %d connections reached", peer, which, limit)
	e.sampled.Warn().Str("url", url).Str("peer", peer).Str("limit", which).Int("connections", limit).
		Msg("refused a connection beyond the limit")
}

func (e events) plainText(url, peer string) {
	e.last.Set(url, "%s: plain text on a TLS port", peer)
	e.sampled.Warn().Str("url", url).Str("peer", peer).Msg("closed a connection: plain text on a TLS port")
}

func (e events) handshakeFailed(url, peer string, err error) {
	e.last.Set(url, "%s: TLS handshake: %v", peer, err)
	e.sampled.Warn().Str("url", url).Str("peer", peer).Err(err).Msg("closed a connection: TLS handshake failed")
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

func (e events) certificate(err error) {
	if err != nil {
		e.log.Error().Err(err).Msg("certificate not replaced")
		return
	}
	e.log.Info().Msg("certificate replaced")
}
