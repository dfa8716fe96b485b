package stdout

import (
	"strings"
	"testing"

	"github.com/runnel-log/runnel/forwarders/forwardertest"
)

func TestLines(t *testing.T) {
	for _, format := range []string{formatJSON, formatText, formatRaw} {
		e := encoder{format: format}
		forwardertest.Golden(t, format+".golden", e.append(nil, forwardertest.Samples(t), "vm-17"))
	}
}

func TestSampleIsTheDefault(t *testing.T) {
	forwardertest.Sample(t, Kind, strings.NewReplacer())
}

func TestConfigErrors(t *testing.T) {
	forwardertest.ConfigErrors(t, Kind, map[string]string{
		"format: xml": "format: text, json or raw",
		"path: a":     "path: is not a key",
	})
}
