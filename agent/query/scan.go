package query

import (
	"context"
	"errors"
	"io"
	"math"
	"slices"
	"strings"

	"github.com/runnel-log/runnel/internal/expression"
	"github.com/runnel-log/runnel/record"
)

// wanted is what a record must satisfy to be an answer.
type wanted struct {
	from, to int64  // event time, or receive time where none was stated: from ≤ t < to
	needle   []byte // what it must hold; nil for anything
	filter   *expression.Evaluator
}

// always is the span of time that holds every record.
const alwaysFrom, alwaysTo = math.MinInt64, math.MaxInt64

// span of a block's times: the store may or may not have counted the receive
// times of records that state no time, so both are taken in.
func spanOf(h Head) (from, to int64) {
	return min(h.MinTime, h.MinReceived), max(h.MaxTime, h.MaxReceived)
}

// may reports whether a block can hold a record of the wanted time.
func (w *wanted) may(h Head) bool {
	from, to := spanOf(h)
	return to >= w.from && from < w.to
}

// all reports whether every record of a block is of the wanted time.
func (w *wanted) all(h Head) bool {
	from, to := spanOf(h)
	return from >= w.from && to < w.to
}

// errSpent: the question has used up its time or its bytes; what was found
// stands, and the rest begins where the lanes are.
var errSpent = errors.New("the bound on one page is reached")

// lane is what is left to read of one stream: the offsets [lo, hi), read from
// the end that the order begins with. Records found and not yet taken are kept
// beside it, and their offsets are no longer in [lo, hi).
type lane struct {
	stream string
	lo, hi uint64

	head  Head // the next block; valid while known
	known bool
	done  bool

	found *record.Batch // matches, in the order they are to be taken
	kept  []uint64      // their offsets
	epoch uint32        // under which they were written
	taken int           // how many of them have been taken
	lost  uint64        // offsets in the range that are no longer stored
}

// scanner reads several streams as one: it yields the wanted records in the
// order of their receive times, newest or oldest first. Records of one stream always come in the
// order of their offsets; where that contradicts their receive times, which
// relays can cause, the offsets win.
//
// What comes next depends on nothing but the ends of the lanes, so a scan that
// is broken off anywhere and taken up from rest yields each record once.
type scanner struct {
	source Source
	want   wanted
	desc   bool
	lanes  []lane
	room   int   // records that the caller will still take; bounds what is looked at
	budget int64 // bytes that may still be read
	moved  bool  // rest is further on than it was; until then the budget does not count, or pages could stand still

	bytes    int64  // read so far
	damaged  uint64 // records in blocks that could not be read
	onDamage func(stream string, h Head, err error)
	wide     func(ctx context.Context) error // asked before a block of more than wideBlock is read; nil: no matter
	keep     int                             // bytes of matches kept by all lanes together
	scratch  *record.Batch
	hits     []int
}

const (
	scannerKeep = 8 << 20 // bytes of matches that a question keeps
	wideBlock   = 1 << 20 // bytes of a block; only a single long record makes one larger
)

// close gives the scanner's memory back; records it yielded are gone then.
func (s *scanner) close() {
	if s.scratch != nil {
		s.scratch.Release()
	}
	for i := range s.lanes {
		if f := s.lanes[i].found; f != nil {
			f.Release()
		}
	}
	s.scratch, s.lanes = nil, nil
}

// spot is where a record is: in which stream, at which offset, and written under which epoch.
type spot struct {
	stream string
	offset uint64
	epoch  uint32
}

// next returns the next record and its place. The record is
// borrowed until the next call. It returns io.EOF when the lanes are read to
// their ends, errSpent when the budget or ctx is.
func (s *scanner) next(ctx context.Context) (v record.View, at spot, err error) {
	for {
		best, err := s.first(ctx)
		if err != nil {
			return nil, spot{}, err
		}
		if best == nil {
			return nil, spot{}, io.EOF
		}
		if best.taken < len(best.kept) {
			i := best.taken
			best.taken++
			s.room--
			s.moved = true
			return best.found.At(i), spot{best.stream, best.kept[i], best.epoch}, nil
		}
		if s.budget <= 0 && s.moved || ctx.Err() != nil {
			return nil, spot{}, errSpent
		}
		if s.wide != nil && best.head.Bytes > wideBlock {
			if err := s.wide(ctx); err != nil {
				return nil, spot{}, err
			}
		}
		s.scan(ctx, best)
	}
}

