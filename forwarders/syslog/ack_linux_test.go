package syslog

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/runnel-log/runnel/forwarders"
	"github.com/runnel-log/runnel/forwarders/forwardertest"
	"github.com/runnel-log/runnel/internal/tlsconf/tlstest"
)

// unread is a receiver that accepts one connection and leaves it unread.
type unread struct {
	net.Listener
	accepted chan *net.TCPConn
}

func listenUnread(t *testing.T) *unread {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	u := &unread{Listener: l, accepted: make(chan *net.TCPConn, 16)}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			u.accepted <- c.(*net.TCPConn)
		}
	}()
	t.Cleanup(func() {
		l.Close()
		<-done
	})
	return u
}

// peek returns what the receiver's kernel holds, and leaves it there: the
// window stays closed.
func peek(t *testing.T, c *net.TCPConn) []byte {
	t.Helper()
	raw, err := c.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	buf := make([]byte, 32<<20)
	n := 0
	if cerr := raw.Control(func(fd uintptr) {
		n, _, err = unix.Recvfrom(int(fd), buf, unix.MSG_PEEK|unix.MSG_DONTWAIT)
	}); cerr != nil || err != nil && !errors.Is(err, unix.EAGAIN) {
		t.Fatal(cerr, err)
	}
	return buf[:max(n, 0)]
}

// flood delivers batches of 200 records without waiting for an Ack, until the
// connection takes no more, and returns the Acks.
func flood(t *testing.T, f forwarders.Forwarder) <-chan []forwarders.Ack {
	done := make(chan []forwarders.Ack, 1)
	go func() {
		var open []forwarders.Ack
		for first := uint64(1); ; first += 200 {
			ack, err := f.Deliver(t.Context(), forwardertest.Batch(t, "app", first, first+200, nil))
			if err != nil {
				done <- open
				return
			}
			open = append(open, ack)
		}
	}()
	return done
}

// still waits until the receiver's window is closed: its kernel has exactly
// what the sender's knows to be acknowledged, more is being written (the count
// follows each write), and nothing moves. before is
// how many bytes the receiver has already read.
func still(t *testing.T, f *stream, peer *net.TCPConn, before int) []byte {
	t.Helper()
	var got []byte
	same := 0
	forwardertest.Eventually(t, "the window is closed", func() bool {
		f.mu.Lock()
		c := f.conn
		f.mu.Unlock()
		if c == nil {
			return false // accepted already, but not yet connected
		}
		acked, _, _, err := c.state()
		if err != nil {
			t.Fatal(err)
		}
		now := peek(t, peer)
		if len(now) == len(got) && acked == uint64(len(now)+before) && acked > 0 && c.meter.sent.Load() != acked {
			same++
		} else {
			same = 0
		}
		got = now
		return same == 20
	})
	return got
}

// wait returns how many records the Acks vouch for, until the first that fails.
func wait(t *testing.T, open []forwarders.Ack) int {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	total := 0
	for _, ack := range open {
		n, err := ack.Wait(ctx)
		total += n
		if ctx.Err() != nil {
			t.Fatal("Ack still open")
		}
		if err != nil {
			return total
		}
	}
	t.Fatalf("all %d records are acknowledged by a receiver that reset the connection", total)
	return 0
}

// A reset in the middle of a stream: the Acks vouch for exactly those records
// that the receiver's kernel holds whole.
func TestResetCountsWholeRecords(t *testing.T) {
	u := listenUnread(t)
	f := forwardertest.New(t, Kind, options("tcp://"+u.Addr().String(), nil)).(*stream)
	done := flood(t, f)
	peer := <-u.accepted
	got := still(t, f, peer, 0)
	peer.SetLinger(0)
	peer.Close()
	want := bytes.Count(got, []byte("\n"))
	if n := wait(t, <-done); n != want || want < 200 {
		t.Errorf("%d records are acknowledged, the receiver's kernel had %d whole", n, want)
	}
}

