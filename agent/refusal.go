package agent

import (
	"context"
	"errors"

	"github.com/runnel-log/runnel/forwarders"
	"github.com/runnel-log/runnel/record"
	"github.com/runnel-log/runnel/storage"
)

// takeRefusal deals with a receiver that will never take some record: it moves
// that one into the stream's dead letters, or halves the batches until it is
// alone. It reports whether delivery can go on at once.
func (d *delivery) takeRefusal(ctx context.Context, err error) bool {
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
	return d.bury(ctx, about.stream, about.offsets[index], refused.Answer) == nil
}

// bury copies one record into the dead letters of its stream, with its origin
// and the answer it got, and has delivery skip it from now on.
func (d *delivery) bury(ctx context.Context, stream string, offset uint64, answer string) error {
	block := record.NewBatch()
	defer block.Release()
	first, err := d.store.Read(stream, offset, block)
	if err != nil || offset < first || offset >= first+uint64(block.Len()) {
		return err // retention took it: nothing left to bury
	}
	var r record.Record
	block.At(int(offset - first)).Decode(&r)
	r.Flags |= record.Dead
	r.Stream = nil
	if r.Origin.IsZero() {
		agent, epoch := d.store.Identity()
		r.Origin = record.Origin{Agent: agent, Epoch: epoch, Sequence: offset, Stream: []byte(stream)}
	}
	r.Attrs.SetString("dead.forwarder", d.name)
	r.Attrs.SetString("dead.answer", answer)
	grave := record.NewBatch()
	if grave.Append(&r) != nil { // no room for what is added to it: the record itself matters more
		grave.AppendView(block.At(int(offset - first)))
	}
	receipt, err := d.store.Append(ctx, storage.Unit{Batches: []storage.StreamBatch{{Stream: stream + deadSuffix, Records: grave}}, Hurry: true})
	if err != nil {
		return err
	}
	if err := receipt.Wait(ctx); err != nil {
		return err
	}
	d.events.deadLettered(d.name, stream, offset, answer)
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.skip[stream] == nil {
		d.skip[stream] = make(map[uint64]bool)
	}
	d.skip[stream][offset] = true
	return nil
}
