package storage

import "fmt"

// wantBalanced compares what the books say with itself, after every fault: a stream's
// offsets are records, retention's or in a gap, and a cursor's journey explains where
// it stands. What the agent accounts for on top has its own tests there.
func wantBalanced(s *Store) error {
	b := s.Books()
	lost, ends := map[string]uint64{}, map[string]uint64{}
	for _, g := range s.Gaps() {
		lost[g.Stream] += g.To - g.From
	}
	for _, st := range b.Streams {
		ends[st.Name] = st.Next
		if got := st.Next - st.First - st.Records; got > lost[st.Name] { // a block that a reader found damaged is in a gap, and still counted as here
			return fmt.Errorf("books: %s has %d offsets without a record, and gaps of %d", st.Name, got, lost[st.Name])
		}
	}
	for _, c := range b.Cursors {
		if c.Name == deadCursor {
			continue // the fixed workload only counts with it
		}
		p, end := c.Passed, max(ends[c.Stream], 1)
		pending := end - c.Next - (c.Expired - p.Expired) // what retention has taken in front of it is not to come
		if in, out := end-c.Start+c.Rewound, p.Delivered+p.Filtered+p.Dead+c.Expired+p.Damaged+c.Skipped+pending; in != out {
			return fmt.Errorf("books: %s in %s from %d: %d came, and %d are explained: %+v", c.Name, c.Stream, c.Start, in, out, c)
		}
	}
	return nil
}
