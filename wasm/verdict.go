package wasm

import (
	"encoding/binary"
	"fmt"

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
	kindRelease = 8
	kindMerge   = 9
	kindDiscard = 10

	opHeader   = 8
	opRemove   = 7
	opRename   = 8
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
	opJoin     = 26
)

// Bounds on verdicts (ABI §4.7).
const (
	maxEmits      = 64
	maxOps        = 256
	maxGuestAttrs = 256
	maxText       = 255 // of a reason, a message or a stream's name
	maxSeparator  = 16  // between the messages of a MERGE

	maxAloneVerdicts = 4096 // of a tick or a flush
	maxAloneOutput   = 4 << 20
)

// noRecord is the index of the verdicts of a tick or a flush.
const noRecord = 0xffffffff

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

	editKeys  [maxEdits][]byte // of a PATCH that is an edit
	editAttrs [2*maxEdits + 1][]byte
	editHeads [256]byte // what begins renamed attributes

	emits int // of the record at hand
	kept  int // the first record not yet copied to out

	merge  bool   // operations are those of a MERGE
	joins  bool   // and it sets the message to all of them
	joint  []byte // that stands between them
	joined []byte
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
// one of them for each record that decides on it.
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
		if kind < kindRelease && kind != kindEmit {
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
	if kind >= kindRelease {
		if a.kept < index {
			a.keepUntil(index)
		}
		return a.letGo(index, kind, p)
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
		return a.hold(index, v, p)
	case kindFail:
		a.fail(v, string(p))
		return nil
	}
	return badOutput("a verdict of kind %d on record %d", kind, index)
}

// fail hands one record to the module's on_error policy.
func (a *applier) fail(v record.View, text string) {
	a.in.module.fail(v, text, a.out, &a.rec)
}
