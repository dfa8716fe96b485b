package runnel

import (
	"math/bits"
	"unsafe"
)

// The output of one call (ABI §4) and the codes in it.
const (
	formList   = 1
	outHeader  = 8  // form u8, zero u8[3], count u32
	verdHeader = 12 // size u32, index u32, kind u8, zero u8[3]

	kindDrop    = 1
	kindPatch   = 2
	kindReplace = 3
	kindEmit    = 5
	kindHold    = 6
	kindFail    = 7
	kindRelease = 8
	kindMerge   = 9
	kindDiscard = 10

	keyHeader = 4 // in MERGE and DISCARD: length of the key u16, zero u16

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
	opJoin     = 26
)

// writer holds the verdicts of the batch at hand. Its buffers grow to what the
// largest batch needed and are kept, so that a warm guest allocates nothing.
type writer struct {
	buf   []byte // the output; len is what is written
	emits []byte // verdicts that follow the one on the record at hand: EMIT, and on what is held
	made  bool   // more than the record at hand has a verdict: emit is open, or was, or something was let go
	count uint32
	emit  New
}

var out writer

// start begins the output of a batch.
func (w *writer) start() {
	if cap(w.buf) == 0 {
		w.buf = make([]byte, 0, 64<<10)
	}
	w.buf = w.buf[:outHeader]
	w.count = 0
}

// finish ends it and reports whether there is anything in it.
func (w *writer) finish() bool {
	if w.count == 0 {
		return false
	}
	put32(w.buf, formList)
	put32(w.buf[4:], w.count)
	return true
}

// extend lengthens *b by n bytes and returns them.
func extend(b *[]byte, n int) []byte {
	at := len(*b)
	if at+n > cap(*b) {
		grow(b, at+n)
	}
	*b = (*b)[:at+n]
	return (*b)[at:]
}

//go:noinline
func grow(b *[]byte, n int) {
	bigger := make([]byte, len(*b), 2*n)
	copy(bigger, *b)
	*b = bigger
}

// begin opens the record's verdict. A PATCH goes on where it was; any other
// kind takes the place of what was said before.
func (r *Record) begin(kind byte) {
	if r.open != 0 {
		if r.kind == kind && kind == kindPatch {
			return
		}
		out.buf = out.buf[:r.open]
	}
	r.open, r.kind = len(out.buf), kind
	h := extend(&out.buf, verdHeader)
	put32(h[4:], r.index)
	put32(h[8:], uint32(kind))
}

// settle closes the record's verdict and adds what it emitted.
func (r *Record) settle() {
	out.emit.close()
	out.made = false
	if r.open != 0 {
		put32(out.buf[r.open:], uint32(len(out.buf)-r.open))
		out.count++
		r.open = 0
	}
	if len(out.emits) > 0 {
		out.buf = append(out.buf, out.emits...)
		out.emits = out.emits[:0]
	}
}

// op appends one operation to the record's PATCH and returns where its value goes.
func (r *Record) op(code byte, key string, n int) []byte {
	if r.open == 0 || r.kind != kindPatch {
		if r.open != 0 {
			return scratch(n) // dropped, failed or replaced already: a change has no meaning
		}
		r.begin(kindPatch)
	}
	h := extend(&out.buf, attrHeader+len(key)+n)
	put64(h, uint64(code)|uint64(len(key))<<16|uint64(n)<<32)
	copy(h[attrHeader:], key)
	return h[attrHeader+len(key):]
}

var unused []byte

// scratch returns n bytes that nobody reads.
func scratch(n int) []byte {
	unused = unused[:0]
	return extend(&unused, n)
}

// Drop drops the record; the reason is counted by the host. It undoes any
// change made to the record before; what it emitted stays.
func (r *Record) Drop(reason string) {
	r.begin(kindDrop)
	copy(extend(&out.buf, len(reason)), reason)
}

// Fail hands the record to the module's on_error policy with a message.
func (r *Record) Fail(message string) {
	r.begin(kindFail)
	copy(extend(&out.buf, len(message)), message)
}

// Route sends the record to a stream of the config.
func (r *Record) Route(stream string) { r.put(opStream, "", stream) }

// Set sets an attribute to a text.
func (r *Record) Set(key, value string) { r.put(uint64(String), key, value) }

// put appends an operation with a text. It does by hand what op and extend do,
// since every call and every copy counts inside a guest.
func (r *Record) put(code uint64, key, value string) {
	at := len(out.buf)
	if r.open != 0 && r.kind != kindPatch {
		return // dropped, failed or replaced already: a change has no meaning
	}
	if at+verdHeader+attrHeader+len(key)+len(value) > cap(out.buf) {
		grow(&out.buf, at+verdHeader+attrHeader+len(key)+len(value))
	}
	p := pointerTo(out.buf)
	if r.open == 0 {
		r.open, r.kind = at, kindPatch
		store32(p, uintptr(at)+4, r.index)
		store32(p, uintptr(at)+8, kindPatch)
		at += verdHeader
	}
	store64(p, uintptr(at), code|uint64(len(key))<<16|uint64(len(value))<<32)
	at += attrHeader
	copyText(unsafe.Add(p, at), key)
	at += len(key)
	copyText(unsafe.Add(p, at), value)
	out.buf = out.buf[:at+len(value)]
}

