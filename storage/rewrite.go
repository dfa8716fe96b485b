package storage

import (
	"fmt"
	"math"
	"slices"
	"time"

	"go.etcd.io/bbolt"

	"github.com/runnel-log/runnel/record"
)

const (
	// smallRun is how many small neighbouring segments make it worth writing
	// them into one.
	smallRun = 8
	// rewriteLeast is the size below which a single segment is left as it is.
	rewriteLeast = 256 << 10
	// rewriteChunk is how many bytes one transaction of a rewrite copies.
	rewriteChunk = 4 << 20
	// A segment is crumbly when its blocks are many and hold few records each.
	crumblyBlocks  = 1024
	crumblyRecords = 64
	// smallBlock is the raw size below which a block is put together with its neighbours.
	smallBlock = 64 << 10
)

// rewrite replaces a segment of which less than a quarter is live, a segment of
// many small blocks, or a run of small neighbours, by one new segment that
// stands for the same sequences; so a stream kept for a month does not pin an
// hour of another, and a quiet host's index stays small. Offsets stay.
func (s *Store) rewrite() error {
	s.mu.Lock()
	old := s.rewritable()
	generation := uint32(0)
	for _, g := range old {
		g.busy = true
		generation = max(generation, g.generation)
	}
	pieces := s.piecesOf(old)
	s.mu.Unlock()
	if len(old) == 0 {
		return nil
	}
	// What retention took since the last checkpoint is left out, and would look lost
	// if a crash brought the older floor back.
	err := s.checkpointOrReserve()
	var g *segment
	if err == nil {
		g, err = s.copyLive(old, pieces, generation+1)
	}
	s.mu.Lock()
	for _, o := range old {
		o.busy = false
	}
	if err == nil {
		s.swap(old, g, pieces)
	}
	s.mu.Unlock()
	if err != nil {
		return err
	}
	s.events.segmentRewritten(g.path, len(old))
	err = s.writeIndex(g)
	s.unlinkDead()
	return err
}

// rewritable chooses what to rewrite; the segments are neighbours. s.mu is held.
func (s *Store) rewritable() []*segment {
	var small []*segment
	for _, g := range s.segments {
		if g.salvage.found.Load() != nil && g.sealed && g.live > 0 && g.last <= s.checkpointed {
			return []*segment{g}
		}
	}
	for _, g := range s.segments {
		size := g.size.Load()
		covered := g.sealed && g.live > 0 && g.last <= s.checkpointed
		// One that was tidied before cannot become tidier: its streams are just many.
		crumbly := g.end == 0 && g.blocks >= crumblyBlocks && g.held < int64(g.blocks)*crumblyRecords
		if covered && ((size >= rewriteLeast && g.live*4 < size) || crumbly) {
			return []*segment{g}
		}
		if !covered || size > s.options.SegmentSize/smallRun || (len(small) > 0 && g.last-small[0].base > math.MaxInt32) {
			small = small[:0]
			continue
		}
		if small = append(small, g); len(small) == smallRun {
			return small
		}
	}
	return nil
}

// source is one block to copy.
type source struct {
	seg  *segment
	head head
}

// piece is what becomes of neighbouring blocks of one stream: one block, or
// several if some of them cannot be read.
type piece struct {
	stream  *stream
	epoch   uint32 // under which they were written, all of them
	sources []source
	heads   []head // in the new segment
}

func (p *piece) sequence() uint64 {
	last := &p.sources[len(p.sources)-1]
	return last.seg.base + uint64(last.head.sequence)
}

// piecesOf plans the copy of the segments' live blocks, in order of sequence. s.mu is held.
func (s *Store) piecesOf(old []*segment) []*piece {
	var pieces []*piece
	for _, st := range s.streams {
		var p *piece
		records, raw := 0, 0
		for _, r := range st.runs {
			if !slices.Contains(old, r.seg) {
				continue
			}
			for _, h := range r.heads {
				fits := p != nil && p.epoch == r.epoch && records+int(h.count) <= record.BatchRecords && raw+int(h.raw) <= record.BatchBytes &&
					h.raw < smallBlock && p.sources[0].head.raw < smallBlock && h.arrival-p.sources[0].head.arrival <= st.togetherness() &&
					p.sources[len(p.sources)-1].head.next() == h.first
				if !fits {
					p = &piece{stream: st, epoch: r.epoch}
					pieces = append(pieces, p)
					records, raw = 0, 0
				}
				p.sources = append(p.sources, source{r.seg, h})
				records, raw = records+int(h.count), raw+int(h.raw)
			}
		}
	}
	slices.SortFunc(pieces, func(a, b *piece) int {
		if a.sequence() < b.sequence() {
			return -1
		}
		return 1
	})
	return pieces
}

// togetherness is how far apart in arrival records of one block may be: they
// can only expire together.
func (st *stream) togetherness() int64 {
	if st.policy.MaxAge > 0 {
		return min(int64(time.Hour), int64(st.policy.MaxAge/8))
	}
	return int64(time.Hour)
}

