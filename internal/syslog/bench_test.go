package syslog

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"github.com/runnel-log/runnel/record"
)

// Messages of 300 bytes, of one second: what one busy connection sends. They
// must not be used to claim what mixed, hostile or unparsable input costs.
var (
	msg5424SD = pad(`<165>1 2026-11-22T11:14:15.003123Z mymachine.example.com evntslog 1234 ID47 [exampleSDID@32473 iut="3" eventSource="Application" eventID="1011"] An application event`)
	msg5424   = pad(`<30>1 2026-11-22T11:15:07.255024Z vm 84250f1b99dd 2833 84250f1b99dd - GET /index.html`)
	msg3164   = pad(`<30>Nov 22 11:14:58 vm 84250f1b99dd[2833]: GET /index.html`)
	msgDocker = pad(`<30>Nov 22 11:14:57 84250f1b99dd[2833]: GET /index.html`)
)

func pad(s string) string { return s + strings.Repeat("x", 300-len(s)) }

func benchmarkParse(b *testing.B, msg string) {
	p := parserAt(moment, time.UTC)
	var r record.Record
	m := []byte(msg)
	b.SetBytes(int64(len(m)))
	b.ReportAllocs()
	for b.Loop() {
		p.Parse(m, &r)
	}
}

// go test ./internal/syslog -run '^$' -bench Parse -count 6
func BenchmarkParse5424SD(b *testing.B)   { benchmarkParse(b, msg5424SD) }
func BenchmarkParse5424(b *testing.B)     { benchmarkParse(b, msg5424) }
func BenchmarkParse3164(b *testing.B)     { benchmarkParse(b, msg3164) }
func BenchmarkParseDocker(b *testing.B)   { benchmarkParse(b, msgDocker) }
func BenchmarkParseNoHeader(b *testing.B) { benchmarkParse(b, pad("<14>hello")) }

// BenchmarkParseNewSecond is the cost of a time that was not just read.
//
// go test ./internal/syslog -run '^$' -bench ParseNewSecond -count 6
func BenchmarkParseNewSecond(b *testing.B) {
	for name, msg := range map[string]string{"5424": msg5424, "3164": msg3164} {
		b.Run(name, func(b *testing.B) {
			p := parserAt(moment, time.UTC)
			var r record.Record
			m := []byte(msg)
			at := strings.Index(msg, "11:1") + 7
			b.ReportAllocs()
			for i := 0; b.Loop(); i++ {
				m[at] = byte('0' + i%10)
				p.Parse(m, &r)
			}
		})
	}
}

// cycle reads data over and over.
type cycle struct {
	data []byte
	at   int
}

func (c *cycle) Read(p []byte) (int, error) {
	n := copy(p, c.data[c.at:])
	c.at = (c.at + n) % len(c.data)
	return n, nil
}

// BenchmarkFramer is one frame of 300 bytes, reading from memory.
//
// go test ./internal/syslog -run '^$' -bench Framer -count 6
func BenchmarkFramer(b *testing.B) {
	for name, frame := range map[string][]byte{
		"lf":    AppendLF(nil, []byte(msg5424)),
		"octet": AppendOctet(nil, []byte(msg5424)),
	} {
		b.Run(name, func(b *testing.B) {
			data := bytes.Repeat(frame, largeBuffer/len(frame))
			f := NewFramer(&cycle{data: data}, 1<<20)
			b.SetBytes(int64(len(frame)))
			b.ReportAllocs()
			for b.Loop() {
				if _, _, err := f.Next(); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// BenchmarkEncode is one message of 300 bytes of a second that was just written,
// without framing.
//
// go test ./internal/syslog -run '^$' -bench Encode -count 6
func BenchmarkEncode(b *testing.B) {
	for name, msg := range map[string]string{"5424": msg5424, "5424SD": msg5424SD} {
		b.Run(name, func(b *testing.B) {
			v := viewOf(b, msg)
			var dst []byte
			var e Encoder
			b.SetBytes(int64(len(msg)))
			b.ReportAllocs()
			for b.Loop() {
				dst = e.Append5424(dst[:0], v)
			}
		})
	}
	b.Run("3164", func(b *testing.B) {
		v := viewOf(b, msg3164)
		var dst []byte
		var e Encoder
		b.ReportAllocs()
		for b.Loop() {
			dst = e.Append3164(dst[:0], v, time.UTC)
		}
	})
}

func viewOf(tb testing.TB, msg string) record.View {
	tb.Helper()
	var r record.Record
	r.Reset()
	parserAt(moment, time.UTC).Parse([]byte(msg), &r)
	return encoded(tb, &r)
}

func encoded(tb testing.TB, r *record.Record) record.View {
	tb.Helper()
	var b record.Batch
	if err := b.Append(r); err != nil {
		tb.Fatal(err)
	}
	return b.At(0)
}
