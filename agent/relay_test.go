package agent

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/runnel-log/runnel/internal/client"
)

// hostConfig is that of the lower tier: where it sends to, as a YAML list.
const hostConfig = `agent: {name: host, data_dir: DIR/data}
api: {listen: 'unix://DIR/api.sock'}
inputs: {in: {type: syslog, listen: ['tcp://127.0.0.1:0']}}
pipelines: {main: {from: [in], stream: app}}
forwarders: {up: {type: relay, from: ["*"], to: [%s]%s}}
`

// centralConfig is that of an upper tier.
const centralConfig = "inputs: {chain: {type: relay, listen: ['unix://%s']}}\n"

// tiersOf runs a host and a central agent, and returns them and the socket between them.
func tiersOf(t *testing.T, more string) (below, above *testAgent, config [2]string) {
	t.Helper()
	dirs := [2]string{shortDir(t), shortDir(t)}
	socket := filepath.Join(dirs[1], "relay.sock")
	config = [2]string{fmt.Sprintf(hostConfig, "'unix://"+socket+"'", more), fmt.Sprintf(centralConfig, socket)}
	return startAgent(t, dirs[0], config[0], nil), startAgent(t, dirs[1], config[1], nil), config
}

// feed sends the numbers from one to another, exclusive, to an agent's input and waits until they are stored.
func feed(t *testing.T, a *testAgent, from, to int) {
	t.Helper()
	c := a.dial(t, "in", 0)
	defer c.Close()
	text := ""
	for i := from; i < to; i++ {
		text += line("%d", i)
	}
	write(t, c, text)
	a.stored(t, "app", to-1)
}

// arrives waits until an agent has n records in the stream app, and checks that they are the numbers from 1 on.
func arrives(t *testing.T, a *testAgent, n int) {
	t.Helper()
	a.stored(t, "app", n)
	var want []string
	for i := 1; i <= n; i++ {
		want = append(want, fmt.Sprint(i))
	}
	if got := texts(t, a.store, "app"); !slices.Equal(got, want) {
		t.Fatalf("%d records are %.200q…, want 1 to %d", len(got), got, n)
	}
}

// delivered waits until the agent below knows that all it has has arrived.
func delivered(t *testing.T, a *testAgent, next uint64) {
	t.Helper()
	waitUntil(t, "all to be acknowledged", func() bool { at, _ := a.store.Cursor("up", "app"); return at == next })
}

// Whoever ends and comes back, and however often: each record is there once, in order.
func TestRelayedRecordsArriveOnce(t *testing.T) {
	below, above, config := tiersOf(t, "")
	n := 1
	more := func(records int) {
		t.Helper()
		feed(t, below, n, n+records)
		n += records
	}
	for round := range 6 {
		more(300)
		if round%2 == 0 {
			above.stop(t)
			more(200)
			above = startAgent(t, above.dir, config[1], nil)
			more(100)
		} else {
			below.stop(t)
			below = startAgent(t, below.dir, config[0], nil)
			more(100)
		}
	}
	arrives(t, above, n-1)
	delivered(t, below, uint64(n))
	if got := below.metric("runnel_forwarder_doubtful_records_total"); got != 0 {
		t.Errorf("%d records are in doubt", got)
	}
}

// What an agent above has lost with its disk is sent again, as far as it is here.
func TestLostDiskAboveIsFilledAgain(t *testing.T) {
	below, above, config := tiersOf(t, "")
	feed(t, below, 1, 501)
	arrives(t, above, 500)
	delivered(t, below, 501)
	above.stop(t)
	if err := os.RemoveAll(filepath.Join(above.dir, "data")); err != nil {
		t.Fatal(err)
	}
	above = startAgent(t, above.dir, config[1], nil)
	arrives(t, above, 500) // though nothing new has come
	feed(t, below, 501, 601)
	arrives(t, above, 600)
}

