package forwarders_test

import (
	"testing"

	"github.com/runnel-log/runnel/forwarders"
	"github.com/runnel-log/runnel/forwarders/forwardertest"
)

func TestLines(t *testing.T) {
	for _, format := range []string{forwarders.JSON, forwarders.Text, forwarders.Raw} {
		l := forwarders.Lines{Format: format}
		forwardertest.Golden(t, format+".golden", l.Append(nil, forwardertest.Samples(t), "vm-17"))
	}
}
