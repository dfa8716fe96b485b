package runnel

// New is a record a guest makes: by Emit, beside the one at hand, or by
// Replace, in its place. What is not set is absent. The host fills in where it
// came from (received, input, peer, agent, origin): a guest cannot forge that.
type New struct {
	open bool
	kind byte
	at   uint32

	severity, facility       uint8
	time                     int64
	host, app, procID, msgID []byte
	stream, sd, message      []byte
	attrs                    []byte
	attrCount                uint32
}

// Emit adds a record after this one. Fill it in before the next call of Emit or
// Replace and before the handler returns; it borrows what it is given until then.
func (r *Record) Emit() *New { return r.fresh(kindEmit) }

// Replace puts another record in this one's place; it undoes what was said of
// it before. Fill it in as with Emit.
func (r *Record) Replace() *New {
	n := r.fresh(kindReplace)
	if r.open != 0 {
		out.buf = out.buf[:r.open]
		r.open = 0
	}
	r.begin(kindReplace)
	return n
}

func (r *Record) fresh(kind byte) *New {
	n := &out.emit
	n.close()
	out.made = true
	*n = New{open: true, kind: kind, at: r.index, severity: Absent, facility: Absent, time: NoTime, attrs: n.attrs[:0]}
	return n
}

// Copy takes over every field and attribute of r that a guest may set.
func (n *New) Copy(r *Record) *New {
	n.severity, n.facility, n.time = r.Severity(), r.Facility(), r.Time()
	n.host, n.app, n.procID, n.msgID = r.Host(), r.App(), r.ProcID(), r.MsgID()
	n.stream, n.sd, n.message = r.Stream(), r.SD(), r.Message()
	size, attrs := load32(r.p, recSize), load32(r.p, recAttrs)
	n.attrs = append(n.attrs[:0], bytesAt(r.p, size-attrs, attrs)...)
	n.attrCount = load16(r.p, recAttrCount)
	return n
}

// Severity sets the severity: 0 to 7, or Absent.
func (n *New) Severity(s Severity) *New { n.severity = s; return n }

// Facility sets the facility: 0 to 23, or Absent.
func (n *New) Facility(f uint8) *New { n.facility = f; return n }

// Time sets the event time in nanoseconds since 1970 UTC.
func (n *New) Time(ns int64) *New { n.time = ns; return n }

// Host sets the host's name.
func (n *New) Host(s []byte) *New { n.host = s; return n }

// App sets the APP-NAME.
func (n *New) App(s []byte) *New { n.app = s; return n }

// ProcID sets the PROCID.
func (n *New) ProcID(s []byte) *New { n.procID = s; return n }

// MsgID sets the MSGID.
func (n *New) MsgID(s []byte) *New { n.msgID = s; return n }

// SD sets the STRUCTURED-DATA, given as it stands in a message.
func (n *New) SD(s []byte) *New { n.sd = s; return n }

// Message sets the text.
func (n *New) Message(s []byte) *New { n.message = s; return n }

// Route sends it to a stream of the config.
func (n *New) Route(stream string) *New { n.stream = []byte(stream); return n }

// Set adds a text attribute. A key must be added once only.
func (n *New) Set(key, value string) *New {
	copy(n.attr(String, key, len(value)), value)
	return n
}

// SetInt adds an integer attribute.
func (n *New) SetInt(key string, value int64) *New {
	put64(n.attr(Int, key, 8), uint64(value))
	return n
}

// SetFloat adds a number attribute.
func (n *New) SetFloat(key string, value float64) *New {
	put64(n.attr(Float, key, 8), floatBits(value))
	return n
}

// SetBool adds an attribute that is true or false.
func (n *New) SetBool(key string, value bool) *New {
	b := n.attr(Bool, key, 1)
	b[0] = 0
	if value {
		b[0] = 1
	}
	return n
}

// SetJSON adds a JSON array, object or null, given as text.
func (n *New) SetJSON(key, value string) *New {
	copy(n.attr(JSON, key, len(value)), value)
	return n
}

func (n *New) attr(kind Kind, key string, size int) []byte {
	h := extend(&n.attrs, attrHeader+len(key)+size)
	put64(h, uint64(kind)|uint64(len(key))<<16|uint64(size)<<32)
	copy(h[attrHeader:], key)
	n.attrCount++
	return h[attrHeader+len(key):]
}

// close writes the record: an emitted one as a verdict of its own, to follow
// that of the record at hand; a replacement into the verdict that Replace began.
func (n *New) close() {
	if !n.open {
		return
	}
	n.open = false
	size := recHeader + len(n.host) + len(n.app) + len(n.procID) + len(n.msgID) + len(n.stream) +
		len(n.sd) + len(n.message) + len(n.attrs)
	switch {
	case n.kind == kindEmit:
		h := extend(&out.emits, verdHeader)
		put32(h, uint32(verdHeader+size))
		put32(h[4:], n.at)
		put32(h[8:], kindEmit)
		n.encode(extend(&out.emits, size))
		out.count++
	case current.open != 0 && current.kind == kindReplace: // and not dropped since
		n.encode(extend(&out.buf, size))
	}
}

// encode writes the record into h, which has its size (ABI §3.2).
func (n *New) encode(h []byte) {
	clear(h[:recHeader])
	size := len(h)
	put32(h, uint32(size))
	h[recSeverity], h[recFacility] = n.severity, n.facility
	put64(h[recTime:], uint64(n.time))
	put16(h[recHost:], uint32(len(n.host)))
	put16(h[recApp:], uint32(len(n.app)))
	put16(h[recProcID:], uint32(len(n.procID)))
	put16(h[recMsgID:], uint32(len(n.msgID)))
	put16(h[recStream:], uint32(len(n.stream)))
	put16(h[recAttrCount:], n.attrCount)
	put32(h[recSD:], uint32(len(n.sd)))
	put32(h[recMessage:], uint32(len(n.message)))
	put32(h[recAttrs:], uint32(len(n.attrs)))
	at := recHeader
	for _, part := range [...][]byte{n.host, n.app, n.procID, n.msgID, n.stream, n.sd, n.message, n.attrs} {
		at += copy(h[at:], part)
	}
}
