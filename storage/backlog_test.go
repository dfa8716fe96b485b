package storage

import (
	"math/rand/v2"
	"testing"
	"time"

	"github.com/runnel-log/runnel/record"
)

// TestBacklogIsWhatLiesAhead holds it against a sum over the blocks, at every
// offset, in several segments and after retention has taken some.
func TestBacklogIsWhatLiesAhead(t *testing.T) {
	now := time.Date(2026, 11, 22, 10, 0, 0, 0, time.UTC)
	s := openStore(t, Options{Dir: t.TempDir(), SegmentSize: 64 << 10, Now: func() time.Time { return now },
		Policy: func(string) Policy { return Policy{MaxSize: 200 << 10} }})
	for i := range uint64(60) {
		b := record.NewBatch()
		for range 1 + rand.IntN(4) {
			noise := make([]byte, 100+rand.IntN(3000))
			for j := range noise {
				noise[j] = byte('0' + rand.IntN(64))
			}
			if err := b.Append(&record.Record{Message: noise}); err != nil {
				t.Fatal(err)
			}
		}
		put(t, s, "app", b)
		put(t, s, "other", numbered(i, 1, 10))
		now = now.Add(time.Second)
	}
	s.maintenance.Lock() // nothing moves from here on
	defer s.maintenance.Unlock()
	st := s.streams["app"]
	if st.first == 1 || len(st.runs) < 2 {
		t.Fatalf("retention took nothing, or all is in one segment: %d, %d", st.first, len(st.runs))
	}
	for at := uint64(1); at <= st.next; at++ {
		want := Backlog{Stream: st.bytes, Limit: s.limit, Policy: st.policy}
		last := (*segment)(nil)
		for _, r := range st.runs {
			for i := range r.heads {
				h := &r.heads[i]
				if h.next() <= at {
					continue
				}
				if last == nil {
					want.Age = now.Sub(time.Unix(0, h.arrival))
				}
				skip := max(at, h.first) - h.first
				want.Bytes += int64(h.size) - int64(h.size)*int64(skip)/int64(h.count)
				want.Records += uint64(h.count) - skip
				if last == nil {
					last, want.Oldest = r.seg, h == &st.runs[0].heads[0]
				}
			}
		}
		for i := len(s.segments) - 1; i >= 0 && last != nil; i-- {
			want.Held += s.segments[i].size.Load()
			if s.segments[i] == last {
				break
			}
		}
		if got := s.Backlog("app", at); got != want {
			t.Fatalf("at %d: got %+v want %+v", at, got, want)
		}
	}
	if got := s.Backlog("nothing", 1); got.Records != 0 || got.Bytes != 0 {
		t.Errorf("of a stream that is not there: %+v", got)
	}
}
