package relay

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"sort"

	"github.com/runnel-log/runnel/internal/relaywire"
	"github.com/runnel-log/runnel/record"
)

const (
	// mostLines is how many lines of one agent the records of a host's frame may be from: each is a mark.
	// What a relay puts together of several such frames it must be able to send.
	mostLines = 1024
	// lookEvery is after how many records it is looked whether the session has ended.
	lookEvery = 1024
)

// frame is a frame of records, and where they are from.
type frame struct {
	*relaywire.Data
	batch  *record.Batch
	bare   bool                    // no record says of itself where it is from, or where it goes
	agents []relaywire.Agent       // whose records it has, the sender first, each once
	lined  map[relaywire.Agent]int // and of how many lines
	runs   []run                   // in order
	lines  map[relaywire.Line]*traced
	order  []*traced // lines, as they came
	looped int       // records that this agent stored first
}

// run is records that follow each other in the frame, and were once stored one after the
// other in one line.
type run struct {
	first, n int     // records of the frame
	from     uint64  // the offset of the first in its line
	line     *traced // or one of those below
}

// What a run may have in place of a line.
var (
	here  = new(traced) // it is of the line that it came along
	child = new(traced) // a module made it of a record: a number tells it apart, and it is not compared
	twice = new(traced) // it is in the frame before
	own   = new(traced) // this agent has stored it first
)

// traced is what the frame has of one line.
type traced struct {
	relaywire.Line
	ranges relaywire.Ranges
	late   map[uint64]struct{} // offsets that came behind a later one, until they are among ranges
	first  int                 // index in Data.Origins of the first of them
}

// trace finds out where the records are from, and whether the sender may bring them.
func (f *frame) trace(x *session) error {
	f.agents, f.lined = append(f.agents, x.writer.Agent), map[relaywire.Agent]int{x.writer.Agent: 0}
	if f.bare = f.batch.Bare(); f.bare {
		if err := f.traceAll(x); err != nil {
			return err
		}
	} else if err := f.traceEach(x); err != nil {
		return err
	}
	for _, line := range f.order {
		line.settle()
		line.first = len(f.Origins)
		for _, r := range line.ranges {
			f.Origins = append(f.Origins, relaywire.Part{Line: line.Line, Range: r})
		}
	}
	return nil
}

// traceAll does so for records that have what the frame says of all of them.
func (f *frame) traceAll(x *session) error {
	r := run{n: f.batch.Len(), line: here}
	switch o := &f.Origin; {
	case r.n == 0:
		return nil
	case o.IsZero():
	case relaywire.Agent(o.Agent) == x.in.own.Agent:
		f.looped, r.line = r.n, own
	default:
		line, err := f.line(x, o)
		if err != nil {
			return err
		}
		line.ranges = relaywire.Ranges{{From: o.Sequence, To: o.Sequence + uint64(r.n)}} // relaywire has seen to it that this cannot wrap
		r.from, r.line = o.Sequence, line
	}
	f.runs = append(f.runs, r)
	return nil
}

// traceEach does so record by record.
func (f *frame) traceEach(x *session) error {
	for i := range f.batch.Len() {
		if i%lookEvery == 0 && x.ctx.Err() != nil {
			return errStopped
		}
		o := f.batch.At(i).Origin()
		if o.IsZero() {
			o = f.originOf(i)
		}
		switch {
		case o.IsZero():
			f.plain(i, here)
			continue
		case relaywire.Agent(o.Agent) == x.in.own.Agent:
			f.looped++
			f.plain(i, own)
			continue
		}
		line, err := f.line(x, &o)
		switch {
		case err != nil:
			return err
		case o.Child != 0:
			f.plain(i, child)
		case o.Sequence == math.MaxUint64:
			return fmt.Errorf("%w: a record from behind the last offset", errProtocol)
		case line.had(o.Sequence):
			f.plain(i, twice)
		default:
			f.add(i, o.Sequence, line)
		}
	}
	return nil
}

// originOf is what the frame says of its ith record, if that says nothing itself; zero: it is of
// the line that it came along.
func (f *frame) originOf(i int) record.Origin {
	o := f.Origin
	if !o.IsZero() {
		o.Sequence += uint64(i)
	}
	return o
}

// had notes an offset, and reports whether it was there before.
func (t *traced) had(offset uint64) bool {
	at := relaywire.Range{From: offset, To: offset + 1}
	if offset >= t.ranges.End() { // most come in order
		t.ranges = t.ranges.Add(at)
		return false
	}
	if _, had := t.late[offset]; had || t.ranges.Has(at) {
		return true
	}
	if t.late == nil {
		t.late = make(map[uint64]struct{})
	}
	t.late[offset] = struct{}{}
	return false
}

// settle puts what came late among the ranges.
func (t *traced) settle() {
	if t.late == nil {
		return
	}
	all := t.ranges
	for offset := range t.late {
		all = append(all, relaywire.Range{From: offset, To: offset + 1})
	}
	slices.SortFunc(all, func(a, b relaywire.Range) int { return cmp.Compare(a.From, b.From) })
	t.ranges, t.late = nil, nil
	for _, r := range all {
		t.ranges = t.ranges.Add(r) // at the end
	}
}

