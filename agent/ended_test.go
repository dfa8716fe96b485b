package agent

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/runnel-log/runnel/storage"
)

// middleConfig is that of a tier between others: where it listens, and whom it passes on to.
const middleConfig = "inputs: {chain: {type: relay, listen: ['unix://DIR/relay.sock']}}\nforwarders: {up: {type: relay, from: ['*'], to: [%s]%s}}\n"

const toTheEnd = ", trim_on: end"

// endOf returns how far the stream app has ended at an agent, as its store has it.
func (a *testAgent) ended() uint64 {
	at, _ := a.store.Cursor(storage.EndedName("up"), "app")
	return at
}

// hasEnded waits until an agent has noted that all before an offset has ended.
func (a *testAgent) hasEnded(t *testing.T, next uint64) {
	t.Helper()
	waitUntil(t, fmt.Sprintf("all before %d to have ended", next), func() bool { return a.ended() == next })
}

// A stream that pushes back keeps what the next agent has acknowledged, until the last one has it.
func TestRecordsAreKeptUntilTheLastAgentHasThem(t *testing.T) {
	t.Parallel()
	f := func(t *testing.T, option string, keeps bool) {
		dirs := [3]string{shortDir(t), shortDir(t), shortDir(t)}
		top := fmt.Sprintf("'unix://%s/relay.sock'", dirs[2])
		middle := startAgent(t, dirs[1], fmt.Sprintf(middleConfig, top, ""), nil)
		below := startAgent(t, dirs[0], fmt.Sprintf(hostConfig, fmt.Sprintf("'unix://%s/relay.sock'", dirs[1]), option)+
			"streams: {app: {max_age: 1ms, on_full: push_back}}\n", nil)
		feed(t, below, 1, 501)
		middle.stored(t, "app", 500)
		delivered(t, below, 501)
		first := func() uint64 { return below.store.Streams()[0].First }
		if !keeps {
			waitUntil(t, "what was delivered to be trimmed", func() bool { return first() == 501 })
		}
		// A second stream of rounds, so that there were times to trim it.
		feed(t, below, 501, 601)
		delivered(t, below, 601)
		if keeps && first() != 1 {
			t.Errorf("the first that is kept is %d, want 1: nobody but the middle has it", first())
		}
		if got := below.status().Forwarders[0].Streams[0].Unended; keeps && got != 600 {
			t.Errorf("the status says that %d records are kept until they have ended, want 600", got)
		}
		startAgent(t, dirs[2], fmt.Sprintf(centralConfig, "DIR/relay.sock"), nil)
		middle.retryNow()
		waitUntil(t, "all to be trimmed", func() bool { return first() == 601 })
		below.hasEnded(t, 601)
		middle.hasEnded(t, 601)
	}
	t.Run("end", func(t *testing.T) { t.Parallel(); f(t, toTheEnd, true) })
	t.Run("hop", func(t *testing.T) { t.Parallel(); f(t, "", false) })
}

