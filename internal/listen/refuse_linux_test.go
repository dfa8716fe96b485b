package listen

import (
	"errors"
	"io"
	"net"
	"syscall"
	"testing"
	"time"
)

// TestEndingRefusesWithoutLoss: what was sent before is there, and what
// comes after is told so.
func TestEndingRefusesWithoutLoss(t *testing.T) {
	s, dir := NewSockets(), t.TempDir()
	defer s.Close()
	l := stream(t, s, "unix://"+dir+"/stream")
	p, err := s.Packet("unixgram://" + dir + "/dgram")
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	write := func(network, path string) error {
		c, err := net.Dial(network, path)
		if err != nil {
			return err
		}
		defer c.Close()
		_, err = c.Write([]byte("a line\n"))
		return err
	}
	for network, path := range map[string]string{"unix": dir + "/stream", "unixgram": dir + "/dgram"} {
		if err := write(network, path); err != nil {
			t.Fatal(err)
		}
	}
	s.Ending()
	if err := write("unix", dir+"/stream"); !errors.Is(err, syscall.ECONNREFUSED) {
		t.Errorf("unix: a late sender got %v, want to be refused", err)
	}
	if err := write("unixgram", dir+"/dgram"); !errors.Is(err, syscall.EPIPE) && !errors.Is(err, syscall.ECONNREFUSED) {
		t.Errorf("unixgram: a late sender got %v, want to be refused", err)
	}
	c, err := l.Accept()
	if err != nil {
		t.Fatalf("the queued connection: %v", err)
	}
	defer c.Close()
	if b, err := io.ReadAll(c); err != nil || string(b) != "a line\n" {
		t.Errorf("the queued connection says %q, %v", b, err)
	}
	buf := make([]byte, 100)
	if err := p.SetReadDeadline(time.Now().Add(5 * time.Second)); err != nil {
		t.Fatal(err)
	}
	if n, _, err := p.ReadFrom(buf); err != nil || string(buf[:n]) != "a line\n" {
		t.Errorf("the queued datagram is %q, %v", buf[:n], err)
	}
}
