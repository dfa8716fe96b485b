// Package forwarders holds the contract between the agent's delivery and
// whatever sends records on: Forwarder, Kind, and the errors that say what a
// receiver made of a batch. Every kind is a folder beside this file. A forwarder
// keeps no queue and no cursor of its own: storage is the queue, and the agent
// moves the cursor when the forwarder's ack says so.
package forwarders

import (
	"cmp"
	"context"
	"encoding/hex"
	"fmt"
	"net"
	"strconv"
	"strings"
	"time"

	"github.com/VictoriaMetrics/metrics"
	"github.com/rs/zerolog"

	"github.com/runnel-log/runnel/internal/config"
	"github.com/runnel-log/runnel/internal/tiers"
	"github.com/runnel-log/runnel/record"
)

// Forwarder sends batches to one destination, in the order given.
type Forwarder interface {
	// Deliver sends b, connecting first if need be. The batch is borrowed until
	// Deliver returns. A nil Ack with a nil error means that the receiver has
	// all of it; otherwise the Ack says later. Deliver is called by one
	// goroutine at a time, and may be called again while earlier Acks are open.
	//
	// Errors: *Refused, the receiver will never take that record; *Retry, try
	// again not before; *Behind, go back; any other, try again after the usual back-off. After an
	// error from Deliver or Ack the agent offers every record that was not
	// acknowledged again, from the first, so a forwarder forgets what it had
	// under way.
	Deliver(ctx context.Context, b *Batch) (Ack, error)
	// Close ends the connection, waiting for nothing. Open Acks then fail.
	Close() error
}

// Batch is what one Deliver hands over: records of one stream, in its order.
type Batch struct {
	Stream  string
	Records *record.Batch // nil where Block has them
	// Block is nil, or has all the records, as a block of the store that nobody has looked into: for a Blocker. What Source.Unpack
	// makes of it are the records that would be here otherwise.
	Block *record.Block
	// Offsets has the offset in Stream of each record; they rise, with holes
	// where a filter left records out.
	Offsets []uint64
	// Key names this range of records for ever, the same at every retry:
	// AGENT/EPOCH/STREAM/FIRST-LAST, the agent's id in hex, the epoch under which it
	// wrote them, and the first and last offset. For Idempotency-Key.
	Key string

	// Epoch is that under which this agent wrote the records, all of them: of one
	// epoch, an offset of a stream names one record for ever.
	Epoch uint32
	// First and Next say what the batch accounts for: the offsets from First on, without
	// Next. One that has no record here is in Gone, or was left out: by a filter,
	// or since the receiver has refused it before. First is where the batch before ended,
	// where that was of the same epoch; behind it after a batch of another one, and where
	// the cursor has gone on or was moved in between.
	First, Next uint64
	// Gone has what the store does not have any more, in order, within First and Next.
	// Where retention took the beginning of an epoch or damage the end of the one before,
	// nobody knows under which those were written; they are then told with the first batch that follows.
	Gone []Gone

	// Of dead letters that are sent again, which Stream and Offsets are about:
	From   string   // the stream they were refused from, for receivers to see; empty: Stream
	Places []uint64 // their offsets there, 0 where it is not known; nil: Offsets
}

// Gone is offsets from From on, without To, whose records cannot be delivered any more.
type Gone struct {
	From, To uint64
	Damaged  bool // or else retention took them
}

// Place returns the offset of the ith record that receivers are told; 0: none.
func (b *Batch) Place(i int) uint64 {
	if b.Places != nil {
		return b.Places[i]
	}
	return b.Offsets[i]
}

// RecordKey names the ith record for ever, however the batches around it are
// cut: AGENT/EPOCH/STREAM/OFFSET, which is its origin where this agent is its
// origin.
func (b *Batch) RecordKey(i int) string {
	return b.Key[:strings.LastIndexByte(b.Key, '/')+1] + strconv.FormatUint(b.Offsets[i], 10)
}

// Meta returns what the records of b do not know about themselves, for
// record.AppendJSON; the caller sets Offset to the Place of each. agent is this agent's name.
func (b *Batch) Meta(agent string) record.Meta {
	m := record.Meta{Stream: cmp.Or(b.From, b.Stream), Agent: agent}
	id, rest, _ := strings.Cut(b.Key, "/")
	epoch, _, _ := strings.Cut(rest, "/")
	if raw, err := hex.DecodeString(id); err == nil && len(raw) == len(m.OriginAgent) {
		copy(m.OriginAgent[:], raw)
	}
	if n, err := strconv.ParseUint(epoch, 10, 32); err == nil {
		m.OriginEpoch = uint32(n)
	}
	return m
}

