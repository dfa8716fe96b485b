package storage

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/runnel-log/runnel/record"
)

// Head is what is known of a block without reading it.
type Head struct {
	First, Next              uint64 // offsets of its first record, and of the first after it
	MinTime, MaxTime         int64  // of the events, or of receipt where none was stated; nanoseconds since 1970 UTC
	MinReceived, MaxReceived int64  // by the first runnel that had them
	Arrival                  int64  // in this store; never goes back within a stream
	Bytes                    int    // on disk
	RawBytes                 int    // as a batch
	Epoch                    uint32 // under which it was written; 0 of offsets that damage took
	Damaged                  bool   // no block, but offsets that damage took; the times are those of its neighbours
}

// StreamInfo describes one stream.
type StreamInfo struct {
	Name                           string
	First, Next                    uint64 // offsets: the lowest still here, and the one to come; the first record of a stream is 1
	Records                        uint64 // here now
	Bytes, RawBytes                int64  // on disk, and as batches
	OldestReceived, NewestReceived int64  // nanoseconds since 1970 UTC; 0 when empty
	Expired                        uint64 // taken by retention before some cursor had them
	Dropped                        uint64 // not taken because the stream was full
}

// Cursor is how far one reader has got in one stream.
type Cursor struct {
	Name, Stream string
	Next         uint64 // the offset it wants next
	Start        uint64 // the offset where it began
	Expired      uint64 // records that retention took before this reader had them, whether it has passed them or not
	Passed       Passed // what became of those it has passed
	Skipped      uint64 // left out by hand
	Rewound      uint64 // gone back over by hand
}

// blocks is memory for entries that are read, checked and decoded.
var blocks = sync.Pool{New: func() any { return new([]byte) }}

// ErrDamaged: the records are not to be had any more, since their block is damaged.
var ErrDamaged = errors.New("records are damaged")

// Read fills b with the whole block that holds offset at, or the next one
// after it when retention has taken it, and returns the offset of b's first
// record. It returns io.EOF, and leaves b alone, at the end of the stream. A
// block that fails its checks is counted and skipped.
func (s *Store) Read(stream string, at uint64, b *record.Batch) (first uint64, err error) {
	first, _, err = s.ReadWritten(stream, at, b)
	return first, err
}

// ReadWritten is Read that says under which epoch the block was written.
func (s *Store) ReadWritten(stream string, at uint64, b *record.Batch) (first uint64, epoch uint32, err error) {
	for {
		first, next, epoch, err := s.readFirst(stream, at, b)
		if !errors.Is(err, ErrDamaged) {
			return first, epoch, err
		}
		at = next
	}
}

// ReadBlock is ReadWritten, but where damage took offset at it returns ErrDamaged and
// nothing else: Head says how far that goes.
func (s *Store) ReadBlock(stream string, at uint64, b *record.Batch) (first uint64, epoch uint32, err error) {
	s.mu.RLock()
	if st := s.streams[stream]; st != nil {
		if _, _, hole := st.hole(at); hole {
			s.mu.RUnlock()
			return 0, 0, ErrDamaged
		}
	}
	s.mu.RUnlock()
	first, _, epoch, err = s.readFirst(stream, at, b)
	return first, epoch, err
}

// readFirst reads one block as ReadWritten does, or returns ErrDamaged and the offset behind it.
func (s *Store) readFirst(stream string, at uint64, b *record.Batch) (first, next uint64, epoch uint32, err error) {
	searched := false
	for tries := 0; ; {
		s.mu.RLock()
		st := s.streams[stream]
		if st == nil {
			s.mu.RUnlock()
			return 0, 0, 0, io.EOF
		}
		r, i, ok := st.find(at)
		if !ok {
			s.mu.RUnlock()
			return 0, 0, 0, io.EOF
		}
		h, seg, epoch := r.heads[i], r.seg, r.epoch
		s.mu.RUnlock()
		if s.recent.copyTo(st, h.first, b) && b.Len() == int(h.count) {
			return h.first, h.next(), epoch, nil
		}
		sequence := seg.base + uint64(h.sequence)
		if err = s.readBlock(seg, st.name, sequence, h.first, b); err == nil {
			return h.first, h.next(), epoch, nil
		}
		if s.closing.Load() {
			return 0, 0, 0, ErrClosed
		}
		// The block may have been merged, rewritten or trimmed in between: look again.
		if tries++; tries < 3 && (errors.Is(err, errMissing) || s.moved(stream, at, seg, sequence)) {
			continue
		}
		if !searched {
			searched = true
			if s.search(seg, sequence) {
				continue
			}
		}
		s.damaged(seg, stream, &h, err)
		return 0, h.next(), epoch, ErrDamaged
	}
}

