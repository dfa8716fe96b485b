package relay

import (
	"testing"

	"github.com/runnel-log/runnel/internal/config"
)

func TestCheckSaysWhatIsWrong(t *testing.T) {
	f := func(section string, want ...string) *Options {
		t.Helper()
		n, ps := config.ParseIn("runnel.yaml", t.TempDir(), []byte(section))
		if len(ps) > 0 {
			t.Fatal(ps)
		}
		o := newOptions()
		config.Decode(n, o, &ps)
		if len(ps) != len(want) {
			t.Errorf("%s\n got %v\nwant %q", section, ps, want)
			return o
		}
		for i, p := range ps {
			if got := p.Path + ": " + p.Text; got != want[i] {
				t.Errorf("%s\n got %s\nwant %s", section, got, want[i])
			}
		}
		return o
	}
	f("listen: tcp://127.0.0.1:6515")
	f("relays: [a]", "listen: is missing; write listen: […]")
	f("listen: []", "listen: is empty; write an address such as tls://0.0.0.0:6515")
	f("listen: 0.0.0.0:6515", `listen: "0.0.0.0:6515" has no scheme; write "tls://0.0.0.0:6515"`)
	f("listen: tls://0.0.0.0", `listen: "tls://0.0.0.0" has no port; write "tls://0.0.0.0:6515"`)
	f("listen: 6515", `listen: "6515" has no scheme; write "tls://:6515" to listen everywhere`)
	f("listen: unix:///s\nmax_inflight: 8MiB\ncredit: 9MiB", "credit: 9MiB is more than max_inflight, 8MiB, which all connections share; write less")
	if o := f("listen: unix:///s\nmax_inflight: 8MiB"); o.Credit != 8<<20 {
		t.Errorf("a credit of %s within max_inflight: 8MiB", o.Credit)
	}
}
