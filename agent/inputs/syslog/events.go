package syslog

import (
	"time"

	"github.com/rs/zerolog"
)

// events are the lines this input can log. Those that a peer can cause are
// sampled: the first ten a second.
type events struct {
	log     zerolog.Logger
	sampled zerolog.Logger
}

func newEvents(log zerolog.Logger) events {
	return events{log, log.Sample(&zerolog.BurstSampler{Burst: 10, Period: time.Second})}
}

func (e events) listening(url string) {
	e.log.Info().Str("url", url).Msg("listening")
}

func (e events) smallBuffer(url string, granted, asked int) {
	e.log.Warn().Str("url", url).Int("granted_bytes", granted).Int("asked_bytes", asked).
		Msg("the kernel grants a smaller receive buffer than asked for, bursts may be lost; raise net.core.rmem_max")
}

func (e events) acceptFailed(url string, err error, wait time.Duration) {
	e.sampled.Error().Str("url", url).Err(err).Dur("retry_in", wait).
		Msg("cannot accept connections; senders wait")
}

func (e events) denied(url, peer string) {
	e.sampled.Warn().Str("url", url).Str("peer", peer).Msg("refused a peer that allow does not name")
}

func (e events) limitReached(url, peer, which string, limit int) {
	e.sampled.Warn().Str("url", url).Str("peer", peer).Str("limit", which).Int("connections", limit).
		Msg("refused a connection beyond the limit")
}

func (e events) plainText(url, peer string) {
	e.sampled.Warn().Str("url", url).Str("peer", peer).
		Msg("closed a connection: plain text on a TLS port; its sender may believe its lines arrive")
}

func (e events) handshakeFailed(url, peer string, err error) {
	e.sampled.Warn().Str("url", url).Str("peer", peer).Err(err).Msg("closed a connection: TLS handshake failed")
}

func (e events) framingBroken(url, peer string, err error) {
	e.sampled.Warn().Str("url", url).Str("peer", peer).Err(err).Msg("closed a connection: its messages cannot be told apart")
}

func (e events) readFailed(url string, err error) {
	e.sampled.Warn().Str("url", url).Err(err).Msg("reading failed")
}

func (e events) notTaken(records int, err error) {
	e.sampled.Error().Int("records", records).Err(err).Msg("records are lost: the pipeline did not take them")
}

func (e events) notStored(err error) {
	e.sampled.Error().Err(err).Msg("whether records reached the disk is unknown")
}

func (e events) certificate(err error) {
	if err != nil {
		e.log.Error().Err(err).Msg("certificate not replaced")
		return
	}
	e.log.Info().Msg("certificate replaced")
}