// Text is a text attribute that is made once and added to many records.
type Text struct {
	words      [textWords]uint64 // the operation, if it is that short
	size       int
	key, value string
}

// textWords is how many words Add copies without looking at how many it needs.
const textWords = 4

// NewText makes a text attribute for Add. Make it where the guest starts, not
// for each record.
func NewText(key, value string) *Text {
	t := &Text{size: attrHeader + len(key) + len(value), key: key, value: value}
	if t.size <= 8*textWords {
		p := unsafe.Pointer(&t.words)
		store64(p, 0, uint64(String)|uint64(len(key))<<16|uint64(len(value))<<32)
		copyText(unsafe.Add(p, attrHeader), key)
		copyText(unsafe.Add(p, attrHeader+len(key)), value)
	}
	return t
}

// Add sets an attribute made with NewText: what Set does, for half the price
// if it is short and the first thing said of the record.
func (r *Record) Add(t *Text) {
	at := len(out.buf)
	room := cap(out.buf) - at - verdHeader - 8*textWords
	if r.open|(room|(8*textWords-t.size))>>(bits.UintSize-1) != 0 { // one jump: each is a dispatch in what Go makes of it
		r.put(uint64(String), t.key, t.value)
		return
	}
	p := unsafe.Add(pointerTo(out.buf), at)
	store64(p, 4, uint64(r.index)|kindPatch<<32)
	store64(p, verdHeader, t.words[0])
	store64(p, verdHeader+8, t.words[1])
	store64(p, verdHeader+16, t.words[2])
	store64(p, verdHeader+24, t.words[3])
	r.open, r.kind = at, kindPatch
	setLen(&out.buf, at+verdHeader+t.size)
}

// SetBytes sets an attribute to a text given as bytes.
func (r *Record) SetBytes(key string, value []byte) {
	r.put(uint64(String), key, text(value))
}

// SetInt sets an attribute to an integer.
func (r *Record) SetInt(key string, value int64) { put64(r.op(byte(Int), key, 8), uint64(value)) }

// SetFloat sets an attribute to a number.
func (r *Record) SetFloat(key string, value float64) {
	put64(r.op(byte(Float), key, 8), floatBits(value))
}

// SetBool sets an attribute to true or false.
func (r *Record) SetBool(key string, value bool) {
	b := r.op(byte(Bool), key, 1)
	b[0] = 0
	if value {
		b[0] = 1
	}
}

// SetJSON sets an attribute to a JSON array, object or null, given as text.
func (r *Record) SetJSON(key, value string) { copy(r.op(byte(JSON), key, len(value)), value) }

// AttrSpace sets an attribute of kind String, Bytes or JSON to n bytes that the
// caller fills in, as with MessageSpace.
func (r *Record) AttrSpace(key string, kind Kind, n int) []byte { return r.op(byte(kind), key, n) }

// Remove removes an attribute; it is no mistake if there is none.
func (r *Record) Remove(key string) { r.op(opRemove, key, 0) }

// SetSeverity changes the severity: 0 to 7, or Absent.
func (r *Record) SetSeverity(s Severity) { r.op(opSeverity, "", 1)[0] = s }

// SetFacility changes the facility: 0 to 23, or Absent.
func (r *Record) SetFacility(f uint8) { r.op(opFacility, "", 1)[0] = f }

// SetTime changes the event time, in nanoseconds since 1970 UTC.
func (r *Record) SetTime(ns int64) { put64(r.op(opTime, "", 8), uint64(ns)) }

// SetHost changes the host's name.
func (r *Record) SetHost(s []byte) { copy(r.op(opHost, "", len(s)), s) }

// SetApp changes the APP-NAME.
func (r *Record) SetApp(s []byte) { copy(r.op(opApp, "", len(s)), s) }

// SetProcID changes the PROCID.
func (r *Record) SetProcID(s []byte) { copy(r.op(opProcID, "", len(s)), s) }

// SetMsgID changes the MSGID.
func (r *Record) SetMsgID(s []byte) { copy(r.op(opMsgID, "", len(s)), s) }

// SetSD changes the STRUCTURED-DATA, given as it stands in a message.
func (r *Record) SetSD(s []byte) { copy(r.op(opSD, "", len(s)), s) }

// SetMessage changes the text.
func (r *Record) SetMessage(s []byte) { copy(r.op(opMessage, "", len(s)), s) }

// MessageSpace changes the text to n bytes that the caller fills in before it
// touches the record again: what SetMessage does, without a buffer of one's own.
func (r *Record) MessageSpace(n int) []byte { return r.op(opMessage, "", n) }
