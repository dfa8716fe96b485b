package relay

import (
	"testing"

	"github.com/runnel-log/runnel/forwarders"
	"github.com/runnel-log/runnel/forwarders/forwardertest"
	"github.com/runnel-log/runnel/internal/relaywire"
)

// A receiver that has forgotten lines since they were too many, and says so, has lost nothing: what it had
// acknowledged of them is not sent again, and what comes is.
func TestForgottenLinesAreNotSentAgain(t *testing.T) {
	s, f := begin(t, nil)
	f.source.Set(func(src *forwardertest.Source) {
		src.Of = map[string][]forwarders.Part{"app": {{Epoch: forwardertest.Epoch, First: 1, Next: 41}}}
	})
	f.acked(t, 1, 11)
	f.acked(t, 11, 21)
	s.set(func() {
		s.known, s.tell = relaywire.NewKnown(), func(tell *relaywire.Tell) { tell.Forgot = true }
	})
	s.cut(t)
	f.tries(t, 21, 31)
	s.once(t, 31)
	s.cut(t) // it knows how the line goes on, and not how it began
	f.tries(t, 31, 41)
	s.once(t, 41)
	s.set(func() { s.tell = nil })
}
