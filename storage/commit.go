package storage

import (
	"errors"
	"fmt"
	"math"
	"os"
	"runtime"
	"runtime/debug"
	"strings"
	"syscall"
	"time"

	"go.etcd.io/bbolt"
)

const (
	// statePatience is how long state that moved waits for records to travel with.
	statePatience = time.Second
	// cursorPatience is how long a cursor that moved waits for them: what a receiver
	// has acknowledged since would be sent again after kill -9.
	cursorPatience = 250 * time.Millisecond
	// maxEntries ends a segment of many small entries early: a quiet host makes a
	// block of a line every 250 ms, and only sealed segments can be tidied.
	maxEntries = 8192
	// retryEvery is how often a disk that refuses is tried again.
	retryEvery = 250 * time.Millisecond
	// lastAttempt is how often a full disk is tried before nothing is held back any more
	// that could make room.
	lastAttempt = 8
)

// runCommitter is the one goroutine that writes to segments. It is pinned to
// its thread, so that tests which count system calls by thread can name it.
func (s *Store) runCommitter() {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	debug.SetPanicOnFault(true)
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	var last time.Time // when the last commit began that counts for the pace
	for {
		wait, closing := s.due(time.Since(last))
		if wait <= 0 || closing {
			g := s.intake.take()
			if g.records > 0 || g.hurry || s.options.CommitEvery > 0 { // or else a lone record that comes behind a cursor's move would wait
				last = time.Now()
			}
			s.commit(g)
			if closing {
				return
			}
			continue
		}
		timer.Reset(wait)
		select {
		case <-s.intake.wake:
		case <-timer.C:
		}
	}
}

// due returns how long to wait for the next commit, and whether it is the last.
func (s *Store) due(since time.Duration) (wait time.Duration, closing bool) {
	in := &s.intake
	in.mu.Lock()
	defer in.mu.Unlock()
	g := in.group
	switch {
	case in.closed:
		return 0, true
	case s.active == nil: // nobody may append before there is one, so nothing would ever come
		return 0, false
	case g.records > 0 || g.hurry || g.bytes >= commitBytes:
		return s.paceOf(g, since), false
	}
	wait = time.Duration(math.MaxInt64)
	if !g.since.IsZero() {
		wait = statePatience - time.Since(g.since)
	}
	if at := s.dirtySince.Load(); at != 0 {
		patience := min(max(s.options.CommitEvery, cursorPatience), statePatience)
		wait = min(wait, patience-time.Since(time.Unix(0, at)))
	}
	return wait, false
}

// commit brings a group to disk, however long that takes, and fulfils its receipt.
func (s *Store) commit(g *group) {
	for _, b := range g.blocks {
		if b.claimed {
			b.pressed.Wait()
		} else {
			b.press(s.recent.wanted())
		}
	}
	g.receipt.err = s.persist(g)
	for _, b := range g.blocks {
		if g.receipt.err == nil {
			s.metrics.bytes.Add(len(b.entry))
		}
		b.free()
	}
	s.intake.done(g)
	close(g.receipt.done)
}

// persist writes g until the disk takes it. A store that is being closed tries
// once more and gives up.
func (s *Store) persist(g *group) error {
	refused := s.active == nil // since the opening
	for attempt := 0; ; attempt++ {
		begun := time.Now()
		s.writing.Store(begun.UnixNano())
		err := s.write(g)
		s.writing.Store(0)
		nothing := errors.Is(err, errNothing)
		if err == nil {
			s.metrics.commits.Inc()
			s.metrics.commitSeconds.Update(time.Since(begun).Seconds())
		}
		if err == nil || nothing {
			if attempt > 0 || refused { // also with nothing left to write: nobody may append before this, so nothing would ever come
				s.disk(nil)
				s.events.commitRecovered(attempt, s.active.path)
			}
			return nil
		}
		s.metrics.commitErrors.Inc()
		s.events.commitFailed(err, attempt)
		full := isFull(err)
		if !full || !s.untouched(err) {
			s.suspect = true
		}
		if full {
			s.makeRoom(attempt >= lastAttempt)
		}
		if attempt == 0 && !full {
			continue
		}
		s.disk(err) // also one that is read-only or broken: senders are told, or dropped, as on_full says
		if s.closing.Load() {
			return fmt.Errorf("%w: %w", ErrClosed, err)
		}
		select {
		case <-time.After(retryEvery):
		case <-s.closed:
		}
	}
}

