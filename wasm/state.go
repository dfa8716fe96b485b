package wasm

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"fmt"
	"slices"
	"sync/atomic"

	"github.com/runnel-log/runnel/record"
)

// Bounds on what a module keeps in a pipeline (ABI §5.3, §4.8).
const (
	maxStateKeys  = 100_000
	maxStateValue = 64 << 10
	maxKey        = 255
	maxHeld       = 4096
	// entryCost is what an entry takes of the host's memory beside its bytes.
	entryCost = 320
)

// State is what an ordered module keeps in one pipeline: values under keys, and
// held records (ABI §4.8, §5.3). It is not safe for concurrent use, but for Held.
//
// Every change is made at once and can be undone to two marks: where the call
// at hand began (begin, keep, undo), and the last Settle of a Line. For each
// mark the value before the first change since is kept, once for an entry, so
// undoing never takes more memory than the state did.
type State struct {
	values map[string]*entry // by key; one without a value may still be in a journal
	keys   keyList           // of those with a value
	holds  map[string]*hold  // by key; none empty
	count  int               // keys with a value
	bytes  int64             // of keys, values and held records
	held   int               // records
	heavy  int64             // bytes of the held records and their keys
	next   uint64            // the number of the next held record

	tried   []*entry // changed since begin
	touched []*entry // changed since the last settle and before begin

	line  *Line // that used it last; nil: none whose instance knows what is here
	limit int64 // bytes there may be, said by that line

	shownRecords, shownBytes atomic.Int64 // what Held returns
}

// entry is a value a guest set, or a held record.
type entry struct {
	key    string
	value  []byte // nil: not there
	record bool   // it is a held record, encoded
	number uint64 // of a held record: they are in the order of their numbers

	tried, settled was    // its place in the journals
	spare          []byte // room for a value, small
}

// was is what an entry was at a mark.
type was struct {
	value []byte
	at    int // in the journal, from 1; 0: not in it
}

// hold is what is held under one key, in order.
type hold struct {
	key     string
	records []*entry
	stale   bool // while undoing: to be put in order
}

// NewState returns an empty state.
func NewState() *State {
	return &State{values: map[string]*entry{}, holds: map[string]*hold{}, limit: DefaultState}
}

// Held returns how many records are held, and their bytes, the keys included. It
// may be called at any time.
func (s *State) Held() (records int, bytes int64) {
	return int(s.shownRecords.Load()), s.shownBytes.Load()
}

func (s *State) show() {
	s.shownRecords.Store(int64(s.held))
	s.shownBytes.Store(s.heavy)
}

// Change is one piece of state that has changed: absolute, so that applying it
// twice does no harm. Key is opaque bytes as text. A nil Value removes the key;
// an empty one that is not nil is a value.
type Change struct {
	Key   string
	Value []byte
}

// What a change's key begins with. A value's is followed by its key, a held
// record's by the length of its key in a byte, the key, and its number, big-endian.
const (
	changeValue  = 's'
	changeRecord = 'h'
)

// id returns an entry's key in a Change.
func (e *entry) id() string {
	if !e.record {
		return string(changeValue) + e.key
	}
	b := make([]byte, 0, 10+len(e.key))
	b = append(b, changeRecord, byte(len(e.key)))
	b = append(b, e.key...)
	return string(binary.BigEndian.AppendUint64(b, e.number))
}

// Restore puts back what Changes gave, in any order, into a state that no Line
// has used yet. The value is copied. It returns an error, and does nothing, if
// that is nothing Changes can have given.
func (s *State) Restore(key string, value []byte) error {
	s.line = nil
	defer s.show()
	switch {
	case len(key) > 1 && key[0] == changeValue && len(key) <= 1+maxKey:
		e := s.entry(key[1:])
		if e.value == nil {
			s.keys.insert(e.key)
		}
		s.put(e, append([]byte{}, value...))
		return nil
	case len(key) > 10 && key[0] == changeRecord && len(key) == 10+int(key[1]):
		under, number := key[2:len(key)-8], binary.BigEndian.Uint64([]byte(key[len(key)-8:]))
		one, err := encoded(value)
		if err != nil {
			return fmt.Errorf("restore a record held under %q: %w", under, err)
		}
		h := s.hold(under)
		i, found := slices.BinarySearchFunc(h.records, number, func(e *entry, n uint64) int { return cmp.Compare(e.number, n) })
		if !found {
			h.records = slices.Insert(h.records, i, &entry{key: h.key, record: true, number: number})
		}
		s.put(h.records[i], one)
		s.next = max(s.next, number+1)
		return nil
	}
	return fmt.Errorf("restore state: %q is not a key of a module's state", key)
}

// encoded returns a copy of one encoded record, checked: what holds it trusts it.
func encoded(p []byte) ([]byte, error) {
	const header = record.BatchHeaderSize
	whole := append(make([]byte, 0, header+len(p)), 'r', 'b', record.Version, 0)
	whole = binary.LittleEndian.AppendUint32(whole, uint32(header+len(p)))
	whole = append(append(whole, 1, 0, 0, 0, 0, 0, 0, 0), p...)
	return whole[header:], new(record.Batch).Decode(whole)
}

