package storage

import (
	"bytes"
	"path/filepath"
	"testing"
)

// FuzzState gives the decoders of what entries of state hold any bytes: what is
// read is written again as it was, and nothing panics.
func FuzzState(f *testing.F) {
	j := journey{next: 9, start: 2}
	g := Gap{Stream: "app", From: 3, To: 5}
	value := g.change()
	b := appendChange(nil, change{kind: 1, key: []byte("hook\x00app"), value: j.encode()})
	f.Add(b, value.Key, value.Value)
	f.Add(appendChange(b, change{kind: 2, key: []byte("k")}), "g\x00\x00", []byte("1234567812345678"))
	f.Add(b[:len(b)-1], "", []byte{})
	f.Fuzz(func(t *testing.T, b []byte, key string, value []byte) {
		var again []byte
		if err := parseChanges(b, func(c change) { again = appendChange(again, c) }); err == nil {
			var twice []byte
			if err := parseChanges(again, func(c change) { twice = appendChange(twice, c) }); err != nil || !bytes.Equal(again, twice) {
				t.Errorf("%q: written again it is %q, then %q, %v", b, again, twice, err)
			}
		} else if len(again) > len(b) {
			t.Errorf("%q: gave %d bytes of changes before %v", b, len(again), err)
		}
		p := parseJourney(value)
		// What an old build wrote gets its start when it is read; once written it stays.
		if q := parseJourney(p.encode()); q != p {
			t.Errorf("journey %x: %+v, then %+v", value, p, q)
		}
		if g, ok := parseGap(key, value); ok {
			c := g.change()
			if h, ok := parseGap(c.Key, c.Value); !ok || h != g {
				t.Errorf("gap %q %x: %+v, then %+v, %v", key, value, g, h, ok)
			}
		}
	})
}

// FuzzSegmentName takes only names that segmentName gives.
func FuzzSegmentName(f *testing.F) {
	f.Add("000000000000a3f0.0000.seg")
	f.Add("000000000000a3f0.0000.seg.tmp")
	f.Add("+00000000000a3f0.-001.seg")
	f.Fuzz(func(t *testing.T, name string) {
		if base, generation, ok := parseSegmentName(name); ok && filepath.Base(segmentName("", base, generation)) != filepath.Base(name) {
			t.Errorf("%q is taken for %d of generation %d", name, base, generation)
		}
	})
}
