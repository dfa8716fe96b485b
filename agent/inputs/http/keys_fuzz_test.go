package http

import (
	"bytes"
	"testing"
	"time"
)

// FuzzMark gives the reader of what the store keeps of keys any bytes: what it
// takes is written as it was.
func FuzzMark(f *testing.F) {
	e := entry{answered: answered{at: 7, accepted: 3}}
	m := e.mark(5)
	f.Add(m.Key, m.Value)
	f.Add(m.Key, append(m.Value, m.Value[1:]...))
	f.Add("", []byte{markVersion})
	f.Fuzz(func(t *testing.T, key string, value []byte) {
		number, entries, ok := parseMark(key, value)
		if !ok {
			return
		}
		p := page{number: number, entries: entries}
		if again := p.mark(); again.Key != key || !bytes.Equal(again.Value, value) {
			t.Errorf("%q %x is written as %q %x", key, value, again.Key, again.Value)
		}
		k := newKeys(func(each func(string, []byte)) { each(key, value) }, 10, time.Now)
		if n := k.kept(); n > len(entries) {
			t.Errorf("%d keys are kept of %d", n, len(entries))
		}
	})
}
