package wasm

import (
	"encoding/binary"
	"errors"

	"github.com/runnel-log/runnel/record"
)

// reasonMerged is why those are dropped that a MERGE put into another record.
const reasonMerged = "merged"

// hold moves a record into the state (ABI §4.8).
func (a *applier) hold(index int, v record.View, key []byte) error {
	if err := checkKey(index, key); err != nil {
		return err
	}
	if a.in.state == nil {
		a.fail(v, "HOLD in a module that is not ordered: it imports no function of state, nor exports runnel_tick or runnel_flush (ABI §1.3)")
		return nil
	}
	if why := a.in.state.take(key, v); why != "" {
		a.fail(v, why)
		return nil
	}
	a.out.Held++
	return nil
}

func checkKey(index int, key []byte) error {
	if len(key) == 0 || len(key) > maxKey {
		return badOutput("a key of %d bytes in a verdict on record %d", len(key), index)
	}
	return nil
}

// letGo applies a RELEASE, MERGE or DISCARD where the output has got to.
func (a *applier) letGo(index int, kind byte, p []byte) error {
	key, rest := p, []byte(nil)
	switch kind {
	case kindRelease:
	case kindMerge, kindDiscard:
		if len(p) < 4 || p[2]|p[3] != 0 || int(binary.LittleEndian.Uint16(p)) > len(p)-4 {
			return badOutput("the key in a verdict on record %d is cut off", index)
		}
		n := 4 + int(binary.LittleEndian.Uint16(p))
		key, rest = p[4:n], p[n:]
	default:
		return badOutput("a verdict of kind %d on record %d", kind, index)
	}
	if err := checkKey(index, key); err != nil {
		return err
	}
	if kind == kindDiscard && len(rest) > maxText {
		return badOutput("a text of %d bytes in the verdict on record %d", len(rest), index)
	}
	if a.in.state == nil {
		return nil
	}
	records := a.in.state.under(string(key))
	if len(records) == 0 {
		return nil
	}
	switch kind {
	case kindRelease:
		a.release(records)
	case kindDiscard:
		a.out.drop(rest, len(records))
	case kindMerge:
		if err := a.merged(index, records, rest); err != nil {
			return err
		}
	}
	a.out.Released += len(records)
	a.in.state.letGo(string(key))
	return nil
}

// release appends held records as they came.
func (a *applier) release(records []*entry) {
	for _, e := range records {
		a.out.Batch.AppendView(e.value)
	}
}

// merged appends the first of the records, changed, in place of all; or all of
// them, if that would be too large.
func (a *applier) merged(index int, records []*entry, operations []byte) error {
	first := record.View(records[0].value)
	first.Decode(&a.rec)
	a.merge, a.joins = true, false
	refused, err := a.operations(index, operations)
	a.merge = false
	if err != nil {
		return err
	}
	err = a.joinAll(records)
	if err == nil {
		err = a.append(first, refused)
	}
	if cap(a.joined) > 4*record.BatchBytes {
		a.joined = nil
	}
	if errors.Is(err, record.ErrTooLarge) {
		a.release(records)
		return nil
	}
	if err != nil {
		return badOutput("the records merged by a verdict on record %d: %v", index, err)
	}
	if len(records) > 1 {
		a.out.dropText(reasonMerged, len(records)-1)
	}
	return nil
}

// join notes the operation that is a MERGE's alone, and one that undoes it. It
// reports whether no more is to be done: the messages are put together when all
// operations are known, once.
func (a *applier) join(code byte, key, value []byte) bool {
	switch {
	case code == opMessage:
		a.joins = false
	case code == opJoin && len(key) == 0 && len(value) <= maxSeparator:
		a.joins, a.joint = true, value
		return true
	}
	return false
}

// joinAll sets the message as the MERGE said.
func (a *applier) joinAll(records []*entry) error {
	if !a.joins {
		return nil
	}
	size := len(a.joint) * (len(records) - 1)
	for _, e := range records {
		size += len(record.View(e.value).Message())
	}
	if size > record.MaxSize {
		return record.ErrTooLarge
	}
	a.joined = a.joined[:0]
	for i, e := range records {
		if i > 0 {
			a.joined = append(a.joined, a.joint...)
		}
		a.joined = append(a.joined, record.View(e.value).Message()...)
	}
	a.rec.Message = a.joined
	return nil
}

// alone fills out from what a tick or a flush returned (ABI §2.3).
func (a *applier) alone(output []byte, out *Outcome) error {
	a.source, a.out, a.streams = nil, out, a.streams[:0]
	out.Batch = record.NewBatch()
	if len(output) == 0 {
		return nil
	}
	if len(output) < outputHeader || output[0] != formList || output[1]|output[2]|output[3] != 0 {
		return badOutput("it is no list of verdicts")
	}
	count, p := binary.LittleEndian.Uint32(output[4:]), output[outputHeader:]
	if count > maxAloneVerdicts {
		return badOutput("%d verdicts without a batch, more than the limit of %d", count, maxAloneVerdicts)
	}
	for range count {
		if len(p) < verdictHeader {
			return badOutput("ends within a verdict")
		}
		size, index, kind := binary.LittleEndian.Uint32(p), binary.LittleEndian.Uint32(p[4:]), p[8]
		if size < verdictHeader || uint64(size) > uint64(len(p)) || p[9]|p[10]|p[11] != 0 {
			return badOutput("a verdict of %d bytes with %d left", size, len(p))
		}
		if index != noRecord {
			return badOutput("a verdict on record %d, but there is no batch", index)
		}
		if err := a.lone(kind, p[verdictHeader:size]); err != nil {
			return err
		}
		p = p[size:]
	}
	if len(p) > 0 {
		return badOutput("%d bytes after the last verdict", len(p))
	}
	return nil
}

// lone applies a verdict on no record.
func (a *applier) lone(kind byte, p []byte) error {
	if kind != kindEmit {
		if kind < kindRelease {
			return badOutput("a verdict of kind %d on no record", kind)
		}
		return a.letGo(noRecord, kind, p)
	}
	if err := a.record(noRecord, nil, p); err != nil {
		return err
	}
	return a.emitted(noRecord)
}
