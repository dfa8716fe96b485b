package agent

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/runnel-log/runnel/forwarders"
	"github.com/runnel-log/runnel/internal/expression"
	"github.com/runnel-log/runnel/record"
)

// reader reads ahead of the acks for one session of a delivery.
type reader struct {
	d      *delivery
	at     map[string]uint64    // next offset to read of each stream
	end    map[string]uint64    // the stream's Next when streams was last called
	since  map[string]time.Time // when a stream's unread records were first seen, for batching
	names  []string
	block  *record.Batch
	whole  *record.Block // as the store has it, for a forwarder that takes those; nil: it does not
	out    *record.Batch
	e      *expression.Evaluator
	agent  [16]byte
	over   map[string]stretch // what has been moved over without a batch to account for it
	toSend outgoing

	// Of dead letters that are sent again.
	moves  map[string]int // of redrives, when at was last taken from them
	letter record.Record  // one on its way
}

// outgoing is one batch on its way to the forwarder. It is reused: it lasts
// until the next read.
type outgoing struct {
	sent
	batch  forwarders.Batch
	full   bool     // the next record does not fit in
	dead   bool     // they are dead letters, sent again
	places []uint64 // the offsets they had in their stream
}

func newReader(d *delivery) *reader {
	agent, _ := d.store.Identity()
	r := &reader{d: d, at: make(map[string]uint64), end: make(map[string]uint64), since: make(map[string]time.Time), moves: make(map[string]int),
		block: record.NewBatch(), out: record.NewBatch(), agent: agent, over: d.movedOver()}
	if d.where != nil {
		r.e = d.where.get()
	} else if d.takesBlocks() {
		r.whole = new(record.Block)
	}
	return r
}

// takesBlocks reports whether the forwarder may be given blocks as they lie in the store.
func (d *delivery) takesBlocks() bool {
	b, ok := d.forwarder.(forwarders.Blocker)
	return ok && b.TakesBlocks()
}

func (r *reader) release() {
	r.block.Release()
	r.out.Release()
	if r.e != nil {
		r.d.where.put(r.e)
	}
}

// startMark is the cursor on no stream that says a forwarder has started once,
// so that `start: end` skips only what was there before it.
const startMark = ""

// streams returns the streams that the delivery covers and that hold records.
func (r *reader) streams() []string {
	r.names = r.names[:0]
	_, started := r.d.store.Cursor(r.d.name, startMark)
	for _, s := range r.d.store.Streams() {
		if !r.d.covers(s.Name) {
			continue
		}
		r.names = append(r.names, s.Name)
		r.end[s.Name] = s.Next
		if _, ok := r.at[s.Name]; ok {
			continue
		}
		at, ok := r.d.position(s.Name)
		from := s.First
		if !ok {
			at = s.First
			if r.d.config.Start == "end" && !started {
				at = s.Next
			}
			r.d.setPosition(s.Name, at)
			from = at
		}
		r.d.expectEnds(s.Name, from)
		r.at[s.Name] = at
		r.d.counts.of(s.Name) // its metrics appear before its first record is through
	}
	if !started {
		r.d.store.MoveCursor(r.d.name, startMark, 1)
	}
	r.deadStreams()
	return r.names
}

// deadStreams adds the streams whose dead letters are being sent again.
func (r *reader) deadStreams() {
	for _, stream := range r.d.redrives.underWay() {
		if !r.d.sendsAgain(stream) {
			continue
		}
		now, _ := r.d.redrives.at(stream)
		if moves, ok := r.moves[stream]; !ok || moves != now.moves {
			r.at[stream], r.moves[stream] = now.next, now.moves
		}
		r.end[stream] = now.until
		r.names = append(r.names, stream)
	}
}

// position returns where the receiver stands in stream.
func (d *delivery) position(stream string) (uint64, bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if at, ok := d.next[stream]; ok {
		return at, true
	}
	at, ok := d.store.Cursor(d.name, stream)
	if ok {
		d.next[stream] = at
	}
	return at, ok
}

