package runnel

import "unsafe"

// Severity is a syslog severity, 0 (emerg) to 7 (debug), or Absent
// (RFC 5424 §6.2.1).
type Severity = uint8

// The severities.
const (
	Emerg Severity = iota
	Alert
	Crit
	Err
	Warning
	Notice
	Info
	Debug
)

// Absent marks a severity or facility that the message did not state.
const Absent = 255

// NoTime marks an event time that the message did not state.
const NoTime = -1 << 63

// Flags say what happened to a record on its way in (ABI §3.2).
type Flags uint16

// The flags.
const (
	Truncated Flags = 1 << iota
	Malformed
	HostFilled
	TimeSkewed
	BestEffort
	Duplicate
	Dead
	ModuleFailed
	Partial
	Gap
)

// The fixed header of an encoded record (ABI §3.2).
const (
	recSize      = 0
	recSeverity  = 4
	recFacility  = 5
	recFlags     = 6
	recTime      = 8
	recReceived  = 16
	recHost      = 24
	recApp       = 26
	recProcID    = 28
	recMsgID     = 30
	recStream    = 32
	recInput     = 34
	recPeer      = 36
	recAgent     = 38
	recOrigin    = 40
	recAttrCount = 42
	recSD        = 44
	recMessage   = 48
	recAttrs     = 52
	recHeader    = 56
)

// View reads a record. Its methods return slices and strings that are borrowed
// from the batch and good until the handler returns; copy what you keep.
type View struct {
	p     unsafe.Pointer // the encoded record
	after uint32         // where its structured data begins
}

// Record is one record of the batch at hand, and the verdict on it. What the
// methods of its View read is the record as it came: a Set is not seen by a
// later read.
type Record struct {
	View
	index uint32
	open  int  // where this record's verdict begins in the output; 0: none yet
	kind  byte // of that verdict
}

// Index returns the record's place in the batch, from 0.
func (r *Record) Index() int { return int(r.index) }

// Severity returns 0 to 7, or Absent.
func (v *View) Severity() Severity { return *(*uint8)(unsafe.Add(v.p, recSeverity)) }

// Facility returns 0 to 23, or Absent.
func (v *View) Facility() uint8 { return *(*uint8)(unsafe.Add(v.p, recFacility)) }

// Flags returns what happened to the record on its way in.
func (v *View) Flags() Flags { return Flags(load16(v.p, recFlags)) }

// Time returns the event time in nanoseconds since 1970 UTC, or NoTime.
func (v *View) Time() int64 { return int64(load64(v.p, recTime)) }

// Received returns the receive time in nanoseconds since 1970 UTC.
func (v *View) Received() int64 { return int64(load64(v.p, recReceived)) }

// Host returns the name of the host the message is from.
func (v *View) Host() []byte { return bytesAt(v.p, recHeader, load16(v.p, recHost)) }

// App returns the APP-NAME or the tag.
func (v *View) App() []byte {
	return bytesAt(v.p, recHeader+load16(v.p, recHost), load16(v.p, recApp))
}

// ProcID returns the PROCID.
func (v *View) ProcID() []byte { return v.field(recProcID) }

// MsgID returns the MSGID.
func (v *View) MsgID() []byte { return v.field(recMsgID) }

// Stream returns where a route or an earlier module sent the record; empty if nowhere.
func (v *View) Stream() []byte { return v.field(recStream) }

// Input returns the name of the input that took the record.
func (v *View) Input() []byte { return v.field(recInput) }

// Peer returns who sent it.
func (v *View) Peer() []byte { return v.field(recPeer) }

// Agent returns the name of the first runnel that had it.
func (v *View) Agent() []byte { return v.field(recAgent) }

func (v *View) field(at uintptr) []byte {
	from := uint32(recHeader)
	for i := uintptr(recHost); i < at; i += 2 {
		from += load16(v.p, i)
	}
	return bytesAt(v.p, from, load16(v.p, at))
}

