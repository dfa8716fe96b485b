package storage

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"github.com/klauspost/compress/s2"

	"github.com/runnel-log/runnel/record"
)

// MaxStaged is how many bytes of records and state may wait for their commit where
// Options do not say less.
const MaxStaged = 64 << 20

const (
	// keepRaw is how many staged bytes keep their uncompressed form for readers
	// that follow closely; beyond it memory matters more.
	keepRaw = 12 << 20
	// mergeBelow is the number of records (and mergeBytes of bytes) from which a
	// batch becomes a block of its own; smaller ones are put together.
	mergeBelow = 256
	mergeBytes = 128 << 10
	// commitBytes makes a commit come early.
	commitBytes = 4 << 20
)

// Receipt is the promise that records are on disk.
type Receipt struct {
	done chan struct{}
	err  error // set before done is closed
}

// Done is closed when the fate of the records is known.
func (r *Receipt) Done() <-chan struct{} { return r.done }

// Wait returns nil once the records are on disk, ErrClosed if the store was
// closed before that, or ctx's error, after which their fate is open.
func (r *Receipt) Wait(ctx context.Context) error {
	select {
	case <-r.done:
		return r.err
	default:
	}
	select {
	case <-r.done:
		return r.err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// What a gate does with new records.
const (
	gateOpen = iota
	gateDrops
	gatePushesBack
)

// gate is the way into one stream.
type gate struct {
	stream  *stream
	shut    atomic.Uint32 // gateOpen, gateDrops or gatePushesBack
	onFull  atomic.Uint32 // the policy's OnFull
	dropped atomic.Uint64 // not yet in stream.dropped

	open *staged // the block that small batches are being put into; guarded by intake.mu
}

// staged is one block on its way to disk.
type staged struct {
	gate   *gate
	raw    *record.Batch // nil once it is compressed and not wanted any more
	entry  []byte        // room for the header, then the body; nil until compressed
	whole  []byte        // the body as it came; nil: it is to be compressed
	codec  uint8
	count  int
	size   int // of the encoded batch
	times  times
	later                // without the sum, which the committer makes of the digest
	digest record.Digest // of its last record

	claimed bool           // whoever set it compresses; guarded by intake.mu
	pressed sync.WaitGroup // done when a claimed block is compressed
}

// group is everything that goes to disk with one commit.
type group struct {
	receipt *Receipt
	blocks  []*staged
	open    []*gate           // whose open block belongs to this group
	state   map[string][]byte // the last value of every key that moved; nil: is gone
	records int
	bytes   int
	since   time.Time // when the first unit came; zero without
	hurry   bool

	number   uint64     // of groups, from 1
	accounts []*Account // that its units moved; until it is closed
	totals   []Change   // theirs then
}

func newGroup(number uint64) *group {
	return &group{receipt: &Receipt{done: make(chan struct{})}, number: number}
}

// intake is where batches wait for the committer.
type intake struct {
	mu     sync.Mutex // guards all below, and every gate's open
	gates  map[string]*gate
	group  *group
	flight *group        // the one that is being committed; nil between commits
	bytes  int           // staged and not yet on disk
	room   chan struct{} // closed and replaced when bytes falls
	closed bool
	hard   bool // the disk takes nothing at the moment
	missed []bool

	wake chan struct{} // capacity 1: one waking stands for any number
}

// settled returns the receipt of an Append of which nothing is left to store.
func settled() *Receipt {
	r := &Receipt{done: make(chan struct{})}
	close(r.done)
	return r
}

// Append takes the unit's batches over, whatever it returns, and stages all of
// it for the next commit. The receipt is fulfilled after fsync. Append blocks
// while Options.MaxStaged wait for the disk. It returns ErrFull if a stream is full and
// pushes back; ctx's error; ErrState; or ErrClosed; then nothing of the unit was
// taken. Where a full stream drops its records, the changes are stored all the
// same: the caller has moved on. Records of one caller into one stream keep
// their order.
func (s *Store) Append(ctx context.Context, u Unit) (*Receipt, error) {
	var claimed [8]*staged
	work, receipt, err := claimed[:0], (*Receipt)(nil), error(nil)
	state, err := u.ownState()
	if err == nil {
		err = u.settle()
	}
	if err == nil {
		work, receipt, err = s.stage(ctx, &u, state, work)
	}
	if err != nil {
		u.release()
		return nil, err
	}
	if u.Staged != nil {
		u.Staged()
	}
	// Out of the lock, and while the previous commit is on its way to disk.
	for _, b := range work {
		b.press(s.recent.wanted() && s.intake.staged() < keepRaw)
		b.pressed.Done()
	}
	return receipt, nil
}

func (in *intake) staged() int {
	in.mu.Lock()
	defer in.mu.Unlock()
	return in.bytes
}

// stage puts the unit in the current group and returns the blocks that the
// caller has to compress. state is the unit's, copied.
func (s *Store) stage(ctx context.Context, u *Unit, state []Change, work []*staged) ([]*staged, *Receipt, error) {
	in := &s.intake
	in.mu.Lock()
	defer in.mu.Unlock()
	overflows, err := s.admit(ctx, u)
	if err != nil {
		return nil, nil, err
	}
	g := in.group
	bytes, records := g.bytes, g.records
	missed := in.missing(u, overflows)
	joined := g.post(u, missed)
	for i := range u.Batches {
		b := &u.Batches[i]
		gt := in.gates[b.Stream]
		if n := b.Records.Len(); n == 0 {
			b.Records.Release()
		} else if missed != nil && missed[i] {
			gt.drop(n)
			b.Records.Release()
		} else {
			work = g.add(gt, b.Records, u.Block, work)
		}
	}
	s.setState(g, state)
	s.pass(g, u.Cursors)
	first := g.since.IsZero()
	asItIs := u.Posting == nil && (u.Account != nil || u.Other != nil) // somebody waits for that, whoever moved it before
	if g.records == records && len(state) == 0 && len(u.Cursors) == 0 && !asItIs {
		if joined && first { // the account alone: within a second, or with what comes
			g.since = time.Now()
			in.signal()
		}
		return work, s.settled, nil
	}
	in.bytes += g.bytes - bytes
	if first {
		g.since = time.Now()
	}
	if first || (records == 0 && g.records > 0) || (u.Hurry && !g.hurry) || (bytes < commitBytes && g.bytes >= commitBytes) {
		in.signal()
	}
	g.hurry = g.hurry || u.Hurry
	return work, g.receipt, nil
}

// admit waits for room. overflows reports that there is none and will be none,
// and that the records are to be dropped. intake.mu is held, except while it waits.
func (s *Store) admit(ctx context.Context, u *Unit) (overflows bool, err error) {
	in := &s.intake
	size := u.size()
	for {
		if in.closed {
			return false, ErrClosed
		}
		if err := s.refused(u); err != nil {
			return false, err
		}
		if in.bytes == 0 || in.bytes+size <= s.options.MaxStaged {
			return false, nil
		}
		if err := ctx.Err(); err != nil { // nobody waits any more: it is not to be dropped
			return false, err
		}
		if in.hard {
			return true, s.overflow(u.Batches)
		}
		room := in.room
		in.mu.Unlock()
		select {
		case <-room:
		case <-ctx.Done():
		}
		in.mu.Lock()
		if err := ctx.Err(); err != nil {
			return false, err
		}
	}
}

// refused finds each batch's gate and returns ErrFull if one pushes back, or
// would drop what a sender is told to be safe. A disk that takes nothing is no
// place for such records either: their sender can wait for it, and hold them.
func (s *Store) refused(u *Unit) error {
	if u.Acks && s.intake.hard {
		return ErrFull
	}
	for i := range u.Batches {
		name := u.Batches[i].Stream
		gt := s.intake.gates[name]
		if gt == nil {
			if len(name) == 0 || len(name) > maxName {
				return ErrStreamName
			}
			s.mu.Lock()
			gt = s.stream(name).gate
			s.mu.Unlock()
			s.intake.gates[name] = gt
		}
		if shut := gt.shut.Load(); shut == gatePushesBack || u.Acks && shut == gateDrops {
			return s.fullFor(name)
		}
	}
	return nil
}

// overflow answers for what neither the disk nor memory has room for: it is
// dropped, since inputs that cannot bear back-pressure must never stop reading
// (design.md §2), unless a stream pushes back.
func (s *Store) overflow(batches []StreamBatch) error {
	for i := range batches {
		if s.intake.gates[batches[i].Stream].stream.onFull() == PushBack {
			return ErrFull
		}
	}
	return nil
}

func (gt *gate) drop(n int) { gt.dropped.Add(uint64(n)) }

func (in *intake) signal() {
	select {
	case in.wake <- struct{}{}:
	default:
	}
}

// add stages one batch; a small one is put together with others of its stream,
// a large one is cut, and one that came whole, k, stays so.
func (g *group) add(gt *gate, b *record.Batch, k *record.Block, work []*staged) []*staged {
	g.records += b.Len()
	g.bytes += b.Size()
	if k != nil {
		return g.claim(&staged{gate: gt, raw: b, whole: k.Body, later: later{origin: k.Origin}}, g.close(gt, work))
	}
	if b.Len() < mergeBelow && b.Size() < mergeBytes {
		return g.merge(gt, b, work)
	}
	work = g.close(gt, work)
	if b.Len() == 1 || (b.Len() <= 2*record.BatchRecords && b.Size() <= 2*record.BatchBytes) {
		return g.claim(&staged{gate: gt, raw: b}, work)
	}
	for from := 0; from < b.Len(); {
		part := record.NewBatch()
		to := from
		for to < b.Len() && !part.Full() {
			part.AppendView(b.At(to))
			to++
		}
		work, from = g.claim(&staged{gate: gt, raw: part}, work), to
	}
	b.Release()
	return work
}

// merge puts a small batch into the stream's open block.
func (g *group) merge(gt *gate, b *record.Batch, work []*staged) []*staged {
	if gt.open == nil {
		gt.open = &staged{gate: gt, raw: b}
		g.blocks = append(g.blocks, gt.open)
		g.open = append(g.open, gt)
		return work
	}
	to := gt.open.raw
	if to.Len()+b.Len() > record.BatchRecords || to.Size()+b.Size() > record.BatchBytes {
		work = g.close(gt, work)
		return g.merge(gt, b, work)
	}
	to.AppendBatch(b, 0, b.Len())
	b.Release()
	return work
}

// close ends the stream's open block; this caller compresses it.
func (g *group) close(gt *gate, work []*staged) []*staged {
	if b := gt.open; b != nil {
		gt.open = nil
		b.claimed = true
		b.pressed.Add(1)
		work = append(work, b)
	}
	return work
}

func (g *group) claim(b *staged, work []*staged) []*staged {
	b.claimed = true
	b.pressed.Add(1)
	g.blocks = append(g.blocks, b)
	return append(work, b)
}

// take hands the current group to the committer and begins the next.
func (in *intake) take() *group {
	in.mu.Lock()
	defer in.mu.Unlock()
	g := in.group
	g.closeAccounts()
	in.group, in.flight = newGroup(g.number+1), g
	for _, gt := range g.open {
		gt.open = nil
	}
	return g
}

// done gives a group's bytes back.
func (in *intake) done(g *group) {
	in.mu.Lock()
	defer in.mu.Unlock()
	in.flight = nil
	in.bytes -= g.bytes
	close(in.room)
	in.room = make(chan struct{})
}

// Memory that compressing uses over and over.
var (
	scratch = sync.Pool{New: func() any { return new([]byte) }}
	entries = sync.Pool{New: func() any { return new([]byte) }}
)

// press compresses the block behind the room for its header.
func (b *staged) press(keep bool) {
	b.count, b.size, b.times = b.raw.Len(), b.raw.Size(), timesOf(b.raw)
	last := b.origin
	if !last.IsZero() {
		last.Sequence += uint64(b.count - 1)
	}
	b.digest, b.sum = record.DigestOf(b.raw.At(b.count-1), &last), 1 // there will be one
	room := headerSize(b.gate.stream.name, &b.later)
	if b.whole != nil {
		b.codec = codecS2
		b.entry = newEntry(room + len(b.whole))
		copy(b.entry[room:], b.whole)
		b.whole = nil
	} else {
		b.compress(room)
	}
	if !keep {
		b.raw.Release()
		b.raw = nil
	}
}

func (b *staged) compress(room int) {
	raw := b.raw.Bytes()
	tmp := scratch.Get().(*[]byte)
	if need := s2.MaxEncodedLen(len(raw)); cap(*tmp) < need {
		*tmp = make([]byte, need)
	}
	body := s2.Encode((*tmp)[:cap(*tmp)], raw)
	b.codec = codecS2
	if len(body) >= len(raw) {
		b.codec, body = codecNone, raw
	}
	b.entry = newEntry(room + len(body))
	copy(b.entry[room:], body)
	if cap(*tmp) <= 2<<20 {
		scratch.Put(tmp)
	}
}

func newEntry(size int) []byte {
	p := entries.Get().(*[]byte)
	if cap(*p) < size {
		*p = make([]byte, size, (size+16<<10-1)&^(16<<10-1))
	}
	return (*p)[:size]
}

// free gives the block's memory back.
func (b *staged) free() {
	if b.raw != nil {
		b.raw.Release()
		b.raw = nil
	}
	if b.entry != nil && cap(b.entry) <= 1<<20 {
		entries.Put(&b.entry)
	}
}

// paceOf returns how long the group has still to wait for its commit, given
// how long ago the last one began (design.md §5).
func (s *Store) paceOf(g *group, since time.Duration) time.Duration {
	const (
		hurried = 10 * time.Millisecond
		loaded  = 20 * time.Millisecond
		relaxed = 250 * time.Millisecond
		busy    = 5000 // records a second from which load counts
	)
	switch {
	case g.bytes >= commitBytes:
		return 0
	case s.options.CommitEvery > 0:
		return s.options.CommitEvery - since
	case g.hurry:
		return hurried - since
	case since < loaded:
		return loaded - since
	case since >= relaxed || g.records >= int(busy*since/time.Second):
		return 0
	}
	return min(loaded, relaxed-since) // look again: load may have come up
}
