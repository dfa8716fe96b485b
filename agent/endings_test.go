package agent

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"
)

// Two tiers that leave it at the next one pass on word of the end: what the last has not is not known to have ended, though
// it is nowhere to be seen any more where it was; and word of it comes through restarts of all.
func TestWordOfTheEndPassesOtherTiers(t *testing.T) {
	t.Parallel()
	var dirs [4]string
	for i := range dirs {
		dirs[i] = shortDir(t)
	}
	to := func(i int) string { return fmt.Sprintf("'unix://%s/relay.sock'", dirs[i]) }
	const soonGone = "streams: {app: {max_age: 1ms, on_full: push_back}}\n"
	configs := [4]string{fmt.Sprintf(hostConfig, to(1), toTheEnd) + soonGone, fmt.Sprintf(middleConfig, to(2), "") + soonGone,
		fmt.Sprintf(middleConfig, to(3), ""), fmt.Sprintf(centralConfig, "DIR/relay.sock")}
	var tiers [4]*testAgent
	for i := 2; i >= 0; i-- {
		tiers[i] = startAgent(t, dirs[i], configs[i], nil)
	}
	feed(t, tiers[0], 1, 301)
	delivered(t, tiers[0], 301)
	delivered(t, tiers[1], 301)
	waitUntil(t, "the first tier to keep nothing", func() bool { return tiers[1].store.Streams()[0].First == 301 })
	for _, i := range []int{1, 0, 2} {
		tiers[i].stop(t)
		tiers[i] = startAgent(t, dirs[i], configs[i], nil)
	}
	for i := range 2 {
		tiers[i].retryNow()
	}
	feed(t, tiers[0], 301, 401)
	delivered(t, tiers[0], 401)
	delivered(t, tiers[1], 401)
	if first, ended := tiers[0].store.Streams()[0].First, tiers[0].ended(); first != 1 || ended != 1 {
		t.Errorf("all before %d is said to have ended, and all before %d is gone, and nothing is at the last tier", ended, first)
	}
	startAgent(t, dirs[3], configs[3], nil)
	tiers[2].retryNow()
	for i := range 3 {
		tiers[i].hasEnded(t, 401)
	}
	waitUntil(t, "the host to keep nothing", func() bool { return tiers[0].store.Streams()[0].First == 401 })
}

// What a tier drops, keeps for itself or sends elsewhere has ended there.
func TestWhatATierKeepsHasEnded(t *testing.T) {
	t.Parallel()
	dirs := [3]string{shortDir(t), shortDir(t), shortDir(t)}
	to := func(i int) string { return fmt.Sprintf("'unix://%s/relay.sock'", dirs[i]) }
	middle := startAgent(t, dirs[1], fmt.Sprintf(`
inputs: {chain: {type: relay, listen: ['unix://DIR/relay.sock']}}
pipelines: {main: {from: [chain], steps: [{drop: 'int(message) %% 3 == 0'}, {route: {mine: 'int(message) %% 3 == 1'}}]}}
forwarders: {up: {type: relay, from: [app], to: [%s], where: 'int(message) %% 2 == 0'}, file: {type: file, from: [mine], path: DIR/out}}
`, to(2)), nil)
	below := startAgent(t, dirs[0], fmt.Sprintf(hostConfig, to(1), toTheEnd), nil)
	feed(t, below, 1, 301)
	delivered(t, below, 301)
	top := startAgent(t, dirs[2], fmt.Sprintf(centralConfig, "DIR/relay.sock"), nil)
	middle.retryNow()
	below.hasEnded(t, 301)
	top.stored(t, "app", 50)
}

// A reload of the middle while something has not ended: who passes on afterwards is asked.
func TestTheEndOverAReload(t *testing.T) {
	t.Parallel()
	dirs := [3]string{shortDir(t), shortDir(t), shortDir(t)}
	to := func(i int) string { return fmt.Sprintf("'unix://%s/relay.sock'", dirs[i]) }
	middle := startAgent(t, dirs[1], fmt.Sprintf(middleConfig, to(2), ""), nil)
	below := startAgent(t, dirs[0], fmt.Sprintf(hostConfig, to(1), toTheEnd), nil)
	feed(t, below, 1, 101)
	delivered(t, below, 101)
	if err := middle.reload(fmt.Sprintf(middleConfig, to(2), ", timeout: 20s")); err != nil {
		t.Fatal(err)
	}
	feed(t, below, 101, 201)
	delivered(t, below, 201)
	if got := below.ended(); got != 1 {
		t.Errorf("all before %d has ended, and nothing is at the last tier", got)
	}
	if err := middle.reload(fmt.Sprintf(centralConfig, "DIR/relay.sock")); err != nil { // now it is the last
		t.Fatal(err)
	}
	below.hasEnded(t, 201)
	for _, c := range middle.store.Cursors() {
		if c.Name != startMark {
			t.Errorf("cursor %s is left of a forwarder that is gone", c.Name)
		}
	}
}