// line returns the line that an origin names, once it is known that the sender may bring records of it.
func (f *frame) line(x *session, o *record.Origin) (*traced, error) {
	w := relaywire.Writer{Agent: o.Agent, Epoch: o.Epoch}
	if n := len(f.order); n > 0 { // the newest, mostly
		if last := f.order[n-1]; last.Writer == w && last.Stream == string(o.Stream) {
			return last, nil
		}
	}
	name := relaywire.Line{Writer: w, Stream: string(o.Stream)}
	if line := f.lines[name]; line != nil {
		return line, nil
	}
	if err := f.may(x, o); err != nil {
		return nil, err
	}
	if f.lines == nil {
		f.lines = make(map[relaywire.Line]*traced)
	}
	line := &traced{Line: name}
	f.lines[name] = line
	f.order = append(f.order, line)
	return line, nil
}

// add adds a record that was at an offset of a line.
func (f *frame) add(i int, at uint64, line *traced) {
	if n := len(f.runs); n > 0 {
		if last := &f.runs[n-1]; last.line == line && last.from+uint64(last.n) == at {
			last.n++
			return
		}
	}
	f.runs = append(f.runs, run{first: i, n: 1, from: at, line: line})
}

// plain adds a record without a line.
func (f *frame) plain(i int, what *traced) {
	if n := len(f.runs); n > 0 && f.runs[n-1].line == what {
		f.runs[n-1].n++
		return
	}
	f.runs = append(f.runs, run{first: i, n: 1, line: what})
}

// may says whether the sender may bring records of one more line.
func (f *frame) may(x *session, o *record.Origin) error {
	agent := relaywire.Agent(o.Agent)
	switch n, had := f.lined[agent]; {
	case agent != x.writer.Agent && x.conn.TLS && !x.id.relay:
		return fmt.Errorf("%w: %q has no word of relay in it, and brings records of agent %x; issue it with --relay, or name it in relays", errOrigin, x.id.name, o.Agent)
	case !streamName.Match(o.Stream):
		return wrong(f.Data, "a record is from %.80q, and that is no name of a stream", o.Stream)
	case n == mostLines && x.conn.TLS && !x.id.relay:
		return wrong(f.Data, "its records are from more than %d lines of agent %x", mostLines, o.Agent)
	case !had:
		f.agents = append(f.agents, agent)
	}
	f.lined[agent]++
	return nil
}

// originSize is what an origin adds to a record, beside the stream's name.
const originSize = 32

// fresh returns the records that are new, as they are stored here, and gives up the rest; or all of them as they came, with whole
// to say where they are from.
func (f *frame) fresh(v *relaywire.Verdict) (b *record.Batch, whole *record.Block) {
	if len(f.Offsets) == 0 {
		return f.batch, nil
	}
	if whole = f.asItIs(v); whole != nil {
		return f.batch, whole
	}
	b = record.NewBatch()
	b.Room(f.batch.Size() + f.batch.Len()*(originSize+max(len(f.Stream), len(f.Origin.Stream)))) // at once, and not piece by piece
	b.Reset()
	line := record.Origin{Agent: f.Agent, Epoch: f.Epoch, Stream: []byte(f.Stream)}
	missing := relaywire.Ranges(v.Missing)
	offsets := f.Offsets
	at := offsets[0].From
	for _, r := range f.runs {
		for i := r.first; i < r.first+r.n; i++ {
			o := f.originOf(i)
			if o.IsZero() {
				o, o.Sequence = line, at
			}
			if f.isNew(v, missing, &r, i, at) {
				view := f.batch.At(i)
				if b.AppendRelayed(view, &o) != nil && b.AppendRouted(view, "") != nil { // at the size limit its origin is not kept
					b.AppendView(view)
				}
			}
			if at++; at == offsets[0].To && len(offsets) > 1 {
				offsets = offsets[1:]
				at = offsets[0].From
			}
		}
	}
	f.batch.Release()
	return b, nil
}

// isNew reports whether a record of a run is neither known along this line nor from its origin.
func (f *frame) isNew(v *relaywire.Verdict, missing relaywire.Ranges, r *run, i int, at uint64) bool {
	if !missing.Has(relaywire.Range{From: at, To: at + 1}) || r.line == twice || r.line == own {
		return false
	}
	if r.line == here || r.line == child {
		return true
	}
	sequence := r.from + uint64(i-r.first)
	part := sort.Search(len(r.line.ranges), func(n int) bool { return sequence < r.line.ranges[n].To })
	return relaywire.Ranges(v.Origins[r.line.first+part]).Has(relaywire.Range{From: sequence, To: sequence + 1})
}

// asItIs returns the frame as a block if all is new, routed nowhere, and from where one origin can
// say; else nil.
func (f *frame) asItIs(v *relaywire.Verdict) *record.Block {
	if len(v.Missing) != 1 || v.Missing[0] != f.Range {
		return nil
	}
	for i, o := range f.Origins {
		if new := v.Origins[i]; len(new) != 1 || new[0] != o.Range {
			return nil
		}
	}
	whole := &record.Block{Body: f.Payload, Origin: f.Origin}
	for _, r := range f.runs {
		switch r.line {
		case twice, own:
			return nil
		case here:
			if len(f.Offsets) > 1 {
				return nil
			}
			whole.Origin = record.Origin{Agent: f.Agent, Epoch: f.Epoch, Sequence: f.Offsets[0].From, Stream: []byte(f.Stream)}
		}
	}
	if f.bare {
		return whole
	}
	for i := range f.batch.Len() {
		if len(f.batch.At(i).Stream()) > 0 {
			return nil
		}
	}
	return whole
}
