package file

import (
	"strings"
	"testing"

	"github.com/runnel-log/runnel/forwarders/forwardertest"
)

func TestSampleIsTheDefault(t *testing.T) {
	forwardertest.Sample(t, Kind, strings.NewReplacer("/var/log/runnel/app.log", "app.log"), "path")
}

func TestConfigErrors(t *testing.T) {
	forwardertest.ConfigErrors(t, Kind, map[string]string{
		"path: a/b.log":                    `path: does not exist; make it`,
		"path: /":                          "path: is not a regular file",
		"path: /dev/null":                  "path: use type stdout",
		"format: json":                     "path: is missing",
		"path: a\nformat: xml":             "format: json",
		"path: a\nmax_size: 1KiB":          "max_size: write 64KiB or more",
		"path: a\nkeep: -1":                "keep: write 0 to 1000",
		"path: a\nkeep: 100000":            "keep: write 0 to 1000",
		"path: a\nfile: b":                 "file: ",
		"path: a\nmax_sise: 1MiB\nkeep: 3": "max_sise: did you mean max_size?",
	})
}
