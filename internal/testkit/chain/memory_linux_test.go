//go:build integration && criu

package chain

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/runnel-log/runnel/internal/testkit/oracle"
)

// copiesWithMemory are how often the host is copied.
const copiesWithMemory = 40

// TestCopiesWithTheirMemory: a host is copied as it runs, disk, memory and all, as a
// hypervisor copies a machine. Both go on, and write other records at the same places. No
// record is at the last tier twice, none is altered, and no more is missing than is said to be in
// doubt.
//
// It wants root, and in PATH a criu that knows this kernel, which Debian 12's (3.17) need not:
// go test -tags 'integration criu' -run CopiesWithTheirMemory ./internal/testkit/chain
func TestCopiesWithTheirMemory(t *testing.T) {
	by := newSeed()
	c := newChain(t, Options{Seed: by})
	x := clones{t: t, Chain: c, random: rand.New(rand.NewPCG(by, 5)), trial: Trial{Chain: c, Within: 3 * time.Minute}}
	for _, each := range c.Tiers() {
		x.must(each.Start())
	}
	x.must(x.trial.ready(t.Context()))
	var err error
	x.sent, err = oracle.NewSent("")
	x.must(err)
	var doubt, found uint64
	for range copiesWithMemory {
		f, d := x.remembered()
		doubt += d
		if f {
			found++
		}
	}
	c.Calm()
	o := &Outcome{}
	x.trial.rest(t.Context(), o, c.Passing()...)
	for _, w := range o.Wrong {
		t.Error(w)
	}
	doubt += x.doubtful(c.Host)
	arrived, err := oracle.NewArrived("")
	x.must(err)
	for _, each := range c.Tiers() {
		x.must(each.Stop())
	}
	x.must(c.Central.Export(t.Context(), func(r Stored) error {
		arrived.Take([]byte(r.Message))
		return nil
	}))
	for _, each := range append(c.Clusters, c.Central) {
		if d := x.read(each); d.Compare(d).Twice > 0 {
			t.Errorf("%s has a place twice", each.Name)
		}
	}
	v := oracle.Judge(x.sent, arrived)
	t.Logf("seed %d: %d copies, %d of which were found out; %d records acknowledged, %d at the last tier, %d in doubt", by, copiesWithMemory, found, v.Acknowledged, v.Arrived, doubt)
	if v.Lost > doubt || v.Duplicated+v.Altered+v.Another+v.Unknown+v.Repeated > 0 {
		var text strings.Builder
		v.Write(&text)
		t.Error(text.String())
	}
}

// remembered copies the host with its memory, and has both write and pass on what they have.
// It reports whether either found out, and how many of the copy's own records are in doubt.
func (x *clones) remembered() (found bool, doubt uint64) {
	x.t.Helper()
	said := x.complaints(x.Host)
	cut := x.random.IntN(2) == 0 // nobody above knows what was sent before the copy
	if cut {
		x.Proxies[1].Shut()
	}
	x.send("host")() // and no sender is connected any more
	before := x.doubtful(x.Host)
	clone := x.remember()
	x.ready(x.Host, clone)
	one, other := x.send("host"), x.send("clone")
	if cut {
		pause(x.t.Context(), time.Duration(x.random.Int64N(int64(300*time.Millisecond))))
		x.Proxies[1].Open()
	}
	one()
	other()
	o := &Outcome{}
	x.trial.rest(x.t.Context(), o, clone, x.Host)
	for _, w := range o.Wrong {
		x.t.Error(w)
	}
	doubt = x.doubtful(clone) - before
	found = x.complaints(x.Host) > said || x.complaints(clone) > said
	clone.Kill()
	x.must(os.RemoveAll(clone.Dir))
	return found, doubt
}

// complaints are how often a tier has said that there is a copy of it.
func (x *clones) complaints(t *Tier) int {
	x.t.Helper()
	text, err := os.ReadFile(t.logFile())
	x.must(err)
	return strings.Count(string(text), "a copy of this agent, with its memory, sends too")
}

// doubtful is how many records a tier has that it cannot prove to be its own.
func (x *clones) doubtful(t *Tier) (n uint64) {
	x.t.Helper()
	var l ledger
	x.must(t.Ask("/api/v1/audit", &l))
	if l.Unexplained != 0 {
		x.t.Errorf("%s: %d unexplained", t.Name, l.Unexplained)
	}
	for _, f := range l.Forwarders {
		n += f.Filtered
	}
	return n
}

// remember stops the host, copies its memory and its disk, and has both go on: the copy with
// its own disk in the place of the host's, and without the connections.
func (x *clones) remember() *Tier {
	x.t.Helper()
	dir := filepath.Join(filepath.Dir(x.Host.Dir), "clone")
	memory := dir + "-memory"
	x.must(os.Mkdir(memory, 0o700))
	defer os.RemoveAll(memory)
	out, err := exec.Command("criu", "dump", "-t", fmt.Sprint(x.Host.pid()), "-D", memory, "--shell-job", "--leave-stopped", "--file-locks", "--tcp-close").CombinedOutput()
	if err != nil {
		x.t.Fatalf("criu dump: %v: %s", err, out)
	}
	x.must(copyFolder(x.Host.Dir, dir))
	x.Host.Thaw()
	clone, err := NewTier(program, dir, "host", x.hostText)
	x.must(err)
	clone.cmd = exec.Command("unshare", "--mount", "--pid", "--fork", "--kill-child", "sh", "-c",
		`mount --make-rprivate / && mount --bind "$0" "$1" && mount -t proc proc /proc && criu restore -D "$2" --shell-job --file-locks --tcp-close; exit $?`, dir, x.Host.Dir, memory)
	said, err := os.Create(memory + "/said")
	x.must(err)
	defer said.Close()
	clone.cmd.Stdout, clone.cmd.Stderr, clone.cmd.SysProcAttr, clone.ended = said, said, parting(), make(chan struct{})
	started := make(chan error, 1) // its one value
	go clone.run(started)
	x.must(<-started)
	x.t.Cleanup(clone.Kill)
	x.must(until(x.t.Context(), "the copy goes on", func() (bool, error) {
		if runs, err := clone.Runs(); !runs {
			text, _ := os.ReadFile(said.Name()) // which may say why
			x.t.Fatalf("criu restore: %v: %s", err, text)
		}
		ctx, end := context.WithTimeout(x.t.Context(), time.Second)
		defer end()
		err := clone.Ready(ctx)
		return err == nil, err
	}))
	return clone
}
