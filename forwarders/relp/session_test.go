package relp

import (
	"context"
	"errors"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/runnel-log/runnel/forwarders"
	"github.com/runnel-log/runnel/forwarders/forwardertest"
	"github.com/runnel-log/runnel/internal/config"
	"github.com/runnel-log/runnel/internal/relp"
)

func TestSampleIsTheDefault(t *testing.T) {
	n, ps := config.ParseIn("runnel.yaml", t.TempDir(), []byte(strings.Replace(Kind.Sample, "type: relp\n", "", 1)))
	o := defaults()
	config.Decode(n, o, &ps)
	want := options("tcp://10.0.0.9:2514", func(o *Options) { o.TLS.MinVersion = "1.2" })
	if len(ps) > 0 || *o != *want {
		t.Errorf("sample.yaml says %+v, the defaults are %+v: %v", o, want, ps)
	}
}

func TestCheckSaysWhatIsWrong(t *testing.T) {
	f := func(section string, want ...string) {
		t.Helper()
		n, ps := config.ParseIn("runnel.yaml", t.TempDir(), []byte(section))
		if len(ps) > 0 {
			t.Fatal(ps)
		}
		config.Decode(n, defaults(), &ps)
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
	f("to: tcp://10.0.0.9:2514")
	f("to: unix:///run/relp.sock\nwindow: 1")
	f("to: udp://10.0.0.9:514", `to: RELP needs a connection; write tcp://, tls:// or unix://`)
	f("to: tcp://:2514", `to: "tcp://:2514" names no host to send to`)
	f("to: tls://host:0", `to: "tls://host:0" names no port; 2514 is usual`)
	f("to: tcp://host:1\nwindow: 0", `window: 0 is out of bounds; write a number of records from 1 to 1048576`)
	f("to: tcp://host:1\ntimeout: 0s", `timeout: 0s is no time to wait for an answer; write 1s to 1h`)
	f("to: tcp://host:1\ntls: {insecure_skip_verify: true}", `tls: tcp:// is not encrypted; write to: tls://…, or leave tls out`)
	f("window: 5", `to: is missing; write to: TEXT`)
}

func TestTransactionNumbersWrap(t *testing.T) {
	f := func(message uint64, want uint32) {
		t.Helper()
		if got := txnr(message); got != want {
			t.Errorf("message %d has transaction %d, want %d", message, got, want)
		}
	}
	f(0, 2)
	f(relp.MaxTxnr-2, relp.MaxTxnr)
	f(relp.MaxTxnr-1, 1)
	f(relp.MaxTxnr, 2)
	f(5*relp.MaxTxnr, 2)
}

// start makes a receiver and a forwarder for it.
func start(t *testing.T, change func(*Options)) (*server, *Forwarder) {
	t.Helper()
	s := startServer(t, "tcp", "127.0.0.1:0", nil)
	return s, forwardertest.New(t, Kind, options("tcp://"+s.address, change)).(*Forwarder)
}

// deliver hands over the records from to to and returns their Ack.
func deliver(t *testing.T, f *Forwarder, from, to uint64) forwarders.Ack {
	t.Helper()
	ack, err := f.Deliver(t.Context(), forwardertest.Batch(t, "app", from, to, nil))
	if err != nil {
		t.Fatalf("Deliver %d to %d: %v", from, to, err)
	}
	return ack
}

func (s *server) wait(t *testing.T, n int) []string {
	t.Helper()
	forwardertest.Eventually(t, "records", func() bool { return len(s.received()) >= n })
	return s.received()
}

// Answers may come in any order; the cursor moves in order.
func TestAnswersOutOfOrder(t *testing.T) {
	s, f := start(t, nil)
	var held []uint32
	s.set(func() {
		s.answer = func(c net.Conn, txnr uint32, _ string) error {
			if held = append(held, txnr); len(held) < 10 {
				return nil
			}
			for _, i := range []int{9, 1, 0, 5, 3, 2, 8, 7, 4, 6} {
				c.Write(relp.AppendOK(nil, held[i]))
			}
			held = nil
			return nil
		}
	})
	for first := uint64(1); first < 50; first += 10 {
		if n, err := deliver(t, f, first, first+10).Wait(t.Context()); n != 10 || err != nil {
			t.Fatalf("Wait = %d, %v", n, err)
		}
	}
}

// What was answered out of order before a break is not sent again.
func TestTakenBeforeABreakIsNotSentAgain(t *testing.T) {
	s, f := start(t, nil)
	s.set(func() {
		s.answer = func(c net.Conn, txnr uint32, text string) error {
			if strings.Contains(text, "record=00000005 ") {
				return errDone // hangs up
			}
			if strings.Contains(text, "record=00000002 ") {
				return nil
			}
			_, err := c.Write(relp.AppendOK(nil, txnr))
			return err
		}
	})
	n, err := deliver(t, f, 1, 9).Wait(t.Context())
	if n != 1 || err == nil {
		t.Fatalf("Wait = %d, %v, want 1 and why", n, err)
	}
	s.set(func() { s.answer, s.texts = nil, nil })
	if n, err := deliver(t, f, 2, 9).Wait(t.Context()); n != 7 || err != nil {
		t.Fatalf("Wait = %d, %v, want all", n, err)
	}
	got := s.received()
	for i, offset := range []string{"2", "5", "6", "7", "8"} {
		if len(got) != 5 || !strings.Contains(got[i], "record=0000000"+offset+" ") {
			t.Fatalf("received after the break %q, want 2, 5, 6, 7, 8", got)
		}
	}
}

// A receiver that takes nothing any more is in trouble; no record is to blame.
func TestRefusingEverythingIsNoRefusal(t *testing.T) {
	s, f := start(t, nil)
	s.set(func() {
		s.answer = func(c net.Conn, txnr uint32, text string) error {
			if strings.Contains(text, "record=00000001 ") || strings.Contains(text, "record=00000002 ") {
				c.Write(relp.AppendOK(nil, txnr))
				return nil
			}
			_, err := c.Write(relp.AppendError(nil, txnr, "disk full"))
			return err
		}
	})
	n, err := deliver(t, f, 1, 50).Wait(t.Context())
	var refused *forwarders.Refused
	if n != 2 || err == nil || errors.As(err, &refused) || !strings.Contains(err.Error(), "disk full") {
		t.Fatalf("Wait = %d, %v, want 2 and an error that is no refusal", n, err)
	}
	s.set(func() { s.answer = nil })
	if n, err := deliver(t, f, 3, 50).Wait(t.Context()); n != 47 || err != nil {
		t.Errorf("Wait = %d, %v, want all", n, err)
	}
	if s.opens != 1 {
		t.Errorf("%d sessions, want 1", s.opens)
	}
}

// The server's hint ends the session; what was answered before counts, and what was
// not is sent again, in order.
func TestServerCloseIsObeyed(t *testing.T) {
	s, f := start(t, nil)
	s.set(func() {
		s.answer = func(c net.Conn, txnr uint32, text string) error {
			if strings.Contains(text, "record=00000004 ") {
				c.Write(relp.AppendFrame(nil, 0, relp.ServerClose, nil))
				return nil // and stays open
			}
			_, err := c.Write(relp.AppendOK(nil, txnr))
			return err
		}
	})
	ack := deliver(t, f, 1, 8)
	n, err := ack.Wait(t.Context())
	if n != 3 || !errors.Is(err, errServerClose) {
		t.Fatalf("Wait = %d, %v, want 3 and that the receiver closes", n, err)
	}
	s.set(func() { s.answer = nil })
	if _, err := f.Deliver(t.Context(), forwardertest.Batch(t, "app", 8, 10, nil)); err == nil {
		t.Fatal("a later batch overtakes what has to be sent again")
	}
	if n, err := deliver(t, f, 4, 10).Wait(t.Context()); n != 6 || err != nil {
		t.Errorf("Wait = %d, %v, want all", n, err)
	}
	f.Close()
	forwardertest.Eventually(t, "a proper close", func() bool {
		s.mu.Lock()
		defer s.mu.Unlock()
		return s.closes == 1
	})
}

// A receiver that hangs up, or says so, while nothing waits costs nothing.
func TestIdleEndIsNoticed(t *testing.T) {
	s, f := start(t, nil)
	for i := range uint64(4) {
		if n, err := deliver(t, f, i+1, i+2).Wait(t.Context()); n != 1 || err != nil {
			t.Fatalf("Wait = %d, %v", n, err)
		}
		c := f.conn
		if i%2 == 0 {
			s.reset()
		} else {
			s.set(func() {
				for c := range s.conns {
					c.Write(relp.AppendFrame(nil, 0, relp.ServerClose, nil))
				}
			})
		}
		c.reader.Wait()
	}
	if s.opens != 4 {
		t.Errorf("%d sessions, want 4", s.opens)
	}
}

// A receiver that accepts and never answers is given up; Deliver and Wait both notice.
func TestSilentReceiverIsGivenUp(t *testing.T) {
	s, f := start(t, func(o *Options) { o.Timeout, o.Window = 50*time.Millisecond, 10 })
	s.set(func() { s.answer = func(net.Conn, uint32, string) error { return nil } })
	ack := deliver(t, f, 1, 100) // more than the window
	if n, err := ack.Wait(t.Context()); n != 0 || !errors.Is(err, errSilent) {
		t.Errorf("Wait = %d, %v, want that it does not answer", n, err)
	}
	if got := len(s.received()); got > 10 {
		t.Errorf("%d records were sent into a window of 10", got)
	}
}

func TestBadReceiversAreNamed(t *testing.T) {
	f := func(answer, want string) {
		t.Helper()
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		go func() {
			for {
				c, err := l.Accept()
				if err != nil {
					return
				}
				c.Read(make([]byte, 4096))
				c.Write([]byte(answer))
				c.Read(make([]byte, 4096)) // until we close
				c.Close()
			}
		}()
		fw := forwardertest.New(t, Kind, options("tcp://"+l.Addr().String(), func(o *Options) { o.ConnectTimeout = 200 * time.Millisecond }))
		defer fw.Close()
		ack, err := fw.Deliver(t.Context(), forwardertest.Batch(t, "app", 1, 2, nil))
		if err == nil {
			_, err = ack.Wait(t.Context())
		}
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: got %v, want %q in it", answer, err, want)
		}
	}
	const ok = "1 rsp 37 200 OK\nrelp_version=0\ncommands=syslog\n"
	f("", "no session in time")
	f("220 smtp.example.org\r\n", "does not speak RELP")
	f("HTTP/1.1 400 Bad Request\r\n\r\n", "does not speak RELP")
	f("1 rsp 7 500 bad\n", `refused the session: 500 "bad"`)
	f("1 rsp 6 200 OK\n", "no relp_version")
	f("1 rsp 37 200 OK\nrelp_version=1\ncommands=syslog\n", "only RELP version 1")
	f("1 rsp 35 200 OK\nrelp_version=0\ncommands=snmp\n", "takes no syslog messages")
	f("2 rsp 37 200 OK\nrelp_version=0\ncommands=syslog\n", "transaction 2")
	f("1 rsp 70000 ", "does not speak RELP")
	f("0 serverclose 0\n", "does not speak RELP")
	f(ok+"3 rsp 6 200 OK\n", "does not speak RELP")
	f(ok+"1 rsp 6 200 OK\n", "does not speak RELP")
	f(ok+"2 syslog 1 x\n", "does not speak RELP")
	f(ok+"2 rsp 2 OK\n", "does not speak RELP")
	f(ok+"0 hint 0\n0 serverclose 0\n", "says that it closes")
}

// The pieces of a batch that a full window holds back go when ctx ends.
func TestFullWindowLetsGo(t *testing.T) {
	s, f := start(t, func(o *Options) { o.Window = 4 })
	s.set(func() { s.answer = func(net.Conn, uint32, string) error { return nil } })
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() {
		ack, err := f.Deliver(ctx, forwardertest.Batch(t, "app", 1, 20, nil))
		if err == nil {
			_, err = ack.Wait(ctx)
		}
		done <- err
	}()
	s.wait(t, 4)
	cancel()
	if err := <-done; !errors.Is(err, context.Canceled) {
		t.Errorf("got %v, want that the context has ended", err)
	}
}
