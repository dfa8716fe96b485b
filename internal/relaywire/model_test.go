package relaywire

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"slices"
)

// The world that the explorer walks through: two instances of one agent, of which the
// second comes to be by copying the first, two relays, and the last tier. Commits are
// atomic, as storage promises; all that is said travels through a network that may
// lose, double and reorder it. What is decided is decided by Known.
const (
	original = iota
	copied
	relay1
	relay2
	final
	places
)

// entry is a record as a store holds it, at the offset that is its index and one.
type entry struct {
	content byte
	epoch   uint32 // of the run that stored it
	origin  Part   // of one record
}

// place is one agent: its disk, and what its process knows.
type place struct {
	there bool
	agent Agent

	// On disk.
	log   []entry
	known *Known
	acked [places]map[Line]Ranges // by receiver, of the own lines; what of it is on disk may be older
	doubt map[Line]Ranges         // never to be sent

	// In memory.
	epoch    uint32
	upstream int // whom it sends to
	session  Session
	speaking bool                    // in session with upstream
	onDisk   [places]map[Line]Ranges // acked, as it was when the run began
}

// message is what is on its way.
type message struct {
	from, to int
	session  Session
	writer   Writer
	ack      bool
	data     Data
	contents []byte
}

// world is one state.
type world struct {
	places   [places]*place
	net      []message
	snapshot [places]*place // the disk as it was; nil without
	faults   int            // left
	joined   bool           // a frame may hold the records of several commits
	alive    bool           // the original was copied with its memory
	keeps    bool           // what has not come to its end is offered to any relay
	perished bool           // the first relay is lost for ever
	records  [2]int         // that each instance may still make
	contents byte
	epochs   uint32
	nonces   uint64
	unsure   []byte // contents that a fork left to chance, and says so

}

// flaws are faults of the design, put in on purpose: for each the explorer must
// find a trace that breaks a promise.
type flaws struct {
	oneEpoch    bool // a run goes on with the epoch of the one before
	marksApart  bool // what is known is not in the transaction of the records: a crash loses it
	noOrigins   bool // a tier looks at its neighbour's offsets alone
	cursorRules bool // the sender says where to go on, whatever the receiver knows
	noReserve   bool // what was acknowledged once is never offered again
	noForks     bool // nobody looks whether a session continues the one before
	noHoles     bool // frames may leave something out
	earlyAcks   bool // acknowledged, then stored
	noProof     bool // what is there counts as delivered, whoever wrote it
	hopEnds     bool // what a relay has is said to have come to its end
	noKeep      bool // what another has acknowledged is not offered, though that one may be lost
}

func newWorld(faults int) *world {
	w := &world{faults: faults, records: [2]int{2, 2}}
	for i, name := range []string{"A", "", "U", "V", "C"} {
		if w.places[i] = (&place{}); name != "" {
			w.places[i] = &place{there: true, agent: Agent([]byte(fmt.Sprintf("%-16s", name))), known: NewKnown()}
			w.places[i].known.prints = 2
			w.open(i, &flaws{})
		}
	}
	return w
}

// next is the tier above, by way of the first relay.
func next(i int) int {
	if i == relay1 || i == relay2 {
		return final
	}
	return relay1
}

// open begins a run.
func (w *world) open(i int, f *flaws) {
	p := w.places[i]
	if !f.oneEpoch || p.epoch == 0 {
		w.epochs++
		p.epoch = w.epochs
	}
	p.upstream, p.session, p.speaking = next(i), 0, false
	if w.perished && i <= copied {
		p.upstream = relay2
	}
	p.known = p.known.clone()
	for _, a := range p.known.agents {
		clear(a.current)
	}
	if f.marksApart {
		p.known = NewKnown()
	}
	for r := range places {
		p.onDisk[r] = cloneLines(p.acked[r])
	}
}

// lineOf is the line of an entry in its own store.
func (p *place) lineOf(epoch uint32) Line { return Line{Writer{p.agent, epoch}, "app"} }

func (p *place) part(offset uint64) Part {
	return Part{p.lineOf(p.log[offset-1].epoch), Range{offset, offset + 1}}
}

