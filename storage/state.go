package storage

import (
	"bytes"
	"encoding/binary"
	"strings"
)

// The kinds of state. The letters are part of the format; what a build does
// not know it keeps and hands on, so that others can join without a new format.
const (
	stateCursor  = 'c' // key: name, NUL, stream; value: see journey
	stateStream  = 's' // key: name; value: first, next, expired, dropped u64
	stateAccount = 'l' // key: the account's; value: its owner's
	stateModule  = "m" // key: the module's; value: likewise
)

// change is one state that moved: an absolute value, so that applying it twice
// does no harm. A nil value removes the key.
type change struct {
	kind       byte
	key, value []byte
}

// appendChange encodes c (docs/format/storage.md "State").
func appendChange(b []byte, c change) []byte {
	return append(append(appendChangeHead(b, c.kind, len(c.key), c.value), c.key...), c.value...)
}

func appendChangeHead(b []byte, kind byte, keyLen int, value []byte) []byte {
	flags := byte(0)
	if value == nil {
		flags = 1
	}
	b = append(b, kind, flags)
	b = binary.LittleEndian.AppendUint16(b, uint16(keyLen))
	return binary.LittleEndian.AppendUint32(b, uint32(len(value)))
}

// parseChanges calls f with every change that b encodes; it returns errDamaged
// at the first that does not fit.
func parseChanges(b []byte, f func(change)) error {
	for len(b) > 0 {
		if len(b) < 8 {
			return errDamaged
		}
		keyLen := uint64(binary.LittleEndian.Uint16(b[2:]))
		valueLen := uint64(binary.LittleEndian.Uint32(b[4:]))
		if 8+keyLen+valueLen > uint64(len(b)) {
			return errDamaged
		}
		c := change{kind: b[0], key: b[8 : 8+keyLen], value: b[8+keyLen : 8+keyLen+valueLen]}
		if b[1]&1 != 0 {
			c.value = nil
		}
		f(c)
		b = b[8+keyLen+valueLen:]
	}
	return nil
}

// cursorKey names a cursor.
type cursorKey struct{ name, stream string }

func numbers(n ...uint64) []byte {
	b := make([]byte, 0, 8*len(n))
	for _, v := range n {
		b = binary.LittleEndian.AppendUint64(b, v)
	}
	return b
}

// number returns the nth number of an encoded value; a missing one is 0, so
// that a later build may append.
func number(b []byte, n int) uint64 {
	if len(b) < 8*n+8 {
		return 0
	}
	return binary.LittleEndian.Uint64(b[8*n:])
}

// change is what is to be on disk of a cursor whose journey is p.
func (k cursorKey) change(c *cursor, p *journey) change {
	key := append(append([]byte(k.name), 0), k.stream...)
	if c.gone {
		return change{kind: stateCursor, key: key}
	}
	return change{stateCursor, key, p.encode()}
}

func (st *stream) change() change {
	return change{stateStream, []byte(st.name), numbers(st.first, st.next, st.expired, st.dropped)}
}

// apply takes one change over into memory. Only Open does.
func (s *Store) apply(c change) {
	switch c.kind {
	case stateCursor:
		name, stream, ok := strings.Cut(string(c.key), "\x00")
		if !ok {
			return
		}
		key := cursorKey{name, stream}
		if c.value == nil {
			delete(s.cursors, key)
			return
		}
		s.cursors[key] = &cursor{journey: parseJourney(c.value)}
	case stateStream:
		if len(c.key) == 0 {
			return // an earlier build took a cursor's for that of a stream
		}
		st := s.stream(string(c.key))
		st.first = max(st.first, number(c.value, 0))
		st.next = max(st.next, number(c.value, 1))
		st.expired, st.dropped = number(c.value, 2), number(c.value, 3)
	case stateAccount:
		if c.value == nil {
			delete(s.accounts, string(c.key))
			return
		}
		s.accounts[string(c.key)] = append([]byte{}, c.value...)
	default:
		value := c.value
		if value != nil {
			value = append([]byte{}, value...)
		}
		s.kept.set(string(append([]byte{c.kind}, c.key...)), value)
	}
}

// stateEntry is the length at which an entry of state ends and the next begins.
const stateEntry = 1 << 20

// encodeState makes the entries of the state that moves with a commit, each
// behind room for its header: the store's own, whose encoding it returns as
// well, and the group's. They are valid until it is called again.
func (s *Store) encodeState(g *group) (entries [][]byte, own []byte) {
	room := make([]byte, headerSize("", &later{}))
	b := append(s.stateRoom[:0], room...)
	s.mu.RLock()
	b = s.dirtyChanges(b, g.number)
	s.mu.RUnlock()
	ownEnd := len(b)
	b = g.appendAccounts(b)
	starts := []int{0}
	for key, value := range g.state {
		if len(b)-starts[len(starts)-1] >= stateEntry {
			starts = append(starts, len(b))
			b = append(b, room...)
		}
		b = append(append(appendChangeHead(b, key[0], len(key)-1, value), key[1:]...), value...)
	}
	if s.stateRoom = b[:0]; cap(b) > 2*stateEntry {
		s.stateRoom = nil
	}
	if len(b) == len(room) {
		return nil, nil
	}
	for i, start := range starts {
		end := len(b)
		if i+1 < len(starts) {
			end = starts[i+1]
		}
		entries = append(entries, b[start:end:end])
	}
	return entries, b[len(room):ownEnd]
}

// dirtyChanges appends the encoding of the store's own state that moved since
// the last entry, as it may be on disk with the group of that number. Store.mu is held.
func (s *Store) dirtyChanges(b []byte, group uint64) []byte {
	for key, c := range s.cursors {
		if p := c.durable(group); c.dirty && (p.start > 0 || c.gone) {
			b = appendChange(b, key.change(c, p))
		}
	}
	for _, st := range s.streams {
		if st.dirty {
			b = appendChange(b, st.change())
		}
	}
	return b
}

// settle forgets what is dirty once it is on disk. Changes that came in the
// meantime carry a new value and are written again by the next commit, so
// settle is told what was written.
func (s *Store) settle(written []byte) {
	_ = parseChanges(written, func(c change) {
		switch c.kind {
		case stateCursor:
			name, stream, _ := strings.Cut(string(c.key), "\x00")
			key := cursorKey{name, stream}
			if now := s.cursors[key]; now != nil && bytes.Equal(key.change(now, &now.journey).value, c.value) {
				now.dirty = false
				if now.gone {
					delete(s.cursors, key)
				}
			}
		case stateStream:
			// next moves with every block and is known from the blocks; it does not count.
			st := s.streams[string(c.key)]
			if now := st.change().value; bytes.Equal(now[:8], c.value[:8]) && bytes.Equal(now[16:], c.value[16:]) {
				st.dirty = false
			}
		}
	})
}
