package storage

import (
	"encoding/binary"
	"errors"
	"hash/fnv"
	"io"
	"os"
	"slices"
)

// How bbolt lays out a page (tree.go has the rest). A leaf's elements are flags
// u32, pos u32 from the element itself, key length u32, value length u32. A meta
// page holds magic u32, version u32, page size u32, flags u32, root page u64, root
// sequence u64, freelist page u64, high-water mark u64, transaction u64 and FNV-1a
// over all before.
const (
	boltLeafFlag     = 0x02
	boltFreelistFlag = 0x10
	boltLeafSize     = 16
	boltBucketFlag   = 0x01 // of an element: its value is a bucket
	boltBucketSize   = 16
	boltMagic        = 0xED0CDAED
	boltMetaSize     = 64
	boltMany         = 0xFFFF // a freelist of this count has the real one as its first element
)

// boltMeta is one of a file's two meta pages.
type boltMeta struct {
	pageSize int
	freelist uint64
	end      uint64 // pages from here on are not part of the file
	tx       uint64
	sound    bool // its checksum holds
}

func parseMeta(page []byte) (m boltMeta) {
	b := page[boltPageHeader:]
	le := binary.LittleEndian
	if le.Uint32(b) != boltMagic {
		return m
	}
	m = boltMeta{pageSize: int(le.Uint32(b[8:])), freelist: le.Uint64(b[32:]), end: le.Uint64(b[40:]), tx: le.Uint64(b[48:])}
	h := fnv.New64a()
	h.Write(b[:boltMetaSize-8])
	m.sound = h.Sum64() == le.Uint64(b[boltMetaSize-8:]) && m.pageSize >= 512 && m.pageSize <= 1<<20 && m.pageSize&(m.pageSize-1) == 0
	return m
}

// pages reads a bbolt file without bbolt, and without mapping it: what the disk
// refuses is an error here, and no fault.
type pages struct {
	f    *os.File
	size int64
	page int64    // bytes
	meta boltMeta // the newest that is sound; its zero value without
	// certain says that meta is surely that of the last commit: the other one is
	// sound and a transaction older.
	certain bool
}

// openPages opens a file that may hold anything.
func openPages(path string) (*pages, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	info, err := f.Stat()
	if err != nil {
		f.Close()
		return nil, err
	}
	p := &pages{f: f, size: info.Size(), page: int64(os.Getpagesize())}
	first, second := p.metaAt(0), boltMeta{}
	if first.sound {
		second = p.metaAt(int64(first.pageSize))
	} else {
		// Where the second is depends on the size that the first would have told.
		for size := int64(512); size <= 1<<20 && !second.sound; size *= 2 {
			if second = p.metaAt(size); int64(second.pageSize) != size {
				second = boltMeta{}
			}
		}
	}
	newer, older := first, second
	if !newer.sound || (older.sound && older.tx > newer.tx) {
		newer, older = older, newer
	}
	if newer.sound {
		p.meta, p.page = newer, int64(newer.pageSize)
		p.meta.end = min(p.meta.end, uint64(p.size/p.page)+1) // what lies beyond is not there
		p.certain = older.sound && older.tx+1 == newer.tx
	}
	return p, nil
}

func (p *pages) metaAt(at int64) boltMeta {
	var b [boltPageHeader + boltMetaSize]byte
	if _, err := p.f.ReadAt(b[:], at); err != nil {
		return boltMeta{}
	}
	return parseMeta(b[:])
}

// free returns the pages that the last commit left unused; ok is false if that
// cannot be told, since some transaction may be missing.
func (p *pages) free() (unused map[uint64]bool, ok bool) {
	if !p.certain {
		return nil, false
	}
	var head [boltPageHeader + 8]byte
	at := int64(p.meta.freelist) * p.page
	if p.meta.freelist >= p.meta.end {
		return nil, false
	}
	if _, err := p.f.ReadAt(head[:], at); err != nil || binary.LittleEndian.Uint64(head[:]) != p.meta.freelist ||
		binary.LittleEndian.Uint16(head[8:]) != boltFreelistFlag {
		return nil, false
	}
	count, skip := uint64(binary.LittleEndian.Uint16(head[10:])), int64(boltPageHeader)
	if count == boltMany {
		count, skip = binary.LittleEndian.Uint64(head[boltPageHeader:]), skip+8
	}
	if count > p.meta.end {
		return nil, false
	}
	list := make([]byte, 8*count)
	if _, err := p.f.ReadAt(list, at+skip); err != nil {
		return nil, false
	}
	unused = make(map[uint64]bool, count)
	for ; len(list) > 0; list = list[8:] {
		id := binary.LittleEndian.Uint64(list)
		if id < 2 || id >= p.meta.end || unused[id] {
			return nil, false
		}
		unused[id] = true
	}
	return unused, true
}