// point makes v the record at p. It finds where the structured data begins, for
// most guests read what comes after it: the header and nine lengths, eight of
// them added in pairs of lanes.
func (v *View) point(p unsafe.Pointer) {
	const lanes = 0x0000ffff0000ffff
	a, b := load64(p, recHost), load64(p, recStream)
	sum := a&lanes + a>>16&lanes + b&lanes + b>>16&lanes
	v.p = p
	v.after = recHeader + uint32(sum) + uint32(sum>>32) + load16(p, recOrigin)
}

// SD returns the STRUCTURED-DATA as it came, brackets and escapes included; empty if absent.
func (v *View) SD() []byte { return bytesAt(v.p, v.after, load32(v.p, recSD)) }

// Message returns the text, byte for byte. It need not be UTF-8.
func (v *View) Message() []byte {
	return bytesAt(v.p, v.after+load32(v.p, recSD), load32(v.p, recMessage))
}

// Kind is the type of an attribute's value (ABI §3.4).
type Kind uint8

// The kinds of attribute value.
const (
	String Kind = 1
	Bytes  Kind = 2
	Int    Kind = 3
	Float  Kind = 4
	Bool   Kind = 5
	JSON   Kind = 6
)

// Value is an attribute's value, borrowed from the record. The zero value is
// that of an attribute that is not there.
type Value struct {
	Kind Kind
	Data []byte
}

// Text returns the value of a String, Bytes or JSON attribute, or "".
func (v Value) Text() string {
	if v.Kind == String || v.Kind == Bytes || v.Kind == JSON {
		return text(v.Data)
	}
	return ""
}

// Int returns the value of an Int attribute, or 0.
func (v Value) Int() int64 {
	if v.Kind != Int {
		return 0
	}
	return int64(load64(pointerTo(v.Data), 0))
}

// Float returns the value of a Float or Int attribute, or 0.
func (v Value) Float() float64 {
	if v.Kind == Int {
		return float64(v.Int())
	}
	if v.Kind != Float {
		return 0
	}
	return floatOfBits(load64(pointerTo(v.Data), 0))
}

// Bool returns the value of a Bool attribute, or false.
func (v Value) Bool() bool { return v.Kind == Bool && v.Data[0] != 0 }

// attrHeader is the fixed part of an attribute: kind u8, zero u8, key length
// u16, value length u32 (ABI §3.4); read as one word.
const attrHeader = 8

// Attr returns an attribute's value; its Kind is 0 if there is none of that name.
func (v *View) Attr(key string) Value {
	end := load32(v.p, recSize)
	for at := end - load32(v.p, recAttrs); at < end; {
		h := load64(v.p, uintptr(at))
		keyLen, valueLen := uint32(h>>16)&0xffff, uint32(h>>32)
		value := at + attrHeader + keyLen
		if keyLen == uint32(len(key)) && stringAt(v.p, at+attrHeader, keyLen) == key {
			return Value{Kind(h), bytesAt(v.p, value, valueLen)}
		}
		at = value + valueLen
	}
	return Value{}
}

// AttrString returns the text of a String, Bytes or JSON attribute, or "".
func (v *View) AttrString(key string) string { return v.Attr(key).Text() }

// AttrInt returns the value of an Int attribute, and whether there is one.
func (v *View) AttrInt(key string) (int64, bool) {
	value := v.Attr(key)
	return value.Int(), value.Kind == Int
}

// Attrs calls yield for each attribute in order until it returns false.
func (v *View) Attrs(yield func(key []byte, value Value) bool) {
	end := load32(v.p, recSize)
	for at := end - load32(v.p, recAttrs); at < end; {
		h := load64(v.p, uintptr(at))
		keyLen, valueLen := uint32(h>>16)&0xffff, uint32(h>>32)
		value := at + attrHeader + keyLen
		if !yield(bytesAt(v.p, at+attrHeader, keyLen), Value{Kind(h), bytesAt(v.p, value, valueLen)}) {
			return
		}
		at = value + valueLen
	}
}
