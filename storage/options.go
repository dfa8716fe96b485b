package storage

import (
	"errors"
	"time"

	"github.com/VictoriaMetrics/metrics"
	"github.com/rs/zerolog"

	"github.com/runnel-log/runnel/record"
)

// Errors of Open.
var (
	// ErrInUse: another process has the data directory; the error names it.
	ErrInUse = errors.New("data directory is in use")
	// ErrFormat: the data directory is of a format that this build does not read.
	ErrFormat = errors.New("unknown store format")
)

// Errors of Append and of a Receipt.
var (
	// ErrFull: the stream's share of the disk is used up and its policy is
	// PushBack. Nothing of this Append was taken; the sender may try again.
	ErrFull = errors.New("store is full")
	// ErrClosed: the store was closed before the records were on disk.
	ErrClosed = errors.New("store is closed")
	// ErrStreamName: a stream's name is empty or longer than 255 bytes.
	ErrStreamName = errors.New("stream name must have 1 to 255 bytes")
)

// OnFull says what happens to new records of a stream that has used its share.
type OnFull uint8

// What a full stream does.
const (
	DropOldest OnFull = iota // the stream's oldest blocks make room
	DropNew                  // new records are dropped and counted
	PushBack                 // Append returns ErrFull; undelivered records are kept
)

// Policy bounds one stream. The zero value keeps everything until the store's
// MaxSize is reached, and then drops the oldest.
type Policy struct {
	MaxAge  time.Duration // by this store's arrival time; 0: no limit
	MaxSize int64         // bytes on disk; 0: no limit
	OnFull  OnFull
}

// Options are what Open wants to know. Only Dir is required.
type Options struct {
	Dir         string        // the data directory; made with mode 0700 when absent
	MaxSize     int64         // bytes of all streams together; 0: only the disk limits
	CommitEvery time.Duration // fixed distance of commits; 0: by load (design.md §5)
	SegmentSize int64         // bytes of a segment file; 0: by MaxSize, 64 to 256 MiB
	MaxStaged   int           // bytes that may wait for their commit; 0, or more than that: MaxStaged

	// Policy gives each stream's bounds; nil gives every stream the zero Policy.
	// It is called when a stream is first seen and by SetPolicy.
	Policy func(stream string) Policy

	Log     zerolog.Logger
	Metrics *metrics.Set     // nil: not published
	Now     func() time.Time // the host's clock; nil: time.Now

	// Reached is called at the places that have a name: commit, committed, rotate, trim,
	// checkpoint, salvage. It is for tests, which end the process there; nil: nobody is.
	Reached func(point string)

	begin   bool                 // begin a new segment, whatever the newest is like
	elapsed func() time.Duration // how much time has passed since some moment, however clocks are set; nil: as Now tells
}

// StreamBatch is records on their way into one stream.
type StreamBatch struct {
	Stream  string
	Records *record.Batch
}

// Bounds of the default segment size.
const (
	minSegment = 64 << 20
	maxSegment = 256 << 20
)

// defaults fills what the caller left open.
func (o *Options) defaults() {
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.elapsed == nil {
		now, begun := o.Now, o.Now()
		o.elapsed = func() time.Duration { return now().Sub(begun) } // of time.Now this is the clock that does not jump
	}
	if o.Policy == nil {
		o.Policy = func(string) Policy { return Policy{} }
	}
	if o.MaxStaged <= 0 || o.MaxStaged > MaxStaged {
		o.MaxStaged = MaxStaged
	}
	if o.SegmentSize == 0 {
		o.SegmentSize = minSegment * 2
		if o.MaxSize > 0 {
			o.SegmentSize = max(minSegment, min(maxSegment, o.MaxSize/16))
			o.SegmentSize = min(o.SegmentSize, max(1<<20, o.MaxSize/8))
		}
	}
}
