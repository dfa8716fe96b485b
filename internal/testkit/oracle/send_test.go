package oracle

import (
	"context"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// patience is how long a test waits for what must happen.
const patience = 30 * time.Second

// TestWhatIsSentArrives sends over every protocol to the oracle's own receiver.
func TestWhatIsSentArrives(t *testing.T) {
	f := func(at string, to func(url string) string, l Load) {
		t.Helper()
		a, err := NewArrived("")
		if err != nil {
			t.Fatal(err)
		}
		r, err := Listen(at, a)
		if err != nil {
			t.Fatal(err)
		}
		defer r.Close()
		s, err := NewSent("")
		if err != nil {
			t.Fatal(err)
		}
		l.Senders, l.Count, l.Size = 3, 2000, 90
		l.To = func() string { return to(r.URL()) }
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		defer cancel()
		if err := Send(ctx, l, s, nil); err != nil {
			t.Fatalf("%s: %v", at, err)
		}
		for a.Records() < 6000 && ctx.Err() == nil { // syslog counts as taken when the kernel has it
			wait(ctx, time.Millisecond)
		}
		if v := Judge(s, a); v.Acknowledged != 6000 || v.Arrived != 6000 || v.Lost+v.Repeated+v.Duplicated+v.Disordered+v.Altered+v.Unknown > 0 {
			t.Errorf("%s: %+v", at, v)
		}
	}
	same := func(url string) string { return url }
	f("relp://127.0.0.1:0", same, Load{})
	f("relp://127.0.0.1:0", same, Load{Window: 1, Rate: 50_000})
	f("http://127.0.0.1:0", same, Load{Keys: true})
	f("http://127.0.0.1:0", same, Load{Media: "json"})
	f("http://127.0.0.1:0", same, Load{Media: "text", Body: 7})
	f("tcp://127.0.0.1:0", same, Load{})
	f("tcp://127.0.0.1:0", same, Load{Octets: true})
	dir, err := os.MkdirTemp("", "oracle") // short: the name of a socket has its bound
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(dir)
	f("unix://"+filepath.Join(dir, "s"), same, Load{})
}

// TestWhatHasNoAnswerIsSentAgain: a receiver that goes away again and again costs
// repetitions, and nothing is called acknowledged that it does not have.
func TestWhatHasNoAnswerIsSentAgain(t *testing.T) {
	for _, scheme := range []string{"relp", "http"} {
		a, err := NewArrived("")
		if err != nil {
			t.Fatal(err)
		}
		s, err := NewSent("")
		if err != nil {
			t.Fatal(err)
		}
		var to atomic.Value
		to.Store(scheme + "://127.0.0.1:1") // nobody yet
		enough, done := make(chan struct{}), make(chan error, 1)
		go func() {
			done <- Send(t.Context(), Load{To: func() string { return to.Load().(string) }, Senders: 2}, s, enough)
		}()
		const times = 8
		for k := range times {
			r, err := Listen(scheme+"://127.0.0.1:0", a)
			if err != nil {
				t.Fatal(err)
			}
			to.Store(r.URL())
			before, more := s.Acknowledged()
			for n := before; n < before+500; n, more = s.Acknowledged() {
				select {
				case <-more:
				case <-time.After(patience):
					t.Fatalf("%s: nothing more is acknowledged", scheme)
				}
			}
			if k == times-1 {
				close(enough)
				if err := <-done; err != nil {
					t.Fatal(err)
				}
			}
			r.Close()
		}
		v := Judge(s, a)
		if v.Lost+v.Duplicated+v.Disordered+v.Altered+v.Unknown+v.Unanswered > 0 || v.Acknowledged < 8*500 || v.Repeated > times*2*128 || v.Again < v.Repeated {
			t.Errorf("%s: %+v", scheme, v)
		}
	}
}

// TestARefusalEndsIt: an answer after which nothing can be acknowledged any more
// is an error, and not tried for ever.
func TestARefusalEndsIt(t *testing.T) {
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
			_, _ = c.Read(make([]byte, 64<<10))
			_, _ = c.Write([]byte("HTTP/1.1 401 Unauthorized\r\nContent-Length: 0\r\n\r\n"))
			c.Close()
		}
	}()
	s, err := NewSent("")
	if err != nil {
		t.Fatal(err)
	}
	err = Send(t.Context(), Load{To: func() string { return "http://" + l.Addr().String() + "/" }}, s, nil)
	if err == nil || !strings.Contains(err.Error(), "401") {
		t.Errorf("got %v", err)
	}
}

// TestTakenIsWhatThePeerCanRead: what counts as handed over without an acknowledgement
// is there for a peer that reads only when the sender has long gone.
func TestTakenIsWhatThePeerCanRead(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	s, err := NewSent("")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	done := make(chan error, 1)
	go func() {
		done <- Send(ctx, Load{To: func() string { return "tcp://" + l.Addr().String() }, Size: 8000}, s, nil)
	}()
	c, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	for n, more := s.Acknowledged(); n == 0; n, more = s.Acknowledged() {
		select {
		case <-more:
		case <-time.After(patience):
			t.Fatal("nothing is taken")
		}
	}
	cancel()
	<-done
	a, err := NewArrived("")
	if err != nil {
		t.Fatal(err)
	}
	if err := c.SetReadDeadline(time.Now().Add(patience)); err != nil {
		t.Fatal(err)
	}
	_ = a.TakeLines(c) // the sender may have reset it: what was taken comes first
	if v := Judge(s, a); v.Acknowledged == 0 || v.Lost > 0 {
		t.Errorf("%+v", v)
	}
}