// isFull reports whether the disk, or a quota on it, has no room.
func isFull(err error) bool {
	return errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) ||
		// bbolt does not wrap the error of growing its file.
		strings.Contains(err.Error(), syscall.ENOSPC.Error()) || strings.Contains(err.Error(), syscall.EDQUOT.Error())
}

// isStarved reports whether the process, or the system, is out of file descriptors.
func isStarved(err error) bool {
	return errors.Is(err, syscall.EMFILE) || errors.Is(err, syscall.ENFILE)
}

// untouched reports whether a failed commit surely left the segment as it was:
// a page could not be written, so no meta page names the pages that were.
func (s *Store) untouched(err error) bool {
	var path *os.PathError
	return errors.As(err, &path)
}

// disk notes why the disk takes no data; nil if it does.
func (s *Store) disk(refusal error) {
	refuses := refusal != nil
	s.mu.Lock()
	s.refusal = causeOf(refusal)
	s.mu.Unlock()
	s.intake.mu.Lock()
	was := s.intake.hard
	s.intake.hard = refuses
	if was != refuses { // let those who wait for room look again
		close(s.intake.room)
		s.intake.room = make(chan struct{})
	}
	s.intake.mu.Unlock()
	if was == refuses {
		return
	}
	if refuses {
		s.events.diskRefuses()
	} else {
		s.events.diskResumed()
	}
	s.mu.Lock()
	s.hard = refuses
	s.setGates()
	s.mu.Unlock()
}

// errNothing: there was neither a record nor a state to commit.
var errNothing = errors.New("nothing to commit")

// write makes one transaction of the group's blocks and the state that moved.
// When it returns nil they are on disk and visible.
func (s *Store) write(g *group) error {
	if err := s.readySegment(); err != nil {
		return err
	}
	s.stating.Lock()
	defer s.stating.Unlock()
	s.dirtySince.Store(0) // before looking: what moves from here on sets it again
	state, own := s.encodeState(g)
	if len(g.blocks) == 0 && len(state) == 0 {
		return errNothing
	}
	seg := s.active
	arrival := s.arrivalNow()
	sequence := s.sequence
	epoch := s.writeUnder()
	defer s.notWriting()
	heads := make([]head, len(g.blocks))
	for _, b := range g.blocks {
		b.gate.stream.coming = 0
	}
	for i, b := range g.blocks {
		st := b.gate.stream
		if st.coming == 0 {
			st.coming = st.next // only the committer moves next
		}
		h := header{kind: kindRecords, codec: b.codec, sequence: sequence, first: st.coming, count: uint32(b.count),
			rawLen: uint32(b.size), epoch: epoch, times: b.times, arrival: arrival, later: b.later}
		h.sum = b.digest.Sum(h.first + uint64(b.count) - 1)
		seal(b.entry, &h, st.name)
		heads[i] = h.head(seg, len(b.entry))
		st.coming += uint64(b.count)
		sequence++
	}
	for _, entry := range state {
		rawLen := uint32(len(entry) - headerSize("", &later{}))
		seal(entry, &header{kind: kindState, sequence: sequence, rawLen: rawLen, epoch: epoch, arrival: arrival}, "")
		sequence++
	}
	err := seg.updateWith(func(tx *bbolt.Tx) error { return s.transact(tx, g, state) }, s.commitTx)
	s.point("committed")
	if err != nil {
		if len(own) > 0 {
			s.touched()
		}
		return err
	}
	s.padded = s.padding
	s.publish(g, epoch, heads, own, sequence)
	return nil
}

// transact puts the entries of one commit into a transaction.
func (s *Store) transact(tx *bbolt.Tx, g *group, state [][]byte) error {
	s.active.size.Store(tx.Size())
	log := tx.Bucket(bucketLog)
	log.FillPercent = 1 // keys only ever come at the end
	sequence := s.sequence
	put := func(entry []byte) error {
		key := sequenceKey(sequence) // bbolt makes its own copy
		sequence++
		return log.Put(key[:], entry)
	}
	for _, b := range g.blocks {
		if err := put(b.entry); err != nil {
			return err
		}
	}
	for _, entry := range state {
		if err := put(entry); err != nil {
			return err
		}
	}
	s.point("commit")
	return s.pad(log, g, state, sequence-1)
}

