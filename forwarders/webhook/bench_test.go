package webhook

import (
	"io"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/runnel-log/runnel/forwarders/forwardertest"
)

// go test ./forwarders/webhook -run - -bench . -benchtime 2s
//
// The server is in the same process and reads without looking.
func BenchmarkDeliver(b *testing.B) {
	s := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { io.Copy(io.Discard, r.Body) }))
	defer s.Close()
	b.Run("ndjson", func(b *testing.B) { forwardertest.Bench(b, forwardertest.New(b, Kind, options(s.URL, nil))) })
	b.Run("gzip", func(b *testing.B) {
		forwardertest.Bench(b, forwardertest.New(b, Kind, options(s.URL, func(o *Options) { o.Gzip = true })))
	})
}
