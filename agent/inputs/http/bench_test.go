package http

import (
	"fmt"
	"testing"

	"github.com/runnel-log/runnel/record"
)

// benchBody is n records as `runnel query` and the webhook write them.
func benchBody(n int) (body []byte) {
	for i := range n {
		body = fmt.Appendf(body, `{"time":"2026-11-22T10:07:05.143147Z","received":"2026-11-22T10:07:05.1441475Z","facility":3,"severity":6,"host":"vm","app":"nginx","procid":"2833","message":"10.0.0.7 - - \"GET /item/%d HTTP/1.1\" 200 1234"}`+"\n", i)
	}
	return body
}

// go test ./agent/inputs/http -run - -bench Decode
//
// Decoding alone: no connection, no pipeline, no disk.
func BenchmarkDecode(b *testing.B) {
	foreign := make([]byte, 0, 1<<20)
	plain := make([]byte, 0, 1<<20)
	for i := range 1000 {
		foreign = fmt.Appendf(foreign, `{"log":"10.0.0.7 - - GET /item/%d HTTP/1.1 200 1234\n","stream":"stdout","time":"2026-11-22T10:07:05.143147Z","kubernetes":{"pod":"a"}}`+"\n", i)
		plain = fmt.Appendf(plain, "10.0.0.7 - - GET /item/%d HTTP/1.1 200 1234\n", i)
	}
	for _, c := range []struct {
		name string
		what media
		body []byte
	}{{"own", mediaNDJSON, benchBody(1000)}, {"foreign", mediaNDJSON, foreign}, {"text", mediaText, plain}} {
		b.Run(c.name, func(b *testing.B) {
			b.SetBytes(int64(len(c.body)))
			b.ReportAllocs()
			d := decoder{batch: record.NewBatch(), limit: 64 << 20, max: 1 << 20, fill: func(*record.Record) {}}
			for b.Loop() {
				d.batch.Reset()
				if err := d.decode(c.what, c.body); err != nil || d.batch.Len() != 1000 {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/1000, "ns/record")
		})
	}
}
