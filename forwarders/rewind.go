package forwarders

import "fmt"

// Rewind keeps order where batches are handed over before the fate of earlier
// ones is known. The agent may hand over the batch after one that has just failed,
// because it has not yet waited for the Ack that says so; sent on, it would
// arrive before the records that are to be offered again. A Forwarder notes each
// failure and asks before it sends. The zero value is ready to use, by one goroutine.
type Rewind struct {
	from map[string]uint64
	why  error
}

// Failed notes that delivery of stream has to go on at offset from or before it.
func (r *Rewind) Failed(stream string, from uint64, why error) {
	if r.from == nil {
		r.from = make(map[string]uint64)
	}
	r.from[stream], r.why = from, why
}

// Overtakes returns an error if b begins after the place where its stream has to go
// on. It does so once for each failure: retention may have taken the records
// in between, and then b is where delivery goes on.
func (r *Rewind) Overtakes(b *Batch) error {
	from, failed := r.from[b.Stream]
	delete(r.from, b.Stream)
	if failed && len(b.Offsets) > 0 && b.Offsets[0] > from {
		// Not wrapped: a refusal of an earlier record must not be taken for one of these.
		return fmt.Errorf("records before this one have to be offered again: %v", r.why)
	}
	return nil
}

// Partly returns what Deliver answers when the first n records of b were taken
// and err met the next one, and notes where the stream has to go on.
func (r *Rewind) Partly(b *Batch, n int, err error) (Ack, error) {
	if n == 0 {
		return nil, err
	}
	r.Failed(b.Stream, b.Offsets[n], err)
	return Partial{N: n, Err: err}, nil
}
