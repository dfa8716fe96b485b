package syslog

import (
	"net"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/VictoriaMetrics/metrics"
	"github.com/rs/zerolog"

	"github.com/runnel-log/runnel/forwarders"
	"github.com/runnel-log/runnel/forwarders/forwardertest"
)

// udpServer collects datagrams.
type udpServer struct {
	address string
	mu      sync.Mutex
	texts   []string // guarded by mu
}

func listenUDP(t testing.TB, address string) *udpServer {
	t.Helper()
	c, err := net.ListenPacket("udp", address)
	if err != nil {
		t.Fatal(err)
	}
	_ = c.(*net.UDPConn).SetReadBuffer(8 << 20) // as much as the system grants
	s := &udpServer{address: c.LocalAddr().String()}
	var reading sync.WaitGroup
	reading.Go(func() {
		buf := make([]byte, 1<<16)
		for {
			n, _, err := c.ReadFrom(buf)
			if err != nil {
				return
			}
			s.mu.Lock()
			s.texts = append(s.texts, string(buf[:n]))
			s.mu.Unlock()
		}
	})
	t.Cleanup(func() {
		c.Close()
		reading.Wait()
	})
	return s
}

func (s *udpServer) Texts() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.texts)
}

func TestUDPKeepsTheContract(t *testing.T) {
	for name, address := range map[string]string{"IPv4": "127.0.0.1:0", "IPv6": "[::1]:0"} {
		t.Run(name, func(t *testing.T) {
			forwardertest.Run(t, Kind, func(t *testing.T) *forwardertest.Receiver {
				s := listenUDP(t, address)
				return &forwardertest.Receiver{Options: options("udp://"+s.address, nil), Texts: s.Texts}
			})
		})
	}
}

func TestLongDatagramsAreCounted(t *testing.T) {
	s := listenUDP(t, "127.0.0.1:0")
	set := metrics.NewSet()
	f, err := Kind.New(options("udp://"+s.address, nil), forwarders.Setup{Name: "old", Log: zerolog.Nop(), Metrics: set})
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	text := func(uint64) string { return strings.Repeat("x", 70_000) }
	if _, err := f.Deliver(t.Context(), forwardertest.Batch(t, "app", 1, 4, text)); err != nil {
		t.Fatal(err)
	}
	forwardertest.Eventually(t, "three datagrams", func() bool { return len(s.Texts()) == 3 })
	if n := len(s.Texts()[0]); n != maxDatagram {
		t.Errorf("a datagram of %d bytes, want %d", n, maxDatagram)
	}
	if n := set.GetOrCreateCounter(`runnel_forwarder_truncated_records_total{forwarder="old"}`).Get(); n != 3 {
		t.Errorf("%d records counted as cut, want 3", n)
	}
}

// A port that nobody listens on answers with ICMP, and that is an error, not silence.
func TestClosedPortIsNoticed(t *testing.T) {
	c, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := c.LocalAddr().String()
	c.Close()
	f := forwardertest.New(t, Kind, options("udp://"+address, nil))
	forwardertest.Eventually(t, "Deliver fails", func() bool {
		ack, err := f.Deliver(t.Context(), forwardertest.Batch(t, "app", 1, 4, nil))
		if err == nil && ack != nil {
			var n int
			if n, err = ack.Wait(t.Context()); n >= 3 {
				t.Errorf("Wait = %d, %v", n, err)
			}
		}
		return err != nil
	})
}
