package syslog

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"github.com/runnel-log/runnel/agent/inputs"
	"github.com/runnel-log/runnel/internal/syslog"
	"github.com/runnel-log/runnel/record"
)

// maxInFlight is how many bytes one connection may have emitted that are not
// yet settled: some twenty commits' worth at full rate. Beyond it the connection
// waits, and at most patience: the store drops by policy rather than stall.
const (
	maxInFlight = 4 << 20
	patience    = 2 * time.Second
)

// collector turns the messages of one connection or socket into batches and
// emits them. One goroutine uses it.
type collector struct {
	in     *Input
	url    string          // where it listens
	ctx    context.Context // of emitting; outlives the input's by the time to drain
	parser syslog.Parser
	rec    record.Record
	batch  *record.Batch // nil when nothing is collected
	now    int64         // when the bytes at hand were read, nanoseconds

	bytes, malformed, truncated int // of the batch

	inFlight atomic.Int64
	settled  chan struct{} // told when inFlight has sunk; one signal is enough to look again
}

func (in *Input) newCollector(ctx context.Context, url string) *collector {
	c := &collector{in: in, url: url, ctx: ctx, parser: in.options.parser(in.zone), settled: make(chan struct{}, 1)}
	c.parser.Now = func() time.Time { return time.Unix(0, c.now) }
	return c
}

// readNow makes this the receive time of the messages that follow.
func (c *collector) readNow() { c.now = c.in.now().UnixNano() }

// add takes one message; msg is borrowed until add returns.
func (c *collector) add(msg []byte, flags record.Flags, from *peer) {
	if !from.share.take(c.now) {
		c.in.counters.droppedRate.Inc()
		c.in.events.beyondRate(string(from.text))
		return
	}
	if c.batch != nil && c.batch.Size()+len(msg) > record.BatchBytes {
		c.flush() // a large record travels alone
	}
	if c.batch == nil {
		c.batch = record.NewBatch()
	}
	r := &c.rec
	c.parser.Parse(msg, r)
	r.Flags |= flags
	setContainer(r)
	c.fill(r, from)
	if err := c.batch.Append(r); err != nil {
		// A header field or attribute beyond what a record holds: keep it raw.
		r.Reset()
		r.Message, r.Flags = msg, flags|record.Malformed
		c.fill(r, from)
		if err := c.batch.Append(r); err != nil {
			panic("bug: a raw message of at most max_message cannot be encoded: " + err.Error())
		}
	}
	c.bytes += len(msg)
	if r.Flags&record.Malformed != 0 {
		c.malformed++
	}
	if r.Flags&record.Truncated != 0 {
		c.truncated++
	}
	if c.batch.Full() {
		c.flush()
	}
}

// fill sets what the message itself does not know.
func (c *collector) fill(r *record.Record, from *peer) {
	r.Received = c.now
	r.Input, r.Agent, r.Peer = c.in.name, c.in.agent, from.text
	if len(r.Host) == 0 {
		r.Host = from.host
		r.Flags |= record.HostFilled
	}
}

// flush emits what is collected.
func (c *collector) flush() {
	b := c.batch
	if b == nil {
		return
	}
	c.batch = nil
	n := c.in.counters
	n.records.Add(b.Len())
	n.bytes.Add(c.bytes)
	n.malformed.Add(c.malformed)
	n.truncated.Add(c.truncated)
	c.bytes, c.malformed, c.truncated = 0, 0, 0
	records, size := b.Len(), int64(b.Size())
	receipt, err := c.in.emit(c.ctx, b)
	if err != nil {
		n.droppedEmit.Add(records)
		c.in.events.notTaken(c.url, records, err)
		return
	}
	if done, err := c.in.unsettled.fate(receipt); done { // dropped, where nothing is being stored; it waits behind nothing
		c.in.stored(err)
		return
	}
	c.inFlight.Add(size)
	c.in.unsettled.add(pending{receipt, c, size})
	if c.inFlight.Load() > maxInFlight {
		c.wait()
	}
}

// wait waits for commits, and not for ever: a disk that takes nothing makes none, and
// the store has what comes next dropped.
func (c *collector) wait() {
	timer := time.NewTimer(patience)
	defer timer.Stop()
	for c.inFlight.Load() > maxInFlight {
		select {
		case <-c.settled:
		case <-timer.C:
			return
		case <-c.ctx.Done():
			return
		}
	}
}

// stored counts a batch that was not.
func (in *Input) stored(err error) {
	if err != nil {
		in.counters.errUnstored.Inc()
		in.events.notStored(err)
	}
}

// pending is a batch whose fate is not known yet.
type pending struct {
	receipt inputs.Receipt
	from    *collector
	size    int64
}

// settling is the batches of all connections whose fate is not known yet, in the order
// of emitting. The store bounds what is in it: 64 MiB of records.
type settling struct {
	mu      sync.Mutex // guards all below
	batches []pending
	ended   bool

	more chan struct{}   // capacity 1: one waking stands for any number
	past context.Context // has ended: who waits with it only looks
}

func newSettling() *settling {
	past, cancel := context.WithCancel(context.Background())
	cancel()
	return &settling{more: make(chan struct{}, 1), past: past}
}

// fate returns whether a receipt is fulfilled by now, and how.
func (s *settling) fate(r inputs.Receipt) (done bool, err error) {
	err = r.Wait(s.past)
	return !errors.Is(err, context.Canceled), err
}

func (s *settling) add(p pending) {
	s.mu.Lock()
	s.batches = append(s.batches, p)
	s.mu.Unlock()
	s.wake()
}

// end says that nothing more will be added.
func (s *settling) end() {
	s.mu.Lock()
	s.ended = true
	s.mu.Unlock()
	s.wake()
}

func (s *settling) wake() {
	select {
	case s.more <- struct{}{}:
	default:
	}
}

// take waits for batches and takes all of them; none is the end. room is memory to use.
func (s *settling) take(room []pending) []pending {
	for {
		s.mu.Lock()
		if len(s.batches) > 0 || s.ended {
			batches := s.batches
			s.batches = room[:0]
			s.mu.Unlock()
			return batches
		}
		s.mu.Unlock()
		<-s.more
	}
}

// runSettle waits for receipts in the order of emitting, until there are to be no more.
func (in *Input) runSettle(ctx context.Context) {
	var room []pending
	for {
		batches := in.unsettled.take(room)
		if len(batches) == 0 {
			return
		}
		for i := range batches {
			p := &batches[i]
			in.stored(p.receipt.Wait(ctx))
			p.from.inFlight.Add(-p.size)
			select {
			case p.from.settled <- struct{}{}:
			default:
			}
			*p = pending{}
		}
		room = batches
		if cap(room) > 4096 {
			room = nil
		}
	}
}