func (p *place) ackedBy(r int, part Part) bool { return p.acked[r][part.Line].Has(part.Range) }

func (p *place) ackedByAny(part Part) bool {
	for r := range places {
		if p.ackedBy(r, part) {
			return true
		}
	}
	return false
}

// connect begins a session; heard says that the answer came through.
func (w *world) connect(i int, heard bool, f *flaws) {
	p, r := w.places[i], w.places[w.places[i].upstream]
	w.nonces++
	writer, s := Writer{p.agent, p.epoch}, Session(w.nonces)
	r.known = r.known.clone()
	r.known.Begin(writer, s)
	if !heard {
		return
	}
	p.session, p.speaking = s, true
	for from := 0; from < len(p.log); {
		to := from
		for to < len(p.log) && p.log[to].epoch == p.log[from].epoch {
			to++
		}
		if !w.ask(i, writer, Part{p.lineOf(p.log[from].epoch), Range{uint64(from) + 1, uint64(to) + 1}}, f) {
			p.speaking = false // and it connects again, as another run
			return
		}
		from = to
	}
	if n := len(p.log); n == 0 || p.log[n-1].epoch != p.epoch {
		next := uint64(n) + 1
		w.ask(i, writer, Part{p.lineOf(p.epoch), Range{next, next}}, f)
	}
}

// ask asks for a line, of which own is all that there is, and sends what is missing. It reports
// whether the session goes on.
func (w *world) ask(i int, writer Writer, own Part, f *flaws) bool {
	p, known := w.places[i], w.places[w.places[i].upstream].known
	q := &Ask{Stream: own.Stream, Epoch: own.Epoch}
	mine := Own{Range: own.Range, Running: own.Epoch == p.epoch}
	for at := own.From; at < own.To; at++ {
		part := p.part(at)
		if p.ackedBy(p.upstream, part) || w.keeps && p.ackedByAny(part) {
			mine.Acked = mine.Acked.Add(part.Range)
		}
		if !p.doubt[own.Line].Has(part.Range) && (!p.ackedByAny(part) || p.ackedBy(p.upstream, part) && !f.noReserve || w.keeps && !f.noKeep) {
			q.Parts = q.Parts.Add(part.Range)
		}
	}
	if mine.Running {
		q.Parts = q.Parts.Add(Range{own.To, never})
	}
	if len(q.Parts) == 0 {
		return true
	}
	tell, err := known.Ask(writer, p.session, q)
	if err != nil {
		panic(err)
	}
	o, err := tell.Compare(q, mine, p.sum)
	if err != nil {
		panic(err)
	}
	if f.noForks {
		o = Outcome{Send: Ranges(tell.Missing)}
	}
	if f.noProof {
		o.Delivered, o.Doubt, o.Other = append(o.Delivered, o.Doubt...), nil, false
	}
	for _, d := range o.Delivered {
		p.ack(p.upstream, Part{own.Line, d})
	}
	if len(o.Doubt) > 0 {
		doubt := cloneLines(p.doubt)
		for _, d := range o.Doubt {
			doubt[own.Line] = doubt[own.Line].Add(d)
			for at := d.From; at < d.To; at++ {
				w.unsure = append(slices.Clip(w.unsure), p.log[at-1].content)
			}
		}
		p.doubt = doubt
	}
	if o.Other && mine.Running {
		w.epochs++
		p.epoch = w.epochs
		return false
	}
	if len(o.Doubt) > 0 {
		return w.ask(i, writer, own, f)
	}
	missing := slices.Clone(o.Send)
	for _, a := range o.Again {
		missing = missing.Add(a)
	}
	if f.cursorRules {
		missing = q.Parts
	}
	for _, m := range within(missing, own.Range) {
		for r := m; r.Len() > 0; {
			frame := r
			if !w.joined {
				frame.To = r.From + 1
			}
			w.send(i, frame)
			r.From = frame.To
		}
	}
	return true
}

// sum is the checksum of a record.
func (p *place) sum(at uint64) (uint64, bool) { return uint64(p.log[at-1].content), true }

