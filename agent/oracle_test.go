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

	"github.com/runnel-log/runnel/internal/testkit/oracle"
	"github.com/runnel-log/runnel/record"
	"github.com/runnel-log/runnel/storage"
)

// oracleConfig has a stream for each input, and a receiver. What is on noise is not
// judged: it fills segments, and retention takes it. The sockets have names, as a
// port that is free could be another input's after the next start.
const oracleConfig = `
inputs:
  web: {type: http, listen: "unix://DIR/web.sock"}
  relp: {type: relp, listen: "unix://DIR/relp.sock"}
  noise: {type: http, listen: "unix://DIR/noise.sock"}
pipelines:
  web: {from: [web], stream: web}
  relp: {from: [relp], stream: relp}
  noise: {from: [noise], stream: noise}
streams: {noise: {max_size: 1MiB}}
forwarders: {out: {type: test, from: [web, relp]}}
`

// windowOf is how many messages each RELP sender of these tests has without an answer.
const windowOf = 64

// senders is an oracle and the load it judges.
type senders struct {
	*oracle.Sent
	stream string
	load   oracle.Load
	done   chan error
}

// startSenders has senders send to the input of a stream until enough is closed.
func startSenders(t *testing.T, dir, stream string, enough <-chan struct{}, l oracle.Load) *senders {
	t.Helper()
	sent, err := oracle.NewSent("")
	if err != nil {
		t.Fatal(err)
	}
	scheme := "http+unix"
	if stream == "relp" {
		scheme = "relp+unix"
	}
	l.To = func() string { return scheme + "://" + filepath.Join(dir, stream+".sock") }
	l.Drain = 2 * patience
	s := &senders{Sent: sent, stream: stream, load: l, done: make(chan error, 1)}
	go func() { s.done <- oracle.Send(t.Context(), l, sent, enough) }()
	return s
}

// startJudged starts the senders whose records are judged, rate records a second of
// each kind; 0 is as fast as they are answered.
func startJudged(t *testing.T, dir string, enough <-chan struct{}, rate int) []*senders {
	t.Helper()
	return []*senders{
		startSenders(t, dir, "web", enough, oracle.Load{Senders: 2, Keys: true, Body: 40, Rate: rate}),
		startSenders(t, dir, "relp", enough, oracle.Load{Senders: 2, Window: windowOf, Rate: rate}),
	}
}

// more waits until the senders of one stream have had answers for n records more.
func (s *senders) more(t *testing.T, n uint64, ended <-chan struct{}) {
	t.Helper()
	before, changed := s.Acknowledged()
	for now := before; now < before+n; now, changed = s.Acknowledged() {
		select {
		case <-changed:
		case <-ended:
			return
		case err := <-s.done:
			t.Fatalf("%s: sending ended: %v", s.stream, err)
		case <-time.After(patience):
			t.Fatalf("%s: nothing more is acknowledged", s.stream)
		}
	}
}

// wantJudged ends the senders, kills the agent once more, and holds the store against what
// the senders know. Nothing that was answered is lost, nothing of the agent's own
// doing comes twice, and what was sent again comes twice within the protocol's bounds.
func wantJudged(t *testing.T, k *killable, all []*senders, enough chan struct{}, kills int) {
	t.Helper()
	close(enough)
	for _, s := range all {
		if err := <-s.done; err != nil {
			t.Fatalf("%s: %v", s.stream, err)
		}
	}
	k.kill()
	store := openedAfter(t, k.dir)
	for _, s := range all {
		v := judged(t, store, s)
		most := uint64(kills * s.load.Window * s.load.Senders) // 0 for bodies: each has its key
		if v.Lost+v.Duplicated+v.Disordered+v.Altered+v.Unknown+v.Unanswered > 0 || v.Repeated > most || v.Acknowledged == 0 {
			t.Errorf("%s: %d may come twice: %+v", s.stream, most, v)
		}
		t.Logf("%s: %d acknowledged over %d kills, %d sent again, %d came twice", s.stream, v.Acknowledged, kills, v.Again, v.Repeated)
	}
	audit := auditOf(store.Books())
	if audit.Unexplained != 0 {
		t.Errorf("the ledger says %+v", audit)
	}
	wantRecounted(t, store, audit)
}

func judged(t *testing.T, store *storage.Store, s *senders) oracle.Verdict {
	t.Helper()
	arrived, err := oracle.NewArrived("")
	if err != nil {
		t.Fatal(err)
	}
	messages(t, store, s.stream, func(_ uint64, v record.View) { arrived.Take(v.Message()) })
	return oracle.Judge(s.Sent, arrived)
}

