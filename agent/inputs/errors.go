package inputs

import (
	"fmt"
	"sync"
	"time"
)

// LastErrors remembers what went wrong last at each address of an input, and when,
// for `runnel status`. The zero value has none. It is for any number of goroutines.
type LastErrors struct {
	mu sync.Mutex
	of map[string]lastError // by URL; guarded by mu
}

type lastError struct {
	text string
	at   time.Time
}

// Set makes an error the last one at url.
func (l *LastErrors) Set(url, format string, args ...any) {
	one := lastError{fmt.Sprintf(format, args...), time.Now()}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.of == nil {
		l.of = make(map[string]lastError)
	}
	l.of[url] = one
}

// Of returns a listener with the last error at its URL filled in.
func (l *LastErrors) Of(at Listener) Listener {
	l.mu.Lock()
	defer l.mu.Unlock()
	one := l.of[at.URL]
	at.LastError, at.LastErrorAt = one.text, one.at
	return at
}
