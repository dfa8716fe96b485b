package relay

import (
	"errors"
	"net"
	"testing"
	"time"

	"github.com/runnel-log/runnel/forwarders"
	"github.com/runnel-log/runnel/forwarders/forwardertest"
	"github.com/runnel-log/runnel/internal/relaywire"
)

// A receiver that acknowledges nothing is left for the next, which comes soon; when that does nothing either, tries
// are spaced as ever.
func TestAReceiverThatDoesNothingLosesItsTurn(t *testing.T) {
	var s [2]*receiver
	for i := range s {
		s[i] = startReceiver(t, "tcp", "127.0.0.1:0", nil)
	}
	f := newSender(t, options("tcp://"+s[0].address, func(o *Options) {
		o.To, o.Timeout = append(o.To, "tcp://"+s[1].address), 300*time.Millisecond
	}), nil)
	mute := func(r *receiver, does bool) {
		r.set(func() {
			if r.answer = nil; does {
				r.answer = func(_ net.Conn, m relaywire.Message) bool {
					_, data := m.(*relaywire.Data)
					return data || r.visiting.obey(m)
				}
			}
		})
	}
	fails := func(from uint64, soon bool) {
		t.Helper()
		ack, err := f.Deliver(t.Context(), forwardertest.Batch(t, "app", from, from+10, nil))
		if err == nil {
			_, err = ack.Wait(t.Context())
		}
		var is *forwarders.Soon
		if err == nil || errors.As(err, &is) != soon {
			t.Fatalf("got %v, want that the next try comes soon to be %v", err, soon)
		}
	}
	mute(s[0], true)
	mute(s[1], true)
	fails(1, true)  // the second has not been tried
	fails(1, false) // and does nothing either
	mute(s[0], false)
	f.tries(t, 1, 11)
	s[0].once(t, 11)
	s[0].cut(t)
	fails(11, true) // the second, once more: the first took something until now
}

// How long one receiver asks to wait does not matter where another can be tried.
func TestAllReceiversHaveToAskToWait(t *testing.T) {
	asks := func(after time.Duration) error { return &forwarders.Retry{After: after, Err: errors.New("full")} }
	var retry *forwarders.Retry
	if err := together([]error{asks(time.Hour), errors.New("refused")}); errors.As(err, &retry) {
		t.Errorf("got %v", err)
	}
	if err := together([]error{asks(time.Hour), asks(time.Minute)}); !errors.As(err, &retry) || retry.After != time.Minute {
		t.Errorf("got %v", err)
	}
}
