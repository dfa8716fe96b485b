package agent

import (
	"fmt"
	"io"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/runnel-log/runnel/record"
)

// loadedConfig is the nth configuration of TestReloadUnderLoadLosesNothing. Every
// one differs from the one before in its input, and now and then in the rest.
func loadedConfig(n int, module string) string {
	steps := []string{"[]", "[{parse: json}]", "[{set: {round: '\"odd\"'}}, {module: classify}]"}[n%3]
	return fmt.Sprintf(`
inputs:
  in: {type: syslog, max_message: %dKiB, listen: ["tcp://127.0.0.1:0", "unix://DIR/in.sock"]}
modules:
  classify: {file: %q, config: {drop_debug: %v}}
pipelines:
  main: {from: [in], stream: app, steps: %s}
forwarders:
  out: {type: test, from: [app], note: %d}
`, 64+n%2, module, n/10%2 == 1, steps, n/5%2)
}

// sendLines writes numbered lines without a pause, on one connection after
// another, until it is told to end; it returns how many each connection took.
func sendLines(network, address, name string, end <-chan struct{}) (sent []int, err error) {
	for conn := 0; ; conn++ {
		c, err := net.Dial(network, address)
		if err != nil {
			return sent, err
		}
		n := 0
		for ended := false; n < 3000 && !ended; n++ {
			if _, err := io.WriteString(c, line("%s %d %d", name, conn, n)); err != nil {
				return sent, fmt.Errorf("connection %d of %s, line %d: %w", conn, name, n, err)
			}
			select {
			case <-end:
				ended = true
			default:
			}
		}
		sent = append(sent, n)
		if err := c.Close(); err != nil {
			return sent, err
		}
		select {
		case <-end:
			return sent, nil
		default:
		}
	}
}

// tallyOf counts lines by connection, and fails on one out of order.
type tallyOf map[string]int

func (c tallyOf) add(t *testing.T, where, message string) {
	i := strings.LastIndexByte(message, ' ')
	conn, n := message[:max(i, 0)], message[i+1:]
	if want := fmt.Sprint(c[conn]); n != want {
		t.Errorf("%s: connection %q: line %s comes where %s should", where, conn, n, want)
	}
	c[conn]++
}

func TestReloadUnderLoadLosesNothing(t *testing.T) {
	reloads := often(200, 1000)
	if testing.Short() {
		reloads = 40
	}
	module := guest(t, classifyFolder)
	warm(t)
	before := holding(t)
	f := newTaker()
	dir := shortDir(t)
	a := startAgent(t, dir, loadedConfig(0, module), f)

	end := make(chan struct{})
	want := map[string]int{}
	var mu sync.Mutex
	var senders sync.WaitGroup
	for i := range 4 {
		network, address := a.address(t, "in", i%2)
		senders.Go(func() {
			name := fmt.Sprintf("%s%d", network, i)
			sent, err := sendLines(network, address, name, end)
			if err != nil {
				t.Error(err)
			}
			mu.Lock()
			defer mu.Unlock()
			for conn, n := range sent {
				want[fmt.Sprintf("%s %d", name, conn)] = n
			}
		})
	}
	for n := 1; n <= reloads; n++ {
		if err := a.reload(loadedConfig(n, module)); err != nil {
			t.Fatalf("reload %d: %v", n, err)
		}
	}
	close(end)
	senders.Wait()
	total := 0
	for _, n := range want {
		total += n
	}
	a.stored(t, "app", total)
	delivered := tallyOf{}
	for _, m := range f.waitFor(t, total) {
		delivered.add(t, "delivered", m)
	}
	if p := a.status().Pipelines[0]; p.Received != uint64(total) || p.Stored != uint64(total) {
		t.Errorf("the pipeline counted %d received and %d stored, want %d", p.Received, p.Stored, total)
	}
	a.stop(t)
	before.returned(t)

	stored := tallyOf{}
	store := openedAfter(t, dir)
	messages(t, store, "app", func(_ uint64, v record.View) { stored.add(t, "stored", string(v.Message())) })
	for _, got := range []tallyOf{stored, delivered} {
		if len(got) != len(want) {
			t.Errorf("lines of %d connections, want %d", len(got), len(want))
		}
		for conn, n := range want {
			if got[conn] != n {
				t.Errorf("connection %s: %d lines, want %d", conn, got[conn], n)
			}
		}
	}
	t.Logf("%d lines on %d connections over %d reloads", total, len(want), reloads)
}

