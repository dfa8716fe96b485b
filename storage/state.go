package storage

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"

	"go.etcd.io/bbolt"
)

// The kinds of state. The letters are part of the format; what a build does
// not know it keeps and hands on, so that marks, module state and the ledger
// can join without a new format.
const (
	stateCursor = 'c' // key: name, NUL, stream; value: next u64, expired u64
	stateStream = 's' // key: name; value: first, next, expired, dropped u64
)

// change is one state that moved: an absolute value, so that applying it twice
// does no harm. A nil value removes the key.
type change struct {
	kind       byte
	key, value []byte
}

// appendChange encodes c (docs/format/storage.md "State").
func appendChange(b []byte, c change) []byte {
	flags := byte(0)
	if c.value == nil {
		flags = 1
	}
	b = append(b, c.kind, flags)
	b = binary.LittleEndian.AppendUint16(b, uint16(len(c.key)))
	b = binary.LittleEndian.AppendUint32(b, uint32(len(c.value)))
	b = append(b, c.key...)
	return append(b, c.value...)
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

// cursor is how far one reader has got in one stream.
type cursor struct {
	next    uint64
	expired uint64 // records that retention took before this reader had them
	dirty   bool
	gone    bool
}

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

func (k cursorKey) change(c *cursor) change {
	key := append(append([]byte(k.name), 0), k.stream...)
	if c.gone {
		return change{kind: stateCursor, key: key}
	}
	return change{stateCursor, key, numbers(c.next, c.expired)}
}

func (st *stream) change() change {
	return change{stateStream, []byte(st.name), numbers(st.first, st.next, st.expired, st.dropped)}
}

// apply takes one change over into memory; the caller holds Store.mu or is Open.
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
		s.cursors[key] = &cursor{next: number(c.value, 0), expired: number(c.value, 1)}
	case stateStream:
		st := s.stream(string(c.key))
		st.first = max(st.first, number(c.value, 0))
		st.next = max(st.next, number(c.value, 1))
		st.expired, st.dropped = number(c.value, 2), number(c.value, 3)
	default:
		key := string(append([]byte{c.kind}, c.key...))
		if c.value == nil {
			delete(s.others, key)
			return
		}
		s.others[key] = slices.Clone(c.value)
	}
}

// dirtyChanges encodes the state that moved since the last entry, or nothing.
// Store.mu is held.
func (s *Store) dirtyChanges() []byte {
	var b []byte
	for key, c := range s.cursors {
		if c.dirty {
			b = appendChange(b, key.change(c))
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
			if now := s.cursors[key]; now != nil && bytes.Equal(key.change(now).value, c.value) {
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

// openCheckpoint opens DATA/store/state.db, made when absent.
func openCheckpoint(path string) (*file, error) {
	f := &file{}
	err := guarded(func() (err error) {
		f.db, err = bbolt.Open(path, 0o600, boltOptions(1<<20, false))
		return err
	})
	if err != nil {
		return f, fmt.Errorf("%s: %w", path, classify(err))
	}
	return f, nil
}

var bucketState = []byte("state")

// loadCheckpoint applies all state of state.db and returns the sequence up to
// which entries are included; 0 for a new file.
func (s *Store) loadCheckpoint() (sequence uint64, err error) {
	err = s.checkpoint.view(func(tx *bbolt.Tx) error {
		meta, state := tx.Bucket(bucketMeta), tx.Bucket(bucketState)
		if meta == nil || state == nil {
			return nil
		}
		if v := meta.Get(keyFormat); len(v) == 4 && binary.BigEndian.Uint32(v) > Version {
			return fmt.Errorf("%w %d; this build reads up to %d, start a newer runnel", ErrFormat, binary.BigEndian.Uint32(v), Version)
		}
		if v := meta.Get(keySequence); len(v) == 8 {
			sequence = binary.BigEndian.Uint64(v)
		}
		return state.ForEach(func(k, v []byte) error {
			if len(k) > 0 {
				s.apply(change{k[0], slices.Clone(k[1:]), slices.Clone(v)})
			}
			return nil
		})
	})
	return sequence, err
}

// saveCheckpoint writes the state of all entries up to the last committed one
// into state.db. Only what differs is put: bbolt copies whole pages.
func (s *Store) saveCheckpoint() error {
	s.mu.RLock()
	sequence := s.sequence - 1
	var changes []change
	for key, c := range s.cursors {
		changes = append(changes, key.change(c))
	}
	for _, st := range s.streams {
		changes = append(changes, st.change())
	}
	for key, value := range s.others {
		changes = append(changes, change{key[0], []byte(key[1:]), value})
	}
	s.mu.RUnlock()
	err := s.checkpoint.update(func(tx *bbolt.Tx) error { return putCheckpoint(tx, sequence, s.identity, changes) })
	if err == nil {
		s.mu.Lock()
		s.checkpointed = max(s.checkpointed, sequence)
		s.mu.Unlock()
	}
	return err
}

func putCheckpoint(tx *bbolt.Tx, sequence uint64, id identity, changes []change) error {
	meta, err := tx.CreateBucketIfNotExists(bucketMeta)
	if err != nil {
		return err
	}
	state, err := tx.CreateBucketIfNotExists(bucketState)
	if err != nil {
		return err
	}
	err = errors.Join(
		meta.Put(keyFormat, binary.BigEndian.AppendUint32(nil, Version)),
		meta.Put(keySequence, binary.BigEndian.AppendUint64(nil, sequence)),
		meta.Put(keyAgent, binary.BigEndian.AppendUint32(slices.Clone(id.agent[:]), id.epoch)))
	if err != nil {
		return err
	}
	seen := make(map[string]bool, len(changes))
	for _, c := range changes {
		key := append([]byte{c.kind}, c.key...)
		if c.value == nil {
			continue
		}
		seen[string(key)] = true
		if bytes.Equal(state.Get(key), c.value) {
			continue
		}
		if err := state.Put(key, c.value); err != nil {
			return err
		}
	}
	var gone [][]byte
	_ = state.ForEach(func(k, _ []byte) error {
		if !seen[string(k)] {
			gone = append(gone, slices.Clone(k))
		}
		return nil
	})
	for _, key := range gone {
		if err := state.Delete(key); err != nil {
			return err
		}
	}
	return nil
}

// setAside moves a file that cannot be read into DATA/quarantine, where
// `runnel store repair` finds it.
func (d *directory) setAside(path string) error {
	if err := os.MkdirAll(d.quarantine(), 0o700); err != nil {
		return err
	}
	to := d.quarantine() + path[strings.LastIndexByte(path, os.PathSeparator):]
	for i := 1; ; i++ {
		if _, err := os.Stat(to); errors.Is(err, os.ErrNotExist) {
			break
		}
		to = fmt.Sprintf("%s.%d", strings.TrimSuffix(to, fmt.Sprintf(".%d", i-1)), i)
	}
	if err := os.Rename(path, to); err != nil {
		return err
	}
	return errors.Join(syncDirectory(d.quarantine()), syncDirectory(d.segments()))
}
