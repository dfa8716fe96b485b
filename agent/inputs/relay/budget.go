package relay

import (
	"fmt"
	"sync"
	"sync/atomic"
	"time"
)

// budget is a number of bytes that all connections share. When it is used up, or an
// identity's share of it is, one of those whose frame still comes may have more, and one
// whose frame is whole: otherwise all could wait for what the others hold. The first must
// come fast (arriving), and the second depends on no peer any more.
type budget struct {
	share   int          // of one identity
	waiting atomic.Int32 // sessions that wait

	mu sync.Mutex
	// guarded by mu:
	left          int
	held          map[string]int // by identity
	coming, whole *session       // who may have more
	freed         chan struct{}  // closed and replaced when some are given back
}

// shares is how many identities can use up a budget, at least.
const shares = 4

func newBudget(bytes int) *budget {
	return &budget{share: bytes / shares, left: bytes, held: make(map[string]int), freed: make(chan struct{})}
}

// take takes n bytes for a session if there are so many, or if it is favoured; otherwise it
// returns a channel that is closed when there are more. whole: its frame has come.
func (b *budget) take(n int, x *session, whole bool) (freed <-chan struct{}, favoured bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	name := x.id.name // empty: of this host, and nobody's share
	if b.left < n || name != "" && b.held[name]+n > b.share {
		slot := &b.coming
		if whole {
			slot = &b.whole
		}
		if *slot != nil && *slot != x {
			return b.freed, false
		}
		*slot, favoured = x, true
	}
	b.left -= n
	if name != "" {
		b.held[name] += n
	}
	return nil, favoured
}

// give gives back n bytes of a session's.
func (b *budget) give(n int, x *session) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.left += n
	if name := x.id.name; name != "" {
		if b.held[name] -= n; b.held[name] == 0 {
			delete(b.held, name)
		}
	}
	if b.coming == x {
		b.coming = nil
	}
	if b.whole == x {
		b.whole = nil
	}
	close(b.freed)
	b.freed = make(chan struct{})
}

// coming waits until the session may have n more bytes of a frame that comes, and returns
// what gives them back.
func (x *session) coming(n int) (release func(), err error) {
	favoured, err := x.reserve(n, false)
	if err != nil {
		return nil, err
	}
	a := &x.arriving
	if a.holds += n; favoured && a.favoured.IsZero() {
		a.favoured, a.before = time.Now(), a.came
	}
	return func() {
		a.holds, a.favoured = a.holds-n, time.Time{}
		x.in.budget.give(n, x)
	}, nil
}

// room does the same for the records of a frame that has come.
func (x *session) room(n int) (release func(), err error) {
	if _, err := x.reserve(n, true); err != nil {
		return nil, err
	}
	return func() { x.in.budget.give(n, x) }, nil
}

// reserve waits until the session has n more bytes, for patience.room in all of one frame.
func (x *session) reserve(n int, whole bool) (favoured bool, err error) {
	b, a := x.in.budget, &x.arriving
	freed, favoured := b.take(n, x, whole)
	if freed == nil {
		return favoured, nil
	}
	b.waiting.Add(1)
	began := time.Now()
	late := time.NewTimer(x.in.patience.room - a.waited)
	defer func() {
		late.Stop()
		b.waiting.Add(-1)
		a.waited += time.Since(began)
	}()
	for freed != nil {
		select {
		case <-freed:
			freed, favoured = b.take(n, x, whole)
		case <-late.C:
			x.in.counters.errors("not_taken").Inc()
			return false, fmt.Errorf("%w: no memory for a frame of %d bytes within %s", errRefused, n, x.in.patience.room)
		case <-x.waits.Done():
			return false, x.ended()
		}
	}
	return favoured, nil
}