func (d *delivery) setPosition(stream string, at uint64) {
	d.store.MoveCursor(d.name, stream, at)
	d.mu.Lock()
	defer d.mu.Unlock()
	d.next[stream] = at
}

// ready reports whether a batch of stream should go out now; if not, and some
// records wait for company, how long they still may.
func (r *reader) ready(stream string) (bool, time.Duration) {
	pending := r.end[stream] - r.at[stream]
	if r.at[stream] >= r.end[stream] {
		delete(r.since, stream)
		return false, 0
	}
	b := r.d.batching
	if b.Wait == 0 || pending >= uint64(max(b.Records, 1)) {
		return true, 0
	}
	since, ok := r.since[stream]
	if !ok {
		r.since[stream] = time.Now()
		return false, b.Wait
	}
	if waited := time.Since(since); waited < b.Wait {
		return false, b.Wait - waited
	}
	return true, 0
}

// moved says that everything before next has been handed over.
func (r *reader) moved(stream string, next uint64) {
	r.at[stream] = next
	delete(r.since, stream)
}

// read returns the next batch of stream, nil when there is none. What it
// returns lasts until the next call.
func (r *reader) read(ctx context.Context, stream string) (*outgoing, error) {
	o := &r.toSend
	*o = outgoing{sent: sent{stream: stream, from: r.at[stream]}}
	skip, limit := r.d.obstacles(stream, o.from)
	end, again := r.d.lastEdge(stream, o.from)
	if !again {
		end = r.end[stream]
	}
	r.out.Reset()
	o.dead = r.d.sendsAgain(stream)
	began := time.Now()
	if !again && !o.dead && len(skip) == 0 && r.readWhole(o, limit) {
		return o, nil
	}
	at := o.from
	for looked := 0; at < end && ctx.Err() == nil && !r.enough(o, limit, looked, again, began); looked++ {
		first, epoch, err := r.d.store.ReadWritten(stream, at, r.block)
		if o.epoch != 0 && (err == nil && epoch != o.epoch || errors.Is(err, io.EOF)) {
			break // of another epoch, or nobody knows of which
		}
		if errors.Is(err, io.EOF) { // retention has taken all that was left
			o.gaps = r.gone(o.gaps, stream, at, end)
			at = end
			break
		}
		if err != nil {
			return nil, fmt.Errorf("read stream %q at %d: %w", stream, at, err)
		}
		o.epoch = epoch
		if first > at {
			o.gaps = r.gone(o.gaps, stream, at, first)
			if at = first; again && at >= end {
				break // retention has taken the batch's last
			}
		}
		past := uint64(math.MaxUint64) // what has come since may go with it, unless the batch had its end before
		if again || o.dead {
			past = end
		}
		if r.asItIs(o, at, first, skip, limit) && first+uint64(r.block.Len()) <= past {
			r.wholeBlock(o, first, r.block.Len())
			r.fill(o, r.block)
			return o, nil
		}
		at = r.take(o, at, min(past, first+uint64(r.block.Len())), first, skip, limit)
	}
	if at == o.from {
		return nil, nil
	}
	o.next = at
	if len(o.offsets) > 0 {
		r.fill(o, r.out)
		if o.dead {
			o.batch.From, o.batch.Places = strings.TrimSuffix(stream, deadSuffix), o.places
		}
	} else {
		r.moveOver(o)
	}
	return o, nil
}

// fill makes the batch of what was read.
func (r *reader) fill(o *outgoing, records *record.Batch) {
	o.batch = forwarders.Batch{Stream: o.stream, Records: records, Offsets: o.offsets,
		Key:   fmt.Sprintf("%x/%d/%s/%d-%d", r.agent, o.epoch, o.stream, o.offsets[0], o.offsets[len(o.offsets)-1]),
		Epoch: o.epoch, First: o.from, Next: o.next}
	if over, ok := r.over[o.stream]; ok && over.leadsTo(o) {
		o.batch.First, o.batch.Gone = over.from, over.gone
	}
	delete(r.over, o.stream)
	o.batch.Gone = appendGone(o.batch.Gone, o.gaps)
}

