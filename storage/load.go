package storage

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"go.etcd.io/bbolt"
	berrors "go.etcd.io/bbolt/errors"
)

// load reads what is in the directory: identity, checkpoint, segments and the
// state entries behind the checkpoint.
func (s *Store) load() error {
	id, fresh, err := s.dir.loadIdentity(!s.look)
	identityLost := errors.Is(err, errDamaged)
	if identityLost {
		s.events.identityDamaged(err)
		s.note(s.dir.root, "identity cannot be read")
	} else if err != nil {
		return err
	}
	s.identity = id
	names, err := s.segmentNames()
	if err != nil {
		return err
	}
	forked, err := s.loadState(identityLost, len(names) > 0)
	if err != nil {
		return err
	}
	lost, err := s.openSegments(names)
	if err != nil {
		return err
	}
	s.syncSegments()
	lost = s.replay() || lost
	s.dropVacant()
	if s.look {
		return nil
	}
	if forked = forked || lost; forked && !fresh {
		s.identity.fork++
		s.events.forked(s.identity.fork)
	}
	if forked || identityLost {
		if err := s.orReserve(func() error { return s.dir.saveIdentity(s.identity) }); err != nil {
			return err
		}
	}
	return s.openActive()
}

// segmentNames lists the segment files by base and generation, and removes
// what an interrupted creation left.
func (s *Store) segmentNames() ([]string, error) {
	files, err := os.ReadDir(s.dir.segments())
	if err != nil {
		return nil, err
	}
	var names []string
	for _, f := range files {
		path := filepath.Join(s.dir.segments(), f.Name())
		if strings.HasSuffix(f.Name(), temporary) {
			s.removeFile(path)
		} else if _, _, ok := parseSegmentName(f.Name()); ok {
			names = append(names, path)
		}
	}
	return names, nil // ReadDir sorts, and so do the names
}

// loadState opens state.db. A damaged one is set aside: the entries that are
// still in segments bring back what they can, and history may have forked.
func (s *Store) loadState(identityLost, segments bool) (forked bool, err error) {
	path := s.dir.checkpoint()
	if _, err := os.Stat(path); errors.Is(err, os.ErrNotExist) && segments {
		forked = true
	}
	if s.look && forked {
		s.note(path, "is missing")
		s.checkpoint, s.stateLost = &file{}, true
		return forked, nil
	}
	openState := func() (err error) {
		s.checkpoint, err = openCheckpoint(path, s.look)
		return err
	}
	err = s.orReserve(openState)
	if err == nil {
		s.checkpointed, err = s.loadCheckpoint()
	}
	if errors.Is(err, errDamaged) {
		s.events.checkpointDamaged(path, err)
		s.note(path, "cannot be read: %v", err)
		s.checkpoint.close()
		clear(s.cursors)
		clear(s.accounts)
		s.kept.reset()
		clear(s.streams)
		s.checkpointed, forked = 0, true
		if s.stateLost = true; s.look {
			s.checkpoint = &file{}
			return forked, nil
		}
		if err := s.orReserve(func() error { return s.dir.setAside(path) }); err != nil {
			return true, err
		}
		err = s.orReserve(openState)
	}
	s.stateLost = forked
	if err != nil {
		return forked, err
	}
	if identityLost {
		forked = s.recoverIdentity() || forked
	}
	return forked, nil
}

// recoverIdentity takes the identity from the checkpoint; if that has none
// either, a new agent begins.
func (s *Store) recoverIdentity() (forked bool) {
	_ = s.checkpoint.view(func(tx *bbolt.Tx) error {
		if meta := tx.Bucket(bucketMeta); meta != nil {
			if v := meta.Get(keyAgent); len(v) == 20 {
				copy(s.identity.agent[:], v)
				s.identity.fork = binary.BigEndian.Uint32(v[16:])
			}
		}
		return nil
	})
	if s.identity.fork == 0 {
		s.identity = newIdentity()
		return true
	}
	return false
}

// openSegments opens the files that count. lost reports that the newest could
// not be read, and with it perhaps the newest state.
func (s *Store) openSegments(names []string) (lost bool, err error) {
	for i, path := range slices.Backward(names) {
		newest := i == len(names)-1
		base, generation, _ := parseSegmentName(path)
		if by := s.superseding(base, generation); by != nil {
			s.removeFile(path)
			continue
		}
		g, err := openSegment(path, s.options.SegmentSize, !newest || s.look)
		if errors.Is(err, errDamaged) || errors.Is(err, berrors.ErrTimeout) { // somebody has it open beside us: its pages can be read all the same
			if g = s.salvageFile(path, err); g == nil {
				lost = true
				continue
			}
		} else if err != nil {
			return lost, err
		}
		g.vacant = g.db != nil && g.end == 0 && isVacant(g)
		s.supersede(g)
		s.segments = slices.Insert(s.segments, 0, g)
	}
	return lost, nil
}

