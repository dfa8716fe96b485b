package relay

import (
	"errors"
	"net"
	"slices"
	"strings"
	"testing"

	"github.com/runnel-log/runnel/forwarders"
	"github.com/runnel-log/runnel/forwarders/forwardertest"
	"github.com/runnel-log/runnel/internal/relaywire"
)

// theEnd says that parts of the stream app have come to their end, on the connection under way.
func (s *receiver) theEnd(t testing.TB, parts ...relaywire.Range) {
	t.Helper()
	s.set(func() {
		if !s.visiting.say(&relaywire.Ended{Stream: "app", Epoch: forwardertest.Epoch, Parts: parts}) {
			t.Error("the sender has gone")
		}
	})
}

// settle has the cursor of the stream app stand at an offset, as the agent does once an ack was waited for.
func (s *sender) settle(at uint64) {
	s.source.Set(func(src *forwardertest.Source) { src.At = map[string]uint64{"app": at} })
}

// reaches waits until all before an offset has ended.
func (s *sender) reaches(t testing.TB, to uint64) {
	t.Helper()
	forwardertest.Eventually(t, "all has ended", func() bool { return s.Ended("app") >= to })
	if got := s.Ended("app"); got != to {
		t.Errorf("all before %d has ended, want %d", got, to)
	}
}

func atTheEnd(o *Options) { o.TrimOn = trimOnEnd }

// What is acknowledged ends where it is said to, what is settled without that ends here, and nothing ends that is not settled.
func TestMarksFollowWhatHasEnded(t *testing.T) {
	s, f := begin(t, nil)
	f.settle(1)
	f.acked(t, 1, 11)
	f.settle(11)
	f.reaches(t, 1)
	s.theEnd(t, relaywire.Range{From: 1, To: 6})
	f.reaches(t, 6)
	s.theEnd(t, relaywire.Range{From: 8, To: 11})
	f.acked(t, 11, 21)
	s.theEnd(t, relaywire.Range{From: 6, To: 21}) // and of 11 to 20 before the cursor has moved
	f.reaches(t, 11)
	f.settle(40) // what lies behind was filtered
	f.reaches(t, 40)
	f.acked(t, 40, 51)
	f.settle(51)
	f.reaches(t, 40)
	s.theEnd(t, relaywire.Range{From: 21, To: 51}) // the frame says of the filtered that they are nothing
	f.reaches(t, 51)
	f.settle(30) // a cursor that is set back takes nothing back
	f.reaches(t, 51)
}

// What the receiver has not acknowledged cannot have ended, whatever it says: the session is over, and no mark moves.
func TestWhatWasNotAcknowledgedHasNotEnded(t *testing.T) {
	f := func(what string, m *relaywire.Ended, before bool) {
		t.Run(what, func(t *testing.T) {
			s, f := begin(t, atTheEnd)
			f.settle(1)
			f.acked(t, 1, 11)
			f.settle(11)
			f.mu.Lock()
			c := f.conn
			f.mu.Unlock()
			s.set(func() {
				s.answer = func(_ net.Conn, d relaywire.Message) bool {
					if _, ok := d.(*relaywire.Data); ok && before { // it is not even stored
						return s.visiting.say(m)
					}
					return s.visiting.obey(d)
				}
				if !before {
					s.visiting.say(m)
				}
			})
			if before {
				f.deliver(t, 11, 21)
			}
			forwardertest.Eventually(t, "the session is over", func() bool { return c.broken() != nil })
			if err := c.broken(); !errors.Is(err, errProtocol) || !strings.Contains(err.Error(), "said to have come to its end") {
				t.Errorf("got %v, want that it breaks the rules", err)
			}
			if got := f.Ended("app"); got != 1 {
				t.Errorf("all before %d has ended, want 1", got)
			}
		})
	}
	ended := func(stream string, epoch uint32, parts ...relaywire.Range) *relaywire.Ended {
		return &relaywire.Ended{Stream: stream, Epoch: epoch, Parts: parts}
	}
	f("what is on its way", ended("app", forwardertest.Epoch, relaywire.Range{From: 11, To: 21}), true)
	f("some of which is on its way", ended("app", forwardertest.Epoch, relaywire.Range{From: 1, To: 12}), true)
	f("what was never written", ended("app", forwardertest.Epoch, relaywire.Range{From: 1, To: 1 << 60}), false)
	f("before the first", ended("app", forwardertest.Epoch, relaywire.Range{From: 0, To: 5}), false)
	f("another stream", ended("errors", forwardertest.Epoch, relaywire.Range{From: 1, To: 5}), false)
	f("another epoch", ended("app", forwardertest.Epoch+1, relaywire.Range{From: 1, To: 5}), false)
}

