package query

import (
	"context"
	"fmt"
	"io"
	"testing"
	"time"

	"github.com/VictoriaMetrics/metrics"
	"github.com/rs/zerolog"

	"github.com/runnel-log/runnel/record"
)

func fuzzOptions(m Source) Options {
	return Options{Source: m, Host: &fakeHost{moved: map[string]uint64{}}, Open: true, Metrics: metrics.NewSet(), Log: zerolog.Nop(),
		QueryTime: time.Minute, ScanBytes: 1 << 40}
}

// endless is a Source of one stream that repeats one block, as large as a real
// store without its memory.
type endless struct {
	batch  record.Batch
	blocks uint64
}

func newEndless(b *testing.B, records uint64) *endless {
	e := &endless{blocks: records / record.BatchRecords}
	for i := range record.BatchRecords {
		r := line(fmt.Sprintf(`10.0.%d.%d - - "GET /api/v1/items/%d HTTP/1.1" 200 %d "-" "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/120.0 Safari/537.36" rt=0.%03d ua=%d`,
			i%250, i%200, i*7919, i*31, i%1000, i), int64(i))
		r.Host, r.App, r.ProcID = []byte("web-17"), []byte("nginx"), []byte("2833")
		r.Input, r.Peer = []byte("docker"), []byte("127.0.0.1")
		if err := e.batch.Append(&r); err != nil {
			b.Fatal(err)
		}
	}
	return e
}

func (e *endless) Streams() []Stream {
	return []Stream{{Name: "app", First: 1, Next: 1 + e.blocks*record.BatchRecords}}
}

func (e *endless) Head(_ string, at uint64) (Head, bool) {
	i := (at - 1) / record.BatchRecords
	t := int64(i) * 1e9
	return Head{First: 1 + i*record.BatchRecords, Next: 1 + (i+1)*record.BatchRecords, MinTime: t, MaxTime: t + 1e9 - 1,
		MinReceived: t, MaxReceived: t + 1e9 - 1, Bytes: e.batch.Size()}, i < e.blocks
}

func (e *endless) Read(_ string, at uint64, b *record.Batch) (uint64, uint32, error) {
	i := (at - 1) / record.BatchRecords
	if i >= e.blocks {
		return 0, 0, io.EOF
	}
	b.Reset()
	b.AppendBatch(&e.batch, 0, e.batch.Len())
	return 1 + i*record.BatchRecords, 1, nil
}

func (e *endless) Changed() <-chan struct{}     { return nil }
func (e *endless) Identity() ([16]byte, uint32) { return [16]byte{1}, 1 }

// ask runs one question to its end and returns the bytes it read.
func (e *endless) ask(b *testing.B, s *Server, query params, limit int) int64 {
	b.Helper()
	q, err := s.ask(query, true, limit, "")
	if err != nil {
		b.Fatal(err)
	}
	defer q.scan.close()
	if _, complete := s.take(context.Background(), q.scan, limit); !complete && q.scan.room > 0 {
		b.Fatal("not read to the end")
	}
	return q.scan.bytes
}

// BenchmarkScan reads 200 000 records of 300 bytes for something. It does not
// include the store's own part: reading a block costs one copy here.
//
//	go test -run '^$' -bench Scan ./agent/query
func BenchmarkScan(b *testing.B) {
	f := func(name string, values map[string]string) {
		b.Run(name, func(b *testing.B) {
			e := newEndless(b, 200_000)
			s := New(fuzzOptions(e))
			b.ReportAllocs()
			for b.Loop() {
				b.SetBytes(e.ask(b, s, params{values: values}, maxLimit))
			}
		})
	}
	f("rare word", map[string]string{"grep": "items/no-such-item"})
	f("word in every block", map[string]string{"grep": "items/395950 ", "filter": "severity == 1"})
	f("filter", map[string]string{"filter": `severity <= "err" and app == "nginx"`})
	f("time only", map[string]string{"from": "390", "filter": "severity == 1"})
}

// BenchmarkNewest asks for the newest 100 of 10 million records, as the handler does.
//
//	go test -run '^$' -bench Newest ./agent/query
func BenchmarkNewest(b *testing.B) {
	e := newEndless(b, 10_000_000)
	s := New(fuzzOptions(e))
	b.ReportAllocs()
	for b.Loop() {
		e.ask(b, s, params{values: map[string]string{}}, 100)
	}
}

// BenchmarkNewestOfAnHour is BenchmarkNewest with a range of time that lies at
// the old end, so that every head has to be looked at.
func BenchmarkNewestOfAnHour(b *testing.B) {
	e := newEndless(b, 10_000_000)
	s := New(fuzzOptions(e))
	b.ReportAllocs()
	for b.Loop() {
		e.ask(b, s, params{values: map[string]string{"to": "3600"}}, 100)
	}
}