func (p *place) ack(r int, part Part) {
	lines := cloneLines(p.acked[r])
	lines[part.Line] = slices.Clone(lines[part.Line]).Add(part.Range)
	p.acked[r] = lines
}

// store appends a record.
func (w *world) store(i int, content byte, origin *Part) {
	p := w.places[i]
	e := entry{content: content, epoch: p.epoch}
	at := uint64(len(p.log)) + 1
	if e.origin = (Part{p.lineOf(p.epoch), Range{at, at + 1}}); origin != nil {
		e.origin = *origin
	}
	p.log = append(slices.Clip(p.log), e)
	if p.speaking {
		w.send(i, Range{at, at + 1})
	}
}

// send puts records of one line on their way: a window is wide, so nothing waits.
func (w *world) send(i int, r Range) {
	p := w.places[i]
	part := Part{p.lineOf(p.log[r.From-1].epoch), r}
	m := message{from: i, to: p.upstream, session: p.session, writer: Writer{p.agent, p.epoch}, data: Data{Part: part, Sum: uint64(p.log[r.To-2].content)}}
	for at := r.From; at < r.To; at++ {
		e := p.log[at-1]
		m.contents = append(m.contents, e.content)
		if e.origin != p.part(at) {
			m.data.Origins = append(m.data.Origins, e.origin)
		}
	}
	w.net = append(slices.Clip(w.net), m)
}

// deliver has a message arrive.
func (w *world) deliver(m message, f *flaws) {
	p := w.places[m.to]
	if m.ack {
		if p.speaking && p.session == m.session {
			p.ack(m.from, m.data.Part)
		}
		return
	}
	p.known = p.known.clone()
	c := p.known.agent(m.writer.Agent).current[m.writer.Epoch]
	if f.noHoles && c != nil {
		c.plans[m.data.Line] = plan{next: never}
	}
	v, err := p.known.Judge(m.writer, m.session, &m.data)
	if f.cursorRules && !errors.Is(err, ErrFenced) && !errors.Is(err, ErrHole) {
		v, err = &Verdict{Missing: []Range{m.data.Range}, data: &m.data, course: c}, nil
		for _, o := range m.data.Origins {
			v.Origins = append(v.Origins, []Range{o.Range})
		}
		p.known.note(v)
	}
	if err != nil { // the connection ends
		if from := w.places[m.from]; from.session == m.session {
			from.speaking = false
		}
		return
	}
	p.known.Take(v)
	for n, content := range m.contents {
		origin := Part{m.data.Line, Range{m.data.From + uint64(n), m.data.From + uint64(n) + 1}}
		known := len(v.Missing) == 0
		if len(m.data.Origins) > 0 {
			origin = m.data.Origins[n]
			known = known || len(v.Origins[n]) == 0 && !f.noOrigins
		}
		if !known {
			w.store(m.to, content, &origin)
		}
	}
	w.net = append(slices.Clip(w.net), message{from: m.to, to: m.from, session: m.session, writer: m.writer, ack: true, data: Data{Part: m.data.Part}})
}

// silence takes back what a place has said and nobody has heard.
func (w *world) silence(i int) {
	w.net = slices.DeleteFunc(slices.Clone(w.net), func(m message) bool { return m.from == i })
}

// says reports whether something that a place has said is on its way.
func (w *world) says(i int) bool {
	return slices.ContainsFunc(w.net, func(m message) bool { return m.from == i })
}

// crash ends a run and begins the next; forgets: what was acknowledged since the last
// one began had not come to disk.
func (w *world) crash(i int, forgets bool, f *flaws) {
	p := w.places[i]
	if forgets {
		p.acked = p.onDisk
	}
	if f.earlyAcks && len(p.log) > 0 && p.log[len(p.log)-1].origin.Agent != p.agent {
		p.log, p.known = p.log[:len(p.log)-1], NewKnown()
	}
	w.open(i, f)
}

