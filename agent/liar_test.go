package agent

import (
	"fmt"
	"net"
	"strings"
	"sync"
	"testing"

	"github.com/runnel-log/runnel/internal/relaywire"
)

// liar is a receiver that takes nothing, and says of every line that it goes on far beyond what was ever written.
type liar struct {
	url    string
	open   chan struct{}     // closed once it may answer
	prints []relaywire.Print // that it shows of that

	mu   sync.Mutex
	asks map[uint32]int // guarded by mu: by epoch
}

func startLiar(t *testing.T, prints ...relaywire.Print) *liar {
	t.Helper()
	path := shortDir(t) + "/liar.sock"
	listener, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	l := &liar{url: "unix://" + path, open: make(chan struct{}), prints: prints, asks: make(map[uint32]int)}
	var serving sync.WaitGroup
	serving.Go(func() {
		for {
			c, err := listener.Accept()
			if err != nil {
				return
			}
			serving.Go(func() {
				defer c.Close()
				l.serve(c)
			})
		}
	})
	t.Cleanup(func() { // the host has ended by then, and its connections with it
		listener.Close()
		serving.Wait()
	})
	return l
}

func (l *liar) serve(c net.Conn) {
	r := relaywire.NewReader(c)
	defer r.Close()
	above := []relaywire.Hop{{Agent: relaywire.Agent{66}, Name: "liar"}}
	for {
		m, err := r.Next()
		if err != nil {
			return
		}
		var answer relaywire.Message
		switch m := m.(type) {
		case *relaywire.Hello:
			answer = &relaywire.Welcome{Version: relaywire.Version, Agent: above[0].Agent, Name: "liar", Session: 5, Credit: 1 << 20, Above: above}
		case *relaywire.Ask:
			<-l.open
			l.mu.Lock()
			l.asks[m.Epoch]++
			l.mu.Unlock()
			answer = &relaywire.Tell{Stream: m.Stream, Epoch: m.Epoch, Missing: m.Parts, Ends: relaywire.Range{From: 1, To: 1 << 60}, Prints: l.prints}
		case *relaywire.Report:
			answer = &relaywire.Path{Above: above}
		default:
			continue
		}
		if _, err := c.Write(relaywire.Append(nil, answer)); err != nil {
			return
		}
	}
}

// asked returns how often it was asked for lines of an epoch.
func (l *liar) asked(epoch uint32) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.asks[epoch]
}

const untilTheEnd = "streams: {app: {max_age: 1ms, on_full: push_back}}\n"

func (a *testAgent) first() uint64 { return a.store.Streams()[0].First }

// A receiver that says that a line goes on, and shows nothing of it, breaks the rules: nothing is trimmed, no cursor
// moves, no epoch begins, and the next receiver gets all.
func TestALiarAboutTheEndOfALineGetsNothing(t *testing.T) {
	t.Parallel()
	l, dir := startLiar(t), shortDir(t)
	close(l.open)
	below := startAgent(t, shortDir(t), fmt.Sprintf(hostConfig, fmt.Sprintf("'%s', 'unix://%s/relay.sock'", l.url, dir), toTheEnd)+untilTheEnd, nil)
	epoch := below.store.Epoch()
	feed(t, below, 1, 501)
	waitUntil(t, "three lies", func() bool { return l.asked(epoch) >= 3 })
	waitUntil(t, "the lie to be seen", func() bool {
		return strings.Contains(below.status().Forwarders[0].LastError, "no print shows anything")
	})
	at, _ := below.store.Cursor("up", "app")
	if first, now := below.first(), below.store.Epoch(); at != 1 || first != 1 || below.ended() != 1 || now != epoch {
		t.Errorf("the cursor is at %d, all before %d is gone, all before %d has ended, want 1 of each; epoch %x, want %x", at, first, below.ended(), now, epoch)
	}
	above := startAgent(t, dir, fmt.Sprintf(centralConfig, "DIR/relay.sock"), nil)
	below.retryNow()
	arrives(t, above, 500)
	below.hasEnded(t, 501)
	if got := below.metric("runnel_forwarder_doubtful_records_total"); got != 0 {
		t.Errorf("%d records are in doubt", got)
	}
	waitUntil(t, "all to be trimmed", func() bool { return below.first() == 501 })
}

// One that shows a print of what was never written puts in doubt what it was told of then, once: what is in doubt is kept, also over
// a restart, until the cursor is moved by hand, and what comes then is sent to the next.
func TestWhatALiarPutsInDoubtStays(t *testing.T) {
	t.Parallel()
	l, dir := startLiar(t, relaywire.Print{Range: relaywire.Range{From: 1 << 59, To: 1 << 60}, Sum: 7}), shortDir(t)
	config := fmt.Sprintf(hostConfig, fmt.Sprintf("'%s', 'unix://%s/relay.sock'", l.url, dir), toTheEnd) + untilTheEnd
	below := startAgent(t, shortDir(t), config, nil)
	old := below.store.Epoch()
	feed(t, below, 1, 501)
	close(l.open)
	waitUntil(t, "a new epoch", func() bool { return below.store.Epoch() != old })
	epoch := below.store.Epoch()
	delivered(t, below, 501)
	feed(t, below, 501, 601)
	waitUntil(t, "three lies", func() bool { return l.asked(epoch) >= 3 })
	at, _ := below.store.Cursor("up", "app")
	if doubt, now := below.metric("runnel_forwarder_doubtful_records_total"), below.store.Epoch(); doubt != 500 || at != 501 || now != epoch {
		t.Errorf("%d records are in doubt, and the cursor is at %d, want 500 and 501; epoch %x, want %x", doubt, at, now, epoch)
	}
	above := startAgent(t, dir, fmt.Sprintf(centralConfig, "DIR/relay.sock"), nil)
	below.retryNow()
	delivered(t, below, 601)
	above.stored(t, "app", 100)
	below.stop(t)
	below = startAgent(t, below.dir, strings.Replace(config, "'"+l.url+"', ", "", 1), nil)
	feed(t, below, 601, 701)
	delivered(t, below, 701)
	above.stored(t, "app", 200)
	f := below.delivery("up").forwarder
	waitUntil(t, "the mark to be looked at", func() bool { return f.(interface{ Ended(string) uint64 }).Ended("app") == 1 })
	if first := below.first(); first != 1 || below.ended() != 1 {
		t.Errorf("all before %d is gone, and all before %d has ended, want 1: 500 records are in doubt", first, below.ended())
	}
	if got := texts(t, below.store, "app"); len(got) != 700 {
		t.Errorf("%d records are to be read here, want 700", len(got))
	}
	if err := below.delivery("up").moveCursor("app", 701); err != nil {
		t.Fatal(err)
	}
	below.hasEnded(t, 701)
	waitUntil(t, "all to be trimmed", func() bool { return below.first() == 701 })
}
