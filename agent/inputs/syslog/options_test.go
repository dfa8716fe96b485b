package syslog

import (
	"testing"

	"github.com/runnel-log/runnel/internal/config"
)

func TestCheckSaysWhatIsWrong(t *testing.T) {
	f := func(section string, want ...string) {
		t.Helper()
		n, ps := config.ParseIn("runnel.yaml", t.TempDir(), []byte(section))
		if len(ps) > 0 {
			t.Fatal(ps)
		}
		config.Decode(n, newOptions(), &ps)
		if len(ps) != len(want) {
			t.Errorf("%s\n got %v\nwant %q", section, ps, want)
			return
		}
		for i, p := range ps {
			if got := p.Path + ": " + p.Text; got != want[i] {
				t.Errorf("%s\n got %s\nwant %s", section, got, want[i])
			}
		}
	}
	f("listen: udp://:514")
	f("listen: [udp://:514, tcp://:514, unix:///run/a, unixgram:///dev/log?mode=0666]\nallow: [10.0.0.0/8, 192.0.2.7, '2001:db8::/32']\ntimezone: Europe/Paris")
	f("format: auto", `listen: is missing; write listen: […]`)
	f("listen: []", `listen: is empty; write an address such as udp://127.0.0.1:514`)
	f("listen: udp:514", `listen: "udp:514" has no host part; write "udp://:514" to listen everywhere`)
	f("listen: [tcp://:514, udp:514]", `listen[1]: "udp:514" has no host part; write "udp://:514" to listen everywhere`)
	f("listen: [udp://:514, udp://:514]", `listen[1]: "udp://:514" is there twice; remove one`)
	f("listen: [tls://:514, tcp://:514]", `listen[0]: "tls://:514" needs a certificate; write tls: {cert: FILE, key: FILE} beside listen`,
		`listen[1]: "tcp://:514" is there twice; remove one`)
	f("listen: tls://:6514", `listen: "tls://:6514" needs a certificate; write tls: {cert: FILE, key: FILE} beside listen`)
	f("listen: udp://:514\nformat: rfc3146", `format: "rfc3146" is not known; write rfc3164`)
	f("listen: udp://:514\nmax_message: 100", `max_message: 100 is out of bounds; write a size from 480 to 16MiB`)
	f("listen: udp://:514\nmax_message: 1GiB", `max_message: 1GiB is out of bounds; write a size from 480 to 16MiB`)
	f("listen: udp://:514\ntimezone: Paris", `timezone: "Paris" is not a zone this host knows; write local, UTC or a name such as Europe/Paris`)
	f("listen: udp://:514\nallow: [10.0.0.0/33]", `allow[0]: "10.0.0.0/33" is not a network; write one such as 10.0.0.0/8 or 192.0.2.7`)
	f("listen: udp://:514\nallow: example.org", `allow: "example.org" is not a network; write one such as 10.0.0.0/8 or 192.0.2.7`)
	f("listen: udp://:514\nmax_connections: 0", `max_connections: 0 is out of bounds; write a number from 1 to 1048576`)
	f("listen: udp://:514\nrate: {records: 1000, per: 10s}")
	f("listen: udp://:514\nrate: {records: -1, per: 0s}", `rate.records: -1 is no number of records; write 1 to 1000000000, or 0 for no bound`,
		`rate.per: 0s is no time to count in; write 1ms to 24h`)
	f("listen: udp://:514\nlisten_on: x", `listen_on: is not a key here; did you mean listen?`)
}
