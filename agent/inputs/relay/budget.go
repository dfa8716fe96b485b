package relay

import (
	"fmt"
	"sync"
	"time"
)

// budget is a number of bytes that all connections share. When it is used up one of them
// may have more than there is, or all could wait for what the others hold.
type budget struct {
	mu       sync.Mutex
	left     int           // guarded by mu
	favoured any           // who may have more; guarded by mu
	freed    chan struct{} // closed and replaced when some are given back; guarded by mu
}

func newBudget(bytes int) *budget { return &budget{left: bytes, freed: make(chan struct{})} }

// take takes n bytes for who if there are so many; otherwise it returns a channel
// that is closed when there are more.
func (b *budget) take(n int, who any) (freed <-chan struct{}) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.left < n {
		if b.favoured != nil && b.favoured != who {
			return b.freed
		}
		b.favoured = who
	}
	b.left -= n
	return nil
}

// give gives back n bytes of who's.
func (b *budget) give(n int, who any) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.left += n
	if b.favoured == who {
		b.favoured = nil
	}
	close(b.freed)
	b.freed = make(chan struct{})
}

// room waits until the session may have n more bytes, and returns what gives them back.
func (x *session) room(n int) (release func(), err error) {
	b := x.in.budget
	release = sync.OnceFunc(func() { b.give(n, x) })
	freed := b.take(n, x)
	if freed == nil {
		return release, nil
	}
	late := time.NewTimer(x.in.patience.room)
	defer late.Stop()
	for ; freed != nil; freed = b.take(n, x) {
		select {
		case <-freed:
		case <-late.C:
			x.in.counters.errors("not_taken").Inc()
			return nil, fmt.Errorf("%w: no memory for a frame of %d bytes within %s", errRefused, n, x.in.patience.room)
		case <-x.stopping:
			return nil, errStopped
		case <-x.gone:
			return nil, errGone
		}
	}
	return release, nil
}
