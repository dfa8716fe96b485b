package relp

import (
	"bytes"
	"context"
	"fmt"
	"hash/maphash"
	"time"

	"github.com/runnel-log/runnel/internal/relp"
	"github.com/runnel-log/runnel/internal/syslog"
	"github.com/runnel-log/runnel/record"
)

// maxInFlight is how many bytes one connection may have emitted that are not
// yet on disk.
const maxInFlight = 4 << 20

var lineEnd = []byte{'\n'}

// collector turns the messages of one session into batches and emits them. The
// session's reader alone uses it.
type collector struct {
	x      *session
	parser syslog.Parser
	rec    record.Record
	batch  *record.Batch // nil when nothing is collected
	first  uint32        // transaction number of its first message
	hashes []uint64      // of its messages
	now    int64         // when the bytes at hand were read, nanoseconds

	bytes, malformed, truncated, duplicates int // of the batch
}

func (c *collector) init(x *session) {
	c.x, c.now = x, x.in.now().UnixNano()
	c.parser = syslog.Parser{Format: syslog.Format(x.in.options.Format), Location: x.in.zone,
		Now: func() time.Time { return time.Unix(0, c.now) }}
}

// add takes one message.
func (c *collector) add(f relp.Frame) error {
	if c.batch != nil && c.batch.Size()+len(f.Data) > record.BatchBytes {
		if err := c.flush(); err != nil { // a large record travels alone
			return err
		}
	}
	if c.batch == nil {
		c.batch, c.first = record.NewBatch(), f.Txnr
	}
	// One LF at the end is not the message's: rsyslog's templates have it, and its
	// imrelp drops it (DropTrailingLFOnReception).
	c.append(bytes.TrimSuffix(f.Data, lineEnd), c.flags(f))
	if c.batch.Full() || int(c.x.frames.Load())+c.batch.Len() >= c.x.in.options.Window {
		return c.flush()
	}
	return nil
}

// flags returns what is known of a message before it is parsed.
func (c *collector) flags(f relp.Frame) (flags record.Flags) {
	if f.Cut > 0 {
		flags |= record.Truncated
		c.truncated++
	}
	hash := maphash.Bytes(c.x.in.repeats.seed, f.Data)
	c.hashes = append(c.hashes, hash)
	if c.x.repeat.seen(hash) {
		flags |= record.Duplicate
		c.duplicates++
	}
	return flags
}

// append parses a message and puts it into the batch.
func (c *collector) append(msg []byte, flags record.Flags) {
	r := &c.rec
	c.parser.Parse(msg, r)
	r.Flags |= flags
	c.fill(r)
	if err := c.batch.Append(r); err != nil {
		// A header field or attribute beyond what a record holds: keep it raw.
		r.Reset()
		r.Message, r.Flags = msg, flags|record.Malformed
		c.fill(r)
		if err := c.batch.Append(r); err != nil {
			panic("bug: a raw message of at most max_message cannot be encoded: " + err.Error())
		}
	}
	c.bytes += len(msg)
	if r.Flags&record.Malformed != 0 {
		c.malformed++
	}
}

// fill sets what the message itself does not know.
func (c *collector) fill(r *record.Record) {
	in, who := c.x.in, c.x.conn.Peer
	r.Received = c.now
	r.Input, r.Agent, r.Peer = in.name, in.agent, who.Text
	if len(r.Host) == 0 {
		r.Host = who.Host
		r.Flags |= record.HostFilled
	}
}

// flush emits what is collected, and then waits while too much has no answer
// yet. After errRefused the batch is gone, and no more may be taken: answers
// have an order.
func (c *collector) flush() error {
	b, x := c.batch, c.x
	if b == nil {
		return nil
	}
	c.batch = nil
	records, size := b.Len(), int64(b.Size())
	ctx, cancel := context.WithTimeout(x.ctx, x.in.patience.emit)
	receipt, err := x.in.emit(ctx, b)
	cancel()
	if err != nil {
		x.in.counters.unansweredRefused.Add(records)
		x.in.events.notTaken(x.conn.URL, records, err)
		return fmt.Errorf("%w: %w", errRefused, err)
	}
	c.count(records)
	x.emitted.add(c.hashes)
	c.hashes = c.hashes[:0]
	x.frames.Add(int64(records))
	x.inFlight.Add(size)
	x.pending <- pending{receipt: receipt, first: c.first, records: records, size: size}
	return x.await()
}

// count counts a batch that the pipeline has taken.
func (c *collector) count(records int) {
	n := c.x.in.counters
	n.records.Add(records)
	n.bytes.Add(c.bytes)
	n.malformed.Add(c.malformed)
	n.truncated.Add(c.truncated)
	n.duplicates.Add(c.duplicates)
	c.bytes, c.malformed, c.truncated, c.duplicates = 0, 0, 0, 0
}
