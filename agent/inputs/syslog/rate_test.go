package syslog

import (
	"bytes"
	"fmt"
	"net/netip"
	"testing"
	"time"

	"github.com/runnel-log/runnel/agent/inputs/inputtest"
	"github.com/runnel-log/runnel/record"
)

func TestASourceHasItsShare(t *testing.T) {
	r := newRates(Rate{Records: 100, Per: time.Second})
	addr := netip.MustParseAddr("192.0.2.1")
	one, same, other := r.share(addr, false), r.share(addr, false), r.share(netip.MustParseAddr("192.0.2.2"), false)
	if one != same || one == other || r.share(addr, true) == one {
		t.Fatal("a machine has one share, another another, and a local connection its own")
	}
	a, b, c := netip.MustParseAddr("2001:db8::1"), netip.MustParseAddr("2001:db8::2"), netip.MustParseAddr("2001:db8:0:1::1")
	if r.share(a, false) != r.share(b, false) || r.share(a, false) == r.share(c, false) {
		t.Fatal("a machine with IPv6 has a /64")
	}
	now := captured
	f := func(what string, s *share, n, want int, later time.Duration) {
		t.Helper()
		now = now.Add(later)
		got := 0
		for range n {
			if s.take(now.UnixNano()) {
				got++
			}
		}
		if got != want {
			t.Errorf("%s: took %d of %d, want %d", what, got, n, want)
		}
	}
	f("as many as may be", one, 100, 100, 0)
	f("one more", same, 1, 0, 0)
	f("a million more", same, 1_000_000, 0, 0)
	f("another machine", other, 100, 100, 0)
	f("half a second later", one, 1000, 50, time.Second/2)
	f("an hour later", one, 1000, 100, time.Hour)
	f("the clock goes back", one, 1000, 0, -time.Hour)
	f("and on", one, 1000, 100, time.Second)
	if s := newRates(Rate{Per: time.Second}).share(addr, false); s != nil || !s.take(0) {
		t.Error("no bound bounds")
	}
	for i := range uint32(3 * maxSources) {
		r.share(netip.AddrFrom4([4]byte{10, byte(i >> 16), byte(i >> 8), byte(i)}), false).take(now.UnixNano())
	}
	if len(r.of) > maxSources {
		t.Errorf("%d sources are remembered, want %d at most", len(r.of), maxSources)
	}
}

// TestASourceBeyondItsRateLosesOnlyItsOwn: what is too much is dropped and
// counted, its connection stays, and others do not notice.
func TestASourceBeyondItsRateLosesOnlyItsOwn(t *testing.T) {
	dir := t.TempDir()
	r := inputtest.Start(t, at(captured), dir, "listen: [unix://"+dir+"/s, unixgram://"+dir+"/d]\nrate: {records: 10, per: 24h}", inputtest.Setup{})
	noisy, quiet := inputtest.Dial(t, r.URL(0), dir), inputtest.Dial(t, r.URL(0), dir)
	const much = 100_000
	if _, err := noisy.Write(bytes.Repeat([]byte("<13>1 - noisy - - - - x\n"), much)); err != nil {
		t.Fatal(err)
	}
	for i := range 10 {
		fmt.Fprintf(quiet, "<13>1 - quiet - - - - %d\n", i)
	}
	datagram := inputtest.Dial(t, r.URL(1), dir)
	for range 11 {
		fmt.Fprint(datagram, "<13>1 - datagram - - - - x")
	}
	for host, want := range map[string]int{"quiet": 10, "noisy": 10, "datagram": 10} {
		r.Sink.WaitFor(t, want, from(host))
	}
	noisy.Close()
	r.Stop(t)
	got := map[string]int{}
	for _, v := range r.Sink.Records() {
		got[string(v.Host())]++
		if v.Flags()&record.Malformed != 0 {
			t.Errorf("a message came in pieces: %s", v.Message())
		}
	}
	if got["quiet"] != 10 || got["noisy"] != 10 || got["datagram"] != 10 {
		t.Errorf("got %v, want 10 of each", got)
	}
	counted(t, r, `runnel_input_dropped_total{input="in",reason="rate"}`, much-10+1)
}
