package storage

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"

	"go.etcd.io/bbolt"
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
	room := make([]byte, headerSize(""))
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

// openCheckpoint opens DATA/store/state.db, made when absent.
func openCheckpoint(path string, readOnly bool) (*file, error) {
	f, fresh := &file{}, !readOnly && sizeOf(path) == 0
	err := guarded(func() (err error) {
		f.db, err = bbolt.Open(path, 0o600, boltOptions(1<<20, readOnly))
		return err
	})
	if err != nil {
		if fresh {
			_ = os.Remove(path) // it may lie there in part
		}
		return f, fmt.Errorf("%s: %w", path, classify(err))
	}
	return f, nil
}

var bucketState = []byte("state")

// isOwn reports whether the store understands, or keeps apart, that kind of state.
func isOwn(kind byte) bool { return kind == stateCursor || kind == stateStream || kind == stateAccount }

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
		if v := meta.Get(keyEnded); len(v) == 8 {
			s.ended = binary.BigEndian.Uint64(v)
		}
		sum := uint64(0)
		err := state.ForEach(func(k, v []byte) error {
			sum += sumOf(k, v)
			switch {
			case len(k) == 0:
			case isOwn(k[0]):
				s.apply(change{k[0], slices.Clone(k[1:]), slices.Clone(v)})
			default:
				s.kept.load(string(k), append([]byte{}, v...))
			}
			return nil
		})
		if v := meta.Get(keySum); err == nil && len(v) == 8 && binary.BigEndian.Uint64(v) != sum {
			return fmt.Errorf("%w: state contradicts its checksum", errDamaged)
		}
		return err
	})
	return sequence, err
}

// sumOf is what one key and its value add to the checksum of all state: in any
// order, so that what moves alone is summed up anew.
func sumOf(key, value []byte) uint64 {
	const prime = 0x9E3779B97F4A7C15
	k, v := uint64(checksum(key)), uint64(checksum(value))
	return ((k<<32|v)+uint64(len(key)))*prime + uint64(len(value))
}

// summed is the bucket of state in a transaction, with the sum over it.
type summed struct {
	*bbolt.Bucket
	sum uint64
}

// summedOf begins with the sum that the transaction finds: after a commit that
// failed, only the file knows whether it took place.
func summedOf(tx *bbolt.Tx, state *bbolt.Bucket) (*summed, error) {
	b := &summed{Bucket: state}
	if v := tx.Bucket(bucketMeta).Get(keySum); len(v) == 8 {
		b.sum = binary.BigEndian.Uint64(v)
		return b, nil
	}
	err := state.ForEach(func(k, v []byte) error { // of an earlier build
		b.sum += sumOf(k, v)
		return nil
	})
	return b, err
}

func (b *summed) Put(key, value []byte) error {
	if old := b.Get(key); old != nil {
		b.sum -= sumOf(key, old)
	}
	b.sum += sumOf(key, value)
	return b.Bucket.Put(key, value)
}

func (b *summed) Delete(key []byte) error {
	if old := b.Get(key); old != nil {
		b.sum -= sumOf(key, old)
	}
	return b.Bucket.Delete(key)
}

// saveCheckpoint writes the state of all entries up to the last committed one
// into state.db. Only what differs is put: bbolt copies whole pages. Of what the
// store keeps for others it is told what moved.
func (s *Store) saveCheckpoint() error {
	s.mu.RLock()
	sequence, ended := s.sequence-1, s.unbegun()
	var changes []change
	for key, c := range s.cursors {
		if p := c.durable(s.committed); p.start > 0 {
			changes = append(changes, key.change(c, p))
		}
	}
	for _, st := range s.streams {
		changes = append(changes, st.change())
	}
	for key, value := range s.accounts {
		changes = append(changes, change{stateAccount, []byte(key), value})
	}
	var dead []*segment
	for _, g := range s.segments {
		if g.sealed && g.live == 0 {
			dead = append(dead, g)
		}
	}
	s.mu.RUnlock()
	moved, all := s.kept.take(s.unsure) // after the sequence: may be newer, never older
	into, err := s.checkpoint, error(nil)
	if s.unsure {
		into, err = s.newCheckpoint()
	}
	if err == nil {
		err = into.updateWith(func(tx *bbolt.Tx) error { return putCheckpoint(tx, sequence, ended, s.identity, changes, all) }, s.commitCheckpoint)
	}
	if err == nil && into != s.checkpoint {
		err = s.replaceCheckpoint(into)
	} else if err != nil && into != s.checkpoint && into != nil {
		into.close()
	}
	if err != nil {
		s.kept.restore(moved)
		var path *os.PathError
		s.unsure = s.unsure || !isFull(err) || !errors.As(err, &path)
		return err
	}
	s.unsure = false
	s.mu.Lock()
	for _, g := range dead {
		g.covered = true
	}
	s.checkpointed = max(s.checkpointed, sequence)
	s.mu.Unlock()
	return nil
}

