package wasm

import (
	"time"

	"github.com/rs/zerolog"
)

// events are all the lines this room can log.
type events struct{ log zerolog.Logger }

func (e events) cacheUnusable(dir string, err error) {
	e.log.Warn().Str("dir", dir).Err(err).Msg("cache of compiled modules not used; modules are compiled at every start")
}

func (e events) cacheDamaged(dir string, err error) {
	e.log.Warn().Str("dir", dir).Err(err).Msg("cached code of a module was unusable; it was compiled again")
}

func (e events) interpreted() {
	e.log.Warn().Msg("modules are interpreted, some fifty times slower than compiled")
}

func (e events) metricRefused(name []byte, why string) {
	e.log.Warn().Bytes("metric", name).Str("reason", why).Msg("module counted what it may not; said once")
}

func (e events) recycled(memory int64) {
	e.log.Debug().Int64("memory", memory).Msg("instance of a module replaced, as its memory had grown")
}

func (e events) loaded(file string, size int, took time.Duration) {
	e.log.Info().Str("file", file).Int("bytes", size).Dur("took_ms", took).Msg("module loaded")
}

func (e events) failed(err error, records, isolated int, policy string) {
	e.log.Warn().Err(err).Int("batch", records).Int("records", isolated).Str("on_error", policy).Msg("module failed on records")
}

func (e events) failedSome(why string, records int, policy string) {
	e.log.Warn().Str("error", why).Int("records", records).Str("on_error", policy).Msg("module failed records without failing itself; said once a minute")
}

func (e events) tableAbsent(name string, known []string) {
	e.log.Warn().Str("table", name).Strs("known", known).Msg("module looks into a table that its config does not have, and finds nothing; said once")
}

func (e events) silent(call string, err error) {
	e.log.Warn().Str("call", call).Err(err).Msg("module failed without a batch: it has said nothing")
}

func (e events) bypassed(err error, wait time.Duration, policy string) {
	e.log.Error().Err(err).Dur("retry_in_ms", wait).Str("on_error", policy).Msg("module keeps failing: bypassed, every record is handled by on_error")
}

func (e events) retrying() { e.log.Info().Msg("bypassed module tried again") }

func (e events) recovered() { e.log.Info().Msg("bypassed module works again") }

func (e events) said(level zerolog.Level, line string, suppressed int) {
	ev := e.log.WithLevel(level)
	if suppressed > 0 {
		ev = ev.Int("suppressed", suppressed)
	}
	ev.Str("guest", line).Msg("module says")
}
