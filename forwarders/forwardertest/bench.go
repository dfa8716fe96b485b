package forwardertest

import (
	"runtime"
	"strings"
	"testing"

	"github.com/runnel-log/runnel/forwarders"
	"github.com/runnel-log/runnel/record"
)

// Bench delivers full batches of 300-byte records with up to eight Acks open.
// It reports the time of one record, and the processor time of the delivering
// thread, which over loopback includes the kernel's work for the receiver.
func Bench(b *testing.B, f forwarders.Forwarder) {
	b.Helper()
	text := strings.Repeat("GET /api/v1/items 200 12ms ", 10)[:220]
	batch := Batch(b, "app", 1, record.BatchRecords+1, func(uint64) string { return text })
	b.SetBytes(record.BatchRecords * 300)
	b.ReportAllocs()
	var open []forwarders.Ack
	settle := func() {
		if ack := open[0]; ack != nil {
			if _, err := ack.Wait(b.Context()); err != nil {
				b.Fatal(err)
			}
		}
		open = append(open[:0], open[1:]...)
	}
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	began := threadCPU()
	for b.Loop() {
		if len(open) == 8 {
			settle()
		}
		ack, err := f.Deliver(b.Context(), batch)
		if err != nil {
			b.Fatal(err)
		}
		open = append(open, ack)
	}
	for len(open) > 0 {
		settle()
	}
	used := threadCPU() - began
	b.ReportMetric(float64(used.Nanoseconds())/float64(b.N)/record.BatchRecords, "cpu-ns/record")
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/record.BatchRecords, "ns/record")
}
