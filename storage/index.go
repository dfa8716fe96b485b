package storage

import (
	"encoding/binary"
	"fmt"
	"math"
	"slices"
	"sort"

	"github.com/VictoriaMetrics/metrics"
	"go.etcd.io/bbolt"
)

// head is what memory keeps of a block: 64 bytes.
type head struct {
	first    uint64 // offset of its first record
	sequence uint32 // less the segment's base
	count    uint32
	size     uint32 // bytes of the entry on disk
	raw      uint32 // bytes of the batch
	times
	arrival int64
}

func (h *head) next() uint64 { return h.first + uint64(h.count) }

// run is neighbouring blocks of one stream in one segment, of one epoch, in order of offset.
type run struct {
	seg   *segment
	epoch uint32
	heads []head
}

// stream is the index of one stream. All but name and gate is guarded by Store.mu.
type stream struct {
	name string
	gate *gate

	first, next uint64 // the lowest offset still here, the offset to come
	runs        []*run
	records     uint64
	bytes, raw  int64
	expired     uint64 // records that retention took before some cursor had them
	dropped     uint64 // records that a full stream did not take
	policy      Policy
	dirty       bool // first, expired or dropped moved since the last state entry

	counter *metrics.Counter // of records stored

	coming uint64 // next, while a commit is being built; the committer's own
}

// add appends one block's head.
func (st *stream) add(g *segment, epoch uint32, h head) {
	st.runs = appendRun(st.runs, g, epoch, h)
	st.count(g, h, 1)
	st.next = max(st.next, h.next())
}

// appendRun appends a block's head to the last of runs, or to a new one where that
// is of another segment or epoch.
func appendRun(runs []*run, g *segment, epoch uint32, h ...head) []*run {
	if n := len(runs); n == 0 || runs[n-1].seg != g || runs[n-1].epoch != epoch {
		runs = append(runs, &run{seg: g, epoch: epoch})
	}
	r := runs[len(runs)-1]
	r.heads = append(r.heads, h...)
	return runs
}

// count moves the sums by a block that came (sign 1) or went (sign -1).
func (st *stream) count(g *segment, h head, sign int64) {
	g.live += sign * int64(h.size)
	g.blocks += int(sign)
	g.held += sign * int64(h.count)
	st.bytes += sign * int64(h.size)
	st.raw += sign * int64(h.raw)
	st.records += uint64(sign * int64(h.count))
}

// find returns the block that holds offset at, or the next one after it.
func (st *stream) find(at uint64) (r *run, i int, ok bool) {
	at = max(at, st.first)
	n := sort.Search(len(st.runs), func(i int) bool {
		heads := st.runs[i].heads
		return heads[len(heads)-1].next() > at
	})
	if n == len(st.runs) {
		return nil, 0, false
	}
	r = st.runs[n]
	i = sort.Search(len(r.heads), func(i int) bool { return r.heads[i].next() > at })
	return r, i, true
}

// seek returns the first offset whose block has f; f is false and then true
// along the stream. It returns next where no block has it.
func (st *stream) seek(f func(h *head) bool) uint64 {
	n := sort.Search(len(st.runs), func(i int) bool {
		heads := st.runs[i].heads
		return f(&heads[len(heads)-1])
	})
	if n == len(st.runs) {
		return st.next
	}
	heads := st.runs[n].heads
	return heads[sort.Search(len(heads), func(i int) bool { return f(&heads[i]) })].first
}

// oldest returns the first block; there is one unless the stream is empty.
func (st *stream) oldest() (*run, *head) {
	if len(st.runs) == 0 {
		return nil, nil
	}
	return st.runs[0], &st.runs[0].heads[0]
}

func (st *stream) newest() *head {
	if len(st.runs) == 0 {
		return nil
	}
	heads := st.runs[len(st.runs)-1].heads
	return &heads[len(heads)-1]
}

// pop takes the oldest block out of the index.
func (st *stream) pop() {
	r, h := st.oldest()
	st.count(r.seg, *h, -1)
	st.first = h.next()
	if r.heads = r.heads[1:]; len(r.heads) == 0 {
		st.runs = slices.Delete(st.runs, 0, 1)
	}
}

// shed takes the blocks out of the index that lie before the stream's first offset.
func (st *stream) shed() {
	first := st.first
	for _, h := st.oldest(); h != nil && h.next() <= first; _, h = st.oldest() {
		st.pop()
	}
	st.first = first
}

// The index of a sealed segment, so that opening it reads one value and not a
// page of every block (docs/format/storage.md "Index").
const headEncoded = 64

func appendHead(b []byte, h *head) []byte {
	le := binary.LittleEndian
	b = le.AppendUint64(b, h.first)
	for _, n := range [...]uint32{h.sequence, h.count, h.size, h.raw} {
		b = le.AppendUint32(b, n)
	}
	for _, n := range [...]int64{h.minTime, h.maxTime, h.minReceived, h.maxReceived, h.arrival} {
		b = le.AppendUint64(b, uint64(n))
	}
	return b
}

