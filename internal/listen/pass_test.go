package listen

import (
	"errors"
	"fmt"
	"io"
	"net"
	"testing"
	"time"

	"github.com/runnel-log/runnel/internal/systemd"
)

// pair returns both ends of a TCP connection to a listener of s.
func pair(t *testing.T, l net.Listener) (here, there net.Conn) {
	t.Helper()
	there, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { there.Close() })
	if here, err = l.Accept(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { here.Close() })
	return here, there
}

// TestConnectionsArePassedOn: the sender notices nothing, and what it has said
// and nobody read is the next process's.
func TestConnectionsArePassedOn(t *testing.T) {
	const url = "tcp://127.0.0.1:0"
	keeper := keeping(t, 20)
	s := generation(t, keeper)
	l := stream(t, s, url)
	senders := map[string]net.Conn{}
	for i := range 3 {
		here, there := pair(t, l)
		state := fmt.Sprintf("half a message %d", i)
		senders[state] = there
		if _, err := there.Write([]byte("unread " + state)); err != nil {
			t.Fatal(err)
		}
		if err := s.Pass(url, here, []byte(state)); err != nil {
			t.Fatal(err)
		}
		here.Close()
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}

	s = generation(t, keeper)
	defer s.Close()
	if got := s.Passed("tcp://127.0.0.1:1"); got != nil {
		t.Errorf("%d connections of another address", len(got))
	}
	passed := s.Passed(url)
	if len(passed) != 3 || s.Passed(url) != nil {
		t.Fatalf("got %d connections, want 3, once", len(passed))
	}
	if got := len(keeper.Names()); got != 7 {
		t.Errorf("before Begin the manager keeps %d descriptors, want 7: a start that fails leaves them", got)
	}
	if err := s.Begin(passed); err != nil {
		t.Fatal(err)
	}
	if got := len(keeper.Names()); got != 1 {
		t.Errorf("after Begin the manager keeps %d descriptors, want the socket alone", got)
	}
	for _, p := range passed {
		there := senders[string(p.State)]
		if there == nil {
			t.Fatalf("unknown state %q", p.State)
		}
		if _, err := there.Write([]byte(" and more")); err != nil {
			t.Fatal(err)
		}
		want := "unread " + string(p.State) + " and more"
		buf := make([]byte, len(want))
		p.Conn.SetReadDeadline(time.Now().Add(10 * time.Second))
		for n := 0; n < len(buf); {
			more, err := p.Conn.Read(buf[n:])
			if err != nil {
				t.Fatal(err)
			}
			n += more
		}
		if string(buf) != want {
			t.Errorf("got %q, want %q", buf, want)
		}
		p.Conn.Close()
		there.SetReadDeadline(time.Now().Add(10 * time.Second))
		if _, err := there.Read(buf); err != io.EOF {
			t.Errorf("the sender got %v, want the end: somebody still has the connection", err)
		}
	}
}

// TestPassedOnToNobodyIsClosed: the config has no such address any more.
func TestPassedOnToNobodyIsClosed(t *testing.T) {
	keeper := keeping(t, 20)
	s := generation(t, keeper)
	l := stream(t, s, "tcp://127.0.0.1:0")
	here, there := pair(t, l)
	if err := s.Pass("tcp://127.0.0.1:0", here, nil); err != nil {
		t.Fatal(err)
	}
	here.Close()
	s.Close()
	s = generation(t, keeper)
	defer s.Close()
	if closed := s.Settle(); len(closed) != 2 {
		t.Errorf("closed %q, want the socket and the connection", closed)
	}
	if err := s.manager.Settle(); err != nil {
		t.Fatal(err)
	}
	there.SetReadDeadline(time.Now().Add(10 * time.Second))
	if _, err := there.Read(make([]byte, 1)); err != io.EOF {
		t.Errorf("the sender got %v, want the end: somebody still has the connection", err)
	}
	if got := keeper.Names(); len(got) != 0 {
		t.Errorf("the manager keeps %q, want nothing", got)
	}
}

func TestPassingIsBounded(t *testing.T) {
	const url = "tcp://127.0.0.1:0"
	f := func(room int, state []byte) {
		t.Helper()
		keeper := keeping(t, room)
		s := generation(t, keeper)
		defer s.Close()
		here, _ := pair(t, stream(t, s, url))
		if err := s.Pass(url, here, state); !errors.Is(err, systemd.ErrNotKept) {
			t.Errorf("room %d, %d bytes: got %v, want ErrNotKept", room, len(state), err)
		}
	}
	f(2, nil) // one is the socket
	f(100, make([]byte, passBytes+1))
	t.Setenv("NOTIFY_SOCKET", "")
	s := NewSockets()
	defer s.Close()
	here, _ := pair(t, stream(t, s, url))
	if err := s.Pass(url, here, nil); !errors.Is(err, systemd.ErrNotKept) || s.Passes() {
		t.Errorf("without a manager: got %v", err)
	}
}

// TestNothingIsPassedOnToAnAddressThatIsGone: a connection that outlived its address
// in the configuration would be closed unread by the next process.
func TestNothingIsPassedOnToAnAddressThatIsGone(t *testing.T) {
	const url = "tcp://127.0.0.1:0"
	s := generation(t, keeping(t, 20))
	defer s.Close()
	s.Settle()
	l := stream(t, s, url)
	here, _ := pair(t, l)
	l.Close() // by a reload
	s.Sweep()
	if err := s.Pass(url, here, nil); !errors.Is(err, errNobody) {
		t.Errorf("got %v, want that nobody will take it", err)
	}
}
