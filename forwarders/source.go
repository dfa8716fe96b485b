package forwarders

import (
	"context"
	"fmt"
	"time"

	"github.com/runnel-log/runnel/record"
)

// Source is what this agent's store says to a forwarder whose receiver keeps what it knows
// of each line, and asks for what it has lost. It is safe for concurrent use.
type Source interface {
	// Identity returns the agent's id, and the epoch of what is written now.
	Identity() (agent [16]byte, epoch uint32)
	// NewEpoch begins a new epoch and returns it: somebody else was seen to write under
	// this one, as a copy of this machine does. No block of the old one follows.
	NewEpoch() uint32
	// Parts returns what the store has of a stream, in order.
	Parts(stream string) []Part
	// Record calls f with a record as it is stored; false: it is not there any more, or
	// cannot be read. The record is borrowed until f returns.
	Record(stream string, offset uint64, f func(record.View)) bool
	// Unpack makes b the records of a block (Batch.Block), each with its origin.
	Unpack(block *record.Block, b *record.Batch) error
	// Streams returns the streams that the forwarder takes from, whatever is in them.
	Streams() []string
	// Covers reports whether the forwarder takes from a stream, which may not be there yet.
	Covers(stream string) bool
	// Settled returns the offset of a stream before which nothing is to be delivered any more: the
	// forwarder's cursor.
	Settled(stream string) uint64
	// Ended returns the offset of a stream before which all had come to its end when the agent last noted
	// that (Ender).
	Ended(stream string) uint64
	// Marks calls f with what Marker has had stored for this forwarder. f may keep the
	// value, and must not write to it.
	Marks(f func(key string, value []byte))
	// Lag returns what the forwarder has yet to deliver, since when the oldest of that has
	// been stored, and how many records are lost: retention or damage took
	// them before the receiver had them.
	Lag() (records, bytes uint64, oldest time.Duration, lost uint64)
}

// Remembering is implemented by Options of a forwarder whose receivers, which it returns as the config names
// them, keep what they have of each stream. What one forwarder leaves out is then settled there, so
// no other may send the same stream to the same receiver.
type Remembering interface{ Remembering() (receivers []string) }

// Part is a stretch of a stream that was written under one epoch: offsets from First on,
// without Next.
type Part struct {
	Epoch       uint32
	First, Next uint64
}

// Mark is something that a forwarder wants to know after a restart, under a key of its
// own. The value is all of it, not what changed; nil removes the key.
type Mark struct {
	Key   string
	Value []byte
}

// Marker is an Ack with something to be remembered: what it returns is stored in the
// transaction that moves the cursor, so that it is never there without that. The cursor may
// be there without it after kill -9, where retention had taken what it passes, unless that is in doubt (Doubter).
type Marker interface {
	// Marks is called once, after Wait, where that says that some records have arrived.
	Marks() []Mark
}

// Doubter is an Ack of a batch of which some records were not sent, and never will be, since
// nobody can tell whether the receiver has them.
type Doubter interface {
	// Doubtful returns how many of the records that Wait has counted that are. It is called after Wait.
	Doubtful() int
}

// Unsender is an Ack of a batch of which some records were not sent, since the receiver has had them
// or was told that they are left out: it cannot be sent them any more.
type Unsender interface {
	// Unsent returns how many of the records that Wait has counted, at offsets below one, that is. It
	// is called after Wait.
	Unsent(below uint64) int
}

// Behind is an error of Deliver and Wait: the receiver does not have what it acknowledged
// before, as it was put back to an earlier state, or has lost its disk, or it never had what is not to be left with another. The agent moves
// the stream's cursor back, counts that as rewound, and offers from there on; the
// connection may stay.
type Behind struct {
	Stream string
	To     uint64 // the first offset that is to be offered again
	Turned bool   // another receiver has acknowledged all of that, and it has not come to its end
}

func (e *Behind) Error() string {
	if e.Turned {
		return fmt.Sprintf("another receiver has records of stream %q, from offset %d on, that have not come to their end", e.Stream, e.To)
	}
	return fmt.Sprintf("receiver has lost what it had acknowledged of stream %q, from offset %d on", e.Stream, e.To)
}

// Ender is a Forwarder whose receivers pass on what they have, and say what of it has come to its end: is
// on the disk of the last agent above, or was dropped on its way there on purpose, or lost and said to be.
type Ender interface {
	// Ended returns the offset of a stream before which all has ended. It never goes back, and is
	// cheap and safe to ask for at any time.
	Ended(stream string) uint64
	// Holds reports whether the store is to keep records until they have ended.
	Holds() bool
	// Release says that somebody has moved the cursor of a stream to an offset by hand: what is kept before it since nobody
	// can tell whether a receiver has it need not be any more.
	Release(stream string, before uint64)
}

// Keeper is a Forwarder with a connection to keep up while there is nothing to deliver.
type Keeper interface {
	// Keep returns when ctx has ended. The agent calls it once, beside Deliver, from
	// when it may connect. goBack does what Behind as an error of Deliver does; up is called when
	// there is a connection, and what waited since there was none need not; down, each time that there
	// is none to be had, with why and when it tries again.
	Keep(ctx context.Context, goBack func(*Behind), up func(), down func(err error, again time.Duration))
}
