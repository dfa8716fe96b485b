package query

import "github.com/runnel-log/runnel/record"

// Stream is one stream of the store as it is now.
type Stream struct {
	Name                           string
	First, Next                    uint64 // offsets; the stream holds [First, Next), and is empty when they are equal
	Records                        uint64 // that are really there
	Bytes, RawBytes                int64  // on disk, and before compression
	OldestReceived, NewestReceived int64  // nanoseconds since 1970 UTC; 0 when empty
}

// Head describes one block of a stream without its records.
type Head struct {
	First, Next                                uint64 // offsets; the block holds [First, Next)
	MinTime, MaxTime, MinReceived, MaxReceived int64  // of its records, nanoseconds since 1970 UTC
	Bytes                                      int    // compressed, on disk
}

// Source is the store as questions see it. Its methods may be called from many
// goroutines at once, and while records are being appended and removed.
type Source interface {
	// Streams lists every stream that has ever held a record.
	Streams() []Stream
	// Head describes the block that holds offset at, or the next one after it;
	// false where there is none.
	Head(stream string, at uint64) (Head, bool)
	// Read fills b with that same block and returns the offset of its first
	// record, and the epoch under which they were written; io.EOF where there is
	// none. Another error means that the block is damaged: it is skipped, and the answer says so.
	Read(stream string, at uint64, b *record.Batch) (first uint64, epoch uint32, err error)
	// Changed returns a channel that is closed when records have been added to
	// any stream after the call.
	Changed() <-chan struct{}
	// Identity is the store's own: agent is the origin of records that carry none, and
	// fork moves where a page that was begun cannot be gone on with.
	Identity() (agent [16]byte, fork uint32)
}
