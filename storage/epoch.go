package storage

import (
	"crypto/rand"
	"encoding/binary"
	"slices"
	"sync"
)

// An epoch is the name of one writer of this store: 32 random bits, drawn at each
// opening and whenever a second writer is known to be about. It is in the header of
// every block, and stays with it through merging and salvage. So the records of a
// copied directory, or of a snapshot that was restored, cannot be taken for each
// other's: under one epoch an offset of a stream was written once.

// Part is a stretch of a stream that was written under one epoch.
type Part struct {
	Epoch       uint32
	First, Next uint64 // offsets; without Next. What damage took in between is included
}

// epochs are what a store writes under.
type epochs struct {
	now     uint32     // of commits that begin from here on; guarded by Store.mu
	writing uint32     // of the commit that is being written; 0 between commits; guarded by Store.mu
	written *sync.Cond // on Store.mu: a commit has been written, or has failed
}

// Epoch returns the epoch of what is written now; 0 in a store that is only looked at.
func (s *Store) Epoch() uint32 {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.epochs.now
}

// NewEpoch begins a new epoch and returns it: somebody else was seen to write under
// the one before, as a copy of this machine with its memory does. What is appended
// from now on is written under the new one. When it returns no block of the old one follows
// any more; what was staged before may be under either.
func (s *Store) NewEpoch() uint32 {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.drawEpoch()
	epoch := s.epochs.now
	for w := s.epochs.writing; w != 0 && w != s.epochs.now; w = s.epochs.writing {
		s.epochs.written.Wait()
	}
	s.events.epochBegun(epoch)
	return epoch
}

// drawEpoch begins an epoch that no block here was written under. s.mu is held.
func (s *Store) drawEpoch() {
	for {
		var b [4]byte
		_, _ = rand.Read(b[:])
		if n := binary.LittleEndian.Uint32(b[:]); n != 0 && n != s.epochs.now && !s.hasEpoch(n) {
			s.epochs.now = n
			return
		}
	}
}

// hasEpoch reports whether a block here was written under that epoch. s.mu is held.
func (s *Store) hasEpoch(epoch uint32) bool {
	for _, st := range s.streams {
		if slices.ContainsFunc(st.runs, func(r *run) bool { return r.epoch == epoch }) {
			return true
		}
	}
	return false
}

// writeUnder returns the epoch for a commit that begins, which notWriting ends: on
// disk or not, what is written for it afterwards is under the epoch of then.
func (s *Store) writeUnder() uint32 {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.epochs.writing = s.epochs.now
	return s.epochs.now
}

func (s *Store) notWriting() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.epochs.writing = 0
	s.epochs.written.Broadcast()
}

// Parts returns what stream has now, by the epoch under which it was written, in
// order. Of one epoch there can be several: builds before these epochs put blocks of theirs together.
func (s *Store) Parts(stream string) []Part {
	s.mu.RLock()
	defer s.mu.RUnlock()
	st := s.streams[stream]
	if st == nil {
		return nil
	}
	var parts []Part
	for _, r := range st.runs {
		first, next := max(r.heads[0].first, st.first), r.heads[len(r.heads)-1].next()
		if n := len(parts); n > 0 && parts[n-1].Epoch == r.epoch {
			parts[n-1].Next = next
		} else {
			parts = append(parts, Part{Epoch: r.epoch, First: first, Next: next})
		}
	}
	return parts
}

// onlyEpoch returns the one epoch that an index of a build before these epochs can be
// about: theirs were counted from 1, one more for each fork. 0 where there were several.
func (s *Store) onlyEpoch() uint32 {
	if s.identity.fork == 1 && !s.identity.made {
		return 1
	}
	return 0
}