// unbegun returns the base of the newest segment where an unclean stop has ended it and
// there is no next one yet; else 0. The checkpoint keeps that, or the next opening
// would take the stop between for all there was. s.mu is held.
func (s *Store) unbegun() uint64 {
	if n := len(s.segments); s.active == nil && n > 0 {
		return s.segments[n-1].base
	}
	return 0
}

// putCheckpoint writes a checkpoint into a transaction: all of the store's own
// state, and what it is given of others'.
func putCheckpoint(tx *bbolt.Tx, sequence, ended uint64, id identity, own []change, kept map[string][]byte) error {
	bucket, err := putCheckpointMeta(tx, sequence, ended, id)
	if err != nil {
		return err
	}
	state, err := summedOf(tx, bucket)
	if err == nil {
		err = errors.Join(putOwn(state, own), putKept(state, kept))
	}
	if err != nil {
		return err
	}
	return tx.Bucket(bucketMeta).Put(keySum, binary.BigEndian.AppendUint64(nil, state.sum))
}

// newCheckpoint begins a new state.db under a temporary name. After a commit that
// failed the page cache may hold what the disk does not, and a later sync would not
// bring it there: so nothing more goes into the old one, as with a segment.
func (s *Store) newCheckpoint() (*file, error) {
	path := s.dir.checkpoint() + temporary
	if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, err
	}
	return openCheckpoint(path, false)
}

// replaceCheckpoint gives a new state.db its name.
func (s *Store) replaceCheckpoint(by *file) error {
	err := os.Rename(s.dir.checkpoint()+temporary, s.dir.checkpoint())
	if err == nil {
		err = syncDirectory(s.dir.segments())
	}
	if err != nil {
		by.close()
		return err
	}
	s.checkpoint.close()
	s.checkpoint = by
	return nil
}

func (s *Store) commitCheckpoint(tx *bbolt.Tx) error {
	s.point("checkpoint")
	return tx.Commit()
}

// putCheckpointMeta writes all but the state, and returns the bucket for that.
func putCheckpointMeta(tx *bbolt.Tx, sequence, ended uint64, id identity) (state *bbolt.Bucket, err error) {
	meta, err := tx.CreateBucketIfNotExists(bucketMeta)
	if err != nil {
		return nil, err
	}
	state, err = tx.CreateBucketIfNotExists(bucketState)
	if err != nil {
		return nil, err
	}
	if ended == 0 {
		err = meta.Delete(keyEnded)
	} else {
		err = meta.Put(keyEnded, binary.BigEndian.AppendUint64(nil, ended))
	}
	return state, errors.Join(err,
		meta.Put(keyFormat, binary.BigEndian.AppendUint32(nil, Version)),
		meta.Put(keySequence, binary.BigEndian.AppendUint64(nil, sequence)),
		meta.Put(keyAgent, binary.BigEndian.AppendUint32(slices.Clone(id.agent[:]), id.epoch)))
}

// putOwn makes the store's own state in the checkpoint that of changes, which is all of it.
func putOwn(state *summed, changes []change) error {
	seen := make(map[string]bool, len(changes))
	for _, c := range changes {
		if c.value == nil {
			continue
		}
		key := append([]byte{c.kind}, c.key...)
		seen[string(key)] = true
		if bytes.Equal(state.Get(key), c.value) {
			continue
		}
		if err := state.Put(key, c.value); err != nil {
			return err
		}
	}
	var gone [][]byte
	for _, kind := range []byte{stateCursor, stateStream, stateAccount} {
		c := state.Cursor()
		for k, _ := c.Seek([]byte{kind}); len(k) > 0 && k[0] == kind; k, _ = c.Next() {
			if !seen[string(k)] {
				gone = append(gone, slices.Clone(k))
			}
		}
	}
	for _, key := range gone {
		if err := state.Delete(key); err != nil {
			return err
		}
	}
	return nil
}

// putKept writes the state that moved, in order of keys, so that bbolt walks
// along its pages once.
func putKept(state *summed, moved map[string][]byte) error {
	for _, key := range slices.Sorted(maps.Keys(moved)) {
		value := moved[key]
		err := error(nil)
		if value == nil {
			err = state.Delete([]byte(key))
		} else {
			err = state.Put([]byte(key), value)
		}
		if err != nil {
			return fmt.Errorf("state of %d and %d bytes: %w", len(key), len(value), err)
		}
	}
	return nil
}

// setAside moves a file that cannot be read into DATA/quarantine, where
// `runnel store export` finds it.
func (d *directory) setAside(path string) error {
	if err := os.MkdirAll(d.quarantine(), 0o700); err != nil {
		return err
	}
	to, same := d.inQuarantine(path)
	if same {
		return os.Remove(path)
	}
	if err := os.Rename(path, to); err != nil {
		return err
	}
	return errors.Join(syncDirectory(d.quarantine()), syncDirectory(d.segments()))
}
