package syslog

import (
	"flag"
	"testing"
	"time"

	"github.com/VictoriaMetrics/metrics"

	"github.com/runnel-log/runnel/agent/inputs"
	"github.com/runnel-log/runnel/agent/inputs/inputtest"
	"github.com/runnel-log/runnel/internal/config"
	"github.com/runnel-log/runnel/internal/listen"
)

var _ = flag.Bool("update", false, "rewrite the want parts of testdata/*.txtar")

// at returns Kind with a clock that stands still: the year of an RFC 3164 time,
// and whether a time is skewed, depend on it.
func at(now time.Time) inputs.Kind {
	k := Kind
	k.New = func(o config.Options, s inputs.Setup) (inputs.Input, error) {
		o.(*Options).now = func() time.Time { return now }
		return Kind.New(o, s)
	}
	return k
}

// captured is shortly after the captures of testdata were made.
var captured = time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)

func TestConformance(t *testing.T) {
	inputtest.Run(t, at(captured), "udp://127.0.0.1:0", "tcp://127.0.0.1:0", "tls://127.0.0.1:0", "unix://$DIR/stream", "unixgram://$DIR/gram")
}

func TestSampleIsTheDefault(t *testing.T) {
	got := inputtest.Options(t, Kind, t.TempDir(), Kind.Sample).(*Options)
	want := newOptions()
	if got.Format != want.Format || got.MaxMessage != want.MaxMessage || got.Timezone != want.Timezone ||
		got.MaxConnections != want.MaxConnections || len(got.Allow) != 0 || got.TLS != nil {
		t.Errorf("sample.yaml says %+v, the defaults are %+v", got, want)
	}
}

func newSockets(t *testing.T) *listen.Sockets {
	t.Helper()
	s := listen.NewSockets()
	t.Cleanup(func() { s.Close() })
	return s
}

func newSet() *metrics.Set { return metrics.NewSet() }