// moved reports whether the block that holds at is no longer where it was.
func (s *Store) moved(stream string, at uint64, seg *segment, sequence uint64) bool {
	s.mu.RLock()
	defer s.mu.RUnlock()
	st := s.streams[stream]
	r, i, ok := st.find(at)
	return !ok || r.seg != seg || r.seg.base+uint64(r.heads[i].sequence) != sequence
}

// readBlock reads one block from its file and checks everything.
func (s *Store) readBlock(seg *segment, stream string, sequence, first uint64, b *record.Batch) error {
	buf := blocks.Get().(*[]byte)
	defer func() {
		if cap(*buf) <= 1<<20 {
			blocks.Put(buf)
		}
	}()
	entry, err := seg.read(sequence, (*buf)[:0])
	if err != nil {
		return err
	}
	*buf = entry
	h, body, err := open(entry, sequence)
	if err != nil {
		return err
	}
	if h.kind != kindRecords || h.first != first || string(h.stream) != stream {
		return errDamaged
	}
	return decodeRecords(&h, body, b)
}

// damaged counts a block that cannot be served, once.
func (s *Store) damaged(seg *segment, stream string, h *head, err error) {
	key := seg.base + uint64(h.sequence)
	s.mu.Lock()
	seen := s.damage[key]
	s.damage[key] = true
	s.mu.Unlock()
	if !seen {
		s.metrics.damaged.Inc()
		s.events.blockDamaged(seg.path, stream, h.first, h.next(), err)
		s.noteGap(Gap{stream, h.first, h.next(), s.options.Now()})
	}
}

// Head returns what is known of the block that Read would give.
func (s *Store) Head(stream string, at uint64) (Head, bool) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	st := s.streams[stream]
	if st == nil {
		return Head{}, false
	}
	if from, to, hole := st.hole(max(at, st.first)); hole {
		return st.holeHead(from, to), true
	}
	r, i, ok := st.find(at)
	if !ok {
		return Head{}, false
	}
	h := &r.heads[i]
	return Head{h.first, h.next(), h.minTime, h.maxTime, h.minReceived, h.maxReceived, h.arrival, int(h.size), int(h.raw), r.epoch, false}, true
}

// holeHead is the Head of a hole: it may have held anything that its neighbours
// do, and what came between them. Store.mu is held.
func (st *stream) holeHead(from, to uint64) Head {
	h := Head{First: from, Next: to, Damaged: true}
	before, after := (*head)(nil), (*head)(nil)
	if b, ok := st.before(from); ok {
		before = b
	}
	if r, i, ok := st.find(to); ok {
		after = &r.heads[i]
	}
	for i, n := range []*head{before, after} {
		if n == nil {
			continue
		}
		if i == 0 || before == nil {
			h.MinTime, h.MinReceived, h.Arrival = n.minTime, n.minReceived, n.arrival
			h.MaxTime, h.MaxReceived = n.maxTime, n.maxReceived
		}
		h.MinTime, h.MinReceived = min(h.MinTime, n.minTime), min(h.MinReceived, n.minReceived)
		h.MaxTime, h.MaxReceived = max(h.MaxTime, n.maxTime), max(h.MaxReceived, n.maxReceived)
	}
	if after == nil { // and until who knows when
		h.MaxTime, h.MaxReceived = math.MaxInt64, math.MaxInt64
	}
	return h
}

// Seek returns the offset of the first block that was stored at or after that
// time, by this store's own clock, which never goes back; the stream's next
// offset if there is none.
func (s *Store) Seek(stream string, received time.Time) uint64 {
	s.mu.RLock()
	defer s.mu.RUnlock()
	st := s.streams[stream]
	if st == nil {
		return 1
	}
	at := received.UnixNano()
	return st.seek(func(h *head) bool { return h.arrival >= at })
}