// copyLive writes the pieces into a new segment that is durable when it returns.
func (s *Store) copyLive(old []*segment, pieces []*piece, generation uint32) (*segment, error) {
	g, err := newSegmentFile(s.dir.segments(), old[0].base, generation, old[len(old)-1].last, s.options.SegmentSize)
	if err != nil {
		return nil, err
	}
	g.sealed = true
	for len(pieces) > 0 && err == nil {
		err = g.update(func(tx *bbolt.Tx) error {
			log := tx.Bucket(bucketLog)
			log.FillPercent = 1
			for size := 0; len(pieces) > 0 && size < rewriteChunk; pieces = pieces[1:] {
				n, err := s.copyPiece(g, log, pieces[0])
				if err != nil {
					return err
				}
				size += n
			}
			return nil
		})
	}
	if err != nil {
		g.discard()
		return nil, err
	}
	err = g.view(func(tx *bbolt.Tx) error { g.size.Store(tx.Size()); return nil })
	s.point("salvage")
	if err == nil {
		err = g.settle()
	}
	return g, err
}

// copyPiece puts one piece into the new segment and returns its bytes there. A
// block alone is copied byte for byte; one that cannot be read is left out, as
// a reader would have been told.
func (s *Store) copyPiece(g *segment, log *bbolt.Bucket, p *piece) (size int, err error) {
	p.heads = p.heads[:0]
	put := func(entry []byte, h head) error {
		key := sequenceKey(g.base + uint64(h.sequence))
		p.heads = append(p.heads, h)
		size += len(entry)
		if err := log.Put(key[:], entry); err != nil {
			return fmt.Errorf("copy block: %w", err)
		}
		return nil
	}
	if len(p.sources) == 1 {
		src := &p.sources[0]
		sequence := src.seg.base + uint64(src.head.sequence)
		entry, err := readSound(src.seg, sequence)
		if err != nil && s.search(src.seg, sequence) {
			entry, err = readSound(src.seg, sequence)
		}
		if err != nil {
			s.damaged(src.seg, p.stream.name, &src.head, err)
			return 0, nil
		}
		h := src.head
		h.sequence = uint32(sequence - g.base)
		return size, put(entry, h)
	}
	whole, part := record.NewBatch(), record.NewBatch()
	defer func() { whole.Release(); part.Release() }()
	var from, to *source
	flush := func() error {
		if whole.Len() == 0 {
			return nil
		}
		entry, h := s.together(g, p, whole, from, to)
		whole.Reset()
		return put(entry, h)
	}
	for i := range p.sources {
		src := &p.sources[i]
		sequence := src.seg.base + uint64(src.head.sequence)
		err := s.readBlock(src.seg, p.stream.name, sequence, src.head.first, part)
		if err != nil && s.search(src.seg, sequence) {
			err = s.readBlock(src.seg, p.stream.name, sequence, src.head.first, part)
		}
		if err != nil {
			s.damaged(src.seg, p.stream.name, &src.head, err)
			if err := flush(); err != nil {
				return size, err
			}
			continue
		}
		if whole.Len() == 0 {
			from = src
		}
		to = src
		whole.AppendBatch(part, 0, part.Len())
	}
	return size, flush()
}

// readSound reads an entry and checks its sums.
func readSound(g *segment, sequence uint64) ([]byte, error) {
	entry, err := g.read(sequence, nil)
	if err == nil {
		_, _, err = open(entry, sequence)
	}
	return entry, err
}

// together makes the one block that stands for those from from to to, under
// the sequence and the arrival time of the last.
func (s *Store) together(g *segment, p *piece, whole *record.Batch, from, to *source) ([]byte, head) {
	raw := record.NewBatch()
	raw.AppendBatch(whole, 0, whole.Len())
	b := &staged{gate: &gate{stream: p.stream}, raw: raw}
	b.press(false)
	h := header{kind: kindRecords, codec: b.codec, sequence: to.seg.base + uint64(to.head.sequence), first: from.head.first,
		count: uint32(b.count), rawLen: uint32(b.size), epoch: p.epoch, times: b.times, arrival: to.head.arrival, later: b.later}
	h.sum = b.digest.Sum(h.first + uint64(b.count) - 1)
	seal(b.entry, &h, p.stream.name)
	return b.entry, h.head(g, len(b.entry))
}

// swap points the index at the new segment. s.mu is held.
func (s *Store) swap(old []*segment, g *segment, pieces []*piece) {
	fresh := make(map[*stream][]*run)
	for _, p := range pieces {
		runs := fresh[p.stream]
		if len(p.heads) > 0 {
			runs = appendRun(runs, g, p.epoch, p.heads...)
		}
		fresh[p.stream] = runs // one with nothing left loses what it had
	}
	for st, replacements := range fresh {
		at := slices.IndexFunc(st.runs, func(r *run) bool { return slices.Contains(old, r.seg) })
		st.runs = slices.DeleteFunc(st.runs, func(r *run) bool {
			gone := slices.Contains(old, r.seg)
			for _, h := range r.heads {
				if gone {
					st.count(r.seg, h, -1)
				}
			}
			return gone
		})
		for _, r := range replacements {
			for _, h := range r.heads {
				st.count(g, h, 1)
			}
		}
		st.runs = slices.Insert(st.runs, at, replacements...)
	}
	at := slices.Index(s.segments, old[0])
	s.segments = slices.Replace(s.segments, at, at+len(old), g)
	for _, o := range old {
		o.closed = true
	}
	s.dead = append(s.dead, old...)
}