// entry returns the entry of a guest's key, a new one if there is none.
func (s *State) entry(key string) *entry {
	e := s.values[key]
	if e == nil {
		e = &entry{key: key}
		s.values[key] = e
	}
	return e
}

func (s *State) hold(key string) *hold {
	h := s.holds[key]
	if h == nil {
		h = &hold{key: key}
		s.holds[key] = h
	}
	return h
}

// put gives an entry a value, nil for none, and keeps the sums. What is in
// order, keys and holds, is its caller's.
func (s *State) put(e *entry, value []byte) {
	s.weigh(e, -1)
	e.value = value
	s.weigh(e, 1)
}

func (s *State) weigh(e *entry, sign int) {
	if e.value == nil {
		return
	}
	size := int64(len(e.key) + len(e.value))
	s.bytes += int64(sign) * (entryCost + size)
	if e.record {
		s.held += sign
		s.heavy += int64(sign) * size
	} else {
		s.count += sign
	}
}

// get returns the value of a key, borrowed until it changes; nil if there is none.
func (s *State) get(key string) []byte {
	if e := s.values[key]; e != nil {
		return e.value
	}
	return nil
}

// set gives a key a value and reports whether the bounds allow it. Both are copied.
func (s *State) set(key string, value []byte) bool {
	if len(key) == 0 || len(key) > maxKey || len(value) > maxStateValue {
		return false
	}
	e := s.values[key]
	grows := entryCost + int64(len(key)+len(value))
	if e != nil && e.value != nil {
		grows = int64(len(value) - len(e.value))
	} else if s.count >= maxStateKeys {
		return false
	}
	if grows > 0 && s.bytes+grows > s.limit {
		return false
	}
	if e == nil {
		e = s.entry(string([]byte(key))) // the caller's key is the guest's memory
	}
	if e.value == nil {
		s.keys.insert(e.key)
	} else if bytes.Equal(e.value, value) {
		return true
	}
	s.put(e, write(s.save(e), value))
	return true
}

// remove takes a key away and reports whether it was there.
func (s *State) remove(key string) bool {
	e := s.values[key]
	if e == nil || e.value == nil {
		return false
	}
	s.save(e)
	s.put(e, nil)
	s.keys.remove(e.key)
	s.forget(e)
	return true
}

// take holds a record under a key, behind what is there, or says why it cannot.
func (s *State) take(key []byte, v record.View) string {
	if s.held >= maxHeld {
		return fmt.Sprintf("%d records are held already, the most there may be", s.held)
	}
	if s.bytes+entryCost+int64(len(key)+len(v)) > s.limit {
		return fmt.Sprintf("state is full: %d bytes beside the %d of this record, with a limit of %d; raise state in the module's config, or hold less", s.bytes, len(v), s.limit)
	}
	h := s.holds[string(key)]
	if h == nil {
		h = s.hold(string(key))
	}
	e := &entry{key: h.key, record: true, number: s.next}
	s.next++
	s.save(e)
	s.put(e, bytes.Clone(v))
	h.records = append(h.records, e)
	return ""
}

// under returns what is held under a key, in order.
func (s *State) under(key string) []*entry {
	if h := s.holds[key]; h != nil {
		return h.records
	}
	return nil
}

// letGo takes away what is held under a key.
func (s *State) letGo(key string) {
	h := s.holds[key]
	if h == nil {
		return
	}
	delete(s.holds, h.key)
	for _, e := range h.records {
		s.save(e)
		s.put(e, nil)
		s.forget(e)
	}
}

// all returns everything held, in the order of holding.
func (s *State) all() []*entry {
	list := make([]*entry, 0, s.held)
	for _, h := range s.holds {
		list = append(list, h.records...)
	}
	slices.SortFunc(list, byNumber)
	return list
}

// Leave empties the state of a module that has left its pipeline for good: what
// was held is appended to b, in the order of holding. It returns how many
// records that were. No line may use the state any more, unless it is undone.
func (s *State) Leave(b *record.Batch) (released int) {
	s.begin()
	held := s.all()
	for _, e := range held {
		b.AppendView(e.value)
	}
	for _, e := range held {
		s.letGo(e.key)
	}
	var keys []string
	for key, e := range s.values {
		if e.value != nil {
			keys = append(keys, key)
		}
	}
	for _, key := range keys {
		s.remove(key)
	}
	s.keep()
	s.line = nil
	return len(held)
}

// roomy is how much larger than its value a value's memory may be: with it
// nothing is allocated for a counter that is set again and again.
const roomy = 64

// write copies a value into a buffer, or into a new one if it does not fit, or
// fits too loosely for the bounds to mean anything.
func write(buffer, value []byte) []byte {
	if buffer == nil || cap(buffer) < len(value) || cap(buffer) > len(value)+roomy {
		buffer = make([]byte, 0, len(value))
	}
	return append(buffer[:0], value...)
}
