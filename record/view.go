package record

import "encoding/binary"

// The fixed header of an encoded record, little-endian. The variable parts
// follow in the order of their lengths here; attributes are last, so that
// adding one is an append.
const (
	atSize      = 0  // u32, the whole record
	atSeverity  = 4  // u8
	atFacility  = 5  // u8
	atFlags     = 6  // u16
	atTime      = 8  // i64
	atReceived  = 16 // i64
	atHost      = 24 // u16, length
	atApp       = 26 // u16, length
	atProcID    = 28 // u16, length
	atMsgID     = 30 // u16, length
	atStream    = 32 // u16, length
	atInput     = 34 // u16, length
	atPeer      = 36 // u16, length
	atAgent     = 38 // u16, length
	atOrigin    = 40 // u16, length: 0, or 32 and the stream's name
	atAttrCount = 42 // u16
	atSD        = 44 // u32, length
	atMessage   = 48 // u32, length
	atAttrs     = 52 // u32, length
	headerSize  = 56

	originHeader = 32 // agent [16], epoch u32, child u32, sequence u64
)

// View is one encoded record that has been validated. Its methods return
// slices of it: they live as long as the batch and must not be changed.
type View []byte

func (v View) short(at int) int { return int(binary.LittleEndian.Uint16(v[at:])) }
func (v View) long(at int) int  { return int(binary.LittleEndian.Uint32(v[at:])) }

// Severity returns 0 to 7, or Absent.
func (v View) Severity() Severity { return v[atSeverity] }

// Facility returns 0 to 23, or Absent.
func (v View) Facility() Facility { return v[atFacility] }

// Flags returns what happened to the record on its way in.
func (v View) Flags() Flags { return Flags(v.short(atFlags)) }

// Time returns the event time in nanoseconds since 1970 UTC, or NoTime.
func (v View) Time() int64 { return int64(binary.LittleEndian.Uint64(v[atTime:])) }

// Received returns the receive time in nanoseconds since 1970 UTC.
func (v View) Received() int64 { return int64(binary.LittleEndian.Uint64(v[atReceived:])) }

// When returns the event time, or the receive time where none was stated.
func (v View) When() int64 {
	if t := v.Time(); t != NoTime {
		return t
	}
	return v.Received()
}

// field returns the nth of the fields whose u16 lengths begin at atHost.
func (v View) field(at int) []byte {
	from := headerSize
	for i := atHost; i < at; i += 2 {
		from += v.short(i)
	}
	to := from + v.short(at)
	return v[from:to:to]
}

// Host returns the name of the host the message is from.
func (v View) Host() []byte { return v.field(atHost) }

// App returns the APP-NAME or the tag.
func (v View) App() []byte { return v.field(atApp) }

// ProcID returns the PROCID.
func (v View) ProcID() []byte { return v.field(atProcID) }

// MsgID returns the MSGID.
func (v View) MsgID() []byte { return v.field(atMsgID) }

// Stream returns where a route or a module sent the record; empty if nowhere.
func (v View) Stream() []byte { return v.field(atStream) }

// Input returns the name of the input that took the record.
func (v View) Input() []byte { return v.field(atInput) }

// Peer returns who sent it.
func (v View) Peer() []byte { return v.field(atPeer) }

// Agent returns the name of the first runnel that had it.
func (v View) Agent() []byte { return v.field(atAgent) }

// beforeOrigin returns where the origin is, or would be.
func (v View) beforeOrigin() int {
	n := headerSize
	for i := atHost; i < atOrigin; i += 2 {
		n += v.short(i)
	}
	return n
}

// afterFields returns where the structured data begins.
func (v View) afterFields() int {
	n := headerSize
	for i := atHost; i <= atOrigin; i += 2 {
		n += v.short(i)
	}
	return n
}

// Origin returns where the record was first stored; the zero Origin means here.
func (v View) Origin() Origin {
	b := v.field(atOrigin)
	if len(b) == 0 {
		return Origin{}
	}
	o := Origin{
		Epoch:    binary.LittleEndian.Uint32(b[16:]),
		Child:    binary.LittleEndian.Uint32(b[20:]),
		Sequence: binary.LittleEndian.Uint64(b[24:]),
		Stream:   b[originHeader:],
	}
	copy(o.Agent[:], b)
	return o
}

// SD returns the STRUCTURED-DATA as it came, or nothing.
func (v View) SD() []byte {
	from := v.afterFields()
	to := from + v.long(atSD)
	return v[from:to:to]
}

// Message returns the text, byte for byte.
func (v View) Message() []byte {
	from := v.afterFields() + v.long(atSD)
	to := from + v.long(atMessage)
	return v[from:to:to]
}

// Attrs returns the attributes, borrowed; setting one copies them first, and
// changes nothing in v.
func (v View) Attrs() Attrs {
	from := len(v) - v.long(atAttrs)
	return Attrs{buf: v[from:len(v):len(v)], n: v.short(atAttrCount), borrowed: true}
}

// Attr returns the value of one attribute.
func (v View) Attr(key string) (Value, bool) {
	attrs := v.Attrs()
	return attrs.Get(key)
}

// Decode spreads the record out into r. The slices in r are borrowed from v,
// except the attributes, which are copied into r's own buffer.
func (v View) Decode(r *Record) {
	r.Severity, r.Facility, r.Flags = v.Severity(), v.Facility(), v.Flags()
	r.Time, r.Received = v.Time(), v.Received()
	at := headerSize
	next := func(n int) []byte {
		b := v[at : at+n : at+n]
		at += n
		return b
	}
	r.Host, r.App = next(v.short(atHost)), next(v.short(atApp))
	r.ProcID, r.MsgID = next(v.short(atProcID)), next(v.short(atMsgID))
	r.Stream, r.Input = next(v.short(atStream)), next(v.short(atInput))
	r.Peer, r.Agent = next(v.short(atPeer)), next(v.short(atAgent))
	r.Origin = v.Origin()
	at += v.short(atOrigin)
	r.SD, r.Message = next(v.long(atSD)), next(v.long(atMessage))
	r.Attrs.Reset()
	r.Attrs.buf = append(r.Attrs.buf, v[at:]...)
	r.Attrs.n = v.short(atAttrCount)
}
