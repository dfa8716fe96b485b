package http

import (
	"io"
	"log"
	"strings"
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

// refused is a request that was not stored through its sender's doing.
func (e events) refused(url, peer string, code int, why string) {
	e.last.Set(url, "%s: %d %s", peer, code, why)
	e.sampled.Warn().Str("url", url).Str("peer", peer).Int("code", code).Str("why", why).Msg("refused a request")
}

// notTaken is a request that was not stored through ours.
func (e events) notTaken(url string, err error) {
	e.last.Set(url, "%v", err)
	e.sampled.Warn().Str("url", url).Err(err).Msg("records were not taken; their sender was told to try again")
}

func (e events) notStored(err error) {
	e.sampled.Error().Err(err).Msg("whether records reached the disk is unknown; their sender was told to try again")
}

func (e events) slow(url string, after time.Duration) {
	e.last.Set(url, "the store has not answered for %s", after)
	e.sampled.Error().Str("url", url).Dur("after_ms", after).
		Msg("the store does not answer; requests are refused until it does")
}

func (e events) certificate(err error) {
	if err != nil {
		e.log.Error().Err(err).Msg("certificate not replaced")
		return
	}
	e.log.Info().Msg("certificate replaced")
}

// server is where net/http says what it has to: panics of ours, mostly.
func (e events) server() *log.Logger {
	return log.New(serverLines{e}, "", 0)
}

type serverLines struct{ events }

var _ io.Writer = serverLines{}

func (l serverLines) Write(p []byte) (int, error) {
	text := strings.TrimSpace(string(p))
	if strings.Contains(text, "panic serving") {
		l.log.Error().Str("said", text).Msg("a request ended in a bug of ours; its sender got no answer")
	} else {
		l.sampled.Debug().Str("said", text).Msg("the HTTP server has something to say")
	}
	return len(p), nil
}
