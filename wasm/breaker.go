package wasm

import (
	"sync"
	"time"
)

// The circuit breaker: a module that failed on openAfter batches within a
// minute is bypassed for a while, twice as long each time up to maxWait, so
// that a guest that fails on everything does not cost the pipeline its speed.
const (
	openAfter = 5
	window    = time.Minute
	minWait   = time.Second
	maxWait   = 5 * time.Minute
)

type breaker struct {
	mu     sync.Mutex
	recent [openAfter]time.Time // guarded by mu: when the last failures were, a ring
	next   int                  // guarded by mu
	wait   time.Duration        // guarded by mu: 0 if closed
	until  time.Time            // guarded by mu: when it may be tried again
	trying bool                 // guarded by mu: one batch is on trial
	why    string               // guarded by mu
}

// allows reports whether a batch may go to the guest. After the wait one batch
// at a time is let through, on trial.
func (b *breaker) allows(now time.Time, e events) bool {
	b.mu.Lock()
	if b.wait == 0 {
		b.mu.Unlock()
		return true
	}
	if b.trying || now.Before(b.until) {
		b.mu.Unlock()
		return false
	}
	b.trying = true
	b.mu.Unlock()
	e.retrying()
	return true
}

// succeeded is told of every batch that went well.
func (b *breaker) succeeded(_ time.Time, e events) {
	b.mu.Lock()
	was := b.wait
	if was > 0 && b.trying {
		b.wait, b.trying = 0, false
		b.recent = [openAfter]time.Time{}
	}
	b.mu.Unlock()
	if was > 0 {
		e.recovered()
	}
}

// failed is told of every batch the guest failed on.
func (b *breaker) failed(now time.Time, err error, e events, policy OnError) {
	b.mu.Lock()
	oldest := b.recent[b.next]
	b.recent[b.next] = now
	b.next = (b.next + 1) % openAfter
	open := b.trying || !oldest.IsZero() && now.Sub(oldest) < window
	b.trying = false
	if !open || b.wait > 0 && now.Before(b.until) {
		b.mu.Unlock()
		return
	}
	b.wait = min(max(minWait, 2*b.wait), maxWait)
	b.until = now.Add(b.wait)
	b.why = "module bypassed: " + err.Error()
	wait := b.wait
	b.mu.Unlock()
	e.bypassed(err, wait, policy.String())
}

// reason says why records are bypassed.
func (b *breaker) reason() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.why
}

// open reports whether the module is bypassed.
func (b *breaker) open() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.wait > 0
}
