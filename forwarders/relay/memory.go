package relay

import (
	"encoding/binary"
	"encoding/hex"
	"math"
	"slices"
	"strings"
	"sync"

	"github.com/runnel-log/runnel/forwarders"
	"github.com/runnel-log/runnel/internal/relaywire"
)

// line names a line of this agent.
type line struct {
	stream string
	epoch  uint32
}

// inDoubt stands where the others have a URL: what nobody is ever sent.
const inDoubt = ""

// mostRanges bounds what is remembered of a line at one receiver. What is beyond is forgotten, the
// oldest first; it is then only not missed where the receiver loses it.
const mostRanges = 4096

// memory is what each receiver has acknowledged, of every line of which the store has
// something. It is kept as marks, in the transactions that move the cursors.
type memory struct {
	mu sync.Mutex
	// guarded by mu:
	acked map[string]map[line]relaywire.Ranges // by URL
	moved map[string]map[line]bool             // and not handed out as a mark yet
	stale []forwarders.Mark                    // removals to be handed out
	ends  ends                                 // of what anybody has acknowledged
	hold  bool                                 // what has not ended is offered to everybody
	begun map[uint32]map[string]bool           // epochs that began since there was another copy, and the lines of them, by key, of which something was sent
}

// newMemory reads what was remembered. Of lines that the store has no more nothing is, once they have
// come to their end. What only a receiver has that is not in use any more, and what cannot be offered to others, is not
// waited for.
func newMemory(s forwarders.Source, o *Options) *memory {
	m := &memory{ends: ends{before: s.Ended}, hold: o.TrimOn == trimOnEnd, acked: make(map[string]map[line]relaywire.Ranges), moved: make(map[string]map[line]bool)}
	_, now := s.Identity()
	kept := make(map[line]relaywire.Ranges)
	looked := make(map[string]bool)
	s.Marks(func(key string, value []byte) {
		url, l, ok := parseKey(key)
		ranges, err := relaywire.ParseRanges(value)
		if !ok || err != nil {
			m.stale = append(m.stale, forwarders.Mark{Key: key})
			return
		}
		if !looked[l.stream] {
			looked[l.stream] = true
			for _, p := range s.Parts(l.stream) {
				l := line{l.stream, p.Epoch}
				kept[l] = kept[l].Add(relaywire.Range{From: p.First, To: p.Next})
			}
		}
		switch used := slices.Contains(o.To, url); {
		case url != inDoubt && used:
			m.ends.acked(l, ranges...)
		case url == inDoubt && m.hold:
			for _, r := range kept[l] {
				m.ends.doubted(l, within(ranges, r)...)
			}
		case m.hold:
			for _, r := range kept[l] {
				m.ends.acked(l, within(ranges, r)...)
			}
		}
		if len(kept[l]) == 0 && l.epoch != now && (url == inDoubt || len(m.ends.openOf(l)) == 0) {
			m.stale = append(m.stale, forwarders.Mark{Key: key})
			return
		}
		m.of(url)[l] = ranges
	})
	return m
}

// of returns what is remembered of one URL; mu is held, or nobody else knows m.
func (m *memory) of(url string) map[line]relaywire.Ranges {
	if m.acked[url] == nil {
		m.acked[url] = make(map[line]relaywire.Ranges)
		m.moved[url] = make(map[line]bool)
	}
	return m.acked[url]
}

// key is the URL, the stream, and the epoch in hex.
func (l line) key(url string) string {
	return url + "\x00" + l.stream + "\x00" + hex.EncodeToString(binary.BigEndian.AppendUint32(nil, l.epoch))
}

func parseKey(key string) (url string, l line, ok bool) {
	parts := strings.Split(key, "\x00")
	if len(parts) != 3 {
		return "", l, false
	}
	epoch, err := hex.DecodeString(parts[2])
	if err != nil || len(epoch) != 4 {
		return "", l, false
	}
	return parts[0], line{parts[1], binary.BigEndian.Uint32(epoch)}, true
}

// add notes that a receiver has parts of a line.
func (m *memory) add(url string, l line, parts ...relaywire.Range) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if len(parts) == 0 {
		return
	}
	have := m.of(url)[l]
	for _, r := range parts {
		have = have.Add(r)
	}
	if len(have) > mostRanges {
		have = have[len(have)-mostRanges:]
	}
	m.acked[url][l] = have
	m.moved[url][l] = true
	switch {
	case url != inDoubt:
		m.ends.acked(l, parts...)
	case m.hold:
		m.ends.doubted(l, parts...)
	}
}

// begins notes that an epoch has begun since another copy was there.
func (m *memory) begins(epoch uint32) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.begun == nil {
		m.begun = make(map[uint32]map[string]bool)
	}
	m.begun[epoch] = make(map[string]bool)
}

// says notes that something of a line is going out to a receiver.
func (m *memory) says(url string, l line) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if said := m.begun[l.epoch]; said != nil {
		said[l.key(url)] = true
	}
}

// unsaid reports whether the line began since another copy was there, and nothing of it ever went out to a receiver.
func (m *memory) unsaid(url string, l line) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	said := m.begun[l.epoch]
	return said != nil && !said[l.key(url)]
}

// lines returns those of which a receiver has acknowledged something.
func (m *memory) lines(url string) (lines []line) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for l := range m.acked[url] {
		lines = append(lines, l)
	}
	return lines
}

// ackedBy returns what a receiver has acknowledged of a line.
func (m *memory) ackedBy(url string, l line) relaywire.Ranges {
	m.mu.Lock()
	defer m.mu.Unlock()
	return append(relaywire.Ranges(nil), m.acked[url][l]...)
}

// parts returns what of a line can be answered for to a receiver: what it has
// acknowledged, and of whole what nobody else has, or has not come to its end though they do, and is not in doubt; it fits
// in an Ask.
func (m *memory) parts(url string, l line, whole relaywire.Range) relaywire.Ranges {
	m.mu.Lock()
	defer m.mu.Unlock()
	parts := relaywire.Ranges{whole}
	for other, lines := range m.acked {
		switch {
		case other == url:
		case m.hold && other != inDoubt:
			parts = without(parts, without(lines[l], m.ends.openOf(l)))
		default:
			parts = without(parts, lines[l])
		}
	}
	if len(parts) > relaywire.MaxParts-mostRanges { // receivers have it in shreds: it is sent to this one too, and is one record above both
		parts = without(relaywire.Ranges{whole}, m.acked[inDoubt][l])
	}
	for _, r := range m.acked[url][l] {
		parts = parts.Add(r)
	}
	return parts
}

// marks returns what has moved of a line, and what else is to be remembered.
func (m *memory) marks(l line) []forwarders.Mark {
	m.mu.Lock()
	defer m.mu.Unlock()
	marks := m.stale
	m.stale = nil
	for url, lines := range m.moved {
		if lines[l] {
			delete(lines, l)
			marks = append(marks, forwarders.Mark{Key: l.key(url), Value: m.acked[url][l].Append(nil)})
		}
	}
	return marks
}

// without returns what of a set is not in another.
func without(s, other relaywire.Ranges) (left relaywire.Ranges) {
	for _, r := range s {
		left = other.Missing(left, r)
	}
	return left
}

// within returns what of a set lies in r.
func within(s relaywire.Ranges, r relaywire.Range) (in relaywire.Ranges) {
	for _, have := range s {
		in = in.Add(relaywire.Range{From: max(have.From, r.From), To: min(have.To, r.To)})
	}
	return in
}

// endless is the end of a line that is still being written.
const endless = math.MaxUint64
