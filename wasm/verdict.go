package wasm

import (
	"encoding/binary"
	"fmt"
	"unsafe"

	"github.com/runnel-log/runnel/record"
)

// The verdict kinds and the operations of a PATCH (ABI §4).
const (
	formList   = 1
	formFilter = 2

	outputHeader  = 8
	verdictHeader = 12

	kindDrop    = 1
	kindPatch   = 2
	kindReplace = 3
	kindRoute   = 4
	kindEmit    = 5
	kindHold    = 6
	kindFail    = 7

	opHeader   = 8
	opRemove   = 7
	opSeverity = 16
	opFacility = 17
	opTime     = 18
	opHost     = 19
	opApp      = 20
	opProcID   = 21
	opMsgID    = 22
	opSD       = 23
	opMessage  = 24
	opStream   = 25
)

// Bounds on verdicts (ABI §4.7).
const (
	maxEmits      = 64
	maxOps        = 256
	maxGuestAttrs = 256
	maxText       = 255 // of a reason, a message or a stream's name
)

// errOutput: a guest's output breaks the ABI.
type errOutput struct{ text string }

func (e errOutput) Error() string { return "guest's output is malformed: " + e.text }

func badOutput(format string, args ...any) error { return errOutput{fmt.Sprintf(format, args...)} }

// applier turns verdicts into an outcome. It keeps what can be reused between
// batches.
type applier struct {
	in      *instance
	source  *record.Batch
	out     *Outcome
	rec     record.Record // of a PATCH
	made    record.Record // of an EMIT or REPLACE
	decoder record.Batch
	encoded []byte
	streams []streamName

	emits int // of the record at hand
	kept  int // the first record not yet copied to out
}

// streamName remembers a name the config was asked for, so that asking does
// not cost an allocation a record.
type streamName struct {
	name  string
	known bool
}

// verdicts fills out from what the guest returned for source. On error out
// holds half of it and must be reset.
func (a *applier) verdicts(source *record.Batch, output []byte, out *Outcome) error {
	a.source, a.out, a.kept = source, out, 0
	a.streams = a.streams[:0]
	out.Batch = record.NewBatch()
	if len(output) < outputHeader {
		return badOutput("%d bytes, shorter than its header", len(output))
	}
	if output[1]|output[2]|output[3] != 0 {
		return badOutput("reserved bytes of the header are not zero")
	}
	count := binary.LittleEndian.Uint32(output[4:])
	var err error
	switch output[0] {
	case formList:
		err = a.list(count, output[outputHeader:])
	case formFilter:
		err = a.filter(count, output[outputHeader:])
	default:
		err = badOutput("form %d; 1 and 2 are known", output[0])
	}
	if err == nil {
		a.keepUntil(source.Len())
	}
	return err
}

// keepUntil copies the records before i that nothing was said of.
func (a *applier) keepUntil(i int) {
	a.out.Batch.AppendBatch(a.source, a.kept, i)
	a.kept = i
}

// filter applies the dense form: a byte a record, then the reason.
func (a *applier) filter(count uint32, p []byte) error {
	n := a.source.Len()
	if int64(count) != int64(n) || len(p) < n {
		return badOutput("a filter of %d records for a batch of %d", count, n)
	}
	reason := p[n:]
	if len(reason) > maxText {
		return badOutput("a reason of %d bytes", len(reason))
	}
	dropped := 0
	for i, b := range p[:n] {
		switch b {
		case 0:
		case 1:
			a.keepUntil(i)
			a.kept = i + 1
			dropped++
		default:
			return badOutput("a filter byte of %d for record %d", b, i)
		}
	}
	a.out.drop(reason, dropped)
	return nil
}

// list applies the sparse form: verdicts in the order of their index, at most
// one of them other than EMIT for each record.
func (a *applier) list(count uint32, p []byte) error {
	if uint64(count)*verdictHeader > uint64(len(p)) {
		return badOutput("%d verdicts in %d bytes", count, len(p))
	}
	last, judged := int64(-1), false
	for range count {
		if len(p) < verdictHeader {
			return badOutput("ends within a verdict")
		}
		size, index, kind := binary.LittleEndian.Uint32(p), binary.LittleEndian.Uint32(p[4:]), p[8]
		if size < verdictHeader || uint64(size) > uint64(len(p)) || p[9]|p[10]|p[11] != 0 {
			return badOutput("a verdict of %d bytes with %d left", size, len(p))
		}
		if int64(index) >= int64(a.source.Len()) {
			return badOutput("a verdict on record %d of a batch of %d", index, a.source.Len())
		}
		if int64(index) < last {
			return badOutput("a verdict on record %d after one on %d", index, last)
		}
		if int64(index) > last {
			last, judged, a.emits = int64(index), false, 0
		}
		if kind != kindEmit {
			if judged {
				return badOutput("two verdicts on record %d", index)
			}
			judged = true
		}
		if err := a.verdict(int(index), kind, p[verdictHeader:size]); err != nil {
			return err
		}
		p = p[size:]
	}
	if len(p) > 0 {
		return badOutput("%d bytes after the last verdict", len(p))
	}
	return nil
}

