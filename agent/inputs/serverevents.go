package inputs

import (
	"fmt"
	"time"

	"github.com/VictoriaMetrics/metrics"
	"github.com/rs/zerolog"
)

// serverEvents are the lines a Server can log. Those that a peer can cause are
// sampled: the first ten a second.
type serverEvents struct {
	log     zerolog.Logger
	sampled zerolog.Logger
	last    *LastErrors
}

func newServerEvents(log zerolog.Logger) serverEvents {
	return serverEvents{log, log.Sample(&zerolog.BurstSampler{Burst: 10, Period: time.Second}), new(LastErrors)}
}

func (e serverEvents) listening(url string) {
	e.log.Info().Str("url", url).Msg("listening")
}

func (e serverEvents) acceptFailed(url string, err error, wait time.Duration) {
	e.last.Set(url, "accept: %v", err)
	e.sampled.Error().Str("url", url).Err(err).Dur("retry_in_ms", wait).
		Msg("cannot accept connections; senders wait")
}

func (e serverEvents) denied(url, peer string) {
	e.last.Set(url, "%s: refused, allow does not name it", peer)
	e.sampled.Warn().Str("url", url).Str("peer", peer).Msg("refused a peer that allow does not name")
}

func (e serverEvents) limitReached(url, peer, which string, limit int) {
	e.last.Set(url, "%s: refused, %s of %d connections reached", peer, which, limit)
	e.sampled.Warn().Str("url", url).Str("peer", peer).Str("limit", which).Int("connections", limit).
		Msg("refused a connection beyond the limit")
}

func (e serverEvents) plainText(url, peer string) {
	e.last.Set(url, "%s: plain text on a TLS port", peer)
	e.sampled.Warn().Str("url", url).Str("peer", peer).Msg("closed a connection: plain text on a TLS port")
}

func (e serverEvents) handshakeFailed(url, peer string, err error) {
	e.last.Set(url, "%s: TLS handshake: %v", peer, err)
	e.sampled.Warn().Str("url", url).Str("peer", peer).Err(err).Msg("closed a connection: TLS handshake failed")
}

func (e serverEvents) certificate(err error) {
	if err != nil {
		e.log.Error().Err(err).Msg("certificate not replaced")
		return
	}
	e.log.Info().Msg("certificate replaced")
}

// serverCounters are a Server's metrics. A reload finds those of the input it
// replaces and goes on with them.
type serverCounters struct {
	connections                             *metrics.Gauge // open now
	deniedAllow, deniedTotal, deniedAddress *metrics.Counter
	accept, plainText, handshake            *metrics.Counter
}

func newServerCounters(set *metrics.Set, input string) serverCounters {
	counter := func(name, reason string) *metrics.Counter {
		return set.GetOrCreateCounter(fmt.Sprintf("runnel_input_%s{input=%q,reason=%q}", name, input, reason))
	}
	return serverCounters{
		connections:   set.GetOrCreateGauge(fmt.Sprintf("runnel_input_connections{input=%q}", input), nil),
		deniedAllow:   counter("denied_total", "allow"),
		deniedTotal:   counter("denied_total", "max_connections"),
		deniedAddress: counter("denied_total", "per_address"),
		accept:        counter("errors_total", "accept"),
		plainText:     counter("errors_total", "plain_text"),
		handshake:     counter("errors_total", "handshake"),
	}
}
