package syslog

import "testing"

func TestRecordsWithinAcknowledgedBytes(t *testing.T) {
	clear := ack{start: 1000, end: 1300, ends: []int{100, 150, 300}}
	under := ack{start: 1000, end: 1400, ends: []int{100, 150, 300}, marks: []mark{{plain: 120, sent: 1150}, {plain: 300, sent: 1400}}}
	f := func(a *ack, acked uint64, want int) {
		t.Helper()
		if got := a.records(acked); got != want {
			t.Errorf("%d bytes acknowledged: %d records, want %d", acked, got, want)
		}
	}
	f(&clear, 0, 0)
	f(&clear, 1000, 0)
	f(&clear, 1099, 0)
	f(&clear, 1100, 1)
	f(&clear, 1149, 1)
	f(&clear, 1150, 2)
	f(&clear, 1299, 2)
	f(&clear, 1300, 3)
	f(&clear, 9999, 3)
	f(&under, 1149, 0)
	f(&under, 1150, 1)
	f(&under, 1399, 1)
	f(&under, 1400, 3)
	f(&under, 9999, 3)
	cut := ack{start: 1000, end: 1120, ends: []int{100, 150, 300}} // the write failed after 120 bytes
	f(&cut, 9999, 1)
}
