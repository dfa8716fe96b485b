//go:build integration

package chain

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/runnel-log/runnel/internal/pki"
)

// machine is a network namespace of the test's own: a machine, as far as the network goes. It
// has no name, and is gone with the test's process, whatever that dies of.
type machine struct{ file *os.File }

func newMachine(t *testing.T) *machine {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Fatal("networks of one's own need root; run the integration tests as root")
	}
	var m machine
	err := apart(func() error {
		err := unix.Unshare(unix.CLONE_NEWNET)
		if err == nil {
			m.file, err = os.Open("/proc/thread-self/ns/net")
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { m.file.Close() })
	if err := m.run("ip", "link", "set", "lo", "up"); err != nil {
		t.Fatal(err)
	}
	return &m
}

// apart calls f on a thread that ends with it.
func apart(f func() error) error {
	done := make(chan error, 1) // its one value
	go func() {
		runtime.LockOSThread() // and never unlocked, so that nobody else gets the thread
		done <- f()
	}()
	return <-done
}

// inside calls f in the machine.
func (m *machine) inside(f func() error) error {
	return apart(func() error {
		if err := unix.Setns(int(m.file.Fd()), unix.CLONE_NEWNET); err != nil {
			return err
		}
		return f()
	})
}

// path is of the machine, for programs.
func (m *machine) path() string { return fmt.Sprintf("/proc/%d/fd/%d", os.Getpid(), m.file.Fd()) }

// words are those that have a program run on it.
func (m *machine) words() []string { return []string{"nsenter", "--net=" + m.path()} }

// run runs a program on it, to its end.
func (m *machine) run(words ...string) error {
	words = append(m.words(), words...)
	out, err := exec.Command(words[0], words[1:]...).CombinedOutput()
	if err != nil {
		return fmt.Errorf("%s: %w: %s", strings.Join(words[2:], " "), err, out)
	}
	return nil
}

// end is where a line comes to a machine.
type end struct {
	*machine
	device, address string
}

// line joins two machines.
type line struct{ low, high end }

// newLine makes the nth line. It is a pair of the kernel's devices, or if it is far a wire of
// the test's.
func newLine(t *testing.T, n int, low, high *machine, far wiring) *line {
	t.Helper()
	l := &line{end{low, fmt.Sprintf("up%d", n), fmt.Sprintf("10.9.%d.1", n)}, end{high, fmt.Sprintf("down%d", n), fmt.Sprintf("10.9.%d.2", n)}}
	if far == (wiring{}) {
		must(t, low.run("ip", "link", "add", l.low.device, "type", "veth", "peer", "name", l.high.device, "netns", high.path()))
	} else {
		must(t, newWire(t, l, far))
	}
	for _, e := range l.ends() {
		for _, command := range []string{
			"ip addr add " + e.address + "/30 dev " + e.device,
			"ip link set " + e.device + " up",
			"nft add table inet harm",
			"nft add chain inet harm " + e.device + " { type filter hook input priority 0; }",
		} {
			if err := e.run(strings.Fields(command)...); err != nil {
				t.Fatal(err)
			}
		}
	}
	return l
}

func (l *line) ends() []end { return []end{l.low, l.high} }

// lose has what comes to this end get lost, if it is what is said as nft says it; empty: all
// of it.
func (e end) lose(what string) error {
	words := append(strings.Fields("nft add rule inet harm "+e.device+" iifname "+e.device), strings.Fields(what)...)
	return e.run(append(words, "drop")...)
}

// heal ends what lose began.
func (e end) heal() error { return e.run("nft", "flush", "chain", "inet", "harm", e.device) }

// farOptions are what a far chain is made of.
type farOptions struct {
	two       bool     // clusters
	forwarder string   // keys of every forwarder
	host      string   // keys of the host's streams
	far       wiring   // of the line from the host
	excused   []string // of complaints
}

// far is a chain whose tiers are each in a machine of its own, and speak TLS.
type far struct {
	*Chain
	t     *testing.T
	lines []*line // to each cluster, then from each to the central tier
}

const port = ":6515"

// newFar makes a chain that ends with the test.
func newFar(t *testing.T, o farOptions) *far {
	t.Helper()
	names := []string{"host", "cluster", "other", "central"}
	if !o.two {
		names = []string{"host", "cluster", "central"}
	}
	machines := map[string]*machine{}
	for _, name := range names {
		machines[name] = newMachine(t)
	}
	f := &far{Chain: &Chain{}, t: t}
	clusters := names[1 : len(names)-1]
	for i, name := range clusters {
		f.lines = append(f.lines, newLine(t, i, machines["host"], machines[name], o.far))
	}
	for i, name := range clusters {
		f.lines = append(f.lines, newLine(t, i+len(clusters), machines[name], machines["central"], wiring{}))
	}
	dir := newFolder(t)
	tier := func(name, config string, addresses ...string) *Tier {
		t.Helper()
		made, err := NewTier(program, filepath.Join(dir, name), name, strings.ReplaceAll(config, "$TLS", certified(t, dir, name, addresses)))
		if err != nil {
			t.Fatal(err)
		}
		made.Before = machines[name].words()
		t.Cleanup(func() {
			if made.cmd != nil {
				made.Kill()
			}
		})
		return made
	}
	input := "inputs: {below: {type: relay, listen: 'tls://" + port + "', tls: {$TLS, client_ca: " + dir + "/pki/ca.pem}}}\n"
	forwarder := func(to ...string) string {
		return "forwarders: {above: {type: relay, from: ['*'], to: ['tls://" + strings.Join(to, port+"', 'tls://") + port + "'], " + o.forwarder + ", tls: {$TLS, ca: " + dir + "/pki/ca.pem}}}\n"
	}
	var below, above []string // the clusters' addresses, and the central tier's
	for i, name := range clusters {
		down, up := f.lines[i], f.lines[i+len(clusters)]
		below, above = append(below, down.high.address), append(above, up.high.address)
		f.Clusters = append(f.Clusters, tier(name, input+forwarder(up.high.address)+streamsConfig, down.high.address))
	}
	f.Central = tier("central", input+streamsConfig, above...)
	streams := streamsConfig
	if o.host != "" {
		streams = "streams: {'*': {" + o.host + "}}\n"
	}
	f.Host = tier("host", hostConfig+forwarder(below...)+streams)
	f.Keyed, f.Lines = "http+unix://"+dir+"/host/http", "relp+unix://"+dir+"/host/relp"
	return f
}

// certified has a tier's certificate made, for its addresses, and returns the keys that name it.
func certified(t *testing.T, dir, name string, addresses []string) string {
	t.Helper()
	folder := filepath.Join(dir, "pki")
	a, err := pki.Open(folder)
	if err != nil {
		a, err = pki.Init(folder, "chain", 24*time.Hour)
	}
	if err != nil {
		t.Fatal(err)
	}
	i, err := a.Issue(pki.Request{Host: name, Names: addresses, Relay: name == "cluster" || name == "other", Valid: 23 * time.Hour})
	if err != nil {
		t.Fatal(err)
	}
	return fmt.Sprintf("cert: %s, key: %s", i.Cert, i.Key)
}

// must fails the test at once.
func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