// After the reset the agent may hand over one batch more before it learns of
// it: that one must not overtake those that were lost.
func TestNothingOvertakesWhatWasLost(t *testing.T) {
	u := listenUnread(t)
	f := forwardertest.New(t, Kind, options("tcp://"+u.Addr().String(), nil)).(*stream)
	done := make(chan forwarders.Ack, 1)
	go func() { // more than the kernels take
		ack, err := f.Deliver(t.Context(), forwardertest.Batch(t, "app", 1, 150, large))
		if err != nil {
			t.Error(err)
		}
		done <- ack
	}()
	peer := <-u.accepted
	still(t, f, peer, 0)
	peer.SetLinger(0)
	peer.Close()
	open := []forwarders.Ack{<-done}
	if _, err := f.Deliver(t.Context(), forwardertest.Batch(t, "app", 150, 151, nil)); err == nil {
		t.Errorf("record 150 was sent before those that were lost")
	}
	lost := uint64(wait(t, open)) + 1
	if _, err := f.Deliver(t.Context(), forwardertest.Batch(t, "app", lost, lost+1, nil)); err != nil {
		t.Errorf("Deliver from the first lost record: %v", err)
	}
}

func large(uint64) string { return string(bytes.Repeat([]byte("0123456789abcdef"), 4<<10)) }

// Under TLS the Acks vouch for no more than what the receiver can decrypt.
func TestResetUnderTLS(t *testing.T) {
	u := listenUnread(t)
	ca := tlstest.NewAuthority(t, "test")
	config := serverTLS(t, ca)
	f := forwardertest.New(t, Kind, options("tls://"+u.Addr().String(), func(o *Options) { o.TLS.CA, o.Framing = ca.File, framingLF })).(*stream)
	f.patient = patience{silence: 20 * time.Second, stuck: 20 * time.Second}
	done := flood(t, f)
	peer := <-u.accepted
	recorded := &recorder{TCPConn: peer}
	secure := tls.Server(recorded, config)
	if err := secure.HandshakeContext(t.Context()); err != nil {
		t.Fatal(err)
	}
	held := still(t, f, peer, recorded.read)
	peer.SetLinger(0)
	peer.Close()
	n := wait(t, <-done)
	// What the receiver could still read: its own copy of the ciphertext.
	recorded.rest = bytes.NewReader(held)
	plain, _ := io.ReadAll(secure) // ends with an error where the last TLS record is cut
	if got := bytes.Count(plain, []byte("\n")); n > got || n < got-200 || n == 0 {
		t.Errorf("%d records are acknowledged, the receiver could read %d", n, got)
	}
}

// recorder counts what was read of a connection, and goes on from a copy.
type recorder struct {
	*net.TCPConn
	read int
	rest io.Reader
}

func (r *recorder) Read(p []byte) (int, error) {
	if r.rest != nil {
		return r.rest.Read(p)
	}
	n, err := r.TCPConn.Read(p)
	r.read += n
	return n, err
}

// A peer that is alive and takes nothing is waited for longer than one that is
// silent, and given up in the end, by Deliver and by Wait.
func TestStuckPeerIsGivenUp(t *testing.T) {
	u := listenUnread(t)
	f := forwardertest.New(t, Kind, options("tcp://"+u.Addr().String(), nil)).(*stream)
	f.patient = patience{silence: 20 * time.Millisecond, stuck: 600 * time.Millisecond}
	began := time.Now()
	open := <-flood(t, f)
	if took := time.Since(began); took < f.patient.stuck {
		t.Errorf("given up after %s, want at least %s", took, f.patient.stuck)
	}
	if n := wait(t, open); n == 0 {
		t.Errorf("no record is acknowledged, want what the receiver's kernel holds")
	}
	g := forwardertest.New(t, Kind, options("tcp://"+u.Addr().String(), nil)).(*stream)
	g.patient = f.patient
	ack, err := g.Deliver(t.Context(), forwardertest.Batch(t, "app", 1, 60, large)) // 4 MiB: all written, not all acknowledged
	if err != nil {
		t.Fatal(err)
	}
	if n, err := ack.Wait(t.Context()); err == nil || n == 59 {
		t.Errorf("Wait = %d, %v, want an error", n, err)
	}
}

func TestSilence(t *testing.T) {
	c := &conn{meter: &meter{patience: patience{silence: time.Second, stuck: time.Minute}}}
	f := func(r reading, still time.Duration, want bool) {
		t.Helper()
		if got := c.hopeless(r, still); got != want {
			t.Errorf("%+v, still for %s: hopeless %t, want %t", r, still, got, want)
		}
	}
	f(reading{quiet: 100, waiting: true}, 10*time.Second, false) // answers, does not read
	f(reading{quiet: 5000, waiting: false}, 10*time.Second, false)
	f(reading{quiet: 5000, waiting: true}, 10*time.Second, true)
	f(reading{quiet: 5000, waiting: true}, 100*time.Millisecond, false) // was idle until just now
	f(reading{quiet: 100, waiting: true}, time.Minute, true)
}