// Padding is a handful of empty values behind a commit's last entry, under its
// key and one more byte. bbolt writes a leaf anew with every commit that adds
// to it, and splits none of fewer than five values: the last two to four blocks
// would go to disk again each time, five times the bytes at 20 000 records a
// second. With padding the last leaf holds nothing else, and the next commit
// removes it (docs/format/storage.md "Padding").
const (
	padding      = 5
	paddingFrom  = 4 << 10 // bytes of a commit's last entries from which it pays
	paddingUntil = 1 << 20 // bytes of a commit up to which it matters
)

// pad replaces the padding of the last commit with that of this one.
func (s *Store) pad(log *bbolt.Bucket, g *group, state [][]byte, last uint64) error {
	if s.padded != 0 {
		// The first lies in a leaf that is full; it stays.
		for i := 1; i < padding; i++ {
			if err := log.Delete(paddingKey(s.padded, i)); err != nil {
				return err
			}
		}
	}
	size, end := 0, 0
	for _, b := range g.blocks {
		size += len(b.entry)
		end = len(b.entry)
	}
	for _, entry := range state {
		size += len(entry)
		end = max(end, len(entry))
	}
	s.padding = 0
	if size > paddingUntil || end < paddingFrom {
		return nil
	}
	s.padding = last
	for i := range padding {
		if err := log.Put(paddingKey(last, i), nil); err != nil {
			return err
		}
	}
	return nil
}

func paddingKey(sequence uint64, i int) []byte {
	key := sequenceKey(sequence)
	return append(key[:], byte(i))
}

// publish makes a commit visible. own is the encoding of the store's own state in it.
func (s *Store) publish(g *group, epoch uint32, heads []head, own []byte, sequence uint64) {
	s.kept.commit(g.state) // before the sequence: a checkpoint must not lag behind its own
	s.mu.Lock()
	s.committed = g.number
	for i := range g.totals {
		s.accounts[g.totals[i].Key] = g.totals[i].Value
	}
	for i, b := range g.blocks {
		b.gate.stream.add(s.active, epoch, heads[i])
		b.gate.stream.counter.Add(b.count)
	}
	if len(own) > 0 {
		s.settle(own)
	}
	s.sequence = sequence
	s.active.last = sequence - 1
	for i, b := range g.blocks {
		if i == 0 || g.blocks[i-1].gate != b.gate {
			s.trim(b.gate.stream)
		}
	}
	s.trimTotal()
	s.setGates()
	changed := s.changed
	s.changed = make(chan struct{})
	s.mu.Unlock()
	for i, b := range g.blocks {
		if b.raw != nil {
			s.recent.add(b.gate.stream, heads[i].first, b.raw, &b.origin)
			b.raw = nil
		}
	}
	close(changed)
}

// arrivalNow is the clock of this store, which never goes back (setClock). Only the committer calls it.
func (s *Store) arrivalNow() int64 {
	s.arrival = max(s.arrival, s.now())
	return s.arrival
}

// readySegment makes sure that there is a segment to write to: a new one when
// the last is full, and a replacement when the outcome of a commit is unknown.
// Then the page cache may claim what the disk does not have, so nothing more
// goes into that file, and the same sequences are written to the new one,
// whose higher base or generation wins (docs/format/storage.md "Replacement").
func (s *Store) readySegment() error {
	old := s.active
	if old == nil {
		return s.beginSegment()
	}
	if !s.suspect && old.size.Load() < s.options.SegmentSize && s.sequence-old.base < maxEntries && !s.rotate.Load() {
		return nil
	}
	if old.last < old.base && !s.suspect {
		s.rotate.Store(false)
		return nil
	}
	generation := uint32(0)
	if s.suspect {
		generation = old.generation + 1
	}
	g, err := createSegment(s.dir.segments(), s.sequence, generation, s.options.SegmentSize)
	if err != nil {
		if !s.suspect && (isFull(err) || isStarved(err)) {
			return nil // the old one may still have room inside, or can grow
		}
		return fmt.Errorf("create segment: %w", err)
	}
	s.point("rotate")
	s.mu.Lock()
	old.sealed = true
	if old.last >= old.base {
		if !s.suspect {
			s.toIndex = append(s.toIndex, old)
		}
	} else {
		old.closed = true
		s.dead = append(s.dead, old)
		s.segments = s.segments[:len(s.segments)-1]
	}
	s.segments = append(s.segments, g)
	s.active = g
	s.mu.Unlock()
	s.padded = 0
	s.events.segmentBegun(g.path, s.suspect)
	s.suspect = false
	s.rotate.Store(false)
	s.nudge()
	return nil
}
