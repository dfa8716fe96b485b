package wasm

import (
	"bytes"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/rs/zerolog"
)

// Bounds on what a guest logs (ABI §5.1).
const (
	logRate = 10   // lines a second
	maxLine = 1024 // bytes of a line
)

// guestLog passes on what a module's guests say, ten lines a second, and counts
// the rest. The last line is kept: it is how a guest explains a refusal.
type guestLog struct {
	events     events
	now        func() time.Time
	suppressed atomic.Uint64 // in all

	mu     sync.Mutex
	second int64  // guarded by mu: the second that said counts
	said   int    // guarded by mu
	quiet  int    // guarded by mu: suppressed since the last line that went through
	last   string // guarded by mu
}

// line logs one line and returns whether it went through.
func (g *guestLog) line(level zerolog.Level, text []byte) bool {
	if len(text) > maxLine {
		text = text[:maxLine]
	}
	g.mu.Lock()
	if s := g.now().Unix(); s != g.second {
		g.second, g.said = s, 0
	}
	if g.said >= logRate {
		g.quiet++
		g.mu.Unlock()
		g.suppressed.Add(1)
		return false
	}
	g.said++
	quiet := g.quiet
	g.quiet = 0
	line := string(text)
	g.last = line
	g.mu.Unlock()
	g.events.said(level, line, quiet)
	return true
}

func (g *guestLog) lastLine() string {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.last
}

// lines gathers what a guest writes to stdout or stderr into lines.
type lines struct {
	part  []byte
	first []byte // the first line of the call at hand: where a runtime says why it gives up
	last  []byte // the last line that was logged as an error in it: where an SDK does
}

func (l *lines) write(g *guestLog, p []byte) {
	for len(p) > 0 {
		i := bytes.IndexByte(p, '\n')
		if i < 0 {
			l.part = append(l.part, p[:min(len(p), maxLine-min(maxLine, len(l.part)))]...)
			return
		}
		line := p[:i]
		if len(l.part) > 0 {
			l.part = append(l.part, line[:min(i, maxLine-min(maxLine, len(l.part)))]...)
			line = l.part
		}
		if len(line) > 0 {
			if len(l.first) == 0 {
				l.first = append(l.first, line[:min(len(line), maxReason)]...)
			}
			g.line(zerolog.InfoLevel, line)
		}
		l.part = l.part[:0]
		p = p[i+1:]
	}
}

// maxReason is how much of a line is kept to say why a guest stopped.
const maxReason = 200

// logged keeps a line that was logged as an error.
func (l *lines) logged(text []byte) {
	text, _, _ = bytes.Cut(text, []byte{'\n'})
	l.last = append(l.last[:0], text[:min(len(text), maxReason)]...)
}

// start forgets what earlier calls wrote.
func (l *lines) start() { l.part, l.first, l.last = l.part[:0], l.first[:0], l.last[:0] }

// because adds to why the guest stopped its first line, if it wrote one, or the
// last error that it logged.
func (l *lines) because(err error) error {
	switch {
	case len(l.first) > 0:
		return fmt.Errorf("%w; it wrote %q", err, l.first)
	case len(l.last) > 0:
		return fmt.Errorf("%w; it logged %q", err, l.last)
	}
	return err
}

// sampled adds up what happens to records, to be told of once a minute.
type sampled struct {
	mu    sync.Mutex
	next  time.Time // guarded by mu: when it may be told of again
	count int       // guarded by mu: since it was
}

// add returns how many there were since it was last told of, these included; 0 if it is not yet time to tell.
func (s *sampled) add(n int, now time.Time) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.count += n
	if now.Before(s.next) {
		return 0
	}
	s.next = now.Add(time.Minute)
	n, s.count = s.count, 0
	return n
}
