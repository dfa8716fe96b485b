package relay

import (
	"fmt"
	"slices"

	"github.com/klauspost/compress/s2"

	"github.com/runnel-log/runnel/forwarders"
	"github.com/runnel-log/runnel/internal/relaywire"
	"github.com/runnel-log/runnel/record"
)

// course is a line on one connection: what of it the receiver does not have.
type course struct {
	line
	from  uint64           // of the question
	parts relaywire.Ranges // that were asked for
	todo  relaywire.Ranges // not sent yet; of what is sent a frame covers all, in order
	last  uint64           // number of the frame sent last
	going bool             // a batch of it has gone out
}

// piece is a frame to be: a range of the line and the records of a batch that lie in it.
type piece struct {
	relaywire.Range
	from, to int // records
}

// pieces cuts a batch into what the receiver does not have. Each piece begins where todo
// goes on, and ends behind its last record; what comes after that, and before the batch's end, belongs
// to the next batch's, or is a piece of its own where todo goes on elsewhere.
func (c *course) pieces(b *forwarders.Batch) (all []piece) {
	for _, whole := range c.todo {
		if whole.From >= b.Next {
			break
		}
		r := relaywire.Range{From: whole.From, To: min(whole.To, b.Next)}
		from, _ := slices.BinarySearch(b.Offsets, r.From)
		to, _ := slices.BinarySearch(b.Offsets, r.To)
		if from < to {
			end := b.Offsets[to-1] + 1
			all = append(all, piece{relaywire.Range{From: r.From, To: end}, from, to})
			r.From = end
		}
		if r.From < r.To && whole.To <= b.Next {
			all = append(all, piece{r, to, to})
		}
	}
	return all
}

// gone returns what of a piece the store has no more: what the batch says, and what lies before
// it and the store does not have.
func (p *piece) gone(b *forwarders.Batch, epoch uint32, parts func(stream string) []forwarders.Part) (all []relaywire.Gone) {
	if before := (relaywire.Range{From: p.From, To: min(p.To, b.First)}); before.From < before.To {
		all = goneBefore(before, epoch, parts(b.Stream))
	}
	for _, g := range b.Gone {
		r := relaywire.Range{From: max(g.From, p.From), To: min(g.To, p.To)}
		if r.From >= r.To {
			continue
		}
		reason := relaywire.Retention
		if g.Damaged {
			reason = relaywire.Damage
		}
		if n := len(all); n > 0 && all[n-1].To == r.From && all[n-1].Reason == reason { // it went in pieces
			all[n-1].To = r.To
			continue
		}
		all = append(all, relaywire.Gone{Range: r, Reason: reason})
	}
	return all
}

// goneBefore returns what of r the store does not have under that epoch: retention took it.
func goneBefore(r relaywire.Range, epoch uint32, parts []forwarders.Part) (all []relaywire.Gone) {
	here := relaywire.Ranges{}
	for _, p := range parts {
		if p.Epoch == epoch {
			here = here.Add(relaywire.Range{From: p.First, To: p.Next})
		}
	}
	for _, missing := range here.Missing(nil, r) {
		all = append(all, relaywire.Gone{Range: missing, Reason: relaywire.Retention})
	}
	return all
}

// packer makes the payload of frames. It is used by one goroutine.
type packer struct {
	how   string
	whole *record.Batch // of a block that is not to go out as it is
	some  *record.Batch // part of a batch
	room  []byte
}

// fill makes the records from from to to of a batch those of a frame that ends at offset last. A block that goes out
// as a whole goes out as it lies in the store.
func (p *packer) fill(d *relaywire.Data, b *forwarders.Batch, from, to int, s forwarders.Source) error {
	d.Offsets = offsetsOf(b.Offsets[from:to])
	if k := b.Block; k != nil && from == 0 && to == len(b.Offsets) {
		d.Payload, d.Raw, d.Sum, d.Origin = k.Body, uint32(k.Raw), k.Sum, k.Origin
		return nil
	}
	records := b.Records
	if b.Block != nil {
		if p.whole == nil {
			p.whole = new(record.Batch)
		}
		if err := s.Unpack(b.Block, p.whole); err != nil {
			return fmt.Errorf("block at offset %d of stream %q: %w", b.Offsets[0], b.Stream, err)
		}
		records = p.whole
	}
	payload, raw := p.pack(records, from, to)
	d.Payload, d.Raw, d.Sum = payload, uint32(raw), relaywire.Sum(d.To-1, records.At(to-1))
	return nil
}

// pack returns the compressed records of a batch from from to to, and how long they were
// before; until the next call.
func (p *packer) pack(b *record.Batch, from, to int) (payload []byte, raw int) {
	if from > 0 || to < b.Len() {
		if p.some == nil {
			p.some = new(record.Batch)
		}
		p.some.Reset()
		p.some.AppendBatch(b, from, to)
		b = p.some
	}
	bytes := b.Bytes()
	p.room = slices.Grow(p.room[:0], s2.MaxEncodedLen(len(bytes)))
	room := p.room[:cap(p.room)]
	switch p.how {
	case compressBetter:
		return s2.EncodeBetter(room, bytes), len(bytes)
	case compressNone:
		return literal(room[:0], bytes), len(bytes)
	}
	return s2.Encode(room, bytes), len(bytes)
}

// literal encodes b as a block of s2 that is one literal (Snappy format §2.1).
func literal(dst, b []byte) []byte {
	n := len(b)
	for ; n >= 1<<7; n >>= 7 {
		dst = append(dst, byte(n)|1<<7)
	}
	dst = append(dst, byte(n))
	n = len(b) - 1
	dst = append(dst, 63<<2, byte(n), byte(n>>8), byte(n>>16), byte(n>>24))
	return append(dst, b...)
}

// offsetsOf returns the set of offsets that rise.
func offsetsOf(offsets []uint64) (set relaywire.Ranges) {
	for _, o := range offsets {
		if n := len(set); n > 0 && set[n-1].To == o {
			set[n-1].To++
		} else {
			set = append(set, relaywire.Range{From: o, To: o + 1})
		}
	}
	return set
}
