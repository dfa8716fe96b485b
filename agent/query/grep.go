package query

import (
	"bytes"

	"github.com/runnel-log/runnel/record"
)

// grep appends to hits the indexes, ascending, of the records of b in [from,
// to) that hold needle. It searches the encoded bytes of the whole batch at
// once, which is as fast as memory is read, and looks into a record only where
// something was found: what was found may be in a length, or half in one field
// and half in the next.
func grep(b *record.Batch, from, to int, needle []byte, hits []int) []int {
	raw := b.Bytes()
	at := record.BatchHeaderSize
	for i := range from {
		at += len(b.At(i))
	}
	i, end := from, at
	for i < to {
		n := bytes.Index(raw[at:], needle)
		if n < 0 {
			return hits
		}
		at += n
		for end <= at {
			end += len(b.At(i))
			i++
		}
		// i is now one past the record that the needle begins in.
		if i > to {
			return hits
		}
		if holds(b.At(i-1), needle) {
			hits = append(hits, i-1)
		}
		at = end
	}
	return hits
}

// holds reports whether one of the record's texts has needle in it: the
// message, the structured data, host, app, procid, msgid, or the key or the text of
// an attribute. Numbers are for filters.
func holds(v record.View, needle []byte) bool {
	if bytes.Contains(v.Message(), needle) || bytes.Contains(v.SD(), needle) || bytes.Contains(v.Host(), needle) ||
		bytes.Contains(v.App(), needle) || bytes.Contains(v.ProcID(), needle) || bytes.Contains(v.MsgID(), needle) {
		return true
	}
	attrs := v.Attrs()
	for key, value := range attrs.All() {
		if bytes.Contains(key, needle) {
			return true
		}
		switch value.Kind {
		case record.String, record.Bytes, record.JSON:
			if bytes.Contains(value.Data, needle) {
				return true
			}
		}
	}
	return false
}