func parseHead(b []byte) (h head) {
	le := binary.LittleEndian
	h.first, h.sequence, h.count = le.Uint64(b), le.Uint32(b[8:]), le.Uint32(b[12:])
	h.size, h.raw = le.Uint32(b[16:]), le.Uint32(b[20:])
	h.minTime, h.maxTime = int64(le.Uint64(b[24:])), int64(le.Uint64(b[32:]))
	h.minReceived, h.maxReceived = int64(le.Uint64(b[40:])), int64(le.Uint64(b[48:]))
	h.arrival = int64(le.Uint64(b[56:]))
	return h
}

// indexVersion is the version of a segment's index. Version 1 had no epochs: it
// serves where only one can be meant.
const indexVersion = 2

// segmentIndex is the heads of one segment by stream.
type segmentIndex struct {
	last    uint64 // the segment's highest sequence
	streams map[string][]*run

	// Not known of a segment's own index.
	states  []uint64 // sequences of the entries of state
	count   int      // entries of any kind
	damaged int      // of which the header is damaged
	whole   bool     // bbolt could walk all of it
	behind  []uint64 // a few of the sequences behind the checkpoint that should be there and are not
}

func (x *segmentIndex) encode() []byte {
	le := binary.LittleEndian
	b := make([]byte, 16)
	le.PutUint32(b[4:], indexVersion)
	le.PutUint64(b[8:], x.last)
	for name, runs := range x.streams {
		for _, r := range runs {
			b = le.AppendUint16(b, uint16(len(name)))
			b = append(b, name...)
			b = le.AppendUint32(b, r.epoch)
			b = le.AppendUint32(b, uint32(len(r.heads)))
			for i := range r.heads {
				b = appendHead(b, &r.heads[i])
			}
		}
	}
	le.PutUint32(b, checksum(b[4:]))
	return b
}

// parseIndex is the inverse of encode; ok is false if b is damaged or of another
// version, and the index is then rebuilt from the headers. only is the one epoch that
// an index without epochs can be about, 0 where there have been several.
func parseIndex(b []byte, only uint32) (x segmentIndex, ok bool) {
	le := binary.LittleEndian
	if len(b) < 16 || checksum(b[4:]) != le.Uint32(b) {
		return x, false
	}
	version, counts := le.Uint32(b[4:]), 8 // bytes before the heads: an epoch, and how many
	if version == 1 && only != 0 {
		counts = 4
	} else if version != indexVersion {
		return x, false
	}
	x = segmentIndex{last: le.Uint64(b[8:]), streams: map[string][]*run{}}
	for b = b[16:]; len(b) > 0; {
		if len(b) < 2 || len(b) < 2+int(le.Uint16(b))+counts {
			return x, false
		}
		n := 2 + int(le.Uint16(b))
		r := &run{epoch: only}
		if version == indexVersion {
			r.epoch = le.Uint32(b[n:])
		}
		name, count := string(b[2:n]), uint64(le.Uint32(b[n+counts-4:]))
		if b = b[n+counts:]; count == 0 || uint64(len(b)) < count*headEncoded {
			return x, false
		}
		r.heads = make([]head, count)
		for i := range r.heads {
			r.heads[i] = parseHead(b[i*headEncoded:])
		}
		x.streams[name], b = append(x.streams[name], r), b[count*headEncoded:]
	}
	return x, true
}

// indexed reads a sealed segment's own index; ok is false if it has none that
// can be trusted. only is as in parseIndex.
func (g *segment) indexed(only uint32) (x segmentIndex, ok bool) {
	err := g.view(func(tx *bbolt.Tx) error {
		if b := tx.Bucket(bucketIndex); b != nil {
			x, ok = parseIndex(slices.Clone(b.Get(keyHeads)), only)
		}
		return nil
	})
	return x, ok && err == nil
}

// rebuild reads the index from the entries' headers, up to the sequence end,
// which is the next segment's. What bbolt cannot walk, or walks in a wrong order,
// is an error, and the index then has what came before.
func (g *segment) rebuild(end uint64) (x segmentIndex, err error) {
	x = segmentIndex{last: g.base - 1, streams: map[string][]*run{}}
	var name string
	err = g.scan(func(sequence uint64, entry []byte) error {
		if sequence >= end {
			return nil // of a commit whose outcome was unknown
		}
		if x.count > 0 && sequence <= x.last {
			return fmt.Errorf("%w: sequence %d after %d", errDamaged, sequence, x.last)
		}
		h, err := parseHeader(entry, sequence)
		if err == nil && string(h.stream) != name {
			name = string(h.stream)
		}
		x.add(g, sequence, &h, name, len(entry), err)
		return nil
	})
	return x, err
}

// add takes one entry into the index.
func (x *segmentIndex) add(g *segment, sequence uint64, h *header, stream string, size int, err error) {
	x.count++
	if err != nil || sequence < g.base || sequence-g.base > math.MaxUint32 {
		x.damaged++
		return
	}
	x.last = sequence
	switch h.kind {
	case kindState:
		x.states = append(x.states, sequence)
	case kindRecords:
		x.streams[stream] = appendRun(x.streams[stream], g, h.epoch, h.head(g, size))
	}
}

// head is what the index keeps of the header of an entry of size bytes.
func (h *header) head(g *segment, size int) head {
	return head{h.first, uint32(h.sequence - g.base), h.count, uint32(size), h.rawLen, h.times, h.arrival}
}
