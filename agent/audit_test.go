package agent

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/runnel-log/runnel/agent/query"
	"github.com/runnel-log/runnel/storage"
)

func (a *testAgent) audit() query.Audit { return host{a.Agent}.Audit() }

// wantExplained fails where the ledger leaves something open.
func wantExplained(t *testing.T, a query.Audit) {
	t.Helper()
	if a.Unexplained != 0 {
		t.Errorf("the ledger does not add up: %+v", a)
	}
}

func streamOf(t *testing.T, a query.Audit, name string) query.StreamAudit {
	t.Helper()
	i := slices.IndexFunc(a.Streams, func(s query.StreamAudit) bool { return s.Name == name })
	if i < 0 {
		t.Fatalf("no stream %s in %+v", name, a.Streams)
	}
	return a.Streams[i]
}

const auditConfig = `
inputs: {in: {type: syslog, listen: ["tcp://127.0.0.1:0"]}}
pipelines: {main: {from: [in], stream: app, steps: [{drop: 'message == "no"'}]}}
`

// TestAStoreFromBeforeTheLedger: its records are earlier ones, its cursors account
// from where they are, and everything from here on is counted.
func TestAStoreFromBeforeTheLedger(t *testing.T) {
	dir := shortDir(t)
	old, err := storage.Open(storage.Options{Dir: filepath.Join(dir, "data")})
	if err != nil {
		t.Fatal(err)
	}
	appendMessages(t, old, "app", numbered(0, 30)...)
	if err := old.Close(); err != nil {
		t.Fatal(err)
	}
	for start := range 3 {
		a := startAgent(t, dir, auditConfig, nil)
		wantExplained(t, a.audit())
		c := a.dial(t, "in", 0)
		write(t, c, line("yes")+line("no")+line("yes"))
		a.stored(t, "app", 30+2*start+2)
		waitUntil(t, "all to be in the ledger", func() bool { return a.audit().Pipelines[0].Received["in"] == uint64(3*start+3) })
		audit := a.audit()
		wantExplained(t, audit)
		if s := streamOf(t, audit, "app"); s.Earlier != 30 || s.Pipelines != uint64(2*start+2) || audit.Pipelines[0].Dropped["drop"] != uint64(start+1) {
			t.Errorf("start %d: %+v, %+v", start, s, audit.Pipelines[0])
		}
		if in := audit.Inputs[0]; in.Name != "in" || in.Received != uint64(3*start+3) {
			t.Errorf("start %d: %+v", start, in)
		}
		a.stop(t)
	}
}

// TestWhatOnlyIsDroppedIsInTheLedger: nothing of it is stored, and it is there after a restart.
func TestWhatOnlyIsDroppedIsInTheLedger(t *testing.T) {
	dir := shortDir(t)
	a := startAgent(t, dir, auditConfig, nil)
	c := a.dial(t, "in", 0)
	write(t, c, strings.Repeat(line("no"), 100))
	waitUntil(t, "all to be in the ledger", func() bool {
		p := a.audit().Pipelines
		return len(p) > 0 && p[0].Dropped["drop"] == 100
	})
	a.stop(t)
	audit := auditOf(openedAfter(t, dir).Books())
	wantExplained(t, audit)
	if p := audit.Pipelines[0]; p.Received["in"] != 100 || p.Dropped["drop"] != 100 || len(p.Stored) != 0 {
		t.Errorf("after a restart: %+v", p)
	}
}

// TestWhatADiskThatTakesNothingHasDroppedIsInTheAudit: the stream is full and drops what
// is new, and the committer hangs: the audit has what is not on disk yet, and once it is,
// has it as all the rest.
func TestWhatADiskThatTakesNothingHasDroppedIsInTheAudit(t *testing.T) {
	var hangs atomic.Bool
	held, goes := make(chan struct{}), make(chan struct{})
	a := startPrepared(t, shortDir(t), `
inputs: {in: {type: syslog, listen: ["tcp://127.0.0.1:0"]}}
pipelines: {main: {from: [in], stream: app}}
streams: {app: {max_size: 1MiB, on_full: drop_new}}
`, nil, func(a *testAgent) {
		a.options.points.reached = func(point string) {
			if point == "commit" && hangs.CompareAndSwap(true, false) {
				close(held)
				<-goes
			}
		}
	})
	let := sync.OnceFunc(func() { close(goes) })
	t.Cleanup(let)
	c := a.dial(t, "in", 0)
	random := rand.NewChaCha8([32]byte{1}) // does not compress
	noise, sent := make([]byte, 700), uint64(0)
	send := func() {
		t.Helper()
		random.Read(noise) //nolint:errcheck // never fails
		write(t, c, line("%x", noise))
		sent++
	}
	all := func() bool { return a.status().Pipelines[0].Received == sent }
	for streamOfAll(a.audit(), "app").Dropped == 0 {
		for range 200 {
			send()
		}
		waitUntil(t, "all to be taken", all)
	}
	settled := func() bool {
		s := streamOfAll(a.audit(), "app")
		return s.Uncommitted == 0 && s.Dropped == a.status().Pipelines[0].Dropped[fullReason]
	}
	waitUntil(t, "all to be on disk", settled)
	before := streamOf(t, a.audit(), "app").Dropped
	hangs.Store(true)
	send()
	<-held
	for range 100 {
		send()
	}
	waitUntil(t, "all to be taken", all)
	audit := a.audit()
	wantExplained(t, audit)
	if s := streamOf(t, audit, "app"); s.Dropped != before || s.Uncommitted != 101 {
		t.Errorf("%d dropped, %d of them uncommitted; want %d on disk and 101 that are not", s.Dropped+s.Uncommitted, s.Uncommitted, before)
	}
	if n := lostTo(audit, "app", fullReason); n != before+101 {
		t.Errorf("the metric has %d, want %d", n, before+101)
	}
	let()
	waitUntil(t, "all to be on disk", settled)
	audit = a.audit()
	wantExplained(t, audit)
	if s := streamOf(t, audit, "app"); s.Dropped != before+101 {
		t.Errorf("%d dropped on disk, want %d", s.Dropped, before+101)
	}
}