// Another receiver is offered what the first has not brought to its end, and no more; where records are not kept for that,
// only what the first does not have.
func TestAnotherReceiverIsOfferedWhatHasNotEnded(t *testing.T) {
	f := func(option string, lost bool) {
		t.Run(option, func(t *testing.T) {
			first, second := startReceiver(t, "tcp", "127.0.0.1:0", nil), startReceiver(t, "tcp", "127.0.0.1:0", nil)
			f := newSender(t, options("tcp://"+first.address, func(o *Options) {
				o.TrimOn, o.To = option, append(o.To, "tcp://"+second.address)
			}), nil)
			f.source.Set(func(src *forwardertest.Source) {
				src.Of = map[string][]forwarders.Part{"app": {{Epoch: forwardertest.Epoch, First: 1, Next: 41}}}
			})
			f.settle(1)
			f.acked(t, 1, 31)
			f.settle(31)
			first.theEnd(t, relaywire.Range{From: 1, To: 11})
			f.reaches(t, 11)
			first.listener.Close()
			first.cut(t)
			var behind *forwarders.Behind
			forwardertest.Eventually(t, "the other is used", func() bool {
				_, err := f.Deliver(t.Context(), forwardertest.Batch(t, "app", 31, 41, nil))
				behind = asBehind(err)
				return err == nil || behind != nil
			})
			if !lost {
				if behind != nil {
					t.Errorf("got %v, and the first has all that", behind)
				}
				forwardertest.Eventually(t, "the rest has arrived", func() bool { return len(second.received()) == 10 })
				return
			}
			if behind == nil || behind.To != 11 || !behind.Turned {
				t.Fatalf("got %+v, want to go back to 11", behind)
			}
			f.settle(11)
			f.acked(t, 11, 41)
			f.settle(41)
			if got := second.received(); len(got) != 30 || !strings.HasPrefix(got[0], "record=00000011 ") {
				t.Errorf("the other has %d records, of which the first is %.20q, want 30 from 11 on", len(got), got[:min(1, len(got))])
			}
			f.reaches(t, 11)
			second.theEnd(t, relaywire.Range{From: 11, To: 41})
			f.reaches(t, 41)
		})
	}
	f(trimOnEnd, true)
	f(trimOnHop, false)
}

func asBehind(err error) *forwarders.Behind {
	b, _ := err.(*forwarders.Behind)
	return b
}

// A forwarder that begins anew counts on what the agent has noted, and on what receivers say anew. What only a
// receiver has that is in use no more is not waited for, but where it is kept until its end.
func TestMarksAfterARestart(t *testing.T) {
	f := func(option, url string, want uint64) {
		t.Helper()
		s := startReceiver(t, "tcp", "127.0.0.1:0", nil)
		had := relaywire.Ranges{{From: 1, To: 21}}
		source := &forwardertest.Source{Texts: text, At: map[string]uint64{"app": 31}, Over: map[string]uint64{"app": 6},
			Kept: map[string][]byte{line{"app", forwardertest.Epoch}.key(url): had.Append(nil)}}
		sender := newSender(t, options("tcp://"+s.address, func(o *Options) { o.TrimOn = option }), source)
		if got := sender.Ended("app"); got != 6 {
			t.Errorf("%s: before the first session all before %d has ended, want 6", option, got)
		}
		ack, err := sender.Deliver(t.Context(), forwardertest.Batch(t, "app", 31, 41, nil))
		if asBehind(err) == nil {
			if err != nil {
				t.Fatal(err)
			}
			if _, err := ack.Wait(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		if got := sender.Ended("app"); got != want {
			t.Errorf("%s, %s: all before %d has ended, want %d", option, url, got, want)
		}
	}
	f(trimOnHop, "tcp://gone:1", 21) // the first frame begins there
	f(trimOnEnd, "tcp://gone:1", 6)
}

// What is remembered of a line outlives the line in the store until it has ended, and no longer.
func TestALineIsRememberedUntilItHasEnded(t *testing.T) {
	s := startReceiver(t, "tcp", "127.0.0.1:0", nil)
	old := line{"app", 7}
	url := "tcp://" + s.address
	had := relaywire.Ranges{{From: 1, To: 11}}
	source := &forwardertest.Source{Texts: text, At: map[string]uint64{"app": 21}, Kept: map[string][]byte{old.key(url): had.Append(nil)},
		Of: map[string][]forwarders.Part{"app": {{Epoch: forwardertest.Epoch, First: 11, Next: 31}}}}
	f := newSender(t, options(url, nil), source)
	f.acked(t, 21, 31)
	if got := get(s, func() []relaywire.Ask { return s.asks }); len(got) < 1 || got[0].Epoch != old.epoch || !slices.Equal(got[0].Parts, had) {
		t.Fatalf("asked for %+v, want the line that is gone first", got)
	}
	if got := get(s, func() []relaywire.Gone { return s.gone }); len(got) != 1 || got[0].Range != had[0] { // it has lost all that, too
		t.Errorf("%+v is said to be gone, want %v", got, had[0])
	}
	if _, kept := source.Kept[old.key(url)]; !kept || f.Ended("app") != 1 && f.Ended("app") != 0 {
		t.Errorf("all before %d has ended, and it is kept: %v", f.Ended("app"), kept)
	}
	s.set(func() {
		s.visiting.say(&relaywire.Ended{Stream: "app", Epoch: old.epoch, Parts: had})
	})
	f.reaches(t, 11)
	s.theEnd(t, relaywire.Range{From: 11, To: 31})
	f.reaches(t, 21)
	source.Set(func(src *forwardertest.Source) { src.Over = map[string]uint64{"app": 21} })
	after := newSender(t, options(url, nil), source)
	after.acked(t, 31, 41)
	if _, kept := source.Kept[old.key(url)]; kept {
		t.Error("a line that has ended, and of which nothing is stored, is still remembered")
	}
}
