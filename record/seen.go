package record

import (
	"encoding/binary"
	"hash/maphash"
)

// seen is a small Bloom filter over attribute keys. It makes looking for
// duplicates free where there are none, which is nearly always.
type seen [16]uint64

// add puts key in and reports whether it may have been there before.
func (s *seen) add(key []byte) bool {
	h := uint64(len(key)) * 0x9e3779b97f4a7c15
	if len(key) >= 8 {
		h ^= binary.LittleEndian.Uint64(key)
		h = (h ^ binary.LittleEndian.Uint64(key[len(key)-8:])*3) * 0x9e3779b97f4a7c15
	} else {
		for _, c := range key {
			h = (h ^ uint64(c)) * 0x9e3779b97f4a7c15
		}
	}
	word, bit := &s[h>>60], uint64(1)<<(h>>54&63)
	was := *word&bit != 0
	*word |= bit
	return was
}

// lastOfEach calls keep with the encoded form of each of the n attributes in b
// whose key does not come again, in order, and returns how many there are. keep
// may be nil. The time is linear in n, whatever the keys.
func lastOfEach(b []byte, n int, keep func(attr []byte)) int {
	if n > 32 {
		return lastOfMany(b, n, keep)
	}
	count := 0
	for len(b) > 0 {
		key, _, size := nextAttr(b)
		if later := (Attrs{buf: b[size:]}); later.find(string(key)) < 0 {
			count++
			if keep != nil {
				keep(b[:size])
			}
		}
		b = b[size:]
	}
	return count
}

// lastOfMany is lastOfEach with a hash table of where each key was seen last.
// The seed is random: keys come from outside, and must not be able to collide.
func lastOfMany(b []byte, n int, keep func(attr []byte)) int {
	size := 1
	for size < 2*n {
		size *= 2
	}
	table := make([]int32, size) // 1 + the offset of an attribute; 0 is free
	seed, mask := maphash.MakeSeed(), uint64(size-1)
	slot := func(key []byte) *int32 {
		for h := maphash.Bytes(seed, key); ; h++ {
			at := &table[h&mask]
			if *at == 0 {
				return at
			}
			if k, _, _ := nextAttr(b[*at-1:]); string(k) == string(key) {
				return at
			}
		}
	}
	for at := 0; at < len(b); {
		key, _, size := nextAttr(b[at:])
		*slot(key) = int32(at + 1)
		at += size
	}
	count := 0
	for at := 0; at < len(b); {
		key, _, size := nextAttr(b[at:])
		if *slot(key) == int32(at+1) {
			count++
			if keep != nil {
				keep(b[at : at+size])
			}
		}
		at += size
	}
	return count
}
