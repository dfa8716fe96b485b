package relay

import (
	"fmt"

	"github.com/klauspost/compress/s2"

	"github.com/runnel-log/runnel/internal/relaywire"
	"github.com/runnel-log/runnel/record"
)

// smallRaw is how many bytes of records take no room of the budget.
const smallRaw = 64 << 10

// data takes one frame of records.
func (x *session) data(d *relaywire.Data) error {
	x.in.counters.frames.Inc()
	d.Agent = x.writer.Agent
	if err := x.check(d); err != nil {
		return err
	}
	if d.Raw > smallRaw {
		release, err := x.room(int(d.Raw))
		if err != nil {
			return err
		}
		defer release() // the pipeline has its own bounds
	}
	b, err := decode(d)
	if err != nil {
		return err
	}
	f := frame{Data: d, batch: b}
	if err := f.trace(x); err != nil {
		b.Release()
		return err
	}
	size := int64(d.Cost())
	x.inFlight.Add(size)
	x.frames = d.Number
	return x.store(&f, size)
}

// check looks at what a frame says before anything is made of it: relaywire has seen to
// its ranges.
func (x *session) check(d *relaywire.Data) error {
	switch open := x.inFlight.Load(); {
	case d.Number != x.frames+1:
		return wrong(d, "%d is due", x.frames+1)
	case !streamName.MatchString(d.Stream):
		return wrong(d, "that is no name of a stream")
	case open > 0 && open+int64(d.Cost()) > int64(x.in.options.Credit):
		return wrong(d, "%d bytes are not acknowledged and %d come, more than the credit of %d", open, d.Cost(), int64(x.in.options.Credit))
	}
	return nil
}

// wrong says what is wrong with a frame.
func wrong(d *relaywire.Data, format string, args ...any) error {
	return fmt.Errorf("%w: frame %d of stream %q: "+format, append([]any{errProtocol, d.Number, d.Stream}, args...)...)
}

// decode reads the records of a frame, and holds what it says of them against them.
func decode(d *relaywire.Data) (_ *record.Batch, err error) {
	b := record.NewBatch()
	defer func() {
		if err != nil {
			b.Release()
		}
	}()
	if len(d.Offsets) == 0 {
		return b, nil
	}
	if n, err := s2.DecodedLen(d.Payload); err != nil || n != int(d.Raw) { // before that much memory is taken
		return nil, wrong(d, "payload of %d bytes where %d are stated", n, d.Raw)
	}
	raw, err := s2.Decode(b.Room(int(d.Raw)), d.Payload)
	if err == nil {
		err = b.Decode(raw)
	}
	if err != nil {
		return nil, wrong(d, "%w", err)
	}
	records := uint64(0)
	for _, r := range d.Offsets {
		records += r.Len() // within the frame's range, so this cannot wrap
	}
	if records != uint64(b.Len()) {
		return nil, wrong(d, "%d records at %d offsets", b.Len(), records)
	}
	f := frame{Data: d}
	last := f.originOf(b.Len() - 1)
	if sum := record.DigestOf(b.At(b.Len()-1), &last).Sum(d.To - 1); sum != d.Sum {
		return nil, wrong(d, "its last record sums up to %016x, and it says %016x", sum, d.Sum)
	}
	return b, nil
}

// store has what is new of a frame stored, and the frame acknowledged when that is on disk.
func (x *session) store(f *frame, size int64) error {
	defer x.inTime()()
	k := x.in.known
	idle := k.Idle(f.agents...)
	unlock, err := x.lock(x.in.patience.room, append(idle, f.agents...)...)
	if err != nil {
		f.batch.Release()
		return err
	}
	verdict, err := k.Judge(x.writer, x.number, f.Data, idle...)
	if err != nil {
		unlock()
		f.batch.Release()
		return err
	}
	answer := pending{number: f.Number, size: size, receipt: k.receipt(x.writer.Agent), said: &said{f.Stream, f.Epoch, relaywire.Ranges{f.Range}}}
	if len(verdict.Missing) == 0 { // it came before; what it is known from may not be on disk yet
		unlock()
		x.in.counters.known.Add(f.batch.Len())
		f.batch.Release()
		x.pending <- answer
		return nil
	}
	came := f.batch.Len()
	b, whole := f.fresh(verdict)
	records, bytes := b.Len(), b.Size()
	if answer.receipt, err = x.in.relay(x.ctx, f.Stream, b, whole, k.marks(x, verdict)...); err != nil {
		unlock()
		x.in.counters.errors("not_taken").Inc()
		x.in.events.notTaken(x.conn.URL, err)
		return fmt.Errorf("%w: %w", errRefused, err)
	}
	k.taken(x, verdict, f.agents, answer.receipt)
	unlock()
	x.count(f.Data, verdict.Missing, records, bytes, came-records-f.looped)
	if f.looped > 0 {
		x.in.counters.looped.Add(f.looped)
		x.in.events.looped(x.conn.URL, x.hop, f.Stream, f.looped)
	}
	x.pending <- answer
	return nil
}

// count counts a frame that is taken, of which missing was not known.
func (x *session) count(d *relaywire.Data, missing []relaywire.Range, records, bytes, known int) {
	c := x.in.counters
	c.records.Add(records)
	c.bytes.Add(bytes)
	c.known.Add(known)
	for _, g := range d.Gone {
		n := uint64(0)
		for _, m := range missing { // the others were told of before
			if r := (relaywire.Range{From: max(g.From, m.From), To: min(g.To, m.To)}); r.From < r.To {
				n += r.Len()
			}
		}
		if n == 0 {
			continue
		}
		reason, counter := "doubt", c.goneDoubt
		switch g.Reason {
		case relaywire.Retention:
			reason, counter = "retention", c.goneRetention
		case relaywire.Damage:
			reason, counter = "damage", c.goneDamage
		}
		counter.AddInt64(int64(n))
		x.in.events.gone(x.hop, d.Stream, n, reason)
	}
}
