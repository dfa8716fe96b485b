package stdout

import (
	"strings"
	"testing"

	"github.com/runnel-log/runnel/forwarders/forwardertest"
)

func TestSampleIsTheDefault(t *testing.T) {
	forwardertest.Sample(t, Kind, strings.NewReplacer())
}

func TestConfigErrors(t *testing.T) {
	forwardertest.ConfigErrors(t, Kind, map[string]string{
		"format: xml": "format: text, json or raw",
		"path: a":     "path: is not a key",
	})
}
