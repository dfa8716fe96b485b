package syslog

import "github.com/rs/zerolog"

// events are all the lines this room can log.
type events struct{ log zerolog.Logger }

func newEvents(log zerolog.Logger) events {
	return events{log: log.Sample(&zerolog.BasicSampler{N: 100})}
}

// cut says that messages were too long for a datagram. A busy sender could repeat
// it at every batch, so one in a hundred is logged, and all are counted.
func (e events) cut(n, most int) {
	e.log.Warn().Int("records", n).Int("bytes", most).Msg("messages too long for a datagram were cut; send them over tcp to keep them whole")
}
