package agent

import (
	"testing"

	"github.com/VictoriaMetrics/metrics"

	"github.com/runnel-log/runnel/record"
	"github.com/runnel-log/runnel/storage"
)

// BenchmarkPipeline takes batches of 256 records through a pipeline and its store
// as an input at full rate does. Of one that drops everything it says what the
// ledger costs; it says nothing of a sender that waits.
//
//	go test ./agent -run - -bench Pipeline -benchtime 2s
func BenchmarkPipeline(b *testing.B) {
	for _, when := range []string{`message contains "2"`, `message contains "nothing"`, `message contains "message"`} {
		b.Run(when, func(b *testing.B) {
			store, err := storage.Open(storage.Options{Dir: b.TempDir(), MaxSize: 4 << 30})
			if err != nil {
				b.Fatal(err)
			}
			defer store.Close()
			c := PipelineConfig{Name: "main", Stream: "app", Steps: []StepConfig{{Drop: condition(b, when)}}}
			p, err := newPipeline(c, nil, newPipelineCounts(metrics.NewSet(), "main"), newStates("main"))
			if err != nil {
				b.Fatal(err)
			}
			template := batchOf(b, numbered(0, 256)...)
			b.ReportAllocs()
			for b.Loop() {
				batch := record.NewBatch()
				batch.AppendBatch(template, 0, template.Len())
				if _, err := p.emit(b.Context(), store, batch, extra{}); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
