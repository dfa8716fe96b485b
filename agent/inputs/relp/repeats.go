package relp

import (
	"hash/maphash"
	"sync"
	"time"
)

const (
	// remembered is how many messages of a connection that broke are remembered:
	// some windows of librelp's clients.
	remembered = 1024
	// brokenMost and brokenFor bound how many connections that broke are
	// remembered, and for how long.
	brokenMost = 512
	brokenFor  = 15 * time.Minute
	// startsMost bounds in how many places a repetition may begin, for senders
	// whose messages are all alike.
	startsMost = 64
)

// tail has the hashes of the last messages of one connection.
type tail struct {
	ring []uint64
	at   int // where the next one goes once the ring is full
}

func (t *tail) add(hashes []uint64) {
	for _, h := range hashes[max(0, len(hashes)-remembered):] {
		if len(t.ring) < remembered {
			t.ring = append(t.ring, h)
			continue
		}
		t.ring[t.at] = h
		t.at = (t.at + 1) % remembered
	}
}

// list returns them in order. The tail is of no use afterwards.
func (t *tail) list() []uint64 {
	if t.at == 0 {
		return t.ring
	}
	return append(append(make([]uint64, 0, len(t.ring)), t.ring[t.at:]...), t.ring[:t.at]...)
}

// repeats remembers what came last on connections that broke. A client repeats on its
// next connection what it had no answer to, in order and first of all; what it repeats
// of that and we have stored is the end of what we remember. So a message is
// flagged as a duplicate if all since the connection's begin are, in order, among
// what came last on one of the same peer. It is a suspicion, and
// drops nothing. What came before this process was started is not known.
type repeats struct {
	seed maphash.Seed

	mu     sync.Mutex
	broken []broken // guarded by mu; the oldest first
}

type broken struct {
	peer   string
	hashes []uint64
	at     time.Time
}

func newRepeats() *repeats { return &repeats{seed: maphash.MakeSeed()} }

// remember keeps what came last on a connection that broke.
func (r *repeats) remember(peer string, hashes []uint64, now time.Time) {
	if len(hashes) == 0 {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.forget(now)
	if len(r.broken) == brokenMost {
		r.broken = append(r.broken[:0], r.broken[1:]...)
	}
	r.broken = append(r.broken, broken{peer, hashes, now})
}

// forget drops what is too old; r.mu is held.
func (r *repeats) forget(now time.Time) {
	n := 0
	for n < len(r.broken) && now.Sub(r.broken[n].at) > brokenFor {
		n++
	}
	r.broken = append(r.broken[:0], r.broken[n:]...)
}

// expect returns what recognises repetitions on a new connection.
func (r *repeats) expect(peer string, now time.Time) match {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.forget(now)
	for _, b := range r.broken {
		if b.peer == peer {
			return match{from: r, peer: peer}
		}
	}
	return match{}
}

// starts returns what may follow a first message that is among what is
// remembered, and forgets the connections that this is true of.
func (r *repeats) starts(peer string, first uint64) (rest [][]uint64, found bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	kept := r.broken[:0]
	for _, b := range r.broken {
		here := false
		for i, h := range b.hashes {
			if b.peer == peer && h == first {
				here = true
				if len(rest) < startsMost && i+1 < len(b.hashes) {
					rest = append(rest, b.hashes[i+1:])
				}
			}
		}
		if found = found || here; !here {
			kept = append(kept, b)
		}
	}
	r.broken = kept
	return rest, found
}

// match recognises repetitions on one connection. The zero value recognises none.
type match struct {
	from *repeats // until the first message
	peer string
	rest [][]uint64 // what may follow
}

// seen reports whether the next message, given its hash, is a repetition.
func (m *match) seen(hash uint64) (seen bool) {
	if m.from != nil {
		m.rest, seen = m.from.starts(m.peer, hash)
		m.from = nil
		return seen
	}
	rest := m.rest[:0]
	for _, next := range m.rest {
		if next[0] != hash {
			continue
		}
		seen = true
		if len(next) > 1 {
			rest = append(rest, next[1:])
		}
	}
	m.rest = rest
	return seen
}
