package wasm

import (
	"encoding/binary"

	"github.com/runnel-log/runnel/record"
)

// record decodes a record a guest made into a.made, with what the host alone
// says of a record taken from its parent; nil: it has none.
func (a *applier) record(index int, parent record.View, p []byte) error {
	const header = record.BatchHeaderSize
	a.encoded = append(a.encoded[:0], 'r', 'b', record.Version, 0)
	a.encoded = binary.LittleEndian.AppendUint32(a.encoded, uint32(header+len(p)))
	a.encoded = append(a.encoded, 1, 0, 0, 0, 0, 0, 0, 0)
	a.encoded = append(a.encoded, p...)
	if err := a.decoder.Decode(a.encoded); err != nil {
		return badOutput("the record in the verdict on record %d: %v", index, err)
	}
	r := &a.made
	a.decoder.At(0).Decode(r)
	if r.Attrs.Len() > maxGuestAttrs {
		return badOutput("the record in the verdict on record %d has %d attributes, more than %d", index, r.Attrs.Len(), maxGuestAttrs)
	}
	if parent == nil {
		m := a.in.module
		r.Flags, r.Received, r.Origin = 0, a.in.now, record.Origin{}
		r.Input, r.Peer, r.Agent = []byte(m.options.Name), nil, []byte(m.options.Agent)
		return nil
	}
	r.Flags, r.Received = parent.Flags(), parent.Received()
	r.Input, r.Peer, r.Agent, r.Origin = parent.Input(), parent.Peer(), parent.Agent(), parent.Origin()
	return nil
}

func (a *applier) replace(index int, v record.View, p []byte) error {
	if err := a.record(index, v, p); err != nil {
		return err
	}
	if len(a.made.Stream) > 0 && string(a.made.Stream) != string(v.Stream()) {
		if text := a.route(&a.made, a.made.Stream); text != "" {
			a.made.Stream = v.Stream()
			if err := a.in.module.failed(&a.made, text, a.out); err != nil {
				return badOutput("record %d as replaced: %v", index, err)
			}
			return nil
		}
		a.out.Routed++
	}
	if err := a.out.Batch.Append(&a.made); err != nil {
		return badOutput("the record in place of record %d: %v", index, err)
	}
	a.out.Patched++
	return nil
}

// emit appends a record the guest made, after its parent.
func (a *applier) emit(index int, p []byte) error {
	if a.emits++; a.emits > maxEmits {
		return badOutput("more than %d records emitted for record %d", maxEmits, index)
	}
	v := a.source.At(index)
	if err := a.record(index, v, p); err != nil {
		return err
	}
	if index >= a.kept {
		a.keepUntil(index + 1)
	}
	if !a.made.Origin.IsZero() {
		// Children of a record share its origin and are told apart by their
		// number; children of children keep apart in base 65.
		a.made.Origin.Child = a.made.Origin.Child*(maxEmits+1) + uint32(a.emits)
	}
	return a.emitted(index)
}

// emitted appends a.made. The stream that its parent has is no route: another runnel may have
// given it, and the config need not name it.
func (a *applier) emitted(index int) error {
	var has []byte
	if index != noRecord {
		has = a.source.At(index).Stream()
	}
	if len(a.made.Stream) > 0 && string(a.made.Stream) != string(has) {
		if text := a.route(&a.made, a.made.Stream); text != "" {
			return badOutput("a record emitted for record %d was %s", index, text)
		}
	}
	if err := a.out.Batch.Append(&a.made); err != nil {
		return badOutput("a record emitted for record %d: %v", index, err)
	}
	a.out.Emitted++
	return nil
}
