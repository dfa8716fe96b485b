package relay

import (
	"fmt"
	"strings"
	"testing"

	"github.com/runnel-log/runnel/agent/inputs/inputtest"
	"github.com/runnel-log/runnel/internal/relaywire"
	"github.com/runnel-log/runnel/record"
)

// BenchmarkFrames is what the input itself does to a record of 300 bytes, from the socket to
// the pipeline: of the line that it comes along (direct), or of one of several agents' (passed on).
// It does not include the pipeline, the store, or TLS.
//
//	go test ./agent/inputs/relay -run - -bench Frames
func BenchmarkFrames(b *testing.B) {
	const records = 512
	run := func(name string, origins int) {
		b.Run(name, func(b *testing.B) {
			r := inputtest.Start(b, Kind, "", plain, inputtest.Setup{Sink: inputtest.NewCounter()})
			c := dial(b, r, host)
			c.ask("app", forever)
			message := strings.Repeat("some words of a log ", 15)
			b.ReportAllocs()
			b.SetBytes(records * int64(len(message)))
			at := uint64(1)
			for b.Loop() {
				b.StopTimer()
				texts := make([]string, records)
				for i := range texts {
					texts[i] = fmt.Sprintf("%d %s", i, message[:280])
				}
				d := c.frame("app", at, batch(texts, nil))
				if origins > 0 {
					d = c.frame("app", at, passedOn(texts, at, origins))
					c.number--
					d.Number = c.number
				}
				wire := relaywire.Append(nil, d)
				b.StartTimer()
				if _, err := c.Write(wire); err != nil {
					b.Fatal(err)
				}
				c.acked(c.number)
				at += records
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*records), "ns/record")
		})
	}
	run("direct", 0)
	run("passed on of 1", 1)
	run("passed on of 100", 100)
}

// passedOn returns records of several agents in turn, as a relay passes them on.
func passedOn(texts []string, at uint64, agents int) *record.Batch {
	return batch(texts, func(i int, r *record.Record) {
		of := relaywire.Writer{Agent: relaywire.Agent{20, byte((at + uint64(i)) % uint64(agents))}, Epoch: 1}
		from(of, "app", (at+uint64(i))/uint64(agents)-uint64(i))(i, r)
	})
}