// first returns the lane whose next record, or next block, comes first; nil
// when all are done. A block stands before a record of the same time, since it may
// hold one that precedes it.
func (s *scanner) first(ctx context.Context) (*lane, error) {
	var best *lane
	var bestTime int64
	for i := range s.lanes {
		l := &s.lanes[i]
		if l.taken == len(l.kept) && !l.known && !l.done && !s.peek(ctx, l) {
			return nil, errSpent
		}
		if l.done && l.taken == len(l.kept) {
			continue
		}
		t := s.key(l)
		if best == nil || (s.desc && t > bestTime) || (!s.desc && t < bestTime) ||
			(t == bestTime && best.taken < len(best.kept) && l.taken == len(l.kept)) {
			best, bestTime = l, t
		}
	}
	return best, nil
}

// key is the receive time of the lane's next record, or a bound on it.
func (s *scanner) key(l *lane) int64 {
	switch {
	case l.taken < len(l.kept):
		return l.found.At(l.taken).Received()
	case s.desc:
		return l.head.MaxReceived
	default:
		return l.head.MinReceived
	}
}

// peek finds the lane's next block that may hold a wanted record, or that there
// is none. It returns false when ctx ended on the way; the lane is then further on.
func (s *scanner) peek(ctx context.Context, l *lane) bool {
	for n := 1; ; n++ {
		if n%1024 == 0 && ctx.Err() != nil {
			return false
		}
		if l.lo >= l.hi {
			l.done = true
			return true
		}
		h, found := s.peekOne(l)
		if !found {
			continue
		}
		if s.want.may(h) {
			l.head, l.known = h, true
			return true
		}
		s.skip(l, h)
	}
}

// peekOne returns the head of the block at the lane's near end, or moves that
// end over what is no longer stored.
func (s *scanner) peekOne(l *lane) (Head, bool) {
	at := l.lo
	if s.desc {
		at = l.hi - 1
	}
	h, ok := s.source.Head(l.stream, at)
	if h.Next <= max(at, h.First) {
		ok = false // what cannot be moved over is not there
	}
	switch {
	case ok && h.First <= at && at < h.Next:
		return h, true
	case !s.desc && (!ok || h.First >= l.hi):
		l.lost += l.hi - l.lo
		l.lo = l.hi
	case !s.desc:
		l.lost += h.First - l.lo
		l.lo = h.First
	default:
		below := s.below(l)
		l.lost += l.hi - below
		l.hi = below
	}
	return Head{}, false
}

// below returns the end of the last block that begins before the hole at the
// lane's high end; retention leaves none, but damage does.
func (s *scanner) below(l *lane) uint64 {
	before := func(at uint64) (Head, bool) {
		h, ok := s.source.Head(l.stream, at)
		return h, ok && h.First < l.hi && h.First < h.Next
	}
	low, ok := before(l.lo)
	if !ok {
		return l.lo
	}
	// The greatest offset at which before is true lies in [from, to).
	from, to, last := l.lo, l.hi-1, low
	for from+1 < to {
		mid := from + (to-from)/2
		if h, ok := before(mid); ok {
			from, last = mid, h
		} else {
			to = mid
		}
	}
	return max(l.lo, min(l.hi-1, last.Next))
}

// skip moves the lane over the block.
func (s *scanner) skip(l *lane, h Head) {
	if s.desc {
		l.hi = max(l.lo, h.First)
	} else {
		l.lo = min(l.hi, h.Next)
	}
	l.known = false
}

