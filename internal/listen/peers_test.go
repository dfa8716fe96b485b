package listen

import (
	"net"
	"testing"
)

// from is a connection that comes from an address.
type from struct {
	net.Conn
	addr string
}

func (f from) RemoteAddr() net.Addr {
	a, err := net.ResolveTCPAddr("tcp", f.addr)
	if err != nil {
		panic("bug: " + err.Error())
	}
	return a
}

func TestPeersAreAllowedAndCounted(t *testing.T) {
	p, err := NewPeers([]string{"10.0.0.0/8", "192.0.2.7"}, PerAddress+2, "agent")
	if err != nil {
		t.Fatal(err)
	}
	f := func(addr string, want Refusal) *Peer {
		t.Helper()
		who := p.Of(from{addr: addr})
		if got := p.Enter(who); got != want {
			t.Errorf("%s: got %d, want %d", addr, got, want)
		}
		return who
	}
	f("192.0.2.8:1", NotAllowed)
	f("[2001:db8::1]:1", NotAllowed)
	who := f("[::ffff:10.1.2.3]:1", Welcome)
	if string(who.Text) != "10.1.2.3" || string(who.Host) != "10.1.2.3" {
		t.Errorf("peer %q, host %q", who.Text, who.Host)
	}
	for range PerAddress - 1 {
		f("10.1.2.3:2", Welcome)
	}
	f("10.1.2.3:3", OverAddress)
	if local := f("127.0.0.1:1", Welcome); string(local.Host) != "agent" {
		t.Errorf("a local peer's host is %q", local.Host)
	}
	f("192.0.2.7:1", Welcome)
	f("127.0.0.1:2", OverTotal)
	p.Leave(who)
	f("10.1.2.3:4", Welcome)
	f("10.1.2.3:5", OverTotal)
	if _, err := NewPeers([]string{"10.0.0.0/33"}, 1, ""); err == nil {
		t.Error("10.0.0.0/33 is taken for a network")
	}
}