// stretch is offsets that were moved over: no record of theirs is to be sent.
type stretch struct {
	from, next uint64
	epoch      uint32 // 0: nobody knows
	gone       []forwarders.Gone
}

// leadsTo reports whether o can account for the stretch, too.
func (s *stretch) leadsTo(o *outgoing) bool {
	return s.next == o.from && (s.epoch == 0 || o.epoch == 0 || s.epoch == o.epoch)
}

// moveOver has the next batch account for what was read and has no record to send.
func (r *reader) moveOver(o *outgoing) {
	r.over[o.stream] = r.over[o.stream].and(&o.sent)
}

// and returns the stretch, or what is left of it to account for, with one behind it.
func (s stretch) and(more *sent) stretch {
	if s.next != more.from || s.epoch != 0 && more.epoch != 0 && s.epoch != more.epoch {
		s = stretch{from: more.from}
	}
	return stretch{s.from, more.next, max(s.epoch, more.epoch), appendGone(slices.Clip(s.gone), more.gaps)}
}

// movedOver returns what cursors have been moved over and no batch that was acknowledged
// accounts for: the session that moved them may have ended.
func (d *delivery) movedOver() map[string]stretch {
	d.mu.Lock()
	defer d.mu.Unlock()
	return maps.Clone(d.over)
}

// account notes what the cursor has been moved over without a batch, until one that accounts
// for it is acknowledged. d.mu is held.
func (d *delivery) account(s *sent, delivered int) {
	if len(s.offsets) == 0 {
		d.over[s.stream] = d.over[s.stream].and(s)
	} else if delivered > 0 {
		delete(d.over, s.stream)
	}
}

func appendGone(gone []forwarders.Gone, gaps []gap) []forwarders.Gone {
	for _, g := range gaps {
		gone = append(gone, forwarders.Gone{From: g.from, To: g.to, Damaged: g.damaged})
	}
	return gone
}

// enough reports whether what was read should go out. Where a filter leaves
// out nearly everything, the cursor moves now and then all the same, and the few
// records there are do not wait for company beyond the forwarder's own wait.
func (r *reader) enough(o *outgoing, limit, looked int, again bool, began time.Time) bool {
	b := &r.d.batching
	switch n := len(o.offsets); {
	case looked == 0:
		return false
	case o.full || b.Records == 0 || n >= limit || r.out.Size() >= r.mostBytes():
		return true
	case looked < lookAhead || again:
		return false
	default:
		return n == 0 || time.Since(began) >= b.Wait
	}
}

// gone notes that the store has nothing between from and to.
func (r *reader) gone(gaps []gap, stream string, from, to uint64) []gap {
	kept := to // from here on retention has taken nothing
	for _, s := range r.d.store.Streams() {
		if s.Name == stream {
			kept = s.First
		}
	}
	if expired := min(to, kept); from < expired {
		gaps = append(gaps, gap{from: from, to: expired})
		from = expired
	}
	if from < to {
		gaps = append(gaps, gap{from: from, to: to, damaged: true})
	}
	return gaps
}

// mostBytes is how large a batch may get.
func (r *reader) mostBytes() int {
	if most := r.d.batching.Bytes; most > 0 {
		return int(most)
	}
	return record.BatchBytes
}

// mostWhole is how large a block of several records may be to be handed on as it is: one may
// have the largest record there is behind others, and that is more than a forwarder can take at once.
const mostWhole = 2 * record.BatchBytes

// asItIs reports whether the block can be handed on without copying it.
func (r *reader) asItIs(o *outgoing, at, first uint64, skip map[uint64]bool, limit int) bool {
	return len(o.offsets) == 0 && first == at && r.e == nil && !o.dead && len(skip) == 0 && r.fits(r.block.Len(), r.block.Size(), limit)
}