// Whoever of four is ended and started again, and whoever of two in between is in use: nothing is said to have ended that the last
// tier does not have, all arrives once, and all ends.
func TestNothingEndsThatHasNotArrived(t *testing.T) {
	t.Parallel()
	random := rand.New(rand.NewPCG(1, uint64(time.Now().UnixNano())))
	var dirs [4]string
	for i := range dirs {
		dirs[i] = shortDir(t)
	}
	to := func(i int) string { return fmt.Sprintf("'unix://%s/relay.sock'", dirs[i]) }
	const keep = "streams: {app: {max_age: 1ms, on_full: push_back}}\n"
	configs := [4]string{fmt.Sprintf(hostConfig, to(1)+", "+to(2), toTheEnd) + keep, fmt.Sprintf(middleConfig, to(3), toTheEnd) + keep, fmt.Sprintf(middleConfig, to(3), toTheEnd) + keep,
		fmt.Sprintf(centralConfig, "DIR/relay.sock")}
	var tiers [4]*testAgent
	for i := range tiers {
		tiers[i] = startAgent(t, dirs[i], configs[i], nil)
	}
	arrived := func() (all []string) { return texts(t, tiers[3].store, "app") }
	n := 1
	for range often(8, 200) {
		more := 1 + random.IntN(200)
		feed(t, tiers[0], n, n+more)
		n += more
		i := random.IntN(4)
		ended := int(tiers[0].ended()) // first
		all := make(map[string]bool)
		for _, text := range arrived() {
			all[text] = true
		}
		for k := 1; k < ended; k++ {
			if !all[fmt.Sprint(k)] {
				t.Fatalf("all before %d is said to have ended, and %d is not at the last tier", ended, k)
			}
		}
		tiers[i].stop(t)
		if i != 0 && random.IntN(2) == 0 {
			feed(t, tiers[0], n, n+more)
			n += more
		}
		tiers[i] = startAgent(t, dirs[i], configs[i], nil)
		for _, each := range tiers {
			each.retryNow()
		}
	}
	waitUntil(t, "all to arrive", func() bool {
		for _, each := range tiers[:3] {
			each.retryNow()
		}
		return len(arrived()) >= n-1
	})
	all := arrived()
	slices.Sort(all)
	if got := len(slices.Compact(all)); got != n-1 || len(arrived()) != n-1 {
		t.Errorf("%d records have arrived, %d of them once, want %d", len(arrived()), got, n-1)
	}
	tiers[0].hasEnded(t, uint64(n))
	waitUntil(t, "the host to keep nothing", func() bool { return tiers[0].store.Streams()[0].First == uint64(n) })
}

// A reload turns it on for what is still there, whatever else it changes, and off again.
func TestTheEndIsTurnedOnAndOff(t *testing.T) {
	t.Parallel()
	dirs := [3]string{shortDir(t), shortDir(t), shortDir(t)}
	to := func(i int) string { return fmt.Sprintf("'unix://%s/relay.sock'", dirs[i]) }
	startAgent(t, dirs[1], fmt.Sprintf(middleConfig, to(2), ""), nil)
	below := startAgent(t, dirs[0], fmt.Sprintf(hostConfig, to(1), ""), nil)
	feed(t, below, 1, 101)
	delivered(t, below, 101)
	const soonGone = "streams: {app: {max_age: 1ms, on_full: push_back}}\n"
	if err := below.reload(fmt.Sprintf(hostConfig, to(1), toTheEnd) + soonGone); err != nil {
		t.Fatal(err)
	}
	feed(t, below, 101, 201)
	delivered(t, below, 201)
	waitUntil(t, "the status to say what is kept", func() bool { return below.status().Forwarders[0].Streams[0].Unended == 200 })
	if first := below.store.Streams()[0].First; first != 1 {
		t.Errorf("the first that is kept is %d, want 1", first)
	}
	if err := below.reload(fmt.Sprintf(hostConfig, to(1), "") + soonGone); err != nil {
		t.Fatal(err)
	}
	waitUntil(t, "nothing to be kept", func() bool { return below.store.Streams()[0].First == 201 })
}
