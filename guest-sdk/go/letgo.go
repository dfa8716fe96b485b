package runnel

// Hold moves the record, as it came, into the module's state, behind what is
// held under the key already (ABI §4.8). It stays there, over restarts too,
// until a Release, Merge or Discard of the key. A key has 1 to 255 bytes. A guest
// that is not ordered, as it neither imports package tick nor uses state, cannot
// hold: the record fails.
func (r *Record) Hold(key string) {
	r.begin(kindHold)
	copy(extend(&out.buf, len(key)), key)
}

// Release lets the records held under the key go on as they came. They come
// before this record where nothing was said of it yet, and behind it otherwise:
// what is called first comes first. So do those of Merge.
func (r *Record) Release(key string) { release(r.beside(), r.index, key) }

// Merge lets the first of the records held under the key go on, and drops the
// others, counted as "merged". What it returns says how that first one changes.
func (r *Record) Merge(key string) *Merge { return merge(r.beside(), r.index, key) }

// Discard drops the records held under the key; the reason is counted.
func (r *Record) Discard(key, reason string) { discard(r.beside(), r.index, key, reason) }

// beside returns where a verdict goes that is not on the record itself: before
// that one if it is still to be spoken, else behind it.
func (r *Record) beside() *[]byte {
	out.emit.close()
	out.made = true // process settles the record
	if r.open != 0 || len(out.emits) > 0 {
		return &out.emits
	}
	return &out.buf
}

func release(to *[]byte, index uint32, key string) {
	copy(letGo(to, index, kindRelease, len(key)), key)
}

func discard(to *[]byte, index uint32, key, reason string) {
	h := letGo(to, index, kindDiscard, keyHeader+len(key)+len(reason))
	put32(h, uint32(len(key)))
	copy(h[keyHeader:], key)
	copy(h[keyHeader+len(key):], reason)
}

func merge(to *[]byte, index uint32, key string) *Merge {
	merged = Merge{to: to, from: len(*to)}
	h := letGo(to, index, kindMerge, keyHeader+len(key))
	put32(h, uint32(len(key)))
	copy(h[keyHeader:], key)
	merged.end = len(*to)
	return &merged
}

// letGo appends a verdict with n bytes behind its header, which it returns.
func letGo(to *[]byte, index uint32, kind byte, n int) []byte {
	h := extend(to, verdHeader+n)
	put32(h, uint32(len(h)))
	put32(h[4:], index)
	put32(h[8:], uint32(kind))
	out.count++
	return h[verdHeader:]
}

// Merge says how a merged record changes. Say all of it at once: it is written
// down where something else is said of any record, and later calls do nothing.
type Merge struct {
	to   *[]byte
	from int // where its verdict begins
	end  int // and ends, which is the end of all while it is open
}

// merged is the one there is at a time: nothing is allocated.
var merged Merge

// op appends one operation and returns where its value goes.
func (m *Merge) op(code byte, key string, n int) []byte {
	if len(*m.to) != m.end {
		return scratch(n)
	}
	h := extend(m.to, attrHeader+len(key)+n)
	put64(h, uint64(code)|uint64(len(key))<<16|uint64(n)<<32)
	copy(h[attrHeader:], key)
	m.end = len(*m.to)
	put32((*m.to)[m.from:], uint32(m.end-m.from))
	return h[attrHeader+len(key):]
}

// Join makes the message those of all held under the key, in their order, with
// the separator, of up to 16 bytes, between them.
func (m *Merge) Join(separator string) *Merge {
	copy(m.op(opJoin, "", len(separator)), separator)
	return m
}

// Message changes the text.
func (m *Merge) Message(s []byte) *Merge { copy(m.op(opMessage, "", len(s)), s); return m }

// Severity changes the severity: 0 to 7, or Absent.
func (m *Merge) Severity(s Severity) *Merge { m.op(opSeverity, "", 1)[0] = s; return m }

// Time changes the event time, in nanoseconds since 1970 UTC.
func (m *Merge) Time(ns int64) *Merge { put64(m.op(opTime, "", 8), uint64(ns)); return m }

// Route sends it to a stream of the config.
func (m *Merge) Route(stream string) *Merge {
	copy(m.op(opStream, "", len(stream)), stream)
	return m
}

// Set sets an attribute to a text.
func (m *Merge) Set(key, value string) *Merge {
	copy(m.op(byte(String), key, len(value)), value)
	return m
}

// SetInt sets an attribute to an integer.
func (m *Merge) SetInt(key string, value int64) *Merge {
	put64(m.op(byte(Int), key, 8), uint64(value))
	return m
}

// SetFloat sets an attribute to a number.
func (m *Merge) SetFloat(key string, value float64) *Merge {
	put64(m.op(byte(Float), key, 8), floatBits(value))
	return m
}

// SetBool sets an attribute to true or false.
func (m *Merge) SetBool(key string, value bool) *Merge {
	b := m.op(byte(Bool), key, 1)
	b[0] = 0
	if value {
		b[0] = 1
	}
	return m
}

// Remove removes an attribute; it is no mistake if there is none.
func (m *Merge) Remove(key string) *Merge { m.op(opRemove, key, 0); return m }