// entries calls f with the key and the value of what may be an entry on any leaf
// page, whichever bucket that belongs to. f says whether the value is sound: the
// pages that sound values reach over are not looked at on their own, or what a
// sender put into a record could pass for a page. Memory is borrowed until f
// returns. What the disk refuses to read is left out.
func (p *pages) entries(f func(leaf uint64, at int64, sequence uint64, entry []byte) (sound bool)) error {
	unused, known := p.free()
	last := uint64(p.size / p.page)
	if known {
		last = min(last, p.meta.end-1)
	}
	var room []byte
	for id := uint64(0); id <= last; {
		if unused[id] {
			id++
			continue
		}
		reach, err := p.leaf(id, &room, f)
		if errors.Is(err, os.ErrClosed) {
			return err
		}
		id += max(1, uint64((reach+p.page-1)/p.page))
	}
	return nil
}

// maxEntry is the longest entry there can be.
const maxEntry = maxRaw + 1<<16

// leaf calls f with what may be entries on page id, and returns how many bytes
// from its beginning the sound ones reach; 0 if it is no leaf.
func (p *pages) leaf(id uint64, room *[]byte, f func(leaf uint64, at int64, sequence uint64, entry []byte) bool) (reach int64, err error) {
	var head [boltPageHeader]byte
	at := int64(id) * p.page
	if _, err := p.f.ReadAt(head[:], at); err != nil {
		return 0, err
	}
	le := binary.LittleEndian
	if le.Uint64(head[:]) != id || le.Uint16(head[8:]) != boltLeafFlag {
		return 0, nil
	}
	elements := make([]byte, int(le.Uint16(head[10:]))*boltLeafSize)
	n, err := p.f.ReadAt(elements, at+boltPageHeader)
	elements = elements[:n/boltLeafSize*boltLeafSize]
	for i := 0; i < len(elements); i += boltLeafSize {
		e := elements[i:]
		pos, size := int64(boltPageHeader+i)+int64(le.Uint32(e[4:])), int64(le.Uint32(e[12:]))
		if key := int64(le.Uint32(e[8:])); le.Uint32(e) == boltBucketFlag && key < p.page && size <= p.page {
			p.inline(id, at+pos+key, size, f)
			continue
		}
		if le.Uint32(e) != 0 || le.Uint32(e[8:]) != 8 || size < headerFixed || size > maxEntry || at+pos+8+size > p.size {
			continue // of another bucket, padding, or damaged
		}
		if int64(cap(*room)) < 8+size {
			*room = make([]byte, 8+size)
		}
		b := (*room)[:8+size]
		if _, err := p.f.ReadAt(b, at+pos); err != nil {
			continue
		}
		if f(id, at+pos+8, binary.BigEndian.Uint64(b), b[8:]) {
			reach = max(reach, pos+8+size)
		}
	}
	return reach, err
}

// inline calls f with the entries of a small bucket, which lies as a value of size
// bytes in a leaf of the bucket above: root u64 (0), sequence u64, and a leaf page.
func (p *pages) inline(leaf uint64, at, size int64, f func(leaf uint64, at int64, sequence uint64, entry []byte) bool) {
	b := make([]byte, size)
	if n, err := p.f.ReadAt(b, at); err != nil || n < boltBucketSize+boltPageHeader {
		return
	}
	le := binary.LittleEndian
	b, at = b[boltBucketSize:], at+boltBucketSize
	if le.Uint16(b[8:]) != boltLeafFlag {
		return
	}
	for i := range int(le.Uint16(b[10:])) {
		e := boltPageHeader + i*boltLeafSize
		if e+boltLeafSize > len(b) {
			return
		}
		key, size := e+int(le.Uint32(b[e+4:])), int(le.Uint32(b[e+12:]))
		if le.Uint32(b[e:]) == 0 && le.Uint32(b[e+8:]) == 8 && size >= headerFixed && key <= len(b) && size <= len(b)-key-8 {
			f(leaf, at+int64(key+8), binary.BigEndian.Uint64(b[key:]), b[key+8:key+8+size])
		}
	}
}

