package listen

import "testing"

// FuzzParse: what is taken for an address is written as one that is the same.
func FuzzParse(f *testing.F) {
	for _, url := range []string{"tcp://127.0.0.1:514", "tls://[::1]:6514", "udp://:514", "unix:///run/log.sock?mode=0660", "unixgram://x",
		"tcp://[fe80::1%eth0]:1", "tcp://a:b:1", "unix://?mode=1", "udp:514", "tcp://*:1", ""} {
		f.Add(url)
	}
	f.Fuzz(func(t *testing.T, url string) {
		_, _ = ParseNetwork(url)
		a, err := Parse(url)
		if err != nil {
			return
		}
		if again, err := Parse(a.String()); err != nil || again != a {
			t.Errorf("%q: %+v is written as %q and read as %+v, %v", url, a, a.String(), again, err)
		}
		_ = a.Key()
		_ = a.IsLocal()
	})
}

// FuzzNetwork: what is taken for a network is masked, so that two spellings are one.
func FuzzNetwork(f *testing.F) {
	for _, s := range []string{"10.0.0.0/8", "192.0.2.7", "::ffff:10.0.0.1", "fe80::1%eth0", "10.0.0.1/33", "2001:db8::/32", "::/0"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		p, err := ParseNetwork(s)
		if err != nil {
			return
		}
		if again, err := ParseNetwork(p.String()); err != nil || again != p || p != p.Masked() {
			t.Errorf("%q: %v is read as %v, %v", s, p, again, err)
		}
	})
}
