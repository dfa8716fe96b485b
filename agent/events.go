package agent

import (
	"os"
	"strings"
	"time"

	"github.com/rs/zerolog"

	"github.com/runnel-log/runnel/forwarders"
)

// events is everything the agent itself can log.
type events struct {
	log     zerolog.Logger
	sampled zerolog.Logger // for what a receiver can repeat: ten lines a second
}

func newEvents(log zerolog.Logger) events {
	return events{log, log.Sample(&zerolog.BurstSampler{Burst: 10, Period: time.Second})}
}

func (e events) started(version, config, dataDir, api string, took time.Duration) {
	e.log.Info().Str("version", version).Str("config", config).Str("data_dir", dataDir).Str("api", api).
		Dur("took_ms", took).Msg("runnel is ready")
}

func (e events) socketsKept(kept, of int) {
	e.log.Info().Int("kept", kept).Int("of", of).Msg("the service manager keeps listening sockets over a restart")
}

func (e events) closedUnasked(address string) {
	e.log.Info().Str("address", address).Msg("closed what the process before had open and the configuration no longer names")
}

func (e events) unread(address string) {
	e.log.Warn().Str("address", address).Msg("systemd listens there for this agent and no input names it: whoever writes there waits for ever; add the address to an input or take it out of the socket unit")
}

func (e events) dataOpenToOthers(dir string, mode os.FileMode) {
	e.log.Warn().Str("data_dir", dir).Stringer("mode", mode).
		Msg("other users of this host can look into the data directory; chmod 0700 it")
}

func (e events) stopping(reason string) {
	e.log.Info().Str("reason", reason).Msg("stopping: no new connections, committing what has arrived")
}

func (e events) stopped(took time.Duration) {
	e.log.Info().Dur("took_ms", took).Msg("stopped")
}

func (e events) reloaded(inputs, pipelines, forwarders int) {
	e.log.Info().Int("inputs", inputs).Int("pipelines", pipelines).Int("forwarders", forwarders).
		Msg("configuration reloaded")
}

func (e events) reloadRefused(err error) {
	e.log.Error().Err(err).Msg("the new configuration is wrong; the running one stays")
}

func (e events) outOfDate(part, err string) {
	e.log.Error().Str("used_by", part).Str("error", err).Msg("a certificate is out of date; peers that look refuse it until its files are replaced")
}

func (e events) endsSoon(part, file string, until time.Time) {
	e.log.Warn().Str("used_by", part).Str("file", file).Time("until", until).Msg("a certificate ends soon; put another in the place of its files before that")
}

func (e events) inDate(part, file string) {
	e.log.Info().Str("used_by", part).Str("file", file).Msg("a certificate is in date again")
}

func (e events) inputRestarting(input string, err error, in time.Duration) {
	e.log.Warn().Str("input", input).Err(err).Dur("in_ms", in).Msg("input stopped, restarting it")
}

func (e events) inputSlow(input string) {
	e.log.Warn().Str("input", input).Msg("input did not finish in time; what it still held in memory is lost")
}

func (e events) forwarderRetrying(forwarder string, err error, in time.Duration) {
	e.log.Warn().Str("forwarder", forwarder).Err(err).Dur("in_ms", in).Msg("delivery failed, trying again")
}

func (e events) forwarderRecovered(forwarder string, after time.Duration) {
	e.log.Info().Str("forwarder", forwarder).Dur("after_ms", after).Msg("delivery works again")
}

func (e events) gone(forwarder, stream string, from, to uint64, damaged bool) {
	why := "retention"
	if damaged {
		why = "damage"
	}
	e.sampled.Error().Str("forwarder", forwarder).Str("stream", stream).Uint64("from", from).Uint64("to", to).Str("by", why).
		Msg("records were gone before they were delivered")
}

func (e events) rewound(forwarder string, b *forwarders.Behind, from uint64) {
	stream, to := b.Stream, b.To
	if b.Turned {
		e.log.Info().Str("forwarder", forwarder).Str("stream", stream).Uint64("to", to).Uint64("from", from).
			Msg("another receiver has records that have not come to their end; they are sent to this one, too")
		return
	}
	e.log.Error().Str("forwarder", forwarder).Str("stream", stream).Uint64("to", to).Uint64("from", from).
		Msg("receiver has lost records that it had acknowledged; those that are still here are sent again")
}