// A data directory that is put back sends nothing twice, and what comes then arrives.
func TestRestoredDiskBelowRepeatsNothing(t *testing.T) {
	below, above, config := tiersOf(t, "")
	feed(t, below, 1, 101)
	below.stop(t)
	data, saved := filepath.Join(below.dir, "data"), filepath.Join(below.dir, "saved")
	if err := os.CopyFS(saved, os.DirFS(data)); err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(filepath.Join(saved, "token")); err != nil { // the copy is not as private
		t.Fatal(err)
	}
	below = startAgent(t, below.dir, config[0], nil)
	feed(t, below, 101, 201)
	arrives(t, above, 200)
	delivered(t, below, 201)
	below.stop(t)
	if err := os.RemoveAll(data); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(saved, data); err != nil {
		t.Fatal(err)
	}
	below = startAgent(t, below.dir, config[0], nil)
	c := below.dial(t, "in", 0)
	defer c.Close()
	for i := 201; i < 301; i++ {
		write(t, c, line("%d", i))
	}
	arrives(t, above, 300)
	delivered(t, below, 201) // of its own offsets it has lost a hundred
}

// A forwarder that leaves records out says so of each, and what is filtered passes.
func TestFilteredRelay(t *testing.T) {
	below, above, config := tiersOf(t, `, where: 'int(message) % 3 == 0'`)
	for n := 1; n < 900; n += 300 {
		feed(t, below, n, n+300)
		below.stop(t)
		below = startAgent(t, below.dir, config[0], nil)
	}
	above.stored(t, "app", 300)
	for i, text := range texts(t, above.store, "app") {
		if want := fmt.Sprint(3 * (i + 1)); text != want {
			t.Fatalf("record %d is %s, want %s", i, text, want)
		}
	}
	delivered(t, below, 901)
}

// With one of two gone the other takes over, and nothing comes twice where both meet.
func TestRelayTurnsToAnother(t *testing.T) {
	top := startAgent(t, shortDir(t), "inputs: {chain: {type: relay, listen: ['unix://DIR/relay.sock']}}\n", nil)
	var middle [2]*testAgent
	var configs [2]string
	to := ""
	for i := range middle {
		dir := shortDir(t)
		configs[i] = fmt.Sprintf(centralConfig, "DIR/relay.sock") + fmt.Sprintf("forwarders: {up: {type: relay, from: ['*'], to: ['unix://%s/relay.sock']}}\n", top.dir)
		middle[i] = startAgent(t, dir, configs[i], nil)
		to += fmt.Sprintf("'unix://%s/relay.sock',", dir)
	}
	below := startAgent(t, shortDir(t), fmt.Sprintf(hostConfig, to, ""), nil)
	n := 1
	for round := range 4 {
		feed(t, below, n, n+250)
		i := round % 2
		middle[i].stop(t)
		feed(t, below, n+250, n+500)
		n += 500
		delivered(t, below, uint64(n))
		if got, want := below.status().Forwarders[0].Using, "unix://"+middle[1-i].dir+"/relay.sock"; got != want {
			t.Errorf("the status says that %q is in use, want %q", got, want)
		}
		middle[i] = startAgent(t, middle[i].dir, configs[i], nil)
	}
	top.stored(t, "app", n-1)
	seen := make(map[string]bool)
	for _, text := range texts(t, top.store, "app") {
		if seen[text] {
			t.Errorf("%s is there twice", text)
		}
		seen[text] = true
	}
	if len(seen) != n-1 {
		t.Errorf("%d records have come, want %d", len(seen), n-1)
	}
}

// The agent above knows who is below, and how far behind; the one below who is above.
func TestTiersKnowEachOther(t *testing.T) {
	below, above, _ := tiersOf(t, "")
	waitUntil(t, "the agents to know each other", func() bool {
		all := above.tiers.Below()
		return len(all) == 1 && all[0].Name == "host" && all[0].Build == "test" && len(below.tiers.Above()) == 2
	})
	if got := below.tiers.Above()[1]; got.Name != "vm" {
		t.Errorf("above is %q, want vm", got.Name)
	}
}

