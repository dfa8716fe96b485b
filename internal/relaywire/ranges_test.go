package relaywire

import (
	"math/rand/v2"
	"slices"
	"testing"
)

// TestRangesAgainstAModel: a set of ranges is the set of its offsets.
func TestRangesAgainstAModel(t *testing.T) {
	for seed := range uint64(200) {
		random := rand.New(rand.NewPCG(seed, 0))
		var s Ranges
		model := map[uint64]bool{}
		for range 50 {
			from := random.Uint64N(64)
			r := Range{from, from + random.Uint64N(8)}
			if s = s.Add(r); !slices.IsSortedFunc(s, func(a, b Range) int { return int(a.To) - int(b.From) + 1 }) {
				t.Fatalf("seed %d: %v is not in order, or touches", seed, s)
			}
			for at := r.From; at < r.To; at++ {
				model[at] = true
			}
			ask := Range{random.Uint64N(64), random.Uint64N(80)}
			var want []uint64
			for at := ask.From; at < ask.To; at++ {
				if !model[at] {
					want = append(want, at)
				}
			}
			var got []uint64
			for _, m := range s.Missing(nil, ask) {
				for at := m.From; at < m.To; at++ {
					got = append(got, at)
				}
			}
			if !slices.Equal(got, want) || s.Has(ask) != (len(want) == 0) {
				t.Fatalf("seed %d: %v has %v: got missing %v want %v", seed, s, ask, got, want)
			}
			again, err := ParseRanges(s.Append(nil))
			if err != nil || !slices.Equal(again, s) {
				t.Fatalf("seed %d: got %v, %v want %v", seed, again, err, s)
			}
		}
	}
}

func TestMalformedRangesAreRefused(t *testing.T) {
	f := func(b ...byte) {
		t.Helper()
		if s, err := ParseRanges(b); err == nil {
			t.Errorf("%v was read as %v", b, s)
		}
	}
	f(1)
	f(1, 0)                                                       // empty
	f(1, 1, 0, 1)                                                 // touches the one before
	f(0x81, 0x00, 1)                                              // 1 in two bytes
	f(1, 1, 0x80)                                                 // cut off
	f(0xff, 0xff, 0xff)                                           // likewise
	f(2, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1) // beyond the last offset
}

func FuzzParseRanges(f *testing.F) {
	f.Add([]byte{})
	f.Add([]byte{1, 5, 2, 1})
	f.Add(Ranges{{0, 1}, {1 << 40, 1<<40 + 7}}.Append(nil))
	f.Fuzz(func(t *testing.T, b []byte) {
		s, err := ParseRanges(b)
		if err != nil {
			return
		}
		if again := s.Append(nil); !slices.Equal(again, b) {
			t.Fatalf("%x was read as %v, which is %x", b, s, again)
		}
	})
}
