package storage

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"

	"go.etcd.io/bbolt"
)

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
	s.stating.Lock()
	s.mu.Lock()
	lagging := s.lagging
	s.lagging = false
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
	s.mu.Unlock()
	s.stating.Unlock()
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
		s.mu.Lock()
		s.lagging = s.lagging || lagging
		s.mu.Unlock()
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
		meta.Put(keyAgent, binary.BigEndian.AppendUint32(slices.Clone(id.agent[:]), id.fork)))
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
