package config

import (
	"strings"
	"testing"
	"time"
)

// FuzzScalars: sizes and durations that are taken are written so that they are
// taken for the same.
func FuzzScalars(f *testing.F) {
	for _, s := range []string{"64KiB", "1.5 MiB", "8GB", "0", "-1", "9223372036854775807", "1e3", "NaNB", "30d", "1d12h", "250ms", "1.5d", "99999999d", "d", "1h-2h", "15m"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if b, err := ParseBytes(s); err == nil {
			if again, err := ParseBytes(b.String()); err != nil || again != b || b < 0 {
				t.Errorf("%q: %d is written as %q and read as %d, %v", s, b, b, again, err)
			}
		}
		if d, err := ParseDuration(s); err == nil {
			if again, err := ParseDuration(FormatDuration(d)); err != nil || again != d || d < 0 {
				t.Errorf("%q: %d is written as %q and read as %d, %v", s, d, FormatDuration(d), again, err)
			}
		}
	})
}

// FuzzSchema gives the schema that a module carries any text, and a config to
// hold it against: nothing is fetched, and it ends.
func FuzzSchema(f *testing.F) {
	f.Add(`{"type":"object","required":["limit"],"properties":{"limit":{"type":"integer","minimum":1}}}`, "a: {limit: 0}")
	f.Add(`{"$ref":"file:///etc/passwd"}`, "a: 1")
	f.Add(`{"$ref":"#"}`, "a: 1")
	f.Add(`{"$defs":{"x":{"$ref":"#/$defs/x"}},"$ref":"#/$defs/x"}`, "a: [1]")
	f.Add(`{"patternProperties":{"^(a+)+$":false}}`, "a: {aaa: 1}")
	f.Add(`true`, "a: ~")
	f.Fuzz(func(t *testing.T, schema, src string) {
		if len(schema) > 8<<10 || len(src) > 8<<10 {
			return
		}
		s, err := ParseSchema([]byte(schema))
		if err != nil {
			return
		}
		n, ps := ParseLiteral("runnel.yaml", t.TempDir(), []byte(src))
		if n == nil || len(ps) > 0 {
			return
		}
		began := time.Now()
		n.At(&ps).Key("a").CheckSchema(s, n.Key("a") != nil)
		_ = ps.Error()
		if took := time.Since(began); took > 10*time.Second {
			t.Errorf("%q against %q took %s", schema, src, took)
		}
		if said := ps.Error(); strings.Contains(said, "\x1b") {
			t.Errorf("an escape is said: %q", said)
		}
	})
}