// isVacant reports whether a segment has no entry, on no page.
func isVacant(g *segment) bool {
	empty := false
	err := g.view(func(tx *bbolt.Tx) error {
		k, _ := tx.Bucket(bucketLog).Cursor().First()
		empty = k == nil
		return nil
	})
	if err != nil || !empty {
		return false
	}
	r, err := scavenge(g.path, g.base)
	if err != nil {
		return false
	}
	defer r.pages.f.Close()
	return len(r.entries) == 0
}

// dropVacant removes empty segments whose sequences the one before them has: the
// store went on there, since it could not be sure of the new one's name.
func (s *Store) dropVacant() {
	last := uint64(0)
	s.segments = slices.DeleteFunc(s.segments, func(g *segment) bool {
		gone := g.vacant && last >= g.base
		if gone {
			g.close()
			s.removeFile(g.path)
		}
		last = max(last, g.last)
		return gone
	})
}

// superseding returns an open segment of a higher generation that stands for
// the sequences from base on.
func (s *Store) superseding(base uint64, generation uint32) *segment {
	for _, g := range s.segments {
		if g.generation > generation && (g.base == base || (g.base < base && base <= g.end)) {
			return g
		}
	}
	return nil
}

// supersede drops the segments that a rewritten one, just opened, stands for:
// a crash came between its rename and their removal.
func (s *Store) supersede(by *segment) {
	if by.end == 0 {
		return
	}
	s.segments = slices.DeleteFunc(s.segments, func(g *segment) bool {
		gone := g.generation < by.generation && by.base <= g.base && g.base <= by.end
		if gone {
			g.close()
			s.removeFile(g.path)
		}
		return gone
	})
}

// adopt adds a segment's blocks to the index, except those that retention had
// taken.
func (s *Store) adopt(g *segment, x *segmentIndex, end uint64) {
	for name, runs := range x.streams {
		st := s.stream(name)
		next := st.first
		if last := st.newest(); last != nil {
			next = last.next()
		}
		for _, r := range runs {
			for _, h := range r.heads {
				if g.base+uint64(h.sequence) >= end || h.first < next {
					continue
				}
				st.add(g, r.epoch, h)
				next = h.next()
				s.arrival = max(s.arrival, h.arrival)
			}
		}
	}
}

// resumable reports whether the newest segment may be written on: the last
// process stopped well, so that no page holds a piece of a commit that never was;
// and the file's list of free pages, which has no checksum, agrees with its tree.
func (s *Store) resumable(g *segment) bool {
	if s.options.begin || g.sealed || g.end != 0 || g.last > s.checkpointed || g.base == s.ended {
		return false
	}
	var root uint64
	err := g.view(func(tx *bbolt.Tx) error {
		root = uint64(tx.Bucket(bucketLog).Root())
		return nil
	})
	p, openErr := openPages(g.path)
	if err != nil || openErr != nil {
		return false
	}
	defer p.f.Close()
	return root == 0 || p.accounted(root)
}

// openActive picks or makes the segment that the committer appends to. On a full
// disk there is none for now, and everything else is as ever: the committer makes it
// when there is room, as if it were the first commit that failed.
func (s *Store) openActive() error {
	s.sequence = s.checkpointed + 1
	for _, g := range s.segments {
		s.sequence = max(s.sequence, g.last+1)
	}
	s.setClock()
	if n := len(s.segments); n > 0 {
		if newest := s.segments[n-1]; newest.last > s.checkpointed || newest.base == s.ended {
			s.interrupted = true
			s.events.interrupted()
		}
	}
	if n := len(s.segments); n > 0 && s.resumable(s.segments[n-1]) {
		s.active = s.segments[n-1]
		return nil
	}
	if n := len(s.segments); n > 0 && s.segments[n-1].base >= s.sequence {
		s.sequence = s.segments[n-1].base + 1
	}
	err := s.beginSegment()
	if err == nil || !isFull(err) {
		return err
	}
	if n := len(s.segments); n > 0 {
		s.segments[n-1].sealed = false // retention lets the newest be, whoever has filled the disk
	}
	s.disk(err)
	return nil
}

// beginSegment makes the first segment of this opening. The one before is not
// written to any more, not even its index: its list of free pages is not trusted.
func (s *Store) beginSegment() error {
	g, err := createSegment(s.dir.segments(), s.sequence, 0, s.options.SegmentSize)
	if err != nil {
		return fmt.Errorf("create segment: %w", err)
	}
	s.mu.Lock()
	if n := len(s.segments); n > 0 {
		s.segments[n-1].sealed = true
	}
	s.mu.Unlock()
	s.point("rotate")
	s.mu.Lock()
	s.segments = append(s.segments, g)
	s.active = g
	s.mu.Unlock()
	s.suspect = false
	return nil
}
