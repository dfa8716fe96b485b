package agent

import (
	"context"
	"errors"
	"io"
	"strings"

	"github.com/runnel-log/runnel/forwarders"
	"github.com/runnel-log/runnel/record"
	"github.com/runnel-log/runnel/storage"
)

// takeRefusal deals with a receiver that will never take some record: it moves
// that one into the stream's dead letters, or halves the batches until it is
// alone. It reports whether delivery can go on at once.
func (d *delivery) takeRefusal(err error) bool {
	var refused *forwarders.Refused
	var about *batchError
	if !errors.As(err, &refused) || !errors.As(err, &about) {
		return false
	}
	index := refused.Index
	if len(about.offsets) == 1 {
		index = 0
	}
	if index < 0 || index >= len(about.offsets) {
		d.mu.Lock()
		defer d.mu.Unlock()
		d.narrow[about.stream] = narrowing{limit: (len(about.offsets) + 1) / 2, until: about.offsets[len(about.offsets)-1] + 1}
		return true
	}
	return d.bury(about.stream, about.offsets[index], refused.Answer) == nil
}

// grave is a record that the receiver has refused for good, as it is to be stored
// among the dead letters: when the cursor passes it, in the same transaction, so
// that after a crash it is there once or is offered again.
type grave struct {
	offset uint64
	record *record.Batch
	answer string
}

// What a dead letter says of itself, in attributes.
const (
	deadForwarder = "dead.forwarder" // who refused it
	deadAnswer    = "dead.answer"    // what the receiver said
	deadAttempts  = "dead.attempts"  // how often it was refused
)

// deadAttrs are all of them.
var deadAttrs = [...]string{deadForwarder, deadAnswer, deadAttempts}

// unsigned takes off a module's dead letters what only those of forwarders say of
// themselves: here it is the word of who sent the record. It takes dead over.
func unsigned(dead *record.Batch) *record.Batch {
	for i := range dead.Len() {
		for _, key := range deadAttrs {
			if _, ok := dead.At(i).Attr(key); ok {
				return edit(dead, func(_ record.View, r *record.Record) { unsign(r) })
			}
		}
	}
	return dead
}

func unsign(r *record.Record) {
	for _, key := range deadAttrs {
		r.Attrs.Delete(key)
	}
}

// signedBy returns the forwarder that refused the record of a dead letter; "": none
// did. Each has a forwarder's mark and, as no sender can give it either, an origin:
// this agent, or the one that it came from.
func signedBy(v record.View) string {
	if o := v.Origin(); o.IsZero() || v.Flags()&record.Dead == 0 {
		return ""
	}
	by, _ := v.Attr(deadForwarder)
	return string(by.Data)
}

// isDead reports whether a stream is one of dead letters.
func isDead(stream string) bool { return strings.HasSuffix(stream, deadSuffix) }

// bury keeps one record for the dead letters of its stream, with its origin and
// the answer it got, and has delivery skip it from now on.
func (d *delivery) bury(stream string, offset uint64, answer string) error {
	block := record.NewBatch()
	defer block.Release()
	first, epoch, err := d.store.ReadWritten(stream, offset, block)
	if errors.Is(err, io.EOF) || (err == nil && (offset < first || offset >= first+uint64(block.Len()))) {
		return nil // retention took it: nothing left to bury
	}
	if err != nil {
		return err
	}
	var r record.Record
	block.At(int(offset - first)).Decode(&r)
	r.Flags |= record.Dead
	r.Stream = nil
	if r.Origin.IsZero() {
		agent, _ := d.store.Identity()
		r.Origin = record.Origin{Agent: agent, Epoch: epoch, Sequence: offset, Stream: []byte(stream)}
	}
	attempts := int64(0)
	if before, ok := r.Attrs.Get(deadAttempts); ok && isDead(stream) { // or else its sender says so
		attempts = before.Int()
	} else if d.sendsAgain(stream) { // of a build that did not count
		attempts = 1
	}
	r.Attrs.SetString(deadForwarder, d.name)
	r.Attrs.SetString(deadAnswer, answer)
	r.Attrs.SetInt(deadAttempts, attempts+1)
	g := &grave{offset: offset, record: record.NewBatch(), answer: answer}
	if g.record.Append(&r) != nil { // no room for what is added to it: the record itself matters more
		g.record.AppendView(block.At(int(offset - first)))
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.skip[stream] == nil {
		d.skip[stream] = make(map[uint64]*grave)
	}
	d.skip[stream][offset] = g
	return nil
}

// buryAll stores dead letters of a stream, and marks, and moves the cursor over them.
func (d *delivery) buryAll(ctx context.Context, stream string, next uint64, p storage.Passed, graves []*grave, marks []storage.Change) error {
	u := storage.Unit{
		State:   marks,
		Batches: []storage.StreamBatch{{Stream: stream + deadSuffix, Records: gather(graves)}},
		Cursors: []storage.CursorPass{{Name: d.name, Stream: stream, Next: next, Passed: p}},
	}
	if b := d.book; b != nil {
		u.Account = &b.account
		u.Posting = entry(func(batches []storage.StreamBatch, missed []bool) { b.stores(batches, missed) }) // what was full is lost, and named
	}
	if _, err := d.store.Append(ctx, u); err != nil {
		return err
	}
	d.buried(stream, graves)
	return nil
}

// gather puts dead letters into one batch.
func gather(graves []*grave) *record.Batch {
	all := record.NewBatch()
	for _, g := range graves {
		all.AppendBatch(g.record, 0, 1)
	}
	return all
}

// buried takes leave of dead letters that are stored.
func (d *delivery) buried(stream string, graves []*grave) {
	for _, g := range graves {
		d.events.deadLettered(d.name, stream, g.offset, g.answer)
		g.record.Release()
	}
}