// verdict applies one verdict.
func (a *applier) verdict(index int, kind byte, p []byte) error {
	if kind == kindEmit {
		return a.emit(index, p)
	}
	if index < a.kept {
		return badOutput("a verdict on record %d after its EMIT; EMIT comes last", index)
	}
	if a.kept < index {
		a.keepUntil(index)
	}
	a.kept = index + 1
	v := a.source.At(index)
	if kind == kindPatch && addsOne(v, p) {
		if err := a.out.Batch.AppendExtended(v, nil, p, 1); err != nil {
			return badOutput("record %d as patched: %v", index, err)
		}
		a.out.Patched++
		return nil
	}
	switch kind {
	case kindDrop, kindRoute, kindFail:
		if len(p) > maxText {
			return badOutput("a text of %d bytes in the verdict on record %d", len(p), index)
		}
	}
	switch kind {
	case kindDrop:
		a.out.drop(p, 1)
		return nil
	case kindPatch:
		return a.patch(index, v, p)
	case kindReplace:
		return a.replace(index, v, p)
	case kindRoute:
		v.Decode(&a.rec)
		return a.patched(index, v, a.route(&a.rec, p))
	case kindHold:
		a.fail(v, "HOLD needs state, which this host does not offer")
		return nil
	case kindFail:
		a.fail(v, string(p))
		return nil
	}
	return badOutput("a verdict of kind %d on record %d", kind, index)
}

// patch applies the operations of a PATCH in order.
func (a *applier) patch(index int, v record.View, p []byte) error {
	if attrs, n, stream, ok := additions(v, p); ok && (stream == nil || a.known(stream)) {
		return a.extend(index, v, attrs, n, stream)
	}
	v.Decode(&a.rec)
	refused := ""
	for n := 0; len(p) > 0; n++ {
		if len(p) < opHeader || n == maxOps {
			return badOutput("operation %d of the PATCH of record %d", n, index)
		}
		code, keyLen, size := p[0], uint64(binary.LittleEndian.Uint16(p[2:])), uint64(binary.LittleEndian.Uint32(p[4:]))
		if p[1] != 0 || opHeader+keyLen+size > uint64(len(p)) {
			return badOutput("operation %d of the PATCH of record %d is cut off", n, index)
		}
		key, value := p[opHeader:opHeader+keyLen], p[opHeader+keyLen:opHeader+keyLen+size]
		p = p[opHeader+keyLen+size:]
		if code == opStream && keyLen == 0 && size <= maxText {
			if text := a.route(&a.rec, value); text != "" {
				refused = text
			}
			continue
		}
		if !change(&a.rec, code, key, value) {
			return badOutput("operation %d of the PATCH of record %d: code %d with a key of %d and a value of %d bytes", n, index, code, keyLen, size)
		}
	}
	return a.patched(index, v, refused)
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
	if refused != "" {
		if err := a.in.module.failed(&a.rec, refused, a.out); err != nil {
			return badOutput("record %d as patched: %v", index, err)
		}
		return nil
	}
	if err := a.out.Batch.Append(&a.rec); err != nil {
		return badOutput("record %d as patched: %v", index, err)
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
	default:
		return false
	}
	r.Attrs.Set(name, record.Kind(code), value)
	return true
}

// record decodes a record a guest made into a.made, with what the host alone
// says of a record taken from its parent.
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
	r.Flags, r.Received = parent.Flags(), parent.Received()
	r.Input, r.Peer, r.Agent, r.Origin = parent.Input(), parent.Peer(), parent.Agent(), parent.Origin()
	return nil
}

func (a *applier) replace(index int, v record.View, p []byte) error {
	if err := a.record(index, v, p); err != nil {
		return err
	}
	if len(a.made.Stream) > 0 {
		if text := a.route(&a.made, a.made.Stream); text != "" {
			a.made.Stream = v.Stream()
			if err := a.in.module.failed(&a.made, text, a.out); err != nil {
				return badOutput("record %d as replaced: %v", index, err)
			}
			return nil
		}
		if string(a.made.Stream) != string(v.Stream()) {
			a.out.Routed++
		}
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
	if len(a.made.Stream) > 0 {
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

// fail hands one record to the module's on_error policy.
func (a *applier) fail(v record.View, text string) {
	a.in.module.fail(v, text, a.out, &a.rec)
}
