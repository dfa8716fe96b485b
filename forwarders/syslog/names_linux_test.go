package syslog

import (
	"net"
	"testing"

	"github.com/VictoriaMetrics/metrics"
	"github.com/rs/zerolog"

	"github.com/runnel-log/runnel/forwarders"
	"github.com/runnel-log/runnel/forwarders/forwardertest"
)

// TestDatagramsFollowTheName: no datagram tells that a receiver has moved, so the
// name is looked up again now and then; one that cannot be at the moment changes nothing.
func TestDatagramsFollowTheName(t *testing.T) {
	first := listenUDP(t, "127.0.0.1:0")
	_, port, err := net.SplitHostPort(first.address)
	if err != nil {
		t.Fatal(err)
	}
	second := listenUDP(t, "127.0.0.2:"+port) // the whole of 127.0.0.0/8 is this host, on Linux
	names := forwardertest.ListenNames(t)
	made, err := Kind.New(options("udp://receiver.test:"+port, func(o *Options) { o.AcceptLoss = true }),
		forwarders.Setup{Name: "test", Agent: "vm", Log: zerolog.Nop(), Metrics: metrics.NewSet(), Resolver: names.Resolver()})
	if err != nil {
		t.Fatal(err)
	}
	f := made.(*datagrams)
	t.Cleanup(func() { f.Close() })
	send := func(at uint64) {
		t.Helper()
		if _, err := f.Deliver(t.Context(), forwardertest.Batch(t, "app", at, at+1, nil)); err != nil {
			t.Fatal(err)
		}
	}
	arrive := func(s *udpServer, n int) {
		t.Helper()
		forwardertest.Eventually(t, "the datagrams arrive", func() bool {
			s.mu.Lock()
			defer s.mu.Unlock()
			return len(s.texts) == n
		})
	}
	names.Set("receiver.test", "127.0.0.1")
	send(1)
	asked := names.Asked()
	send(2)
	if names.Asked() != asked {
		t.Errorf("the name is looked up for every batch")
	}
	arrive(first, 2)
	f.lookEvery = 0
	names.Set("receiver.test") // it cannot be looked up
	send(3)
	arrive(first, 3)
	names.Set("receiver.test", "127.0.0.2")
	send(4)
	arrive(second, 1)
	arrive(first, 3)
}
