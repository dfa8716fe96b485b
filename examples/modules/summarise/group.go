package main

import (
	"math"
	"strings"

	runnel "github.com/runnel-log/runnel/guest-sdk/go"
)

const (
	maxKeys   = 4000 // a tick has at most 4096 verdicts (ABI §4.7)
	maxFields = 4
	maxField  = 56 // bytes of a text that tell keys apart: 4 of them fit into a key of state
)

// layout is what a group counts: the attribute whose numbers are summed up, and
// the fields of its key. A group keeps its own, for the config may change while
// its window is open.
type layout struct {
	text  string // both, one a line, as state has them
	value string
	by    []field
	mark  uint32 // tells groups of different layouts apart
}

func newLayout(value string, by []string) layout {
	l := layout{text: strings.Join(append([]string{value}, by...), "\n"), value: value, mark: 2166136261}
	for _, name := range by {
		l.by = append(l.by, newField(name))
	}
	for i := range len(l.text) {
		l.mark = (l.mark ^ uint32(l.text[i])) * 16777619 // FNV-1a
	}
	return l
}

func layoutOf(text string) layout {
	if text == options.layout.text {
		return options.layout
	}
	parts := strings.Split(text, "\n")
	return newLayout(parts[0], parts[1:])
}

// group is what was counted under one key in one window.
type group struct {
	key    string // in state: to, from, the layout's mark, then the fields' values
	layout layout
	dirty  bool // state has not heard of it

	count, values uint64 // records, and those that had a number
	sum, min, max float64
}

const (
	keyStart = 20 // to u64, from u64, mark u32, each with its greatest byte first
	saved    = 40 // bytes of a group in state, before its layout
)

// groups are the open windows as state has them: a cache, filled again where an
// instance begins (ABI §1.2).
var groups struct {
	byKey    map[string]*group
	inWindow map[string]int // groups of a window, by the start of their keys
	dirty    []*group
	last     *group // that find returned
	key      []byte // the start of keys of the open window, and the last record's behind it
	value    []byte
}

// forget empties the cache.
func forget() { groups.byKey = nil }

// restore fills the cache from state, if it is empty.
func restore() {
	if groups.byKey != nil {
		return
	}
	groups.byKey, groups.inWindow, groups.dirty = map[string]*group{}, map[string]int{}, nil
	for key := range runnel.StateKeys("") {
		value, _ := runnel.StateGet(key)
		if len(key) < keyStart || len(value) < saved {
			continue
		}
		g := enter(strings.Clone(key), layoutOf(string(value[saved:])))
		g.count, g.values = get64(value), get64(value[8:])
		g.sum, g.min, g.max = math.Float64frombits(get64(value[16:])), math.Float64frombits(get64(value[24:])), math.Float64frombits(get64(value[32:]))
	}
}

// enter adds a group to the cache.
func enter(key string, l layout) *group {
	g := &group{key: key, layout: l}
	groups.byKey[key] = g
	groups.inWindow[key[:keyStart]]++
	return g
}

// open sets the window that find looks in.
func open(from, to int64) {
	k := append(groups.key[:0], make([]byte, keyStart)...)
	put64(k, uint64(to))
	put64(k[8:], uint64(from))
	mark := options.layout.mark
	k[16], k[17], k[18], k[19] = byte(mark>>24), byte(mark>>16), byte(mark>>8), byte(mark)
	groups.key = k
	groups.last = nil
}

// find returns the group of a record. Records of one key often come together,
// and to compare is cheaper than to look up.
func find(r *runnel.Record) *group {
	k := groups.key[:keyStart]
	for i := range options.layout.by {
		k = options.layout.by[i].appendTo(k, r)
	}
	groups.key = k
	if groups.last != nil && groups.last.key == string(k) {
		return groups.last
	}
	g := groups.byKey[string(k)]
	if g == nil && groups.inWindow[string(k[:keyStart])] >= options.keys {
		k = append(k[:keyStart], other)
		g = groups.byKey[string(k)]
	}
	if g == nil {
		g = enter(string(k), options.layout)
	}
	groups.last = g
	return g
}

// other stands in place of the fields, in the key of what is over the bound.
const other = 0xff

func (g *group) isOther() bool { return len(g.key) > keyStart && g.key[keyStart] == other }

// add counts a record.
func (g *group) add(r *runnel.Record) {
	if !g.dirty {
		g.dirty = true
		groups.dirty = append(groups.dirty, g)
	}
	g.count++
	if options.layout.value == "" {
		return
	}
	v := r.Attr(options.layout.value)
	f, ok := v.Float(), v.Kind == runnel.Int || v.Kind == runnel.Float
	if v.Kind == runnel.String {
		f, ok = numeric(v.Data)
	}
	if !ok {
		return
	}
	if g.values == 0 || f < g.min {
		g.min = f
	}
	if g.values == 0 || f > g.max {
		g.max = f
	}
	g.values++
	g.sum += f
}

// merge adds what another group counted.
func (g *group) merge(o *group) {
	if o.values > 0 && (g.values == 0 || o.min < g.min) {
		g.min = o.min
	}
	if o.values > 0 && (g.values == 0 || o.max > g.max) {
		g.max = o.max
	}
	g.count, g.values, g.sum = g.count+o.count, g.values+o.values, g.sum+o.sum
}

// save writes what changed into state. Where that is full it fails the call, so
// that no record goes on, or is dropped, uncounted.
func save() {
	for _, g := range groups.dirty {
		b := groups.value[:0]
		b = append(b, make([]byte, saved)...)
		put64(b, g.count)
		put64(b[8:], g.values)
		put64(b[16:], math.Float64bits(g.sum))
		put64(b[24:], math.Float64bits(g.min))
		put64(b[32:], math.Float64bits(g.max))
		b = append(b, g.layout.text...)
		groups.value = b
		if !runnel.StateSet(g.key, b) {
			panic("no room in the module's state; raise state, or lower keys")
		}
		g.dirty = false
	}
	groups.dirty = groups.dirty[:0]
}

func put64(b []byte, v uint64) {
	for i := range 8 {
		b[i] = byte(v >> (56 - 8*i))
	}
}

func get64(b []byte) (v uint64) {
	for i := range 8 {
		v = v<<8 | uint64(b[i])
	}
	return v
}