func TestWrongReloadChangesNothing(t *testing.T) {
	const good = "inputs: {in: {type: syslog, listen: ['tcp://127.0.0.1:0']}}\npipelines: {main: {from: [in], stream: app}}\n"
	dir := shortDir(t)
	a := startAgent(t, dir, good, newTaker())
	c := a.dial(t, "in", 0)
	_, address := a.address(t, "in", 0)
	stored := 0
	f := func(name, text string, want ...string) {
		t.Helper()
		err := a.reload(text)
		if err == nil {
			t.Fatalf("%s: the reload was accepted", name)
		}
		for _, w := range want {
			if !strings.Contains(err.Error(), w) {
				t.Errorf("%s: got %q, want it to say %q", name, err, w)
			}
		}
		if !strings.Contains(a.logs.String(), "the new configuration is wrong; the running one stays") {
			t.Errorf("%s: nothing was logged", name)
		}
		write(t, c, line("after %s", name))
		stored++
		a.stored(t, "app", stored)
		if _, now := a.address(t, "in", 0); now != address {
			t.Errorf("%s: the input moved from %s to %s", name, address, now)
		}
		if got := a.status(); len(got.Inputs) != 1 || len(got.Forwarders) != 0 || got.Pipelines[0].Name != "main" {
			t.Errorf("%s: now running: %+v", name, got)
		}
	}
	t.Setenv("RUNNEL_TEST_TOKEN", "secret")
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	whole := func(agent, api string) string {
		return fmt.Sprintf("agent: {%s}\napi: {%s}\n", agent, api) + good
	}
	const name, data, api = "name: vm", "data_dir: DIR/data", "listen: 'unix://DIR/api.sock'"
	f("nonsense", "inputs: [", "runnel.yaml:")
	f("an unknown key", good+"pipeline: {}\n", "pipelines")
	f("a second input on a port that is taken", strings.Replace(good, "{in:", fmt.Sprintf("{free: {type: syslog, listen: ['unix://DIR/free.sock']}, other: {type: syslog, listen: ['tcp://%s']}, in:", taken.Addr()), 1), `input "other"`, "in use")
	if _, err := net.Dial("unix", dir+"/free.sock"); err == nil {
		t.Error("a refused reload left a socket open")
	}
	f("a module that is none", good+"modules: {m: {file: DIR/none.wasm}}\n", "none.wasm")
	f("another name", whole("name: other, "+data, api), `agent.name is "vm"`, `"other"`, "restart to change it")
	f("another folder", whole(name+", data_dir: DIR/other", api), "agent.data_dir", "restart to change it")
	f("another API address", whole(name+", "+data, "listen: 127.0.0.1:0"), "api.listen", "restart to change it")
	f("an open API", whole(name+", "+data, api+", open: true"), "api.open is false", "restart to change it")
	f("another token", whole(name+", "+data, api+", token: {env: RUNNEL_TEST_TOKEN}"), "api.token", "restart to change it")
	f("another size", whole(name+", "+data+", max_size: 64MiB", api), "agent.max_size is 8GiB", "64MiB")
	f("another pace", whole(name+", "+data+", commit_every: 50ms", api), "agent.commit_every is auto", "50ms")
	f("everything at once", whole("name: other, data_dir: DIR/other", "listen: 127.0.0.1:0"), "agent.name", "agent.data_dir", "api.listen")
	if err := a.reload(good + "forwarders: {out: {type: test, from: [app]}}\n"); err != nil {
		t.Errorf("a right reload after the wrong ones: %v", err)
	}
	if got := a.status(); len(got.Forwarders) != 1 {
		t.Errorf("now running: %+v, want a forwarder", got)
	}
}

// TestAKeptModuleLearnsNewStreams: a module that a reload leaves alone may
// route to the streams of the new configuration.
func TestAKeptModuleLearnsNewStreams(t *testing.T) {
	text := fmt.Sprintf(`
inputs: {in: {type: syslog, listen: ['tcp://127.0.0.1:0']}}
modules: {m: {%s}}
pipelines: {main: {from: [in], stream: app, steps: [{module: m}]}}
`, conformance(t))
	a := startAgent(t, shortDir(t), text, newTaker())
	before := a.modules["m"]
	c := a.dial(t, "in", 0)
	write(t, c, line("route late"))
	a.stored(t, "app", 1) // no such stream: it stays
	if err := a.reload(text + "streams: {late: {max_age: 1h}}\n"); err != nil {
		t.Fatal(err)
	}
	if a.modules["m"] != before {
		t.Error("the module was loaded again")
	}
	write(t, c, line("route late"))
	a.stored(t, "late", 1)
	if got := a.status().Modules[0]; len(got.Hash) != 64 || !strings.Contains(got.LastError, "late") {
		t.Errorf("status of the module: %+v, want its hash and why it failed", got)
	}
}

func TestRemovedInputIsReadToItsEnd(t *testing.T) {
	const with = "inputs: {in: {type: syslog, listen: ['tcp://127.0.0.1:0']}, stays: {type: syslog, listen: ['tcp://127.0.0.1:0']}}\n"
	a := startAgent(t, shortDir(t), strings.Replace(with, ":0']}, stays", ":0', 'unix://DIR/in.sock']}, stays", 1), newTaker())
	c := a.dial(t, "in", 1)
	const n = 500
	for i := range n {
		write(t, c, line("%d", i))
	}
	if err := a.reload("inputs: {stays: {type: syslog, listen: ['tcp://127.0.0.1:0']}}\n"); err != nil {
		t.Fatal(err)
	}
	a.stored(t, "default", n)
	if _, err := net.Dial("unix", a.dir+"/in.sock"); err == nil {
		t.Error("somebody answers at the removed input's socket")
	}
	got := texts(t, a.store, "default")
	want := make([]string, n)
	for i := range want {
		want[i] = fmt.Sprint(i)
	}
	if !slices.Equal(got, want) {
		t.Errorf("got %d lines %q", len(got), got)
	}
}
