package storage

import (
	"strings"
	"sync"
)

// kept is the state that the store keeps for others and does not understand:
// that of modules, and of kinds that a later build wrote. Keys begin with the
// letter of their kind. Values are never written to, so that they can be read
// out of the lock. It has a lock of its own so that nobody who reads records
// waits while much state moves.
type kept struct {
	mu      sync.Mutex // guards all below; taken last
	values  map[string]keptValue
	unsaved map[string][]byte // what moved since the last checkpoint; nil: is gone
	round   uint64            // how many checkpoints there were, from 1
	bytes   int64             // of all keys and values
}

// keptValue is a value and the round in which its key came. The checkpoint may
// have the key if that round is over.
type keptValue struct {
	value []byte
	since uint64
}

// reset forgets everything; a new kept wants it first.
func (k *kept) reset() {
	k.values, k.unsaved, k.round, k.bytes = map[string]keptValue{}, map[string][]byte{}, 1, 0
}

// load takes over what the checkpoint has.
func (k *kept) load(key string, value []byte) {
	k.values[key] = keptValue{value, 0}
	k.bytes += int64(len(key) + len(value))
}

// set moves one key; a nil value removes it. k.mu is held, or it is Open.
func (k *kept) set(key string, value []byte) {
	old, had := k.values[key]
	since := k.round
	if had {
		since = old.since
		k.bytes -= int64(len(key) + len(old.value))
	}
	if moved, ok := k.unsaved[key]; ok && moved == nil {
		since = 0 // the checkpoint has it still
	}
	if value != nil {
		k.values[key] = keptValue{value, since}
		k.bytes += int64(len(key) + len(value))
		k.unsaved[key] = value
		return
	}
	delete(k.values, key)
	if since < k.round {
		k.unsaved[key] = nil
	} else {
		delete(k.unsaved, key) // the checkpoint never knew it
	}
}

// commit takes over what a commit has brought to disk.
func (k *kept) commit(state map[string][]byte) {
	if len(state) == 0 {
		return
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	for key, value := range state {
		k.set(key, value)
	}
}

func (k *kept) has(key string) bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	_, ok := k.values[key]
	return ok
}

// with returns what has keys that begin with prefix.
func (k *kept) with(prefix string) map[string][]byte {
	k.mu.Lock()
	defer k.mu.Unlock()
	found := map[string][]byte{}
	for key, v := range k.values {
		if strings.HasPrefix(key, prefix) {
			found[key] = v.value
		}
	}
	return found
}

// take returns what moved since the last checkpoint, and what the next one has to
// write: the same, or all there is if it is made anew. It begins the next round: what
// comes from here on must not be in what is written, or a removal in the same
// round would leave it there for ever.
func (k *kept) take(anew bool) (moved, write map[string][]byte) {
	k.mu.Lock()
	defer k.mu.Unlock()
	moved, write = k.unsaved, k.unsaved
	if anew {
		write = make(map[string][]byte, len(k.values))
		for key, v := range k.values {
			write[key] = v.value
		}
	}
	k.unsaved = map[string][]byte{}
	k.round++
	return moved, write
}

// restore takes back what a checkpoint could not write; what moved meanwhile
// is newer.
func (k *kept) restore(delta map[string][]byte) {
	k.mu.Lock()
	defer k.mu.Unlock()
	for key, value := range k.unsaved {
		if v, ok := k.values[key]; ok {
			v.since = 0 // it may have come back after a removal that was not saved
			k.values[key] = v
		}
		delta[key] = value
	}
	k.unsaved = delta
}

// size returns the bytes of all keys and values.
func (k *kept) size() int64 {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.bytes
}
