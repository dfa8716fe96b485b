package relaywire

import (
	"encoding/binary"
	"errors"
	"slices"
)

// Range is the offsets from From up to, and without, To.
type Range struct{ From, To uint64 }

// Len returns how many offsets the range has.
func (r Range) Len() uint64 { return r.To - r.From }

// Ranges is a set of offsets: ranges in order, none empty, none touching the
// next. The zero value is the empty set.
type Ranges []Range

// Add returns the set with r in it. It works in place where there is room.
func (s Ranges) Add(r Range) Ranges {
	if r.From >= r.To {
		return s
	}
	// Most often the range continues the last one.
	if n := len(s); n > 0 && s[n-1].From <= r.From && r.From <= s[n-1].To {
		s[n-1].To = max(s[n-1].To, r.To)
		return s
	}
	i, _ := slices.BinarySearchFunc(s, r.From, func(have Range, from uint64) int {
		if have.To < from {
			return -1
		}
		return 1
	})
	j := i
	for j < len(s) && s[j].From <= r.To {
		r.From, r.To = min(r.From, s[j].From), max(r.To, s[j].To)
		j++
	}
	return slices.Replace(s, i, j, r)
}

// Missing appends to dst the parts of r that are not in the set, in order.
func (s Ranges) Missing(dst []Range, r Range) []Range {
	for _, have := range s[s.behind(r.From):] {
		if have.From >= r.To || r.From >= r.To {
			break
		}
		if have.From > r.From {
			dst = append(dst, Range{r.From, have.From})
		}
		r.From = have.To
	}
	if r.From < r.To {
		dst = append(dst, r)
	}
	return dst
}

// Has reports whether all of r is in the set.
func (s Ranges) Has(r Range) bool {
	if r.From >= r.To {
		return true
	}
	i := s.behind(r.From)
	return i < len(s) && s[i].From <= r.From && r.To <= s[i].To
}

// behind returns the index of the first range that ends behind an offset.
func (s Ranges) behind(offset uint64) int {
	i, _ := slices.BinarySearchFunc(s, offset, func(have Range, offset uint64) int {
		if have.To <= offset {
			return -1
		}
		return 1
	})
	return i
}

// End returns the first offset behind all of the set.
func (s Ranges) End() uint64 {
	if len(s) == 0 {
		return 0
	}
	return s[len(s)-1].To
}

// Append appends the encoding of the set: for each range the distance from the
// end of the one before, and its length, both as uvarint.
func (s Ranges) Append(dst []byte) []byte {
	at := uint64(0)
	for _, r := range s {
		dst = binary.AppendUvarint(dst, r.From-at)
		dst = binary.AppendUvarint(dst, r.Len())
		at = r.To
	}
	return dst
}

var errRanges = errors.New("malformed ranges")

// ParseRanges reads what Append wrote, and nothing else: each set has one encoding.
func ParseRanges(b []byte) (Ranges, error) {
	var s Ranges
	for at := uint64(0); len(b) > 0; {
		gap, n := uvarint(b)
		if n <= 0 {
			return nil, errRanges
		}
		length, m := uvarint(b[n:])
		if m <= 0 || length == 0 || gap == 0 && len(s) > 0 || at+gap < at || at+gap+length <= at+gap {
			return nil, errRanges
		}
		b = b[n+m:]
		s = append(s, Range{at + gap, at + gap + length})
		at += gap + length
	}
	return s, nil
}

// uvarint is binary.Uvarint without the longer forms of a number.
func uvarint(b []byte) (uint64, int) {
	v, n := binary.Uvarint(b)
	if n > 1 && b[n-1] == 0 {
		return 0, -1
	}
	return v, n
}
