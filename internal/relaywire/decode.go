package relaywire

import (
	"fmt"
	"math"
	"time"

	"github.com/runnel-log/runnel/record"
)

// parser reads a frame's content from its front. What is wrong first stays; from then on
// it reads zeroes.
type parser struct {
	left []byte
	err  error
}

func (p *parser) fail(what string) {
	if p.err == nil {
		p.err = fmt.Errorf("%w: %s", ErrMalformed, what)
	}
	p.left = nil
}

func (p *parser) bytes(n int) []byte {
	if n < 0 || n > len(p.left) {
		p.fail("it is cut off")
		return nil
	}
	b := p.left[:n]
	p.left = p.left[n:]
	return b
}

func (p *parser) byte() byte {
	if b := p.bytes(1); b != nil {
		return b[0]
	}
	return 0
}

func (p *parser) u32() uint32 {
	if b := p.bytes(4); b != nil {
		return le.Uint32(b)
	}
	return 0
}

func (p *parser) u64() uint64 {
	if b := p.bytes(8); b != nil {
		return le.Uint64(b)
	}
	return 0
}

func (p *parser) uint() uint64 {
	v, n := uvarint(p.left)
	if n <= 0 {
		p.fail("a number is cut off, or longer than it need be")
		return 0
	}
	p.left = p.left[n:]
	return v
}

// count reads a number of things, of which there are at most most, and each has at
// least size bytes: nothing is allocated for what is not there.
func (p *parser) count(most, size int) int {
	n := p.uint()
	if n > uint64(most) || n > uint64(len(p.left)/size) {
		p.fail("there are too many of something, or fewer than it says")
		return 0
	}
	return int(n)
}

func (p *parser) text() string { return string(p.bytes(p.count(MaxText, 1))) }

// name reads what people are shown.
func (p *parser) name() string {
	s := string(p.bytes(p.count(MaxName, 1)))
	if !printable(s) {
		p.fail("a name does not print")
		return ""
	}
	return s
}

func (p *parser) agent() (a Agent) {
	copy(a[:], p.bytes(len(a)))
	return a
}

func (p *parser) duration() time.Duration {
	v := p.uint()
	if v > math.MaxInt64 {
		p.fail("a time is too long")
	}
	return time.Duration(v)
}

func (p *parser) version() uint16 {
	v := p.uint()
	if v == 0 || v > math.MaxUint16 {
		p.fail("a version is none")
	}
	return uint16(v)
}

func (p *parser) hop() Hop { return Hop{p.agent(), p.name()} }

func (p *parser) hops() (hops []Hop) {
	for range p.count(MaxPath, 17) {
		hops = append(hops, p.hop())
	}
	return hops
}

func (p *parser) rng() Range {
	from, n := p.uint(), p.uint()
	if from+n < from {
		p.fail("a range goes beyond the last offset")
		return Range{}
	}
	return Range{from, from + n}
}

func (p *parser) ranges() (s Ranges) {
	n := p.count(MaxRanges, 2)
	if n > 0 {
		s = make(Ranges, 0, n)
	}
	at := uint64(0)
	for i := range n {
		gap, length := p.uint(), p.uint()
		if length == 0 || gap == 0 && i > 0 || at+gap < at || at+gap+length <= at+gap {
			p.fail("ranges are empty, touch, or go beyond the last offset")
			return nil
		}
		s = append(s, Range{at + gap, at + gap + length})
		at += gap + length
	}
	return s
}

func (p *parser) prints() (all []Print) {
	for range p.count(prints, 10) {
		print := Print{p.rng(), p.u64()}
		if print.Len() == 0 || print.Sum == 0 {
			p.fail("a print is of nothing")
		}
		all = append(all, print)
	}
	return all
}

func (p *parser) lag() Lag { return Lag{p.uint(), p.uint(), p.duration(), p.uint()} }

func (m *Hello) parse(p *parser) {
	if string(p.bytes(len(magic))) != magic {
		p.fail("it does not begin as a runnel does")
	}
	m.Versions = [2]uint16{p.version(), p.version()}
	if m.Versions[0] > m.Versions[1] {
		p.fail("the lowest version is above the highest")
	}
	m.Agent, m.Epoch = p.agent(), p.u32()
	m.Name, m.Build = p.name(), p.name()
}

func (m *Welcome) parse(p *parser) {
	m.Version, m.Agent = p.version(), p.agent()
	m.Name, m.Build = p.name(), p.name()
	m.Session, m.Credit = Session(p.u64()), p.uint()
	m.Above = p.hops()
}

