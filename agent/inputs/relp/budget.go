package relp

import (
	"fmt"
	"sync"
	"time"
)

// totalBuffers is how many bytes the connections of one input may hold of
// unfinished long messages, beyond 64 KiB each. When it is used up, whoever needs
// more is not read for a while.
const totalBuffers = 64 << 20

// budget is a number of bytes that many share. When it is used up one of them may
// have more than there is, or all could wait for what the others hold.
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

// room waits until the session may have more bytes of buffer; fewer than none are
// given back.
func (x *session) room(more int) error {
	if more <= 0 {
		x.in.budget.give(-more, x)
		return nil
	}
	freed := x.in.budget.take(more, x)
	if freed == nil {
		return nil
	}
	late := time.NewTimer(x.in.patience.frame)
	defer late.Stop()
	for ; freed != nil; freed = x.in.budget.take(more, x) {
		select {
		case <-freed:
		case <-late.C:
			return fmt.Errorf("%w: no memory for a message of more than %d bytes within %s", errSlow, x.reader.Came(), x.in.patience.frame)
		case <-x.stopping:
			return errStopped
		case <-x.gone:
			return errGone
		}
	}
	return nil
}
