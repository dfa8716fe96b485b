package wasm

import (
	"encoding/binary"
	"fmt"
	"unsafe"

	"github.com/runnel-log/runnel/record"
)

// patch applies the operations of a PATCH in order.
func (a *applier) patch(index int, v record.View, p []byte) error {
	if attrs, n, stream, ok := additions(v, p); ok && (stream == nil || a.known(stream)) {
		return a.extend(index, v, attrs, n, stream)
	}
	if done, err := a.edit(index, v, p); done {
		return err
	}
	v.Decode(&a.rec)
	refused, err := a.operations(index, p)
	if err != nil {
		return err
	}
	return a.patched(index, v, refused)
}

// operations applies operations to a.rec. refused says why on_error is to decide
// on it, if it is.
func (a *applier) operations(index int, p []byte) (refused string, err error) {
	for n := 0; len(p) > 0; n++ {
		if len(p) < opHeader || n == maxOps {
			return "", badOutput("operation %d of the PATCH of record %d", n, index)
		}
		code, keyLen, size := p[0], uint64(binary.LittleEndian.Uint16(p[2:])), uint64(binary.LittleEndian.Uint32(p[4:]))
		if p[1] != 0 || opHeader+keyLen+size > uint64(len(p)) {
			return "", badOutput("operation %d of the PATCH of record %d is cut off", n, index)
		}
		key, value := p[opHeader:opHeader+keyLen], p[opHeader+keyLen:opHeader+keyLen+size]
		p = p[opHeader+keyLen+size:]
		if code == opStream && keyLen == 0 && size <= maxText {
			if text := a.route(&a.rec, value); text != "" {
				refused = text
			}
			continue
		}
		if a.merge && a.join(code, key, value) {
			continue
		}
		if !change(&a.rec, code, key, value) {
			return "", badOutput("operation %d of the PATCH of record %d: code %d with a key of %d and a value of %d bytes", n, index, code, keyLen, size)
		}
	}
	return refused, nil
}

// addsOne reports whether a PATCH does no more than add a text the record does
// not have: the commonest case of additions.
func addsOne(v record.View, p []byte) bool {
	if len(p) < opHeader {
		return false
	}
	h := binary.LittleEndian.Uint64(p)
	key := opHeader + uint64(uint16(h>>16))
	return uint16(h) == uint16(record.String) && key+h>>32 == uint64(len(p)) && !v.HasAttr(p[opHeader:key])
}

// additions reports whether a PATCH does no more than add attributes the record
// does not have, one after another, and send it to a stream: what most do, and
// what AppendExtended does without taking the record apart. The operations that
// set attributes are those attributes in their encoded form (ABI §4.3).
func additions(v record.View, p []byte) (attrs []byte, n int, stream []byte, ok bool) {
	var keys [4][]byte
	for at := 0; at < len(p); {
		op := p[at:]
		if len(op) < opHeader || op[1] != 0 {
			return nil, 0, nil, false
		}
		code, keyLen, size := op[0], uint64(binary.LittleEndian.Uint16(op[2:])), uint64(binary.LittleEndian.Uint32(op[4:]))
		end := opHeader + keyLen + size
		if end > uint64(len(op)) {
			return nil, 0, nil, false
		}
		switch {
		case code == opStream && keyLen == 0 && size > 0 && size <= maxText:
			stream = op[opHeader:end:end]
		case code == byte(record.String) && n < len(keys) && stream == nil:
			key := op[opHeader : opHeader+keyLen]
			if v.HasAttr(key) {
				return nil, 0, nil, false
			}
			for _, other := range keys[:n] {
				if string(other) == string(key) {
					return nil, 0, nil, false
				}
			}
			keys[n] = key
			n++
			attrs = p[:uint64(at)+end]
		default:
			return nil, 0, nil, false
		}
		at += int(end)
	}
	return attrs, n, stream, true
}

// extend appends the record with n attributes more, in another stream if one is named.
func (a *applier) extend(index int, v record.View, attrs []byte, n int, stream []byte) error {
	if err := a.out.Batch.AppendExtended(v, stream, attrs, n); err != nil {
		return badOutput("record %d as patched: %v", index, err)
	}
	a.out.Patched++
	if stream != nil && string(stream) != string(v.Stream()) {
		a.out.Routed++
	}
	return nil
}

