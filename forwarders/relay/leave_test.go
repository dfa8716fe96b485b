package relay

import (
	"errors"
	"net"
	"testing"

	"github.com/runnel-log/runnel/forwarders"
	"github.com/runnel-log/runnel/forwarders/forwardertest"
	"github.com/runnel-log/runnel/internal/relaywire"
)

// A session that ends, and is taken leave of while a batch is still being written: what of it did not
// arrive comes again before anything else, and no frame says that there is nothing of it.
func TestLeaveTakenWhileABatchIsWritten(t *testing.T) {
	s, f := begin(t, nil)
	f.source.Set(func(src *forwardertest.Source) { // another has some, so that the batch is two frames
		l := line{"app", forwardertest.Epoch}
		src.Kept = map[string][]byte{l.key("tcp://other:1"): relaywire.Ranges{{From: 15, To: 20}}.Append(nil)}
	})
	s.set(func() { s.credit = 1 }) // one frame at a time
	f.acked(t, 1, 11)
	conn, frames := f.conn, 0
	s.set(func() {
		s.answer = func(_ net.Conn, m relaywire.Message) bool {
			if _, ok := m.(*relaywire.Data); ok {
				if frames++; frames > 1 {
					return false // it has left, and is lost
				}
				f.mu.Lock() // what Deliver enters the ack under, once it has written
			}
			return s.visiting.obey(m)
		}
	})
	delivered := make(chan forwarders.Ack, 1)
	go func() {
		ack, err := f.Deliver(t.Context(), forwardertest.Batch(t, "app", 11, 31, nil))
		if err != nil {
			t.Errorf("Deliver of the batch = %v", err)
		}
		delivered <- ack
	}()
	<-conn.ended
	f.alive() // as Keep does
	f.mu.Unlock()
	ack := <-delivered
	s.set(func() { s.answer = nil })
	if _, err := f.Deliver(t.Context(), forwardertest.Batch(t, "app", 31, 41, nil)); err == nil {
		t.Error("a later batch overtakes what has to be sent again")
	}
	n, err := ack.Wait(t.Context())
	if n != 9 || err == nil { // 11 to 14, and 15 to 19 that another has
		t.Fatalf("Wait = %d, %v, want 9 and why", n, err)
	}
	f.tries(t, 20, 41)
	if got := len(s.received()); got != 35 {
		t.Errorf("%d records have come, want 35", got)
	}
}

// Whatever is forgotten of a session: the first batch of the next says nothing of what lies between
// the cursor and it, and goes back to the agent.
func TestNoHoleBehindTheCursor(t *testing.T) {
	s, f := begin(t, nil)
	f.acked(t, 1, 11)
	f.source.Set(func(src *forwardertest.Source) { src.At = map[string]uint64{"app": 11} })
	s.set(func() {
		s.answer = func(_ net.Conn, m relaywire.Message) bool {
			_, lost := m.(*relaywire.Data)
			return !lost && s.visiting.obey(m)
		}
	})
	f.deliver(t, 11, 21)
	<-f.conn.ended
	f.mu.Lock()
	f.open = nil
	f.mu.Unlock()
	s.set(func() { s.answer = nil })
	for range 2 {
		if _, err := f.Deliver(t.Context(), forwardertest.Batch(t, "app", 21, 31, nil)); !errors.Is(err, errHole) {
			t.Fatalf("Deliver behind what was lost = %v, want %v", err, errHole)
		}
	}
	f.tries(t, 11, 31)
	s.once(t, 31)
}

// What lies before the cursor is settled, also on a session that begins behind it: it was filtered, or
// somebody has skipped it.
func TestWhatTheCursorHasPassedIsLeftOut(t *testing.T) {
	s, f := begin(t, nil)
	f.acked(t, 1, 11)
	s.cut(t)
	f.source.Set(func(src *forwardertest.Source) { src.At = map[string]uint64{"app": 21} })
	f.tries(t, 21, 31)
	if got := len(s.received()); got != 20 {
		t.Errorf("%d records have come, want 20", got)
	}
}
