package relay

import "github.com/runnel-log/runnel/internal/relaywire"

// lineOf names a line of the session's agent.
type lineOf struct {
	stream string
	epoch  uint32
}

// portions are parts of lines of one agent. The zero value has none.
type portions struct {
	of     map[lineOf]relaywire.Ranges
	ranges int // of all lines
}

// add adds parts of a line, which stay the caller's.
func (s *portions) add(l lineOf, parts relaywire.Ranges) {
	have := s.of[l]
	s.ranges -= len(have)
	for _, r := range parts {
		have = have.Add(r)
	}
	s.set(l, have)
}

// remove removes parts of a line.
func (s *portions) remove(l lineOf, parts relaywire.Ranges) {
	have := s.of[l]
	s.ranges -= len(have)
	s.set(l, without(have, parts))
}

func (s *portions) set(l lineOf, parts relaywire.Ranges) {
	s.ranges += len(parts)
	switch {
	case len(parts) > 0 && s.of == nil:
		s.of = map[lineOf]relaywire.Ranges{l: parts}
	case len(parts) > 0:
		s.of[l] = parts
	case len(s.of) > 1:
		delete(s.of, l)
	default:
		s.of = nil
	}
}

// size is about how many bytes they take.
func (s *portions) size() int { return 16*s.ranges + 128*len(s.of) }

// without returns what of a set is not in another.
func without(s, other relaywire.Ranges) (left relaywire.Ranges) {
	for _, r := range s {
		left = other.Missing(left, r)
	}
	return left
}

// common returns what two sets have in common.
func common(s, other relaywire.Ranges) (both relaywire.Ranges) {
	for _, r := range s {
		both = relaywire.Ranges(other.Missing(nil, r)).Missing(both, r)
	}
	return both
}