// patched appends the changed record, or fails it for the reason given; it then
// keeps its other changes, or a misspelt stream would undo a redaction.
func (a *applier) patched(index int, v record.View, refused string) error {
	if err := a.append(v, refused); err != nil {
		return badOutput("record %d as patched: %v", index, err)
	}
	return nil
}

// append is patched, with the error of encoding the record.
func (a *applier) append(v record.View, refused string) error {
	if refused != "" {
		return a.in.module.failed(&a.rec, refused, a.out)
	}
	if err := a.out.Batch.Append(&a.rec); err != nil {
		return err
	}
	a.out.Patched++
	if len(a.rec.Stream) > 0 && string(a.rec.Stream) != string(v.Stream()) {
		a.out.Routed++
	}
	return nil
}

// route sets the stream, or says why it cannot be. What a record or a guest
// names must be a stream of the config.
func (a *applier) route(r *record.Record, name []byte) string {
	if len(name) == 0 {
		r.Stream = nil
		return ""
	}
	if !a.known(name) {
		return unknownStream(name)
	}
	r.Stream = name
	return ""
}

func unknownStream(name []byte) string {
	return fmt.Sprintf("routed to %q, which is no stream of the config", name)
}

func (a *applier) known(name []byte) bool {
	ask := a.in.module.options.KnownStream
	if ask == nil {
		return true
	}
	for _, s := range a.streams {
		if s.name == string(name) {
			return s.known
		}
	}
	kept := a.in.module.streamName(name)
	known := ask(kept)
	if len(a.streams) < 16 {
		a.streams = append(a.streams, streamName{kept, known})
	}
	return known
}

// change applies one operation to r, whose fields then borrow from value. It
// reports whether the operation is well-formed.
func change(r *record.Record, code byte, key, value []byte) bool {
	if code < opSeverity {
		return changeAttr(r, code, key, value)
	}
	if len(key) > 0 {
		return false
	}
	switch code {
	case opSeverity:
		if len(value) != 1 || value[0] > 7 && value[0] != record.Absent {
			return false
		}
		r.Severity = value[0]
		return true
	case opFacility:
		if len(value) != 1 || value[0] > 23 && value[0] != record.Absent {
			return false
		}
		r.Facility = value[0]
		return true
	case opTime:
		if len(value) != 8 {
			return false
		}
		r.Time = int64(binary.LittleEndian.Uint64(value))
		return true
	case opHost:
		r.Host = value
	case opApp:
		r.App = value
	case opProcID:
		r.ProcID = value
	case opMsgID:
		r.MsgID = value
	case opSD:
		r.SD = value
		return true
	case opMessage:
		r.Message = value
		return true
	default:
		return false
	}
	return len(value) <= record.MaxField
}

// changeAttr sets or removes an attribute. The payloads are those of the record
// encoding (docs/format/record.md "Attributes").
func changeAttr(r *record.Record, code byte, key, value []byte) bool {
	// Attrs copies the key; the string is gone when the call is.
	name := unsafe.String(unsafe.SliceData(key), len(key))
	switch record.Kind(code) {
	case record.String, record.Bytes, record.JSON:
	case record.Int, record.Float:
		if len(value) != 8 {
			return false
		}
	case record.Bool:
		if len(value) != 1 || value[0] > 1 {
			return false
		}
	case opRemove:
		r.Attrs.Delete(name)
		return len(value) == 0
	case opRename:
		return rename(&r.Attrs, name, value)
	default:
		return false
	}
	r.Attrs.Set(name, record.Kind(code), value)
	return true
}

// rename gives an attribute another name. It reports whether that can be one.
func rename(attrs *record.Attrs, from string, to []byte) bool {
	if len(to) > record.MaxField {
		return false
	}
	v, ok := attrs.Get(from)
	if !ok || from == string(to) {
		return true
	}
	attrs.Set(string(to), v.Kind, v.Data)
	attrs.Delete(from)
	return true
}
