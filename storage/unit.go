package storage

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/runnel-log/runnel/record"
)

// Bounds of a Change. The key is the checkpoint's key too, and bbolt bounds that.
const (
	MaxStateKey   = 32<<10 - 1
	MaxStateValue = 4 << 20
)

// ErrState: a Change is beyond MaxStateKey or MaxStateValue. Nothing of its
// unit was taken.
var ErrState = errors.New("state out of bounds")

// Change is one piece of module state that moves with records: absolute, so
// that applying it twice does no harm. A nil Value removes the key; an empty
// one does not.
type Change struct {
	Key   string
	Value []byte
}

// Unit is what one Append stores: all of it in one transaction, or nothing. A
// unit of changes without records is committed within a second, or with the
// next records.
type Unit struct {
	Batches []StreamBatch // taken over, whatever Append returns
	State   []Change      // copied; of two with one key the later counts
	Cursors []CursorPass  // copied

	// Block is nil, or what the only batch is, by its Body and Origin: its records are stored with that
	// origin, and the body as it is, where it is worth it. The body decompressed is the
	// batch's Bytes, which the caller has seen to; its records are routed nowhere. It is borrowed until Append returns.
	Block *record.Block

	Hurry bool // a sender is blocked on the receipt
	Acks  bool // a sender is told of the receipt: where others' records would be dropped, ErrFull

	// Account is nil, or written with the unit, also where nothing else of it is:
	// then within a second, and nobody waits for that. Posting enters the unit into it;
	// without one it is written as it is, and the receipt is that of the write.
	Account *Account
	Other   *Account // nil, or a second one that Posting moves
	Posting Posting

	// Staged is nil, or called once, before anything is compressed: the unit's
	// place in the order is fixed, and the lock that keeps callers in order may be
	// given up. Changes of one key count in the order of their places. When Append
	// returns an error it was not called: the lock is still the caller's, who
	// takes back what it did before another builds on it.
	Staged func()
}

// changeCost is what a staged change takes beside its key and value, about.
const changeCost = 64

func (c *Change) size() int { return len(c.Key) + len(c.Value) + changeCost }

// size is how much of the intake the unit takes at most.
func (u *Unit) size() int {
	n := 0
	for i := range u.Batches {
		n += u.Batches[i].Records.Size()
	}
	for i := range u.State {
		n += u.State[i].size()
	}
	return n
}

// release gives the batches' memory back.
func (u *Unit) release() {
	for i := range u.Batches {
		u.Batches[i].Records.Release()
	}
}

// ownState copies the unit's changes, each under its key with the letter of the
// kind in front, as everything behind Append knows it.
func (u *Unit) ownState() ([]Change, error) {
	if len(u.State) == 0 {
		return nil, nil
	}
	own := make([]Change, len(u.State))
	for i, c := range u.State {
		if len(c.Key) > MaxStateKey || len(c.Value) > MaxStateValue {
			return nil, fmt.Errorf("%w: key of %d bytes, value of %d", ErrState, len(c.Key), len(c.Value))
		}
		own[i].Key = stateModule + c.Key
		if c.Value != nil {
			own[i].Value = append([]byte{}, c.Value...)
		}
	}
	return own, nil
}

// setState stages changes over those that the group has. intake.mu is held.
func (s *Store) setState(g *group, changes []Change) {
	if len(changes) > 0 && g.state == nil {
		g.state = make(map[string][]byte, len(changes))
	}
	for i := range changes {
		c := &changes[i]
		if old, ok := g.state[c.Key]; ok {
			g.bytes -= (&Change{c.Key, old}).size()
		}
		// What came and went before a commit leaves nothing behind. Else a disk
		// that is full for an hour would have the group grow with every key that
		// modules make and remove meanwhile.
		if c.Value == nil && !s.stored(c.Key) {
			delete(g.state, c.Key)
			continue
		}
		g.state[c.Key] = c.Value
		g.bytes += c.size()
	}
}

// stored reports whether the key is in the store, or may be once the commit that
// is under way has ended. intake.mu is held.
func (s *Store) stored(key string) bool {
	if g := s.intake.flight; g != nil {
		if _, ok := g.state[key]; ok {
			return true
		}
	}
	return s.kept.has(key)
}

// State calls f with every key of module state that begins with prefix, in
// order: as it is committed, or staged by an Append whose place is fixed, whose
// commit may still fail. So it is meant for those who are about to begin. f may
// keep the value and must not write to it.
func (s *Store) State(prefix string, f func(key string, value []byte)) {
	found := s.staged(stateModule + prefix)
	keys := make([]string, 0, len(found))
	for key := range found {
		keys = append(keys, key)
	}
	slices.Sort(keys)
	for _, key := range keys {
		f(key[1:], found[key])
	}
}

// staged returns the state that is committed or staged, of keys that begin with
// prefix.
func (s *Store) staged(prefix string) map[string][]byte {
	in := &s.intake
	in.mu.Lock() // over both, lest a commit moves something past us in between
	found := s.kept.with(prefix)
	for _, g := range []*group{in.flight, in.group} {
		if g == nil {
			continue
		}
		for key, value := range g.state {
			if !strings.HasPrefix(key, prefix) {
				continue
			}
			if value == nil {
				delete(found, key)
			} else {
				found[key] = value
			}
		}
	}
	in.mu.Unlock()
	return found
}
