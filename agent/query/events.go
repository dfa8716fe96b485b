package query

import (
	"fmt"

	"github.com/rs/zerolog"
)

// events is every line this room can log.
type events struct{ log zerolog.Logger }

func (e events) damaged(stream string, first, next uint64, err error) {
	e.log.Error().Err(err).Str("stream", stream).Uint64("first", first).Uint64("next", next).
		Msg("a damaged block was left out of an answer")
}

func (e events) bug(path string, what any) {
	e.log.Error().Str("path", path).Str("panic", fmt.Sprint(what)).Msg("bug: a request made the API panic")
}

func (e events) tailDropped(peer, why string) {
	e.log.Warn().Str("peer", peer).Str("why", why).Msg("tail dropped")
}

func (e events) reloadRefused(err error) {
	e.log.Warn().Err(err).Msg("reload asked for and refused")
}

func (e events) cursorMoved(forwarder, stream string, to uint64) {
	e.log.Info().Str("forwarder", forwarder).Str("stream", stream).Uint64("to", to).Msg("cursor moved by hand")
}

// Printf is what fasthttp reports: connections that broke, mostly.
func (e events) Printf(format string, args ...any) {
	if e.log.GetLevel() <= zerolog.DebugLevel {
		e.log.Debug().Str("text", fmt.Sprintf(format, args...)).Msg("http server")
	}
}
