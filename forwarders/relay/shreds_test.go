package relay

import (
	"fmt"
	"testing"

	"github.com/runnel-log/runnel/internal/relaywire"
)

// Whatever receivers say they have, what is asked fits in a frame, and nothing that is in doubt is asked for.
func TestQuestionsFitInAFrame(t *testing.T) {
	m := &memory{acked: make(map[string]map[line]relaywire.Ranges), moved: make(map[string]map[line]bool)}
	l := line{"app", 3}
	shreds := func(url string, first, step uint64) {
		for i := range uint64(mostRanges) {
			m.add(url, l, relaywire.Range{From: first + step*i, To: first + step*i + 1})
		}
	}
	whole := relaywire.Range{From: 1, To: endless}
	for i := range uint64(5) {
		shreds(fmt.Sprint("tcp://", i), 10+2*i, 40)
	}
	if parts := m.parts("tcp://0", l, whole); len(parts) < 4*mostRanges || parts.Has(relaywire.Range{From: 12, To: 13}) {
		t.Errorf("%d parts, with what others have", len(parts))
	}
	for i := range uint64(10) {
		shreds(fmt.Sprint("tcp://", i), 10+2*i, 40)
	}
	shreds(inDoubt, 35, 40)
	parts := m.parts("tcp://0", l, whole)
	if len(parts) != mostRanges+1 || !parts.Has(relaywire.Range{From: 10, To: 13}) || parts.Has(relaywire.Range{From: 35, To: 36}) || parts.End() != endless {
		t.Errorf("%d parts, %v first", len(parts), parts[:2])
	}
	relaywire.Append(nil, &relaywire.Ask{Stream: l.stream, Epoch: l.epoch, Parts: parts})
}
