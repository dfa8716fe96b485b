package syslog

import (
	"sync"
	"time"

	"github.com/rs/zerolog"
)

// lossEvery is how often a line says what has been lost since the one before.
const lossEvery = 10 * time.Second

// losses says in the log what the pipeline did not take: the first of it at once, and for
// as long as that goes on one line every lossEvery with the sum, so that the lines add up
// to all of it. It is for any number of goroutines.
type losses struct {
	log zerolog.Logger

	mu sync.Mutex
	// guarded by mu:
	records int // in no line yet
	err     error
	timer   *time.Timer // until the next line; nil: nothing was lost for so long
}

func newLosses(log zerolog.Logger) *losses { return &losses{log: log} }

// add counts what is lost.
func (l *losses) add(records int, err error) {
	l.mu.Lock()
	l.records, l.err = l.records+records, err
	first := l.timer == nil
	if first {
		l.timer = time.AfterFunc(lossEvery, l.say)
		l.records = 0
	}
	l.mu.Unlock()
	if first {
		l.line(records, err)
	}
}

// say logs what has come together, and that it does so again.
func (l *losses) say() {
	l.mu.Lock()
	records, err := l.records, l.err
	l.records = 0
	switch {
	case l.timer == nil: // ended meanwhile
	case records > 0:
		l.timer.Reset(lossEvery)
	default:
		l.timer = nil
	}
	l.mu.Unlock()
	l.line(records, err)
}

// end logs what is in no line yet.
func (l *losses) end() {
	l.mu.Lock()
	records, err := l.records, l.err
	l.records = 0
	if l.timer != nil {
		l.timer.Stop()
		l.timer = nil
	}
	l.mu.Unlock()
	l.line(records, err)
}

func (l *losses) line(records int, err error) {
	if records > 0 {
		l.log.Error().Int("records", records).Err(err).Msg("records are lost: the pipeline did not take them")
	}
}