// streamOfAll is streamOf for a stream that may not be there yet.
func streamOfAll(a query.Audit, name string) query.StreamAudit { return *a.Stream(name) }

func lostTo(a query.Audit, stream, reason string) (n uint64) {
	for _, l := range a.Losses() {
		if l.Stream == stream && l.Reason == reason {
			n += l.Records
		}
	}
	return n
}

// TestLossesToDamageAreNamed: the newest segment is gone, with records and with the newest
// state; the ledger says how many, and goes on.
func TestLossesToDamageAreNamed(t *testing.T) {
	dir := shortDir(t)
	a := startAgent(t, dir, auditConfig, nil)
	c := a.dial(t, "in", 0)
	write(t, c, strings.Repeat(line("yes"), 50))
	a.stored(t, "app", 50)
	a.stop(t) // the checkpoint has the ledger
	segments, err := filepath.Glob(filepath.Join(dir, "data", "store", "*.seg"))
	if err != nil || len(segments) == 0 {
		t.Fatalf("%v, %v", segments, err)
	}
	for _, path := range segments {
		if err := os.Remove(path); err != nil {
			t.Fatal(err)
		}
	}
	a = startAgent(t, dir, auditConfig, nil)
	c = a.dial(t, "in", 0)
	write(t, c, line("yes"))
	waitUntil(t, "it to be in the ledger", func() bool { return a.audit().Pipelines[0].Received["in"] == 51 })
	audit := a.audit()
	wantExplained(t, audit)
	if s := streamOf(t, audit, "app"); s.Pipelines != 51 || s.Lost+s.Damaged+s.Retention != 50 || s.Here != 1 {
		t.Errorf("%+v", s)
	}
	in := uint64(0) // gaps
	for _, g := range audit.Gaps {
		in += g.Records
		if g.Stream != "app" || g.Reason != "damage" || g.To-g.From+1 != g.Records || g.Found.IsZero() {
			t.Errorf("%+v", g)
		}
	}
	if s := streamOf(t, audit, "app"); s.Damaged != in {
		t.Errorf("%d records are in gaps, and the ledger has %d as damaged", in, s.Damaged)
	}
}

