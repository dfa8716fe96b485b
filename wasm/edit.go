package wasm

import (
	"encoding/binary"

	"github.com/runnel-log/runnel/record"
)

// maxEdits is how many attributes a PATCH may name to be applied without taking
// the record apart.
const maxEdits = 8

// edit applies a PATCH that does no more than set, remove and rename attributes,
// each named once, and then send the record to a stream. It reports whether the
// PATCH was one, or else did nothing.
func (a *applier) edit(index int, v record.View, p []byte) (bool, error) {
	var stream []byte
	keys, attrs, heads := a.editKeys[:0], a.editAttrs[:0], a.editHeads[:0]
	run, sets := p[:0], 0 // sets that follow one another are one run
	for len(p) > 0 {
		if len(p) < opHeader || p[1] != 0 || stream != nil {
			return false, nil
		}
		h := binary.LittleEndian.Uint64(p)
		code, value, end := byte(h), opHeader+uint64(uint16(h>>16)), opHeader+uint64(uint16(h>>16))+h>>32
		if end > uint64(len(p)) {
			return false, nil
		}
		if code == opStream {
			if stream = p[value:end:end]; value > opHeader || len(stream) == 0 || len(stream) > maxText || !a.known(stream) {
				return false, nil
			}
			p = p[end:]
			continue
		}
		key := p[opHeader:value]
		if code == opRename {
			old, ok := v.RawAttr(key)
			if !ok || string(key) == string(p[value:end]) { // nothing to do, whatever the others do
				if named(keys, key) {
					return false, nil
				}
				if len(run) > 0 {
					attrs = append(attrs, run)
				}
				p = p[end:]
				run = p[:0]
				continue
			}
			to := p[value:end]
			if len(keys)+2 > maxEdits || len(to) > record.MaxField || named(keys, key) || named(keys, to) || len(heads)+opHeader+len(to) > cap(heads) {
				return false, nil
			}
			keys = append(keys, key, to)
			if len(run) > 0 {
				attrs = append(attrs, run)
			}
			from := len(heads)
			heads = binary.LittleEndian.AppendUint64(heads, binary.LittleEndian.Uint64(old)&^(0xffff<<16)|uint64(len(to))<<16)
			heads = append(heads, to...)
			attrs = append(attrs, heads[from:], old[opHeader+len(key):])
			sets++
			p = p[end:]
			run = p[:0]
			continue
		}
		if len(keys) == maxEdits || !attrOp(code, p[value:end]) || named(keys, key) {
			return false, nil
		}
		keys = append(keys, key)
		if code == opRemove {
			if len(run) > 0 {
				attrs = append(attrs, run)
			}
			run = p[end:end]
		} else {
			run = run[:len(run)+int(end)]
			sets++
		}
		p = p[end:]
	}
	attrs = append(attrs, run)
	if err := a.out.Batch.AppendEdited(v, stream, keys, attrs, sets); err != nil {
		return true, badOutput("record %d as patched: %v", index, err)
	}
	a.out.Patched++
	if stream != nil && string(stream) != string(v.Stream()) {
		a.out.Routed++
	}
	return true, nil
}

// attrOp reports whether an operation sets or removes an attribute, as changeAttr
// would accept it.
func attrOp(code byte, value []byte) bool {
	switch record.Kind(code) {
	case record.String, record.Bytes, record.JSON:
		return true
	case record.Int, record.Float:
		return len(value) == 8
	case record.Bool:
		return len(value) == 1 && value[0] <= 1
	case opRemove:
		return len(value) == 0
	}
	return false
}

func named(keys [][]byte, key []byte) bool {
	for _, k := range keys {
		if string(k) == string(key) {
			return true
		}
	}
	return false
}
