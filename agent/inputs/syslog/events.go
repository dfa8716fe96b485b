package syslog

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
	lost    *losses // not taken
}

func newEvents(log zerolog.Logger) events {
	return events{log, log.Sample(&zerolog.BurstSampler{Burst: 10, Period: time.Second}), new(inputs.LastErrors), newLosses(log)}
}

func (e events) listening(url string) {
	e.log.Info().Str("url", url).Msg("listening")
}

func (e events) resumed(url string, connections int) {
	e.log.Info().Str("url", url).Int("connections", connections).Msg("going on with connections of the process before")
}

func (e events) notBegun(url string, err error) {
	e.log.Warn().Str("url", url).Err(err).
		Msg("the service manager may still keep connections that are served here; a line may come twice if this process is killed")
}

func (e events) passedOn(connections int) {
	e.log.Info().Int("connections", connections).Msg("passed connections on to the next process")
}

func (e events) notPassed(url string, err error) {
	e.sampled.Warn().Str("url", url).Err(err).
		Msg("a connection cannot be passed on and is closed; what its sender writes meanwhile is lost; raise FileDescriptorStoreMax if the store is full")
}

func (e events) smallBuffer(url string, granted, asked int) {
	e.log.Warn().Str("url", url).Int("granted_bytes", granted).Int("asked_bytes", asked).
		Msg("the kernel grants a smaller receive buffer than asked for, bursts may be lost; raise net.core.rmem_max")
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

func (e events) beyondRate(peer string) {
	e.sampled.Warn().Str("peer", peer).Msg("drops what one source sends beyond its rate")
}

func (e events) plainText(url, peer string) {
	e.last.Set(url, "%s: plain text on a TLS port", peer)
	e.sampled.Warn().Str("url", url).Str("peer", peer).
		Msg("closed a connection: plain text on a TLS port; its sender may believe its lines arrive")
}

func (e events) handshakeFailed(url, peer string, err error) {
	e.last.Set(url, "%s: TLS handshake: %v", peer, err)
	e.sampled.Warn().Str("url", url).Str("peer", peer).Err(err).Msg("closed a connection: TLS handshake failed")
}

func (e events) framingBroken(url, peer string, err error) {
	e.last.Set(url, "%s: %v", peer, err)
	e.sampled.Warn().Str("url", url).Str("peer", peer).Err(err).Msg("closed a connection: its messages cannot be told apart")
}

func (e events) memoryFull(peer string) {
	e.sampled.Warn().Str("peer", peer).Int("bytes", totalBuffers).
		Msg("cut a long message: the unfinished ones of all connections take all the memory there is for them")
}

func (e events) readFailed(url string, err error) {
	e.last.Set(url, "read: %v", err)
	e.sampled.Warn().Str("url", url).Err(err).Msg("reading failed")
}

func (e events) notTaken(url string, records int, err error) {
	e.last.Set(url, "records are lost: %v", err)
	e.lost.add(records, err)
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
