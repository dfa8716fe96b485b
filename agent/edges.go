package agent

import "slices"

// A batch whose answer was lost must be offered again as it was, though more
// records have come meanwhile: its key names its records, and a receiver that has
// taken it knows it by that alone. edges are where the batches end that were handed
// over and not acknowledged, by stream, in order; d.mu guards them.
type edges map[string][]uint64

// handed notes that a batch ends before next.
func (e edges) handed(stream string, next uint64) {
	at, known := slices.BinarySearch(e[stream], next)
	if !known {
		e[stream] = slices.Insert(e[stream], at, next)
	}
}

// passed forgets the batches that end at next or before.
func (e edges) passed(stream string, next uint64) {
	at, known := slices.BinarySearch(e[stream], next)
	if known {
		at++
	}
	if e[stream] = slices.Delete(e[stream], 0, at); len(e[stream]) == 0 {
		delete(e, stream)
	}
}

// after returns where the batch has to end that begins at at, if it was handed over before.
func (e edges) after(stream string, at uint64) (end uint64, ok bool) {
	for _, end := range e[stream] {
		if end > at {
			return end, true
		}
	}
	return 0, false
}
