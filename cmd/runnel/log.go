package main

import (
	"sync"
	"time"

	"github.com/rs/zerolog"
)

// The agent's own log says each thing at most linesASecond times a second, after
// lineBurst that may come at once, as when it starts. What a peer can make it
// say again and again must not fill a disk, and where its log comes back to it as
// records there would be no end.
const (
	linesASecond = 10
	lineBurst    = 50
	lineTexts    = 1024 // told apart; texts are constants, and there are fewer
)

// lineLimit is a hook of the logger that leaves lines out. The next of the same
// text that is not says how many.
type lineLimit struct {
	mu    sync.Mutex // guards texts
	texts map[string]*lineBucket
}

type lineBucket struct {
	tokens  float64
	at      time.Time
	leftOut uint64
}

func newLineLimit() *lineLimit { return &lineLimit{texts: make(map[string]*lineBucket)} }

// Run is called with every line before it is written.
func (l *lineLimit) Run(e *zerolog.Event, _ zerolog.Level, text string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	now := time.Now()
	b := l.texts[text]
	if b == nil {
		if len(l.texts) >= lineTexts {
			clear(l.texts)
		}
		b = &lineBucket{tokens: lineBurst, at: now}
		l.texts[text] = b
	}
	b.tokens = min(lineBurst, b.tokens+linesASecond*max(0, now.Sub(b.at).Seconds()))
	b.at = now
	if b.tokens < 1 {
		b.leftOut++
		e.Discard()
		return
	}
	b.tokens--
	if b.leftOut > 0 {
		e.Uint64("left_out", b.leftOut)
		b.leftOut = 0
	}
}