// accounted reports whether every page of the file is used once or free, as far
// as the tree below log goes. bbolt writes over pages that its freelist names, and
// that list has no checksum: a file in which it contradicts the tree is not to be
// written to.
func (p *pages) accounted(log uint64) bool {
	unused, ok := p.free()
	if !ok {
		return false
	}
	level := []uint64{log}
	for range boltDeepest {
		var below []uint64
		for _, id := range level {
			var head [boltPageHeader]byte
			if _, err := p.f.ReadAt(head[:], int64(id)*p.page); err != nil && !errors.Is(err, io.EOF) {
				return false
			}
			over := uint64(binary.LittleEndian.Uint32(head[12:]))
			if binary.LittleEndian.Uint64(head[:]) != id || id+over >= p.meta.end {
				return false
			}
			for page := id; page <= id+over; page++ {
				if page < 2 || unused[page] {
					return false
				}
				unused[page] = true // used once
			}
			below = append(below, branches(p.f, int(p.page), id)...)
		}
		if len(below) == 0 {
			return true
		}
		level = below
	}
	return false
}

// place is where an entry lies in a file.
type place struct {
	header        // without the stream's bytes
	leaf   uint64 // the page that names it
	at     int64
	name   string
}

func (p *place) size() int { return p.header.size + int(p.bodyLen) }

// remains is what is left of a segment: every entry that passes its checks, by
// sequence.
type remains struct {
	pages   *pages
	entries []place // in order of sequence
	unsound int     // what looks like an entry and fails its checks
}

// scavenge collects the entries of a segment's file from base on. Of two with one
// sequence the later arrival counts: the other one is of a commit that failed.
func scavenge(path string, base uint64) (*remains, error) {
	p, err := openPages(path)
	if err != nil {
		return nil, err
	}
	r := &remains{pages: p}
	found := map[uint64]place{}
	names := map[string]string{}
	err = p.entries(func(leaf uint64, at int64, sequence uint64, entry []byte) bool {
		h, _, err := open(entry, sequence)
		if err != nil || sequence < base || sequence-base > 1<<32-1 {
			r.unsound++
			return false
		}
		if old, ok := found[sequence]; ok && old.arrival >= h.arrival {
			return true
		}
		name, ok := names[string(h.stream)]
		if !ok {
			name = string(h.stream)
			names[name] = name
		}
		h.stream, h.later = nil, later{} // they are borrowed
		found[sequence] = place{h, leaf, at, name}
		return true
	})
	if err != nil {
		p.f.Close()
		return nil, err
	}
	for _, e := range found {
		r.entries = append(r.entries, e)
	}
	slices.SortFunc(r.entries, func(a, b place) int {
		if a.sequence < b.sequence {
			return -1
		}
		return 1
	})
	if !p.certain {
		r.dropUncommitted()
	}
	return r, nil
}

// dropUncommitted is for a file whose last commit is in doubt; it takes back
// entries that overlap others of their stream, of which the later sequence counts.
func (r *remains) dropUncommitted() {
	next := map[string]uint64{} // going backwards: the first offset of the entry behind
	r.entries = slices.DeleteFunc(reversed(r.entries), func(e place) bool {
		if e.kind != kindRecords {
			return false
		}
		behind, ok := next[e.name]
		if ok && e.first+uint64(e.count) > behind {
			return true
		}
		next[e.name] = e.first
		return false
	})
	slices.Reverse(r.entries)
}

func reversed(e []place) []place {
	slices.Reverse(e)
	return e
}

// read appends the entry of that sequence to dst, as segment.read does.
func (r *remains) read(sequence uint64, dst []byte) ([]byte, error) {
	i, ok := slices.BinarySearchFunc(r.entries, sequence, func(e place, sequence uint64) int {
		switch {
		case e.sequence < sequence:
			return -1
		case e.sequence > sequence:
			return 1
		}
		return 0
	})
	if !ok {
		return dst, errMissing
	}
	e := &r.entries[i]
	at := len(dst)
	dst = slices.Grow(dst, e.size())[:at+e.size()]
	if _, err := r.pages.f.ReadAt(dst[at:], e.at); err != nil {
		return dst[:at], err
	}
	return dst, nil
}
