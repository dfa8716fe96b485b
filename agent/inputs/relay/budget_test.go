package relay

import (
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/runnel-log/runnel/agent/inputs/inputtest"
	"github.com/runnel-log/runnel/internal/relaywire"
)

// noise is a record of n bytes that do not compress.
func noise(n int) string {
	b := make([]byte, n)
	rand.NewChaCha8([32]byte{}).Read(b)
	return string(b)
}

// beginning returns the first bytes of a frame of 8 MiB.
func beginning() []byte {
	d := &relaywire.Data{Number: 1, Part: relaywire.Part{Range: relaywire.Range{From: 1, To: 2}},
		Offsets: relaywire.Ranges{{From: 1, To: 2}}, Sum: 1, Raw: 1, Payload: make([]byte, 8<<20)}
	return relaywire.Append(nil, d)[:1<<20]
}

// left returns what is left of the input's budget.
func left(r *inputtest.Running) int {
	b := r.Input.(*Input).budget
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.left
}

// wait waits until something is so.
func wait(t testing.TB, what string, is func() bool) {
	t.Helper()
	for until := time.Now().Add(inputtest.Patience); !is(); {
		if <-time.After(time.Millisecond); time.Now().After(until) {
			t.Fatalf("still not: %s", what)
		}
	}
}

// Whoever announces large frames and sends little of them has little of the memory, and
// others go on.
func TestAnnouncedFramesHoldLittle(t *testing.T) {
	r := inputtest.Start(t, Kind, "", plain, inputtest.Setup{})
	all, wire := left(r), beginning()
	for i := range 8 {
		c := dial(t, r, relaywire.Writer{Agent: relaywire.Agent{66}, Epoch: uint32(i + 1)})
		if _, err := c.Write(wire[:100<<10]); err != nil { // and then nothing
			t.Fatal(err)
		}
	}
	wait(t, "eight frames have begun", func() bool { return left(r) <= all-8*(100<<10) })
	if held := all - left(r); held > 8*(200<<10) {
		t.Errorf("%d bytes are held for 800 KiB that came", held)
	}
	c := dial(t, r, host)
	c.ask("app", forever)
	c.say(c.frame("app", 1, batch([]string{noise(300 << 10)}, nil)))
	c.acked(1)
}

// Whoever holds memory that others wait for must send fast, or makes room.
func TestTricklingMakesRoom(t *testing.T) {
	patience := patience{hello: inputtest.Patience, silent: time.Second, write: inputtest.Patience, room: inputtest.Patience, stored: inputtest.Patience, favour: 2 * time.Second, linger: time.Millisecond}
	r := inputtest.Start(t, with(func(o *Options) { o.patience = patience }), "", plain+"\nmax_inflight: 1MiB", inputtest.Setup{})
	wire := beginning()
	slow := func() float64 { return r.Count(`runnel_input_errors_total{input="in",reason="slow"}`) }
	stop, tick := make(chan struct{}), time.NewTicker(5*time.Millisecond)
	var trickling sync.WaitGroup
	defer trickling.Wait()
	defer close(stop)
	defer tick.Stop()
	for i := range 2 {
		c := dial(t, r, relaywire.Writer{Agent: relaywire.Agent{66, byte(i)}, Epoch: 1})
		trickling.Go(func() {
			for at, to := 0, 600<<10; ; at, to = to, to+100 {
				if _, err := c.Write(wire[at:to]); err != nil {
					return // it has been closed
				}
				select {
				case <-tick.C:
				case <-stop:
					return
				}
			}
		})
	}
	wait(t, "the budget is used up, and one of them has more", func() bool {
		b := r.Input.(*Input).budget
		b.mu.Lock()
		defer b.mu.Unlock()
		return b.coming != nil || slow() > 0
	})
	c := newClient(t, inputtest.Dial(t, r.URL(0), ""), host)
	c.hello()
	c.ask("app", forever)
	c.say(c.frame("app", 1, batch([]string{noise(900 << 10)}, nil)))
	c.acked(1)
	wait(t, "somebody is counted as slow", func() bool { return slow() > 0 }) // it is said once the room is there
}

// Frames larger than the budget, of many at once, come through one after the other.
func TestFramesLargerThanTheBudgetComeThrough(t *testing.T) {
	r := inputtest.Start(t, Kind, "", plain+"\nmax_inflight: 1MiB", inputtest.Setup{})
	long := noise(5 << 20)
	var wg sync.WaitGroup
	for i := range 4 {
		c := dial(t, r, relaywire.Writer{Agent: relaywire.Agent{50, byte(i)}, Epoch: 1})
		c.ask("app", forever)
		wg.Go(func() {
			c.say(c.frame("app", 1, batch([]string{long}, nil)))
			c.acked(1)
		})
	}
	wg.Wait()
	wait(t, "all is given back", func() bool { return left(r) == 1<<20 })
}

// One identity has a quarter of the budget, and beyond that one frame at a time.
func TestAnIdentityHasItsShare(t *testing.T) {
	b := newBudget(1000)
	of := func(name string) *session { return &session{id: identity{name: name}} }
	one, two, other := of("one"), of("one"), of("other")
	f := func(n int, x *session, whole, given, favoured bool) {
		t.Helper()
		freed, got := b.take(n, x, whole)
		if (freed == nil) != given || got != favoured {
			t.Errorf("%d for %q: given %v favoured %v, want %v %v", n, x.id.name, freed == nil, got, given, favoured)
		}
	}
	f(200, one, false, true, false)
	f(100, two, false, true, true)
	f(100, one, false, false, false)
	f(100, one, true, true, true)
	f(200, other, false, true, false)
	f(100, other, false, false, false)
	f(800, of(""), false, false, false)
	f(400, of(""), false, true, false)
	b.give(100, two)
	f(100, one, false, true, true)
	b.give(400, one)
	b.give(200, other)
	if len(b.held) != 0 || b.left != 600 || b.coming != nil || b.whole != nil {
		t.Errorf("%+v is left", b)
	}
}