func (m *Ask) parse(p *parser) {
	m.Stream, m.Epoch, m.Parts = p.text(), p.u32(), p.ranges()
	if len(m.Parts) == 0 || len(m.Parts) > MaxParts {
		p.fail("it asks for nothing, or for too much at once")
	}
}

func (m *Tell) parse(p *parser) {
	m.Stream, m.Epoch, m.Missing = p.text(), p.u32(), p.ranges()
	if m.Ends = p.rng(); m.Ends.Len() == 0 && m.Ends.From != 0 {
		p.fail("a line ends before it begins")
	}
	m.Prints = p.prints()
	for _, print := range m.Prints {
		if print.From < m.Ends.From || print.To > m.Ends.To {
			p.fail("a print is of what is not there")
		}
	}
	switch p.byte() {
	case 0:
	case 1:
		m.Forgot = true
	default:
		p.fail("it has neither forgotten something nor not")
	}
}

func (m *Data) parse(p *parser) {
	m.Number, m.Stream, m.Epoch = p.uint(), p.text(), p.u32()
	if m.Range = p.rng(); m.Len() == 0 {
		p.fail("it covers nothing")
	}
	m.gone(p)
	if m.Offsets = p.ranges(); len(m.Offsets) == 0 {
		return
	}
	if m.Offsets[0].From < m.From || m.Offsets.End() != m.To {
		p.fail("its records are not in its range up to the end")
	}
	records := uint64(0)
	for _, r := range m.Offsets {
		records += r.Len() // within its range, so this cannot wrap
	}
	if records > MaxRecords {
		p.fail("it has too many records")
	}
	for _, g := range m.Gone {
		if m.Offsets.touches(g.Range) {
			p.fail("a record is said to be gone")
		}
	}
	m.Sum, m.Raw, m.Origin = p.u64(), p.u32(), p.origin(records)
	if m.Sum == 0 || m.Raw == 0 || m.Raw > MaxPayload {
		p.fail("it says nothing of its records")
	}
}

// origin reads that of the first of some records.
func (p *parser) origin(records uint64) (o record.Origin) {
	switch p.byte() {
	case 0:
		return o
	case 1:
	default:
		p.fail("its records have neither an origin of their own nor not")
		return o
	}
	o = record.Origin{Agent: p.agent(), Epoch: p.u32(), Sequence: p.uint(), Stream: []byte(p.text())}
	if o.IsZero() || o.Sequence+records < o.Sequence {
		p.fail("an origin is none, or goes beyond the last offset")
	}
	return o
}

func (m *Data) gone(p *parser) {
	at, all := m.From, uint64(0)
	for i := range p.count(MaxRanges, 3) {
		g := Gone{p.rng(), Reason(p.byte())}
		if g.Len() == 0 || g.From < at || g.To > m.To || g.Reason == 0 || g.Reason >= lastReason {
			p.fail("what is gone is empty, not in order, outside of its range, or without a reason")
			return
		}
		if i > 0 && g.From == at && m.Gone[i-1].Reason == g.Reason {
			p.fail("what is gone is said in pieces")
			return
		}
		if all += g.Len(); all > MaxGone { // neither can wrap: they are within the frame's range
			p.fail("more is gone than ever was there")
			return
		}
		m.Gone = append(m.Gone, g)
		at = g.To
	}
}

// touches reports whether some of r is in the set.
func (s Ranges) touches(r Range) bool {
	i := s.behind(r.From)
	return i < len(s) && s[i].From < r.To
}

func (m *Ack) parse(p *parser) { m.Number = p.uint() }

func (m *Nack) parse(p *parser) {
	m.Code, m.Text, m.After = Code(p.byte()), p.text(), p.duration()
	if m.Code == 0 { // a newer version may have others
		p.fail("it refuses with no code")
	}
}

func (m *Report) parse(p *parser) {
	m.Lag = p.lag()
	n := p.count(MaxBelow, 31)
	for range n {
		b := Below{Hop: p.hop(), Build: p.name(), Via: p.byte()}
		if seen := p.u64(); seen != 0 {
			b.Seen = time.Unix(0, int64(seen)).UTC()
		}
		b.Lag = p.lag()
		m.Below = append(m.Below, b)
	}
}

func (m *Path) parse(p *parser) { m.Above = p.hops() }

func (*Bye) parse(*parser) {}