// A forwarder that waits for its next try misses nothing of a stream that is relayed into for the first
// time: the stream pushes back, and does not give up what nobody has looked for yet.
func TestAForwarderExpectsWhatIsRelayed(t *testing.T) {
	out := newTaker()
	out.asks = time.Hour
	dirs := [2]string{shortDir(t), shortDir(t)}
	socket := filepath.Join(dirs[1], "relay.sock")
	above := startAgent(t, dirs[1], `
inputs:
  chain: {type: relay, listen: ['unix://DIR/relay.sock']}
  mine: {type: syslog, listen: ['tcp://127.0.0.1:0']}
pipelines: {mine: {from: [mine], stream: mine}}
streams: {"*": {max_size: 1MiB, on_full: push_back}}
forwarders: {out: {type: test, from: ["*"]}}
`, out)
	mine := above.dial(t, "mine", 0)
	defer mine.Close()
	write(t, mine, line("first"))
	waitUntil(t, "the forwarder to wait", func() bool { return above.status().Forwarders[0].State == "retrying" })

	below := startAgent(t, dirs[0], fmt.Sprintf(hostConfig, "'unix://"+socket+"'", ""), nil)
	const n = 3000
	random := rand.NewChaCha8([32]byte{1}) // does not compress
	noise := make([]byte, 700)
	var text strings.Builder
	for i := range n {
		_, _ = random.Read(noise)
		text.WriteString(line("%d %x", i, noise))
	}
	in := below.dial(t, "in", 0)
	defer in.Close()
	write(t, in, text.String())
	below.stored(t, "app", n)
	waitUntil(t, "the stream above to be full", func() bool {
		for _, s := range above.store.Streams() {
			if s.Name == "app" {
				return s.First > 1 || s.Bytes > 1<<20
			}
		}
		return false
	})
	if at, ok := above.store.Cursor("out", "app"); !ok || at != 1 {
		t.Errorf("the cursor is at %d (%v), want 1", at, ok)
	}

	out.mu.Lock()
	out.asks = 0
	out.mu.Unlock()
	above.retryNow()
	waitUntil(t, "all to arrive", func() bool {
		out.mu.Lock()
		defer out.mu.Unlock()
		return len(out.messages) >= n+1
	})
	out.mu.Lock()
	defer out.mu.Unlock()
	next := 0
	for _, m := range out.messages {
		if number, _, _ := strings.Cut(m, " "); number == fmt.Sprint(next) {
			next++
		} else if m != "first" {
			t.Fatalf("got %.20q, want number %d", m, next)
		}
	}
}

// What a filter left out before cannot be sent when the cursor is set back: it counts as filtered, as does what the receiver
// has, and the API says so to whoever sets it.
func TestACursorThatIsSetBackSendsNothingThatWasSettled(t *testing.T) {
	below, above, config := tiersOf(t, `, where: 'int(message) % 3 == 0'`)
	feed(t, below, 1, 301)
	delivered(t, below, 301)
	if err := below.reload(strings.Replace(config[0], `, where: 'int(message) % 3 == 0'`, "", 1)); err != nil {
		t.Fatal(err)
	}
	at, err := client.Locate(client.Flags{API: below.api, TokenFile: filepath.Join(below.dir, "data", "token")})
	if err != nil {
		t.Fatal(err)
	}
	agent, err := client.New(at)
	if err != nil {
		t.Fatal(err)
	}
	move := func(to int) (said struct{ Remembered bool }) {
		t.Helper()
		if err := agent.Post(t.Context(), "/api/v1/cursors", map[string]any{"forwarder": "up", "stream": "app", "set": to}, &said); err != nil {
			t.Fatal(err)
		}
		return said
	}
	if !move(1).Remembered {
		t.Error("whoever sets it back is not told what that does")
	}
	delivered(t, below, 301)
	feed(t, below, 301, 401) // is delivered as ever
	delivered(t, below, 401)
	above.stored(t, "app", 200)
	waitUntil(t, "200 to be delivered and 500 filtered", func() bool {
		c := below.status().Forwarders[0].Streams[0]
		return c.Delivered == 200 && c.Filtered == 500
	})
	if got := below.audit().Unexplained; got != 0 {
		t.Errorf("%d records are unexplained", got)
	}
	if move(401).Remembered {
		t.Error("a cursor that is not set back is said to be")
	}
}
