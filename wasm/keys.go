package wasm

import (
	"slices"
	"sort"
)

// keyList keeps keys in the order of bytes. A sorted slice would do, but for a
// guest that sets new keys without end: inserting one moves at most a run.
// The zero value is empty.
type keyList struct {
	runs [][]string // each sorted, none empty, one behind the other
}

// maxRun is the length at which a run is cut in two.
const maxRun = 512

// run returns the first run that ends with key or behind it; len(l.runs) if
// none does.
func (l *keyList) run(key string) int {
	return sort.Search(len(l.runs), func(i int) bool { return l.runs[i][len(l.runs[i])-1] >= key })
}

// insert adds a key that is not there.
func (l *keyList) insert(key string) {
	if len(l.runs) == 0 {
		l.runs = append(l.runs, []string{key})
		return
	}
	r := min(l.run(key), len(l.runs)-1)
	i, _ := slices.BinarySearch(l.runs[r], key)
	l.runs[r] = slices.Insert(l.runs[r], i, key)
	if run := l.runs[r]; len(run) > maxRun {
		l.runs = slices.Insert(l.runs, r+1, slices.Clone(run[maxRun/2:]))
		clear(run[maxRun/2:])
		l.runs[r] = run[:maxRun/2]
	}
}

// remove takes away a key that is there.
func (l *keyList) remove(key string) {
	r := l.run(key)
	i, _ := slices.BinarySearch(l.runs[r], key)
	if l.runs[r] = slices.Delete(l.runs[r], i, i+1); len(l.runs[r]) == 0 {
		l.runs = slices.Delete(l.runs, r, r+1)
	}
}

// after returns the first key behind the given one, which need not be there.
func (l *keyList) after(key string) (string, bool) {
	r := l.run(key)
	if r == len(l.runs) {
		return "", false
	}
	i, found := slices.BinarySearch(l.runs[r], key)
	if found {
		i++
	}
	if i < len(l.runs[r]) {
		return l.runs[r][i], true
	}
	if r+1 == len(l.runs) {
		return "", false
	}
	return l.runs[r+1][0], true
}