// Wait returns once the stream has a record beyond offset after-1, that is
// when its next offset is greater than after; or with ctx's error, or ErrClosed.
func (s *Store) Wait(ctx context.Context, stream string, after uint64) error {
	for {
		s.mu.RLock()
		st, changed := s.streams[stream], s.changed
		reached := st != nil && st.next > after
		s.mu.RUnlock()
		if reached {
			return nil
		}
		select {
		case <-changed:
		case <-s.closed:
			return ErrClosed
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// Changed returns a channel that is closed at the next commit that brings
// records or state.
func (s *Store) Changed() <-chan struct{} {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.changed
}

// Streams describes every stream, by name.
func (s *Store) Streams() []StreamInfo {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.streamInfos()
}

func (s *Store) streamInfos() []StreamInfo {
	infos := make([]StreamInfo, 0, len(s.streams))
	for _, st := range s.streams {
		info := StreamInfo{Name: st.name, First: st.first, Next: st.next, Records: st.records, Bytes: st.bytes, RawBytes: st.raw,
			Expired: st.expired, Dropped: st.dropped + st.gate.dropped.Load()}
		if _, h := st.oldest(); h != nil {
			info.OldestReceived, info.NewestReceived = h.minReceived, st.newest().maxReceived
		}
		infos = append(infos, info)
	}
	slices.SortFunc(infos, func(a, b StreamInfo) int { return strings.Compare(a.Name, b.Name) })
	return infos
}

// MoveCursor makes next what a reader wants next, whatever lies between: a new
// reader begins there. It is durable with the next commit; one is made within
// a quarter of a second if nothing else comes, unless Options.CommitEvery says later.
func (s *Store) MoveCursor(name, stream string, next uint64) {
	s.mu.Lock()
	c := s.cursor(name, stream)
	c.move(next)
	dirty := c.dirty
	s.mu.Unlock()
	if dirty {
		s.touched()
	}
}

// PassCursor is MoveCursor over records of which the reader says what became:
// only it can tell, since what it holds in memory is still delivered when retention
// has taken it from here. Both are durable together.
func (s *Store) PassCursor(name, stream string, next uint64, p Passed) {
	s.mu.Lock()
	c := s.cursor(name, stream)
	s.lags(c, stream)
	c.pass(next, p)
	dirty := c.dirty
	s.mu.Unlock()
	if dirty {
		s.touched()
	}
}

// WaitCursor returns once the place that the cursor has now is on disk; or with
// ctx's error, or ErrClosed.
func (s *Store) WaitCursor(ctx context.Context, name, stream string) error {
	// A commit that is under way may have missed the move; the one after it has not.
	for range 2 {
		s.mu.RLock()
		c, changed := s.cursors[cursorKey{name, stream}], s.changed
		kept := c == nil || !c.dirty
		s.mu.RUnlock()
		if kept {
			return nil
		}
		select {
		case <-changed:
		case <-s.closed:
			return ErrClosed
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}

// Cursor returns the offset that the reader wants next; ok is false if it has
// never been in that stream.
func (s *Store) Cursor(name, stream string) (next uint64, ok bool) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	c := s.cursors[cursorKey{name, stream}]
	if c == nil || c.gone {
		return 0, false
	}
	return c.next, true
}

// Cursors returns every cursor, by name and stream.
func (s *Store) Cursors() []Cursor {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.cursorInfos()
}

// cursorInfos describes the cursors as of the last commit, where a unit that they pass
// with has yet to get there. s.mu is held.
func (s *Store) cursorInfos() []Cursor {
	all := make([]Cursor, 0, len(s.cursors))
	for key, c := range s.cursors {
		if p := c.durable(s.committed); !c.gone && p.start > 0 {
			all = append(all, Cursor{key.name, key.stream, p.next, p.start, p.passed.Expired + s.ahead(key.stream, p.next),
				p.passed, p.skipped, p.rewound})
		}
	}
	slices.SortFunc(all, func(a, b Cursor) int {
		return strings.Compare(fmt.Sprint(a.Name, "\x00", a.Stream), fmt.Sprint(b.Name, "\x00", b.Stream))
	})
	return all
}

// ahead returns how many records retention has taken in front of a cursor, which
// counts them when it passes. s.mu is held.
func (s *Store) ahead(stream string, next uint64) uint64 {
	st := s.streams[stream]
	if st == nil {
		return 0
	}
	return max(st.first, next, 1) - max(next, 1)
}

// DeleteCursor forgets a cursor, so that it pins nothing any more.
func (s *Store) DeleteCursor(name, stream string) {
	s.mu.Lock()
	c := s.cursors[cursorKey{name, stream}]
	if c != nil {
		c.gone, c.dirty = true, true
	}
	s.mu.Unlock()
	if c != nil {
		s.touched()
	}
}

// touched has the committer write the state that moved soon (cursorPatience).
func (s *Store) touched() {
	if s.dirtySince.CompareAndSwap(0, time.Now().UnixNano()) {
		s.intake.signal()
	}
}