// fits reports whether a block is what the forwarder wants a batch to be.
func (r *reader) fits(records, bytes, limit int) bool {
	return records <= limit && records >= r.d.batching.Records &&
		(records == 1 || r.d.batching.Bytes == 0 && bytes <= mostWhole || bytes <= r.mostBytes())
}

// readWhole reads the block that is next if it can be handed on without looking into it. What was handed over before and is not
// acknowledged is looked into: there may be something wrong with it.
func (r *reader) readWhole(o *outgoing, limit int) bool {
	if r.whole == nil {
		return false
	}
	h, ok := r.d.store.Head(o.stream, o.from)
	if !ok || h.First != o.from || !r.fits(int(h.Next-h.First), h.RawBytes, limit) {
		return false
	}
	first, epoch, ok := r.d.store.Block(o.stream, o.from, r.whole)
	if !ok || first != o.from || !r.fits(r.whole.Count, r.whole.Raw, limit) {
		return false
	}
	o.epoch = epoch
	r.wholeBlock(o, first, r.whole.Count)
	r.fill(o, nil)
	o.batch.Block = r.whole
	return true
}

// wholeBlock makes o of the n records of a block that begins at offset first.
func (r *reader) wholeBlock(o *outgoing, first uint64, n int) {
	o.offsets = make([]uint64, n)
	for i := range o.offsets {
		o.offsets[i] = first + uint64(i)
	}
	o.next = first + uint64(n)
}

// take copies what the filter lets through from the block, up to end, into the
// batch, until limit, and returns the next offset to look at.
func (r *reader) take(o *outgoing, at, end, first uint64, skip map[uint64]bool, limit int) uint64 {
	where := expression.Context{Stream: o.stream}
	most := r.mostBytes()
	for i := int(at - first); first+uint64(i) < end; i++ {
		v, offset := r.block.At(i), first+uint64(i)
		if skip[offset] { // on its own: its dead letter is to be stored before the next goes out
			o.full = true
			if offset > o.from {
				return offset
			}
			o.done = make(chan struct{})
			return offset + 1
		}
		if o.dead {
			if !r.d.isMine(v) {
				continue
			}
		} else if r.e != nil && !r.e.Match(v, where) {
			continue
		}
		if n := len(o.offsets); n >= limit || (n > 0 && r.out.Size()+len(v) > most) {
			o.full = true
			return offset
		}
		if o.dead {
			o.places = append(o.places, r.restore(v))
		} else {
			r.out.AppendView(v)
		}
		o.offsets = append(o.offsets, offset)
	}
	return end
}

// restore appends the record that a dead letter was, and returns its place.
func (r *reader) restore(v record.View) uint64 {
	place := restore(v, &r.letter, r.agent)
	if r.out.Append(&r.letter) != nil { // less than what it was made of, so it fits; but rather as it is than not at all
		r.out.AppendView(v)
	}
	return place
}

// lastEdge returns where a batch that begins at at ended when it was handed over
// and not acknowledged; false if none was.
func (d *delivery) lastEdge(stream string, at uint64) (end uint64, ok bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.edges.after(stream, at)
}

// obstacles returns what a session has to work around in stream: offsets in
// dead letters and the most records a batch may have.
func (d *delivery) obstacles(stream string, at uint64) (skip map[uint64]bool, limit int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	limit = record.BatchRecords
	if d.batching.Records > 0 {
		limit = d.batching.Records
	}
	if n, ok := d.narrow[stream]; ok && at < n.until {
		limit = min(limit, n.limit)
	}
	if len(d.skip[stream]) == 0 {
		return nil, limit
	}
	skip = make(map[uint64]bool, len(d.skip[stream]))
	for offset := range d.skip[stream] {
		skip[offset] = true
	}
	return skip, limit
}