// TestKilledAgentKeepsWhatItAnswered: kill -9 under load of HTTP and RELP, again and
// again, at random. What was answered is there, once where bodies have keys, and over
// RELP at most a window a connection and kill comes twice. After each start the ledger
// explains all. In slices, each on a store of its own.
func TestKilledAgentKeepsWhatItAnswered(t *testing.T) {
	slices, kills := often(1, 10), often(30, 100)
	for slice := range slices {
		t.Run(fmt.Sprint(slice), func(t *testing.T) { testRandomKills(t, kills) })
	}
}

func testRandomKills(t *testing.T, kills int) {
	dir, enough := childDirectory(t, oracleConfig), make(chan struct{})
	all := startJudged(t, dir, enough, 0)
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 0))
	var starts []time.Duration
	for n := range kills {
		k := startKillable(t, dir, "")
		if k == nil {
			t.Fatalf("kill %d: the agent does not start", n)
		}
		k.ask(t, "/readyz")
		if audit := k.ask(t, "/api/v1/audit"); !strings.HasSuffix(strings.TrimSpace(audit), `"unexplained":0}`) {
			t.Fatalf("kill %d: the ledger says %s", n, audit)
		}
		if k.cpu > 2*time.Second {
			t.Errorf("kill %d: the start took %v of CPU", n, k.cpu)
		}
		starts = append(starts, k.wall)
		all[random.IntN(2)].more(t, 1+random.Uint64N(3000), k.ended)
		if n == kills-1 {
			wantJudged(t, k, all, enough, kills)
		}
		k.kill()
	}
	slices.Sort(starts)
	t.Logf("%d starts: median %v, longest %v", kills, starts[kills/2], starts[kills-1])
	if starts[kills/2] > 2*time.Second || soak && starts[kills-1] > 2*time.Second {
		t.Errorf("an agent is ready within 2 s of its exec; it took %v", starts[kills/2:])
	}
}

// TestKilledAtEveryPointKeepsWhatItAnswered ends the agent at the places of our own
// that have a name, from a batch's arrival to its answer and in the store's housekeeping,
// while HTTP and RELP send. At salvage a segment is damaged beforehand.
func TestKilledAtEveryPointKeepsWhatItAnswered(t *testing.T) {
	each := often(3, 40)
	for _, point := range []string{pointAccepted, pointStaged, "commit", "committed", pointUnanswered, "answered", pointDelivered,
		"rotate", "checkpoint", "trim", "salvage"} {
		t.Run(point, func(t *testing.T) { testKillsAt(t, point, each) })
	}
}

func testKillsAt(t *testing.T, point string, kills int) {
	dir, enough := childDirectory(t, oracleConfig), make(chan struct{})
	housekeeping := slices.Contains([]string{"rotate", "checkpoint", "trim", "salvage"}, point)
	rate := 0
	if housekeeping { // most of a segment is noise, so that it is worth rewriting
		rate = 500
		startSenders(t, dir, "noise", enough, oracle.Load{Keys: true, Size: 4000})
	}
	all := startJudged(t, dir, enough, rate)
	for n := range kills {
		passing := 1 + n*7%20
		if housekeeping {
			passing = 1 + n%2
		}
		if point == "salvage" {
			passing = 1 // there is one segment to salvage
			if n == 0 {
				fill(t, dir, all)
			}
			forgetMetas(t, dir)
		}
		k := startKillable(t, dir, fmt.Sprint(point, " ", passing))
		if k == nil {
			continue // killed while it started
		}
		select {
		case <-k.ended:
		case <-time.After(patience):
			t.Fatalf("point %q was not reached %d times", point, passing)
		}
	}
	k := startKillable(t, dir, "")
	if k == nil {
		t.Fatal("the agent does not start")
	}
	wantJudged(t, k, all, enough, kills)
}

// fill has the store have something to lose.
func fill(t *testing.T, dir string, all []*senders) {
	t.Helper()
	k := startKillable(t, dir, "nowhere 1")
	for _, s := range all {
		s.more(t, 500, k.ended)
	}
	k.kill()
}

// forgetMetas clears both meta pages of the oldest segment.
func forgetMetas(t *testing.T, dir string) {
	t.Helper()
	names, _ := filepath.Glob(filepath.Join(dir, "data", "store", "*.seg"))
	f, err := os.OpenFile(names[0], os.O_WRONLY, 0)
	if err == nil {
		_, err = f.WriteAt(make([]byte, 8192), 0)
		f.Close()
	}
	if err != nil {
		t.Fatal(err)
	}
}
