package record

import (
	"bytes"
	"testing"
)

// Run all of these with
//
//	go test ./record -run=^$ -bench=. -count=6
//
// They measure one core with warm caches and one shape of record; they say
// nothing about the agent as a whole.

// longSample is a record of about 300 encoded bytes.
func longSample() *Record {
	r := sample()
	r.Message = []byte(`10.0.0.7 - - [22/Nov/2026:10:07:05 +0000] "GET /api/v1/orders/8812 HTTP/1.1" 200 5123 "-" "curl/8.5.0"`)
	r.Agent = []byte("vm-17")
	r.Attrs.SetString("path", "/api/v1/orders/8812")
	return r
}

const flatObject = `{"time":"2026-11-22T10:07:05.143147Z","level":"info","msg":"request served in time","method":"GET",` +
	`"path":"/api/v1/orders/8812","status":200,"took":12.53,"user":{"id":88123,"admin":false}}`

const flatLogfmt = `time=2026-11-22T10:07:05.143147Z level=info msg="request served in time" method=GET ` +
	`path=/api/v1/orders/8812 status=200 took=12.53 user.id=88123 user.admin=false`

func BenchmarkAppend(b *testing.B) {
	r, batch := longSample(), new(Batch)
	b.ReportAllocs()
	for b.Loop() {
		if batch.Full() {
			batch.Reset()
		}
		if err := batch.Append(r); err != nil {
			b.Fatal(err)
		}
	}
	b.SetBytes(int64(len(batch.At(0))))
}

func BenchmarkAppendRouted(b *testing.B) {
	v, batch := encode(b, longSample()), new(Batch)
	b.ReportAllocs()
	b.SetBytes(int64(len(v)))
	for b.Loop() {
		if batch.Full() {
			batch.Reset()
		}
		if err := batch.AppendRouted(v, "errors"); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkDecode(b *testing.B) {
	var batch Batch
	for range 256 {
		if err := batch.Append(longSample()); err != nil {
			b.Fatal(err)
		}
	}
	p := bytes.Clone(batch.Bytes())
	var into Batch
	b.ReportAllocs()
	b.SetBytes(int64(len(p)))
	for b.Loop() {
		if err := into.Decode(p); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/256, "ns/record")
}

func BenchmarkAppendJSON(b *testing.B) {
	v := encode(b, longSample())
	var dst []byte
	b.ReportAllocs()
	b.SetBytes(int64(len(v)))
	for b.Loop() {
		dst = AppendJSON(dst[:0], v, sampleMeta)
	}
}

func BenchmarkAppendText(b *testing.B) {
	v := encode(b, longSample())
	var dst []byte
	b.ReportAllocs()
	b.SetBytes(int64(len(v)))
	for b.Loop() {
		dst = AppendText(dst[:0], v, sampleMeta, TextOptions{Terminal: true})
	}
}

func BenchmarkParseJSON(b *testing.B) {
	p := AppendJSON(nil, encode(b, longSample()), sampleMeta)
	var r Record
	b.ReportAllocs()
	b.SetBytes(int64(len(p)))
	for b.Loop() {
		if err := ParseJSON(p, &r); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkFlattenJSON(b *testing.B) {
	msg := []byte(flatObject)
	var a Attrs
	b.ReportAllocs()
	b.SetBytes(int64(len(msg)))
	for b.Loop() {
		a.Reset()
		if ok, _ := FlattenJSON(msg, &a, FlattenOptions{}); !ok {
			b.Fatal("refused")
		}
	}
}

func BenchmarkParseLogfmt(b *testing.B) {
	msg := []byte(flatLogfmt)
	var a Attrs
	b.ReportAllocs()
	b.SetBytes(int64(len(msg)))
	for b.Loop() {
		a.Reset()
		if !ParseLogfmt(msg, &a) {
			b.Fatal("refused")
		}
	}
}

// BenchmarkFlattenBomb is what a hostile sender can make one message cost.
func BenchmarkFlattenBomb(b *testing.B) {
	msg := append([]byte(`{"a":`), bytes.Repeat([]byte("["), 100_000)...)
	var a Attrs
	b.ReportAllocs()
	for b.Loop() {
		if ok, _ := FlattenJSON(msg, &a, FlattenOptions{}); ok {
			b.Fatal("taken")
		}
	}
}
