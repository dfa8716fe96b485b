package storage

import (
	"time"

	"github.com/rs/zerolog"
)

// events is everything this room can log. sampled is for what a bad disk repeats.
type events struct{ log, sampled zerolog.Logger }

func newEvents(log zerolog.Logger) events {
	return events{log, log.Sample(&zerolog.BurstSampler{Burst: 10, Period: time.Minute})}
}

func (e events) clockDoubted(host, last time.Time) {
	e.log.Warn().Time("host", host).Time("last", last).Msg("the host's clock does not fit the last block; ages go on from there")
}

func (e events) interrupted() {
	e.log.Warn().Msg("the run before did not end properly; what it had taken from senders without acknowledgement, or dropped, since its last commit is not known")
}

func (e events) opened(dir string, segments, streams int, records uint64, took time.Duration) {
	e.log.Info().Str("dir", dir).Int("segments", segments).Int("streams", streams).Uint64("records", records).
		Dur("took_ms", took).Msg("store opened")
}

func (e events) segmentBegun(path string, replaces bool) {
	if replaces {
		e.log.Warn().Str("segment", path).Msg("outcome of a commit is unknown, writing on in a new segment")
		return
	}
	e.log.Debug().Str("segment", path).Msg("segment begun")
}

func (e events) segmentGone(path string, err error) {
	if err != nil {
		e.sampled.Warn().Err(err).Str("segment", path).Msg("segment could not be removed")
		return
	}
	e.log.Debug().Str("segment", path).Msg("segment removed")
}

func (e events) segmentRewritten(path string, from int) {
	e.log.Debug().Str("segment", path).Int("from", from).Msg("segment rewritten")
}

func (e events) segmentDamaged(path string, err error) {
	e.log.Error().Err(err).Str("segment", path).Msg("segment is damaged, reading its pages one by one")
}

func (e events) segmentSalvaged(path string, entries, unsound int) {
	e.log.Warn().Str("segment", path).Int("entries", entries).Int("unsound", unsound).
		Msg("segment was salvaged entry by entry, the damaged file is kept in quarantine")
}

func (e events) salvageFailed(path string, err error) {
	e.log.Error().Err(err).Str("file", path).Msg("damaged file could not be dealt with")
}

func (e events) recordsLost(g Gap) {
	e.log.Error().Str("stream", g.Stream).Uint64("from", g.From).Uint64("to", g.To).Uint64("records", g.To-g.From).
		Msg("records were lost to damage, a gap stands for them")
}

func (e events) stateBehind(path string, sequences []uint64) {
	e.log.Error().Str("segment", path).Uints64("sequences", sequences).
		Msg("newest entries are missing, what modules and forwarders keep may be older than the records")
}

func (e events) segmentPartlyDamaged(path string, entries int, err error) {
	e.log.Error().Err(err).Str("segment", path).Int("entries", entries).Msg("segment is damaged, serving what can be read")
}

func (e events) blockDamaged(path, stream string, first, next uint64, err error) {
	e.sampled.Error().Err(err).Str("segment", path).Str("stream", stream).Uint64("first", first).Uint64("next", next).
		Msg("block is damaged, skipped")
}

func (e events) checkpointDamaged(path string, err error) {
	e.log.Error().Err(err).Str("file", path).Msg("state is damaged, set aside in quarantine; rebuilt from the segments")
}

func (e events) identityDamaged(err error) {
	e.log.Error().Err(err).Msg("identity file is damaged, written anew from the state")
}

func (e events) forked(fork uint32) {
	e.log.Warn().Uint32("fork", fork).Msg("newest state was lost, history may have forked")
}

func (e events) epochBegun(epoch uint32) {
	e.log.Info().Uint32("epoch", epoch).Msg("new epoch begins")
}

func (e events) commitFailed(err error, attempt int) {
	e.sampled.Error().Err(err).Int("attempt", attempt).Msg("commit failed, trying again")
}

func (e events) commitRecovered(attempts int, path string) {
	e.log.Info().Int("attempts", attempts).Str("segment", path).Msg("commit succeeded after failures")
}

func (e events) diskRefuses() {
	e.log.Error().Msg("disk takes nothing, on_full decides until it does")
}

func (e events) diskResumed() {
	e.log.Info().Msg("disk takes data again")
}

func (e events) gateMoved(stream string, to uint32) {
	switch to {
	case gateDrops:
		e.sampled.Warn().Str("stream", stream).Msg("stream is full, dropping new records")
	case gatePushesBack:
		e.sampled.Warn().Str("stream", stream).Msg("stream is full, pushing back")
	default:
		e.sampled.Info().Str("stream", stream).Msg("stream takes records again")
	}
}

func (e events) maintenanceFailed(what string, err error) {
	e.sampled.Warn().Err(err).Str("what", what).Msg("maintenance failed, trying again")
}