// disk is what of a place a copy of its directory holds.
func (p *place) disk() *place {
	c := &place{there: true, agent: p.agent, log: slices.Clip(p.log), known: p.known.clone(), epoch: p.epoch, doubt: p.doubt}
	for r := range places {
		c.acked[r] = cloneLines(p.acked[r])
	}
	return c
}

func cloneLines(m map[Line]Ranges) map[Line]Ranges {
	c := make(map[Line]Ranges, len(m))
	for l, r := range m {
		c[l] = slices.Clone(r)
	}
	return c
}

func (k *Known) clone() *Known {
	c := &Known{agents: make(map[Agent]*agent, len(k.agents)), prints: k.prints, room: k.room} // without owners
	for id, a := range k.agents {
		to := &agent{lines: maps.Clone(a.lines), current: make(map[uint32]*course, len(a.current)), used: a.used}
		for epoch, s := range a.current {
			c := *s
			c.plans = maps.Clone(s.plans)
			to.current[epoch] = &c
		}
		c.agents[id] = to
	}
	return c
}

func (w *world) clone() *world {
	c := *w
	c.net, c.unsure = slices.Clip(w.net), slices.Clip(w.unsure)
	return &c
}

// own makes place i of a cloned world its own, before it is changed.
func (w *world) own(i int) *place {
	p := *w.places[i]
	p.log = slices.Clip(p.log)
	w.places[i] = &p
	return &p
}

// broken says which promise the world breaks now; empty if none. Order is kept along
// one way; who takes another does not wait for the first.
func (w *world) broken(ordered bool, f *flaws) string {
	for i, p := range w.places {
		seen := [256]bool{}
		for n, e := range p.log {
			if n > 0 && ordered && e.content < p.log[n-1].content {
				return fmt.Sprintf("place %d has %q behind %q", i, e.content, p.log[n-1].content)
			}
			if seen[e.content] {
				return fmt.Sprintf("place %d has %q twice", i, e.content)
			}
			seen[e.content] = true
		}
	}
	return w.early(f)
}

// perish has the first relay be gone, disk and all.
func (w *world) perish() {
	w.places[relay1], w.perished = &place{}, true
	w.net = slices.DeleteFunc(slices.Clone(w.net), func(m message) bool { return m.from == relay1 || m.to == relay1 })
	for i := range copied + 1 {
		if w.places[i].there && w.places[i].upstream == relay1 {
			p := w.own(i)
			p.speaking, p.upstream = false, relay2
		}
	}
}

// early says what a relay may tell a sender has come to its end, and the last tier does not have: all that the relay knows of,
// once the last tier has acknowledged all that the relay holds. That one must not have been put back, and offsets
// that two copies have both written are nobody's.
func (w *world) early(f *flaws) string {
	if w.alive || w.snapshot[final] != nil && !w.snapshot[final].there {
		return ""
	}
	arrived := [256]bool{}
	for _, e := range w.places[final].log {
		arrived[e.content] = true
	}
	for _, c := range w.unsure {
		arrived[c] = true // said to be in doubt
	}
	for r := relay1; r <= relay2; r++ {
		relay, all := w.places[r], true
		if !relay.there {
			continue
		}
		for at := range relay.log {
			part := relay.part(uint64(at) + 1)
			all = all && (relay.ackedBy(final, part) || relay.doubt[part.Line].Has(part.Range))
		}
		if !all && !f.hopEnds {
			continue
		}
		for i := range copied + 1 {
			p := w.places[i]
			for at, e := range p.log {
				part := p.part(uint64(at) + 1)
				if a := relay.known.agents[part.Agent]; a != nil && a.lines[arrival{epoch: part.Epoch, stream: part.Stream}].ranges.Has(part.Range) && !arrived[e.content] {
					return fmt.Sprintf("place %d may say that %q of instance %d has come to its end, and it has not arrived", r, e.content, i)
				}
			}
		}
	}
	return ""
}