// What an agent that is lost for ever had not passed on goes up another way, if it was kept until its end; and
// else is lost with it.
func TestATierThatIsLostForEver(t *testing.T) {
	t.Parallel()
	f := func(t *testing.T, option string, arrive int) {
		dirs := [4]string{shortDir(t), shortDir(t), shortDir(t), shortDir(t)}
		to := func(dir string) string { return fmt.Sprintf("'unix://%s/relay.sock'", dir) }
		topConfig := fmt.Sprintf(centralConfig, "DIR/relay.sock")
		top := startAgent(t, dirs[3], topConfig, nil)
		var middle [2]*testAgent
		for i := range middle {
			middle[i] = startAgent(t, dirs[1+i], fmt.Sprintf(middleConfig, to(dirs[3]), option), nil)
		}
		config := fmt.Sprintf(hostConfig, to(dirs[1])+", "+to(dirs[2]), option)
		below := startAgent(t, dirs[0], config, nil)
		feed(t, below, 1, 301)
		top.stored(t, "app", 300)
		below.hasEnded(t, 301)

		top.stop(t)
		feed(t, below, 301, 501) // the first of the two takes it, and nobody above
		middle[0].stored(t, "app", 500)
		delivered(t, below, 501)
		middle[0].stop(t)
		if err := os.RemoveAll(filepath.Join(middle[0].dir, "data")); err != nil {
			t.Fatal(err)
		}
		below.stop(t) // and a restart forgets nothing
		below = startAgent(t, dirs[0], config, nil)
		top = startAgent(t, dirs[3], topConfig, nil)
		middle[1].retryNow()
		feed(t, below, 501, 601)
		delivered(t, below, 601)
		top.stored(t, "app", arrive)
		if arrive < 600 {
			waitUntil(t, "the last to arrive", func() bool { return texts(t, top.store, "app")[arrive-1] == "600" })
		} else {
			below.hasEnded(t, 601)
		}
		seen := make(map[string]bool)
		for _, text := range texts(t, top.store, "app") {
			if seen[text] {
				t.Errorf("%s is there twice", text)
			}
			seen[text] = true
		}
		if len(seen) != arrive {
			t.Errorf("%d records have come, want %d", len(seen), arrive)
		}
		if got := below.metric("runnel_forwarder_doubtful_records_total"); got != 0 {
			t.Errorf("%d records are in doubt", got)
		}
	}
	t.Run("end", func(t *testing.T) { t.Parallel(); f(t, toTheEnd, 600) })
	t.Run("hop", func(t *testing.T) { t.Parallel(); f(t, "", 400) })
}

// A forwarder that was a relay and is of another kind under the same name, since a start or a reload, keeps nothing until its end;
// and as a relay again it begins with what is here then.
func TestAForwarderThatIsNoRelayAnyMoreKeepsNothing(t *testing.T) {
	t.Parallel()
	f := func(t *testing.T, change func(t *testing.T, a *testAgent, config string) *testAgent) {
		dirs := [2]string{shortDir(t), shortDir(t)}
		startAgent(t, dirs[1], fmt.Sprintf(middleConfig, "'unix://DIR/nobody.sock'", ""), nil)
		const keep = "streams: {app: {max_age: 1ms, on_full: push_back}}\n"
		config := fmt.Sprintf(hostConfig, fmt.Sprintf("'unix://%s/relay.sock'", dirs[1]), toTheEnd) + keep
		to, _, _ := strings.Cut(hostConfig, "forwarders:")
		below := startAgent(t, dirs[0], config, nil)
		feed(t, below, 1, 101)
		delivered(t, below, 101)
		below = change(t, below, to+"forwarders: {up: {type: file, from: ['*'], path: DIR/out}}\n"+keep)
		first := func() uint64 { return below.store.Streams()[0].First }
		waitUntil(t, "what was delivered to be trimmed", func() bool { return first() == 101 })
		feed(t, below, 101, 201)
		delivered(t, below, 201)
		waitUntil(t, "all to be trimmed", func() bool { return first() == 201 })
		if at := below.ended(); at != 0 {
			t.Errorf("all before %d is still said to have ended", at)
		}
		below = change(t, below, config)
		feed(t, below, 201, 301)
		delivered(t, below, 301)
		if at := below.ended(); at != 201 || first() != 201 {
			t.Errorf("as a relay again all before %d has ended, and all before %d is gone, want 201 of both", at, first())
		}
	}
	t.Run("start", func(t *testing.T) {
		t.Parallel()
		f(t, func(t *testing.T, a *testAgent, config string) *testAgent {
			a.stop(t)
			return startAgent(t, a.dir, config, nil)
		})
	})
	t.Run("reload", func(t *testing.T) {
		t.Parallel()
		f(t, func(t *testing.T, a *testAgent, config string) *testAgent {
			if err := a.reload(config); err != nil {
				t.Fatal(err)
			}
			return a
		})
	})
}