// scan reads the lane's next block and keeps what is wanted of it. It stops
// early when it has as much as the caller will take; the lane then ends inside the block.
func (s *scanner) scan(ctx context.Context, l *lane) {
	head := l.head
	at := l.lo
	if s.desc {
		at = l.hi - 1
	}
	l.known, l.kept, l.taken = false, l.kept[:0], 0
	first, epoch, err := s.source.Read(l.stream, at, s.scratch)
	size := int64(s.scratch.Size())
	if err != nil {
		size = int64(head.Bytes)
	}
	s.bytes += size
	s.budget -= max(size, 1)
	if err != nil {
		if !errors.Is(err, io.EOF) {
			s.damaged += min(head.Next, l.hi) - max(head.First, l.lo)
			s.onDamage(l.stream, head, err)
		}
		s.skip(l, head)
		return
	}
	next := first + uint64(s.scratch.Len())
	if at < first || at >= next {
		// Retention took the block in between: look again from here.
		if s.desc {
			l.hi = at
		} else {
			l.lo = max(at, min(first, l.hi))
		}
		l.lost++
		return
	}
	from, to := max(l.lo, first), min(l.hi, next)
	l.epoch = epoch
	s.collect(ctx, l, first, int(from-first), int(to-first), s.want.all(head) && head.First == first && head.Next == next)
}

// collect keeps the wanted records [from, to) of the scratch batch, whose first has the
// offset first, and moves the lane over those it looked at: at least one, and no
// more once ctx has ended, for a filter may take its time over each.
func (s *scanner) collect(ctx context.Context, l *lane, first uint64, from, to int, timely bool) {
	s.hits = s.hits[:0]
	if s.want.needle != nil {
		s.hits = grep(s.scratch, from, to, s.want.needle, s.hits)
	} else {
		for i := from; i < to; i++ {
			s.hits = append(s.hits, i)
		}
	}
	if s.desc {
		slices.Reverse(s.hits)
	}
	if l.found == nil {
		l.found = record.NewBatch()
	}
	l.found.Reset()
	keep := s.keep / len(s.lanes)
	for n, i := range s.hits {
		if n > 0 && s.want.filter != nil && ctx.Err() != nil {
			s.moved = s.moved || len(l.kept) == 0
			s.stopAt(l, first+uint64(s.hits[n-1]))
			return
		}
		v := s.scratch.At(i)
		if t := v.When(); !timely && (t < s.want.from || t >= s.want.to) {
			continue
		}
		if s.want.filter != nil && !s.want.filter.Match(v, expression.Context{Stream: l.stream}) {
			continue
		}
		l.found.AppendView(v)
		l.kept = append(l.kept, first+uint64(i))
		if len(l.kept) >= s.room || l.found.Size() >= keep {
			s.stopAt(l, first+uint64(i))
			return
		}
	}
	s.moved = s.moved || len(l.kept) == 0
	if s.desc {
		l.hi = first + uint64(from)
	} else {
		l.lo = first + uint64(to)
	}
}

// stopAt ends the lane beside the record at that offset, the last looked at.
func (s *scanner) stopAt(l *lane, offset uint64) {
	if s.desc {
		l.hi = offset
	} else {
		l.lo = offset + 1
	}
}

// rest returns what is left of each stream, records kept and not taken included.
func (s *scanner) rest() []lane {
	var rest []lane
	for i := range s.lanes {
		l := lane{stream: s.lanes[i].stream, lo: s.lanes[i].lo, hi: s.lanes[i].hi}
		if kept := s.lanes[i].kept[s.lanes[i].taken:]; len(kept) > 0 && s.desc {
			l.hi = kept[0] + 1
		} else if len(kept) > 0 {
			l.lo = kept[0]
		}
		if l.lo < l.hi {
			rest = append(rest, l)
		}
	}
	return rest
}

// newScanner begins to read lanes, which it takes over.
func newScanner(source Source, want wanted, desc bool, lanes []lane, room int, budget int64) *scanner {
	slices.SortFunc(lanes, func(a, b lane) int { return strings.Compare(a.stream, b.stream) })
	return &scanner{source: source, want: want, desc: desc, lanes: lanes, room: room, budget: budget, keep: scannerKeep,
		scratch: record.NewBatch(), onDamage: func(string, Head, error) {}}
}