// Ack is the promise of an answer.
type Ack interface {
	// Wait blocks until the receiver's answer is known and returns how many
	// records, from the first, the receiver is known to have. n less than
	// all comes with an error of Deliver's kinds. Called once, and in the order of Deliver.
	Wait(ctx context.Context) (n int, err error)
}

// Refused says that the receiver will never take one record. The agent puts it
// into the stream's dead letters with the answer, and goes on.
type Refused struct {
	Index  int    // of the record in the batch; -1: the batch as a whole, the agent splits it to find which
	Answer string // what the receiver said, cut to 1 KiB
}

func (e *Refused) Error() string {
	return fmt.Sprintf("receiver refused record %d: %q", e.Index, e.Answer)
}

// Retry says that the receiver asked to be left alone for a while.
type Retry struct {
	After time.Duration
	Err   error
}

func (e *Retry) Error() string { return fmt.Sprintf("%v; receiver asks to wait %s", e.Err, e.After) }

// Unwrap returns why.
func (e *Retry) Unwrap() error { return e.Err }

// Soon says that the next try may do better, as it goes to another receiver, or to one that took something until
// now. It comes soon, however many failed before, and of thousands of agents that have lost one receiver not at once.
type Soon struct{ Err error }

func (e *Soon) Error() string { return e.Err.Error() }

// Unwrap returns why.
func (e *Soon) Unwrap() error { return e.Err }

// Unreached says that there is no receiver to be connected to. Where the Forwarder is a Keeper, that
// says when there is one again.
type Unreached struct{ Err error }

func (e *Unreached) Error() string { return e.Err.Error() }

// Unwrap returns why.
func (e *Unreached) Unwrap() error { return e.Err }

// Batching says how large a forwarder wants its batches. The zero value leaves
// it to the agent, which sends what it has at once.
type Batching struct {
	Records int           // at most; 0: record.BatchRecords
	Bytes   int64         // of encoded records, at most, but always one record; 0: record.BatchBytes
	Wait    time.Duration // how long records wait for a batch to fill; 0: not at all
}

// Batcher is a Forwarder that has a say in how its batches are cut.
type Batcher interface {
	// Batching is asked before each batch: over a long way larger ones may be due.
	Batching() Batching
}

// Blocker is a Forwarder that may be given blocks of the store as they lie there (Batch.Block), where all records of one go out.
type Blocker interface {
	// TakesBlocks says the same whenever it is asked. More batches are under way then.
	TakesBlocks() bool
}

// Chooser is a Forwarder that has several destinations and uses one at a time.
type Chooser interface {
	// Using returns the one that it is connected to, as its options name it; empty: none.
	Using() string
	// Destinations returns all, in the order of its options.
	Destinations() []Destination
}

// Destination is one of several, and how it failed last since it was last connected to.
type Destination struct {
	URL         string    // as the options name it
	LastError   string    // empty: it has not
	LastErrorAt time.Time // zero likewise
}

// Lossy is implemented by options of a kind that can lose records and not know
// it, as UDP does. Where lossy is true and accepted is not, the agent refuses a
// config in which this forwarder is a stream's only destination.
type Lossy interface {
	Lossy() (lossy, accepted bool)
}

// MaxAnswer is how much of a receiver's answer a Refused keeps, in bytes.
const MaxAnswer = 1 << 10

// Partial is the Ack of a batch whose fate is already known: the receiver has
// the first N records, and Err says what kept it from the next one.
type Partial struct {
	N   int
	Err error
}

// Wait returns at once.
func (p Partial) Wait(context.Context) (int, error) { return p.N, p.Err }

// Setup is what the agent gives a forwarder.
type Setup struct {
	Name    string         // the forwarder's name in the config
	Agent   string         // the agent's name
	Version string         // runnel's version, for User-Agent
	Log     zerolog.Logger // carries part and kind
	Metrics *metrics.Set   // where the forwarder registers counters of its own; labels forwarder=Name
	// Resolver looks names up, anew for every connection; nil: the system's.
	Resolver *net.Resolver
	Source   Source       // what this agent's store has
	Tiers    *tiers.Tiers // the agents above and below this one
}

// Kind is one kind of forwarder, as cmd/runnel/parts.go lists it.
type Kind struct {
	Name    string                // the word after `type:`
	Sample  string                // sample.yaml: every key with its default and a comment
	Options func() config.Options // a fresh set of options holding the defaults
	// New builds a forwarder from options that Options returned and Check
	// passed. It connects to nothing.
	New func(options config.Options, setup Setup) (Forwarder, error)
}
