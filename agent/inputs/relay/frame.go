package relay

import (
	"fmt"
	"slices"

	"github.com/runnel-log/runnel/internal/relaywire"
	"github.com/runnel-log/runnel/record"
)

// frame is a frame of records, and where they are from.
type frame struct {
	*relaywire.Data
	batch  *record.Batch
	agents []relaywire.Agent // whose records it has, the sender first, each once
	runs   []run             // in order
	as     []*traced
}

// run is records that follow each other in the frame, and were once stored one after the
// other in one line.
type run struct {
	first, n int    // records of the frame
	from     uint64 // the offset of the first in its line
	origin   int    // index of its part in Data.Origins; or one of those below
}

// What a run's origin may be, beside a part of the line that it names.
const (
	here  = -1 // the line that it came along
	child = -2 // what a module made of a record: a number tells it apart, and it is not compared
	twice = -3 // it is in the frame before
)

// traced is what the frame has of one line.
type traced struct {
	relaywire.Line
	ranges relaywire.Ranges
}

// trace finds out where the records are from, and whether the sender may bring them.
func (f *frame) trace(x *session) error {
	f.agents = append(f.agents, x.writer.Agent)
	var lines map[relaywire.Line]*traced
	of := func(o *record.Origin) *traced {
		w := relaywire.Writer{Agent: o.Agent, Epoch: o.Epoch}
		l := lines[relaywire.Line{Writer: w, Stream: string(o.Stream)}]
		if l == nil {
			if lines == nil {
				lines = make(map[relaywire.Line]*traced)
			}
			l = &traced{Line: relaywire.Line{Writer: w, Stream: string(o.Stream)}}
			lines[l.Line] = l
		}
		return l
	}
	var line *traced // of the last run
	for i := range f.batch.Len() {
		o := f.batch.At(i).Origin()
		if o.IsZero() || o.Child != 0 {
			origin := here
			if !o.IsZero() {
				if err := f.may(x, &o); err != nil {
					return err
				}
				origin = child
			}
			f.plain(i, origin)
			continue
		}
		if last := len(f.runs) - 1; line != nil && f.runs[last].origin >= 0 && line.Agent == relaywire.Agent(o.Agent) && line.Epoch == o.Epoch &&
			o.Sequence == f.runs[last].from+uint64(f.runs[last].n) && line.Stream == string(o.Stream) &&
			(o.Sequence >= line.ranges.End() || !line.ranges.Has(relaywire.Range{From: o.Sequence, To: o.Sequence + 1})) {
			f.runs[last].n++
			line.ranges = line.ranges.Add(relaywire.Range{From: o.Sequence, To: o.Sequence + 1})
			continue
		}
		if err := f.may(x, &o); err != nil {
			return err
		}
		if o.Sequence+1 == 0 {
			return fmt.Errorf("%w: a record from behind the last offset", errProtocol)
		}
		line = of(&o)
		at := relaywire.Range{From: o.Sequence, To: o.Sequence + 1}
		if line.ranges.Has(at) {
			f.plain(i, twice)
			continue
		}
		line.ranges = line.ranges.Add(at)
		f.runs = append(f.runs, run{first: i, n: 1, from: o.Sequence, origin: len(f.as)})
		f.as = append(f.as, line)
	}
	for _, r := range f.runs {
		if r.origin >= 0 {
			part := relaywire.Part{Line: f.as[r.origin].Line, Range: relaywire.Range{From: r.from, To: r.from + uint64(r.n)}}
			f.Origins = append(f.Origins, part)
		}
	}
	return nil
}

// plain adds a record without a line of its own.
func (f *frame) plain(i, origin int) {
	if last := len(f.runs) - 1; last >= 0 && f.runs[last].origin == origin {
		f.runs[last].n++
		return
	}
	f.runs = append(f.runs, run{first: i, n: 1, origin: origin})
}

// may says whether the sender may bring records of an agent.
func (f *frame) may(x *session, o *record.Origin) error {
	agent := relaywire.Agent(o.Agent)
	switch {
	case agent == x.in.own.Agent:
		return fmt.Errorf("%w: a record of stream %q came back that this agent stored first", errLoop, o.Stream)
	case agent != x.writer.Agent && x.at.tls && !x.id.relay:
		return fmt.Errorf("%w: %q has no word of relay in it, and brings records of agent %x; issue it with --relay, or name it in relays", errOrigin, x.id.name, o.Agent)
	}
	if !slices.Contains(f.agents, agent) {
		f.agents = append(f.agents, agent)
	}
	return nil
}

// fresh returns the records that are new, as they are stored here, and gives up the rest.
func (f *frame) fresh(v *relaywire.Verdict) *record.Batch {
	if f.asItIs(v) {
		return f.batch
	}
	b := record.NewBatch()
	o := record.Origin{Agent: f.Agent, Epoch: f.Epoch, Stream: []byte(f.Stream)}
	missing := relaywire.Ranges(v.Missing)
	offsets := f.Offsets
	at := offsets[0].From
	for _, r := range f.runs {
		for i := r.first; i < r.first+r.n; i++ {
			o.Sequence = at
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
	return b
}

// isNew reports whether a record of a run is neither known along this line nor from its origin.
func (f *frame) isNew(v *relaywire.Verdict, missing relaywire.Ranges, r *run, i int, at uint64) bool {
	if !missing.Has(relaywire.Range{From: at, To: at + 1}) || r.origin == twice {
		return false
	}
	if r.origin < 0 {
		return true
	}
	sequence := r.from + uint64(i-r.first)
	return relaywire.Ranges(v.Origins[r.origin]).Has(relaywire.Range{From: sequence, To: sequence + 1})
}

// asItIs reports whether all is new, has its origin already and is routed nowhere.
func (f *frame) asItIs(v *relaywire.Verdict) bool {
	if len(f.Offsets) == 0 {
		return true
	}
	if len(v.Missing) != 1 || v.Missing[0] != f.Range {
		return false
	}
	for i, o := range f.Origins {
		if new := v.Origins[i]; len(new) != 1 || new[0] != o.Range {
			return false
		}
	}
	for _, r := range f.runs {
		if r.origin == here || r.origin == twice {
			return false
		}
	}
	for i := range f.batch.Len() {
		if len(f.batch.At(i).Stream()) > 0 {
			return false
		}
	}
	return true
}
