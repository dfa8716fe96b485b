package agent

import (
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/runnel-log/runnel/agent/query"
)

// otherwise is redriveConfig with another forwarder of the same name.
func otherwise(note int) string {
	return strings.Replace(redriveConfig, "from: [app]}\n", fmt.Sprintf("from: [app], note: %d}\n", note), 1)
}

// slowToClose is a letterbox that ends only when it may.
type slowToClose struct {
	letterbox
	once    sync.Once
	closing chan struct{} // closed when the first was asked to end
	close   chan struct{} // closed when they may
}

func (f *slowToClose) Close() error {
	f.once.Do(func() { close(f.closing) })
	<-f.close
	return nil
}

// midReload returns an agent with three records delivered and three in the dead
// letters, in the midst of a reload that replaces its forwarder, and the means to go on.
func midReload(t *testing.T) (a *testAgent, f *slowToClose, finish func()) {
	t.Helper()
	f = &slowToClose{closing: make(chan struct{}), close: make(chan struct{})}
	f.refuse("bad")
	a = startAgent(t, shortDir(t), redriveConfig, f)
	write(t, a.dial(t, "in", 0), line("1")+line("2")+line("3")+line("bad 4")+line("bad 5")+line("bad 6"))
	a.stored(t, "app.dead", 3)
	waitUntil(t, "the cursor to be at the end", func() bool { at, _ := a.store.Cursor("out", "app"); return at == 7 })
	f.refuse()
	reloaded := make(chan error, 1)
	go func() { reloaded <- a.reload(otherwise(1)) }()
	<-f.closing
	return a, f, func() {
		t.Helper()
		close(f.close)
		if err := <-reloaded; err != nil {
			t.Fatal(err)
		}
	}
}

// TestCursorMovedDuringAReloadIsMoved: whichever of the two deliveries it meets.
func TestCursorMovedDuringAReloadIsMoved(t *testing.T) {
	a, f, finish := midReload(t)
	moved := make(chan error, 1)
	go func() { moved <- host{a.Agent}.SetCursor("out", "app", 2) }()
	finish()
	if err := <-moved; err != nil {
		t.Fatal(err)
	}
	waitUntil(t, "what lies behind the cursor to be delivered again", func() bool { return len(f.since(3)) == 5 })
	checkMessages(t, f.since(3), []string{"app/2 2", "app/3 3", "app/4 bad 4", "app/5 bad 5", "app/6 bad 6"})
	wantExplained(t, host{a.Agent}.Audit())
}

// TestReplacedDeliveryMovesNothing: who looked it up before a reload is told to look again.
func TestReplacedDeliveryMovesNothing(t *testing.T) {
	f := &letterbox{}
	a := startAgent(t, shortDir(t), redriveConfig, f)
	c := a.dial(t, "in", 0)
	write(t, c, line("1")+line("2")+line("3"))
	waitUntil(t, "the cursor to be at the end", func() bool { at, _ := a.store.Cursor("out", "app"); return at == 4 })
	old := a.delivery("out")
	if err := a.reload(otherwise(1)); err != nil {
		t.Fatal(err)
	}
	if err := old.moveCursor("app", 2); !errors.Is(err, errReplaced) {
		t.Errorf("a cursor: got %v", err)
	}
	for _, moving := range []bool{false, true} {
		ask := func(r *redrive) { r.ask(1, 1, 9) }
		if err := askRedrives(t.Context(), []*delivery{old.delivery}, "app.dead", moving, ask); !errors.Is(err, errReplaced) {
			t.Errorf("a redrive: got %v", err)
		}
	}
	if _, ok := a.delivery("out").redrives.at("app.dead"); ok {
		t.Error("there is a redrive")
	}
	write(t, c, line("4"))
	waitUntil(t, "the cursor to be at the end", func() bool { at, _ := a.store.Cursor("out", "app"); return at == 5 })
	checkMessages(t, f.since(0), []string{"app/1 1", "app/2 2", "app/3 3", "app/4 4"})
	wantExplained(t, host{a.Agent}.Audit())
}

// TestRedriveAskedForDuringAReloadGoes: it is begun by the delivery that comes.
func TestRedriveAskedForDuringAReloadGoes(t *testing.T) {
	a, f, finish := midReload(t)
	type answer struct {
		query.Redriven
		err error
	}
	asked := make(chan answer, 1)
	go func() {
		got, err := host{a.Agent}.Redrive(t.Context(), query.Redrive{Stream: "app"})
		asked <- answer{got, err}
	}()
	finish()
	if got := <-asked; got.err != nil || got.Records != 3 {
		t.Fatalf("got %+v", got)
	}
	a.redriveEnds(t)
	checkMessages(t, f.since(3), []string{"app/4 bad 4", "app/5 bad 5", "app/6 bad 6"})
	if got := a.redriveOf(t, "out"); got.Redriven != 3 {
		t.Errorf("the ledger says %+v", got)
	}
}

// TestCursorsMovedWhileReloadsGoOn: each move is made, and the ledger explains it.
func TestCursorsMovedWhileReloadsGoOn(t *testing.T) {
	reloads, movers := 20, 4
	if soak {
		reloads = 2000
	}
	f := &letterbox{}
	a := startAgent(t, shortDir(t), redriveConfig, f)
	var lines strings.Builder
	for i := range 200 {
		lines.WriteString(line("%d", i))
	}
	write(t, a.dial(t, "in", 0), lines.String())
	a.stored(t, "app", 200)
	stop := make(chan struct{})
	var wg sync.WaitGroup
	for i := range movers {
		wg.Go(func() {
			for to := uint64(i + 1); ; to = to*7%200 + 1 {
				select {
				case <-stop:
					return
				default:
				}
				if err := (host{a.Agent}).SetCursor("out", "app", to); err != nil {
					t.Errorf("the cursor to %d: %v", to, err)
					return
				}
				if _, err := (host{a.Agent}).SkipCursor("out", "app", 3); err != nil {
					t.Errorf("3 records on: %v", err)
					return
				}
			}
		})
	}
	for i := range reloads {
		if err := a.reload(otherwise(i + 1)); err != nil {
			t.Error(err)
		}
		if u := (host{a.Agent}).Audit().Unexplained; u != 0 {
			t.Errorf("after %d reloads %d records are unexplained", i+1, u)
			break
		}
	}
	close(stop)
	wg.Wait()
	if err := (host{a.Agent}).SetCursor("out", "app", 1); err != nil {
		t.Fatal(err)
	}
	waitUntil(t, "the cursor to be at the end", func() bool { at, _ := a.store.Cursor("out", "app"); return at == 201 })
	wantExplained(t, host{a.Agent}.Audit())
}