func (e events) trimmedEarly(forwarder, stream string, from, to uint64) {
	e.sampled.Warn().Str("forwarder", forwarder).Str("stream", stream).Uint64("from", from).Uint64("to", to).
		Msg("records were delivered, and taken by retention before the last agent above was known to have them; give the stream more room, or on_full: push_back")
}

func (e events) deadLettered(forwarder, stream string, offset uint64, answer string) {
	e.sampled.Error().Str("forwarder", forwarder).Str("stream", stream).Uint64("offset", offset).Str("answer", answer).
		Msg("receiver refused a record for good; it is in the stream's dead letters")
}

func (e events) redriveAsked(forwarder, stream string, from, until, letters uint64) {
	e.log.Info().Str("forwarder", forwarder).Str("stream", stream).Uint64("from", from).Uint64("until", until).Uint64("letters", letters).
		Msg("dead letters go to their forwarder again")
}

func (e events) redriven(forwarder, stream string, redriven, again uint64) {
	e.log.Info().Str("forwarder", forwarder).Str("stream", stream).Uint64("redriven", redriven).Uint64("refused_again", again).
		Msg("all dead letters asked for have gone again; the counts are of all times together")
}

func (e events) swapped(modules []string) {
	e.log.Info().Strs("modules", modules).Msg("module's file changed; the new one is in place")
}

func (e events) swapRefused(modules []string, err error) {
	e.log.Error().Strs("modules", modules).Err(err).Msg("module's file changed and cannot be used; the running one stays")
}

func (e events) cannotWatch(err error) {
	e.log.Warn().Err(err).Msg("modules' files cannot be watched; a changed one is taken up by a reload")
}

func (e events) stateUnread(pipeline, module string, err error) {
	e.log.Error().Str("pipeline", pipeline).Str("module", module).Err(err).Msg("a piece of what the module kept cannot be read; it goes on without")
}

func (e events) tickFailed(pipeline string, err error) {
	e.sampled.Warn().Str("pipeline", pipeline).Err(err).Msg("what modules said at a tick was not stored; they are asked again")
}

func (e events) released(pipeline, module, by string, records int) {
	e.log.Warn().Str("pipeline", pipeline).Str("module", module).Str("by", by).Int("records", records).
		Msg("the configuration has this module no more; what it held has passed that pipeline, and the rest of its state is forgotten")
}

func (e events) heldBack(err error) {
	e.log.Error().Err(err).Msg("what a module held that has left the pipeline was not stored; it stays held")
}

func (e events) bookDamaged(key string, err error) {
	e.log.Error().Str("book", strings.ReplaceAll(key, "\x00", " ")).Err(err).Msg("a book of the ledger cannot be read to its end; it goes on with what could be")
}

func (e events) lostToDamage(stream string, records uint64) {
	e.log.Error().Str("stream", stream).Uint64("records", records).Msg("records that were stored are gone with a damaged file; the ledger has them as lost")
}

func (e events) cursorForgotten(forwarder, stream string, next, pending uint64) {
	e.log.Warn().Str("forwarder", forwarder).Str("stream", stream).Uint64("next", next).Uint64("pending", pending).
		Msg("the configuration has this forwarder no more; its cursor is forgotten and pins nothing")
}

func (e events) crowded(input, stream string) {
	e.sampled.Warn().Str("input", input).Str("stream", stream).Int("limit", mostRelayed).
		Msg("agents below have more streams than there can be; records of the others go where the pipeline puts what no stream is named for: name the stream under streams, or one for all in the pipeline of the relay input")
}

func (e events) belowUnread(err error) {
	e.log.Error().Err(err).Msg("what was kept of agents below cannot be read; they are listed again once they come back")
}

func (e events) belowNotKept(err error) {
	e.sampled.Warn().Err(err).Msg("who is below was not stored; after a restart, agents are listed as they were before, or once they come back")
}

func (e events) closeFailed(what string, err error) {
	e.log.Warn().Str("what", what).Err(err).Msg("closing failed")
}
