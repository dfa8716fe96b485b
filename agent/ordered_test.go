package agent

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/runnel-log/runnel/record"
	"github.com/runnel-log/runnel/wasm"
)

// countGuest is the conformance guest in C: what a record's message says, it does.
const countGuest = "../guest-sdk/c/dist/conformance.wasm"

// countConfig counts every record in the state of a module that ticks and holds.
const countConfig = `
inputs: {in: {type: syslog, listen: ["tcp://127.0.0.1:0"]}}
modules: {count: {file: DIR/count.wasm, grant: [state, metrics], tables: {t: {file: DIR/t.csv}}}}
pipelines: {main: {from: [in], stream: app, steps: [{module: count}]}}
`

// countDirectory has the guest and its table in it.
func countDirectory(t *testing.T, config string) string {
	t.Helper()
	dir := childDirectory(t, config)
	putGuest(t, dir, "1")
	if err := os.WriteFile(filepath.Join(dir, "t.csv"), []byte("key,value\na,b\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	return dir
}

// putGuest puts a build of the guest in place, as a compiler or a package manager
// does: each version is another file.
func putGuest(t *testing.T, dir, version string) {
	t.Helper()
	code, err := os.ReadFile(countGuest)
	if err != nil {
		t.Fatal(err)
	}
	m := &wasm.Manifest{Name: "count", Version: version, ABI: 1, Needs: []string{"state", "metrics", "lookup"}}
	if code, err = m.Append(code); err != nil {
		t.Fatal(err)
	}
	next := filepath.Join(dir, "next.wasm")
	if err := os.WriteFile(next, code, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(next, filepath.Join(dir, "count.wasm")); err != nil {
		t.Fatal(err)
	}
}

// checkCounts demands that every record has been counted once, in the order in
// which they are stored: the guest writes its count into each.
func checkCounts(t *testing.T, each func(func(offset uint64, v record.View))) (counted int) {
	t.Helper()
	each(func(offset uint64, v record.View) {
		n, ok := v.Attr("total")
		if string(v.Message()) == "tick" || !ok {
			return
		}
		if counted++; n.Int() != int64(counted) {
			t.Fatalf("offset %d is count %d, and the %dth that was counted", offset, n.Int(), counted)
		}
	})
	return counted
}

// TestKilledCountEqualsWhatIsStored: state and records are one truth. A guest
// counts in its state; however often the agent is killed, each stored record
// carries the next number.
func TestKilledCountEqualsWhatIsStored(t *testing.T) {
	dir := countDirectory(t, countConfig)
	kills := often(10, 100)
	sent := 0
	for range kills {
		sent = killOnce(t, dir, sent, func(int) string { return line("count total") })
	}
	store := openedAfter(t, dir)
	total := checkCounts(t, func(f func(uint64, record.View)) { messages(t, store, "app", f) })
	kept := ""
	store.State("main\x00count\x00", func(key string, value []byte) {
		if strings.HasSuffix(key, "total") {
			kept = string(value)
		}
	})
	if kept != fmt.Sprint(total) {
		t.Errorf("the state says %q, and %d counted records are stored", kept, total)
	}
	if total < kills {
		t.Errorf("%d records over %d kills show nothing", total, kills)
	}
	t.Logf("%d records counted over %d kills", total, kills)
}

// TestSwapsUnderLoadLoseNothing replaces a module a thousand times while
// records pass it: none is lost, none comes twice, and its count goes on.
func TestSwapsUnderLoadLoseNothing(t *testing.T) {
	swaps := often(60, 1000)
	dir := countDirectory(t, countConfig)
	warm(t)
	before := holding(t)
	a := startAgent(t, dir, countConfig, nil)
	end := make(chan struct{})
	var senders sync.WaitGroup
	var mu sync.Mutex
	sent := 0 // guarded by mu
	for range 3 {
		c := a.dial(t, "in", 0)
		senders.Go(func() {
			for n := 1; ; n++ {
				if _, err := c.Write([]byte(line("count total"))); err != nil {
					t.Error(err)
					return
				}
				select {
				case <-end:
					mu.Lock()
					sent += n
					mu.Unlock()
					c.Close()
					return
				default:
				}
			}
		})
	}
	for n := range swaps {
		was := a.modules["count"].Stats().Hash
		putGuest(t, dir, fmt.Sprint(n+2))
		a.refresh(t.Context())
		if now := a.modules["count"].Stats().Hash; now == was {
			t.Fatalf("swap %d: the module is the same as before\n%s", n, a.logs.String())
		}
	}
	close(end)
	senders.Wait()
	waitUntil(t, "all to be taken", func() bool { return a.status().Pipelines[0].Received == uint64(sent) })
	a.stop(t)
	before.returned(t)
	store := openedAfter(t, dir)
	if n := checkCounts(t, func(f func(uint64, record.View)) { messages(t, store, "app", f) }); n != sent {
		t.Errorf("%d records were counted, and %d sent", n, sent)
	}
	t.Logf("%d records past %d swaps", sent, swaps)
}

// TestChangedFileReplacesItsModule: nobody has to say that a file is another one,
// and a file that is no module leaves the old one running.
func TestChangedFileReplacesItsModule(t *testing.T) {
	dir := countDirectory(t, countConfig)
	a := startAgent(t, dir, countConfig, nil)
	c := a.dial(t, "in", 0)
	version := func() string {
		a.Agent.mu.Lock()
		defer a.Agent.mu.Unlock()
		return a.modules["count"].Manifest().Version
	}
	write(t, c, line("count total"))
	a.stored(t, "app", 1)
	putGuest(t, dir, "2")
	waitUntil(t, "the new module", func() bool { return version() == "2" })
	write(t, c, line("count total"))

	if err := os.WriteFile(filepath.Join(dir, "count.wasm"), []byte("half a mod"), 0o600); err != nil {
		t.Fatal(err)
	}
	waitUntil(t, "the refusal", func() bool { return strings.Contains(a.logs.String(), "the running one stays") })
	if got := a.status().Modules[0].Refused; !strings.Contains(got, "count.wasm") {
		t.Errorf("status says %q of the file that was refused", got)
	}
	if err := os.WriteFile(filepath.Join(dir, "beside"), nil, 0o600); err != nil { // what changes nothing is not refused again
		t.Fatal(err)
	}
	a.refresh(t.Context())
	if n := strings.Count(a.logs.String(), "the running one stays"); n != 1 {
		t.Errorf("the refusal was said %d times", n)
	}
	write(t, c, line("count total"))
	waitUntil(t, "three records", func() bool {
		return checkCounts(t, func(f func(uint64, record.View)) { messages(t, a.store, "app", f) }) == 3
	})
	putGuest(t, dir, "3")
	waitUntil(t, "the third module", func() bool { return version() == "3" })
	if got := a.status().Modules[0].Refused; got != "" {
		t.Errorf("status still says %q", got)
	}
}

// TestHeldRecordsSurvive: what a module holds is there after a restart and a
// swap, and goes on when the module leaves its pipeline.
func TestHeldRecordsSurvive(t *testing.T) {
	dir := countDirectory(t, countConfig)
	a := startAgent(t, dir, countConfig, nil)
	c := a.dial(t, "in", 0)
	heldBy := func(n int64) func() bool {
		return func() bool { return a.status().Pipelines[0].Held == n }
	}
	write(t, c, line("hold k")+line("hold k")+line("hold other"))
	waitUntil(t, "three to be held", heldBy(3))
	waitUntil(t, "the commit", func() bool {
		n := 0
		a.store.State("main\x00count\x00", func(string, []byte) { n++ })
		return n >= 3
	})
	a.stop(t)

	a = startAgent(t, dir, countConfig, nil)
	if n := a.status().Pipelines[0].Held; n != 3 {
		t.Fatalf("%d records are held after a restart, want 3", n)
	}
	c = a.dial(t, "in", 0)
	write(t, c, line("release k"))
	waitUntil(t, "two to be let go", heldBy(1))
	putGuest(t, dir, "2")
	a.refresh(t.Context())
	if n := a.status().Pipelines[0].Held; n != 1 {
		t.Fatalf("%d records are held after a swap, want 1", n)
	}
	without := strings.Replace(countConfig, "steps: [{module: count}]", "steps: []", 1)
	if err := a.reload(without); err != nil {
		t.Fatal(err)
	}
	if n := a.status().Pipelines[0].Held; n != 0 {
		t.Errorf("%d records are held by a module that has left", n)
	}
	waitUntil(t, "all to be stored", func() bool {
		var got []string
		for _, m := range texts(t, a.store, "app") {
			if m != "tick" {
				got = append(got, m)
			}
		}
		return strings.Join(got, ",") == "hold k,hold k,release k,flush,hold other"
	})
}

// TestHeldRecordsOfAForgottenModule: a restart with a configuration that has the
// module no more stores what it held, by the steps that are still there.
func TestHeldRecordsOfAForgottenModule(t *testing.T) {
	dir := countDirectory(t, countConfig)
	a := startAgent(t, dir, countConfig, nil)
	c := a.dial(t, "in", 0)
	write(t, c, line("hold k")+line("put key value")+line("hold k"))
	waitUntil(t, "two to be held", func() bool { return a.status().Pipelines[0].Held == 2 })
	a.stop(t)
	a = startAgent(t, dir, "inputs: {in: {type: syslog, listen: ['tcp://127.0.0.1:0']}}\n"+
		"pipelines: {main: {from: [in], stream: app, steps: [{set: {passed: '\"yes\"'}}]}}\n", nil)
	waitUntil(t, "them to be stored", func() bool {
		n := 0
		messages(t, a.store, "app", func(_ uint64, v record.View) {
			if passed, ok := v.Attr("passed"); ok && string(v.Message()) == "hold k" && string(passed.Data) == "yes" {
				n++
			}
		})
		return n == 2
	})
	waitUntil(t, "their state to be forgotten", func() bool {
		n := 0
		a.store.State("main\x00", func(string, []byte) { n++ })
		return n == 0
	})
	waitUntil(t, "them to be in the ledger", func() bool { return a.audit().Pipelines[0].Stored["app"] == 3 })
	audit := a.audit()
	wantExplained(t, audit)
	if p := audit.Pipelines[0]; p.Held != 0 || p.Left != 2 || p.Brought != 2 {
		t.Errorf("the ledger says %+v", p)
	}
}

// TestOrderedModuleStandsOnceInAPipeline: two places of one name would share one state.
func TestOrderedModuleStandsOnceInAPipeline(t *testing.T) {
	dir := countDirectory(t, countConfig)
	twice := strings.Replace(countConfig, "{module: count}", "{module: count}, {module: count}", 1)
	a := newAgent(dir, twice, nil)
	c, err := a.load()
	if err != nil {
		t.Fatal(err)
	}
	if err := CheckModules(context.Background(), c); err == nil || !strings.Contains(err.Error(), `has module "count" twice`) {
		t.Errorf("got %v", err)
	}
}
