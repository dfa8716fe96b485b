package file

import (
	"path/filepath"
	"testing"

	"github.com/runnel-log/runnel/forwarders"
	"github.com/runnel-log/runnel/forwarders/forwardertest"
)

// go test ./forwarders/file -run - -bench . -benchtime 2s
//
// Eight batches share a sync: this measures the disk of the test's directory as
// much as the code.
func BenchmarkDeliver(b *testing.B) {
	for _, format := range []string{forwarders.JSON, forwarders.Raw} {
		b.Run(format, func(b *testing.B) {
			path := filepath.Join(b.TempDir(), "app.log")
			forwardertest.Bench(b, forwardertest.New(b, Kind, &Options{Path: path, Format: format, MaxSize: 256 << 20, Keep: 1}))
		})
	}
}