// lost says which record is at an instance of the agent and, though all is quiet and
// everything that could be said was, not at the last tier.
func (w *world) lost() string {
	arrived := [256]bool{}
	for _, e := range w.places[final].log {
		arrived[e.content] = true
	}
	for _, c := range w.unsure {
		if !w.alive {
			return fmt.Sprintf("%q is in doubt, though nobody was copied alive", c)
		}
		arrived[c] = true // said to be in doubt
	}
	for i := range copied + 1 {
		for _, e := range w.places[i].log {
			if !arrived[e.content] {
				return fmt.Sprintf("%q of instance %d never arrived", e.content, i)
			}
		}
	}
	return ""
}

// names gives epochs and nonces numbers in the order in which they are met, so that
// worlds which differ in nothing else are one.
type names []uint64

func (s *names) of(id uint64) byte {
	i := slices.Index(*s, id)
	if i < 0 {
		i = len(*s)
		*s = append(*s, id)
	}
	return byte(i)
}

// key is the state in bytes, the same for the same state.
func (w *world) key(b []byte) []byte {
	var epochs, nonces names
	put := func(v ...uint64) {
		for _, n := range v {
			b = binary.AppendUvarint(b, n)
		}
	}
	line := func(l Line) { b = append(b, l.Agent[0], epochs.of(uint64(l.Epoch))) }
	lines := func(m map[Line]Ranges) {
		put(uint64(len(m)))
		for _, l := range slices.SortedFunc(maps.Keys(m), compareLines) {
			line(l)
			put(uint64(len(m[l])))
			b = m[l].Append(b)
		}
	}
	session := func(s Session) { b = append(b, nonces.of(uint64(s))) }
	one := func(p *place) {
		if p == nil || !p.there {
			b = append(b, 0)
			return
		}
		b = append(b, 1)
		b = append(b, epochs.of(uint64(p.epoch)))
		put(uint64(p.upstream), uint64(len(p.log)))
		if session(p.session); p.speaking {
			b = append(b, 1)
		}
		for _, e := range p.log {
			b = append(b, e.content, epochs.of(uint64(e.epoch)), byte(e.origin.From))
			line(e.origin.Line)
		}
		for r := range places {
			lines(p.acked[r])
			lines(p.onDisk[r])
		}
		lines(p.doubt)
		flat := make(map[Line]Ranges)
		for id, a := range p.known.agents {
			for at, l := range a.lines {
				flat[Line{Writer{id, at.epoch}, at.stream}] = l.ranges
			}
		}
		lines(flat)
		for _, l := range slices.SortedFunc(maps.Keys(flat), compareLines) {
			for _, print := range p.known.agents[l.Agent].lines[arrival{epoch: l.Epoch, stream: l.Stream}].last {
				b = append(b, byte(print.From), byte(print.To), byte(print.Sum))
			}
			b = append(b, 0)
		}
		current := make(map[Writer]*course)
		for id, a := range p.known.agents {
			for epoch, c := range a.current {
				current[Writer{id, epoch}] = c
			}
		}
		writers := slices.SortedFunc(maps.Keys(current), compareWriters)
		put(uint64(len(writers)))
		for _, at := range writers {
			line(Line{Writer: at})
			session(current[at].session)
			plans := current[at].plans
			for _, l := range slices.SortedFunc(maps.Keys(plans), compareLines) {
				line(l)
				put(plans[l].next)
				b = plans[l].parts.Append(b)
			}
		}
	}
	for i := range places {
		one(w.places[i])
		one(w.snapshot[i])
	}
	put(uint64(w.faults), uint64(w.records[0]), uint64(w.records[1]), uint64(len(w.net)), uint64(len(w.unsure)))
	for _, m := range w.net {
		put(uint64(m.from), uint64(m.to), m.data.From, m.data.To)
		if session(m.session); m.ack {
			b = append(b, 1)
		}
		line(m.data.Line)
		line(Line{Writer: m.writer})
	}
	return append(b, w.unsure...)
}

func compareWriters(a, b Writer) int {
	return cmp.Or(bytes.Compare(a.Agent[:], b.Agent[:]), cmp.Compare(a.Epoch, b.Epoch))
}

func compareLines(a, b Line) int {
	return cmp.Or(compareWriters(a.Writer, b.Writer), cmp.Compare(a.Stream, b.Stream))
}
