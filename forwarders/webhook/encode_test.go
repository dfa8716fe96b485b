package webhook

import (
	"bytes"
	"io"
	"strings"
	"testing"

	"github.com/klauspost/compress/gzip"

	"github.com/runnel-log/runnel/forwarders/forwardertest"
)

func TestBodies(t *testing.T) {
	b := forwardertest.Samples(t)
	ndjson, array := encoder{body: bodyNDJSON}, encoder{body: bodyJSON}
	forwardertest.Golden(t, "ndjson.golden", ndjson.batch(b, "vm-17"))
	forwardertest.Golden(t, "json.golden", array.batch(b, "vm-17"))
	meta := b.Meta("vm-17")
	meta.Offset = 2
	single := encoder{body: bodySingle}
	forwardertest.Golden(t, "single.golden", single.record(b.Records.At(1), meta))
}

func TestGzipHoldsTheSame(t *testing.T) {
	b := forwardertest.Samples(t)
	plain, packed := encoder{body: bodyNDJSON}, encoder{body: bodyNDJSON, gzip: true}
	for range 2 { // the second reuses the writer
		z, err := gzip.NewReader(bytes.NewReader(packed.batch(b, "vm-17")))
		if err != nil {
			t.Fatal(err)
		}
		got, err := io.ReadAll(z)
		if want := plain.batch(b, "vm-17"); err != nil || !bytes.Equal(got, want) {
			t.Errorf("unpacked %q, %v, want %q", got, err, want)
		}
	}
}

func TestSampleIsTheDefault(t *testing.T) {
	forwardertest.Sample(t, Kind, strings.NewReplacer(), "url", "tls.min_version")
}

func TestConfigErrors(t *testing.T) {
	const url = "url: https://example.org/\n"
	t.Setenv("RUNNEL_TEST_LINES", "a\nX: b")
	forwardertest.ConfigErrors(t, Kind, map[string]string{
		"body: json":                                   "url: is missing",
		"url: example.org":                             `url: has the scheme ""; write http:// or https://`,
		"url: ftp://example.org":                       `url: has the scheme "ftp"`,
		"url: https:///path":                           "url: names no host",
		"url: https://me:secret@example.org":           "url: holds a name or password",
		"url: http://169.254.169.254/latest":           "url: is a link-local or cloud metadata address",
		"url: http://[fe80::1%25eth0]/":                "url: is a link-local or cloud metadata address",
		"url: http://10.0.0.1/\nallow_private: false":  "url: allow_private is false",
		url + "method: GET":                            "method: POST, PUT or PATCH",
		url + "body: xml":                              "body: ndjson, json or single",
		url + "headers: {Host: x}":                     "headers.Host: is set by runnel itself",
		url + "headers: {X Y: x}":                      "headers.\"X Y\": is no name for a header",
		url + `headers: {X: "a\r\nY: b"}`:              "headers.X: holds a line end",
		url + `headers: {X: "a\0b"}`:                   "headers.X: holds a line end",
		url + "headers: {X: {env: RUNNEL_TEST_LINES}}": "headers.X: holds a line end",
		url + "headers: {X: {env: RUNNEL_NOT_SET}}":    "headers.X.env: is not set",
		url + "batch: {records: 0}":                    "batch.records: write 1 to 100000",
		url + "batch: {bytes: 1GiB}":                   "batch.bytes: write at most 64MiB",
		url + "batch: {wait: 2h}":                      "batch.wait: write 0s to 1h",
		url + "batch: {size: 3}":                       "batch.size: is not a key here",
		url + "timeout: 0s":                            "timeout: write 1s to 1h",
		url + "tls: {cert: nowhere.pem}":               "tls.cert: needs its key",
	})
}