// TestDamageInFrontOfAForwarderIsInTheLedger: bytes of a block change on the disk before
// a forwarder has had it. It gets the records around it, and the ledger has those of the
// block as damaged, for the stream and for the forwarder, with their offsets.
func TestDamageInFrontOfAForwarderIsInTheLedger(t *testing.T) {
	const text = auditConfig + "forwarders: {out: {type: test, from: [app], note: %d}}\n"
	dir, f := shortDir(t), newTaker()
	f.stuck = true
	a := startAgent(t, dir, fmt.Sprintf(text, 1), f)
	c := a.dial(t, "in", 0)
	random := rand.NewChaCha8([32]byte{1}) // does not compress, so that it is found in the file
	var noise [10][]byte
	for i := range noise {
		noise[i] = make([]byte, 400)
		random.Read(noise[i]) //nolint:errcheck // never fails
		noise[i] = fmt.Appendf(nil, "%x", noise[i])
		write(t, c, line("%s", noise[i]))
		a.stored(t, "app", i+1) // a block each
	}
	a.stop(t)
	segments, err := filepath.Glob(filepath.Join(dir, "data", "store", "*.seg"))
	if err != nil {
		t.Fatal(err)
	}
	changed := 0
	for _, path := range segments {
		b, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		for at := bytes.Index(b, noise[6][:40]); at >= 0; at = bytes.Index(b, noise[6][:40]) {
			b[at] ^= 1
			changed++
		}
		if err := os.WriteFile(path, b, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if changed == 0 {
		t.Fatal("the record is not to be found in the file")
	}
	f = newTaker()
	a = startAgent(t, dir, fmt.Sprintf(text, 1), f)
	waitUntil(t, "the forwarder to be at the end", func() bool { at, _ := a.store.Cursor("out", "app"); return at == 11 })
	audit := a.audit()
	wantExplained(t, audit)
	if got := audit.Forwarders[0]; got.Stored != 10 || got.Delivered != 9 || got.Damaged != 1 || got.Pending != 0 {
		t.Errorf("%+v", got)
	}
	if g := audit.Gaps; len(g) != 1 || g[0].Stream != "app" || g[0].From != 7 || g[0].To != 7 || g[0].Records != 1 {
		t.Errorf("gaps: %+v, want offset 7", g)
	}
	if n := len(f.waitFor(t, 9)); n != 9 {
		t.Errorf("%d records were delivered, want the nine others", n)
	}
}

// TestCursorsGoWithTheirForwarder: one that the configuration has no more pins nothing,
// after a reload and after a start, and the log says where it was.
func TestCursorsGoWithTheirForwarder(t *testing.T) {
	const with = auditConfig + `forwarders: {out: {type: test, from: [app]}, gone: {type: test, from: [app], note: %d}}
`
	without := auditConfig + "forwarders: {out: {type: test, from: [app]}}\n"
	dir := shortDir(t)
	f := newTaker()
	a := startAgent(t, dir, fmt.Sprintf(with, 1), f)
	names := func() (names []string) {
		for _, c := range a.store.Cursors() {
			if c.Stream == "app" {
				names = append(names, c.Name)
			}
		}
		return names
	}
	c := a.dial(t, "in", 0)
	write(t, c, line("yes")+line("yes"))
	f.waitFor(t, 4)
	if got := names(); !slices.Equal(got, []string{"gone", "out"}) {
		t.Fatalf("cursors of %q", got)
	}
	if err := a.reload(without); err != nil {
		t.Fatal(err)
	}
	if got := names(); !slices.Equal(got, []string{"out"}) {
		t.Errorf("after a reload there are cursors of %q", got)
	}
	if said := a.logs.String(); !strings.Contains(said, `"forwarder":"gone","stream":"app","next":3,"pending":0`) {
		t.Errorf("the log does not say where it was:\n%s", said)
	}
	if err := a.reload(fmt.Sprintf(with, 2)); err != nil {
		t.Fatal(err)
	}
	f.waitFor(t, 6) // it begins anew
	waitUntil(t, "both to be at the end", func() bool {
		return !slices.ContainsFunc(a.audit().Forwarders, func(f query.ForwarderAudit) bool { return f.Stream == "app" && f.Delivered != 2 })
	})
	wantExplained(t, a.audit())
	a.stop(t)
	a = startAgent(t, dir, without, f)
	if got := names(); !slices.Equal(got, []string{"out"}) {
		t.Errorf("after a start there are cursors of %q", got)
	}
	wantExplained(t, a.audit())
}

// TestMovesByHandAreInTheLedger: back is rewound, forward is skipped.
func TestMovesByHandAreInTheLedger(t *testing.T) {
	f := newTaker()
	a := startAgent(t, shortDir(t), auditConfig+"forwarders: {out: {type: test, from: [app]}}\n", f)
	c := a.dial(t, "in", 0)
	write(t, c, strings.Repeat(line("yes"), 10))
	f.waitFor(t, 10)
	waitUntil(t, "the cursor to be at the end", func() bool { at, _ := a.store.Cursor("out", "app"); return at == 11 })
	h := host{a.Agent}
	if err := h.SetCursor("out", "app", 6); err != nil {
		t.Fatal(err)
	}
	f.waitFor(t, 15)
	waitUntil(t, "the cursor to be at the end", func() bool { at, _ := a.store.Cursor("out", "app"); return at == 11 })
	f.mu.Lock()
	f.stuck = true
	f.mu.Unlock()
	write(t, c, strings.Repeat(line("yes"), 4))
	a.stored(t, "app", 14)
	if _, err := h.SkipCursor("out", "app", 3); err != nil {
		t.Fatal(err)
	}
	audit := a.audit()
	wantExplained(t, audit)
	got := audit.Forwarders[0]
	if got.Stored != 14 || got.Delivered != 15 || got.Rewound != 5 || got.Skipped != 3 || got.Pending != 1 || got.Repeated != 5 {
		t.Errorf("%+v", got)
	}
}

// FuzzBook gives the decoder of books any bytes; what it accepts it writes the same.
func FuzzBook(f *testing.F) {
	b := newBook("pipeline\x00main")
	b.add(count{countReceived, "in", ""}, 7)
	b.add(count{countDropped, "why", "module"}, 1<<40)
	f.Add(b.encode())
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, value []byte) {
		total := map[count]uint64{}
		one := &book{at: map[count]int{}}
		if parseBook(value, func(c count, n uint64) { total[c] += n; one.add(c, n) }) != nil || one.reasons > maxReasons {
			return
		}
		again := map[count]uint64{}
		if err := parseBook(one.encode(), func(c count, n uint64) { again[c] += n }); err != nil {
			t.Fatal(err)
		}
		for c, n := range total {
			if again[c] != n && len(c.name) <= maxName && len(c.detail) <= maxName {
				t.Fatalf("%q: got %d, want %d", fmt.Sprint(c), again[c], n)
			}
		}
	})
}
