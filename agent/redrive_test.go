package agent

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/VictoriaMetrics/metrics"
	"github.com/rs/zerolog"

	"github.com/runnel-log/runnel/agent/query"
	"github.com/runnel-log/runnel/forwarders"
	"github.com/runnel-log/runnel/record"
	"github.com/runnel-log/runnel/storage"
)

// letterbox is a receiver that refuses what contains one of some texts, and
// remembers what it was given, as a receiver sees it.
type letterbox struct {
	mu sync.Mutex
	// guarded by mu:
	refuses []string
	got     []string // stream/place, message, and the attributes whose names begin with dead
	down    bool
	marks   bool // its acks have some
}

func (f *letterbox) Close() error { return nil }

func (f *letterbox) Deliver(_ context.Context, b *forwarders.Batch) (forwarders.Ack, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.down {
		return nil, errors.New("connection refused")
	}
	for i := range b.Records.Len() {
		v := b.Records.At(i)
		for _, text := range f.refuses {
			if strings.Contains(string(v.Message()), text) {
				return forwarders.Partial{N: i, Err: &forwarders.Refused{Index: i, Answer: "422 " + text}}, nil
			}
		}
		one := fmt.Sprintf("%s/%d %s", b.Meta("vm").Stream, b.Place(i), v.Message())
		attrs, origin := v.Attrs(), v.Origin()
		for key := range attrs.All() {
			if strings.HasPrefix(string(key), "dead.") {
				one += " " + string(key)
			}
		}
		said := b.From == "" && origin.IsZero() || origin.Sequence == b.Place(i) && string(origin.Stream) == b.From
		if v.Flags()&record.Dead != 0 || !said {
			one += " altered"
		}
		f.got = append(f.got, one)
	}
	if f.marks {
		return marking(b.Records.Len()), nil
	}
	return nil, nil
}

// marking is an ack of as many records that has something remembered.
type marking int

func (n marking) Wait(context.Context) (int, error) { return int(n), nil }

func (n marking) Marks() []forwarders.Mark {
	return []forwarders.Mark{{Key: "seen", Value: []byte{byte(n)}}}
}

// TestMarksAreKeptOfDeadLettersThatGoAgain: they are handed out once, so they belong to the move of
// whatever was acknowledged.
func TestMarksAreKeptOfDeadLettersThatGoAgain(t *testing.T) {
	f := &letterbox{refuses: []string{"bad"}}
	a := startAgent(t, shortDir(t), redriveConfig, f)
	write(t, a.dial(t, "in", 0), line("bad 1")+line("bad 2"))
	a.stored(t, "app.dead", 2)
	f.mu.Lock()
	f.refuses, f.marks = nil, true
	f.mu.Unlock()
	a.redriveNow(t, query.Redrive{Stream: "app"})
	waitUntil(t, "the mark to be on disk", func() bool {
		var got []byte
		a.store.State(forwarderMarks(a.deliveries["out"].config), func(_ string, value []byte) { got = value })
		return len(got) == 1 && got[0] > 0
	})
}

func (f *letterbox) refuse(texts ...string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.refuses = texts
}

// since returns what came after the first n.
func (f *letterbox) since(n int) []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.got[min(n, len(f.got)):])
}

const redriveConfig = `
inputs: {in: {type: syslog, listen: ["tcp://127.0.0.1:0"]}}
pipelines: {main: {from: [in], stream: app}}
forwarders:
  out: {type: test, from: [app]}
`

// redriveNow asks for a redrive and waits for its end.
func (a *testAgent) redriveNow(t *testing.T, q query.Redrive) query.Redriven {
	t.Helper()
	done, err := host{a.Agent}.Redrive(t.Context(), q)
	if err != nil {
		t.Fatal(err)
	}
	a.redriveEnds(t)
	return done
}

func (a *testAgent) redriveEnds(t *testing.T) {
	t.Helper()
	waitUntil(t, "the redrives to end", func() bool {
		for _, d := range a.deliveries {
			if len(d.redrives.underWay()) > 0 {
				return false
			}
		}
		return true
	})
}

// redriveOf is what the ledger, as it is on disk, says of a redrive.
func (a *testAgent) redriveOf(t *testing.T, forwarder string) (f query.ForwarderAudit) {
	t.Helper()
	if _, err := a.store.Append(t.Context(), storage.Unit{Account: &a.forwarderBook.account, Hurry: true}); err != nil {
		t.Fatal(err)
	}
	waitUntil(t, "the ledger to be on disk", func() bool {
		audit := host{a.Agent}.Audit()
		if audit.Unexplained != 0 {
			t.Fatalf("the ledger does not add up: %+v", audit)
		}
		for _, f = range audit.Forwarders {
			if f.Redrive && f.Name == forwarder {
				return f.Pending == 0
			}
		}
		return false
	})
	return f
}

func TestDeadLettersGoAgainOnceAsTheyWere(t *testing.T) {
	f := &letterbox{refuses: []string{"bad"}}
	a := startAgent(t, shortDir(t), redriveConfig, f)
	c := a.dial(t, "in", 0)
	write(t, c, line("good 1")+line("bad 2")+line("good 3")+line("bad 4")+line("bad 5"))
	a.stored(t, "app.dead", 3)
	if _, err := (host{a.Agent}).Redrive(t.Context(), query.Redrive{Stream: "nothing"}); !errors.Is(err, query.ErrNotFound) {
		t.Errorf("a stream without dead letters: got %v", err)
	}
	if _, err := (host{a.Agent}).Redrive(t.Context(), query.Redrive{Stream: "app", Forwarder: "nobody"}); !errors.Is(err, query.ErrNotFound) {
		t.Errorf("a forwarder that is not there: got %v", err)
	}
	if got := a.redriveNow(t, query.Redrive{Stream: "app", DryRun: true}); got.Records != 0 || got.Forwarders[0].Records != 3 || !got.Complete {
		t.Errorf("a dry run: got %+v", got)
	}
	f.refuse()
	if got := f.since(2); len(got) != 0 {
		t.Fatalf("sent before it was asked for: %q", got)
	}
	if got := a.redriveNow(t, query.Redrive{Stream: "app"}); got.Records != 3 || len(got.Left) != 0 || got.Forwarders[0] != (query.RedriveOf{Forwarder: "out", Records: 3, From: 1, Until: 4}) {
		t.Errorf("got %+v", got)
	}
	if got := a.redriveNow(t, query.Redrive{Stream: "app.dead"}); got.Records != 0 {
		t.Errorf("once more: got %+v", got)
	}
	checkMessages(t, f.since(0), []string{"app/1 good 1", "app/3 good 3", "app/2 bad 2", "app/4 bad 4", "app/5 bad 5"})
	if got := a.redriveOf(t, "out"); got.Redriven != 3 || got.Stored != 3 || got.Dead != 0 || got.Stream != "app.dead" {
		t.Errorf("the ledger says %+v", got)
	}
	if got := a.metric(`runnel_forwarder_redriven_records_total{forwarder="out"`); got != 3 {
		t.Errorf("the counter says %d", got)
	}

	// From a place again: those go once more, and the ledger says so.
	if got := a.redriveNow(t, query.Redrive{Stream: "app", From: query.Bound{Offset: 2}, To: query.Bound{Offset: 3}}); got.Records != 1 {
		t.Errorf("one of them again: got %+v", got)
	}
	checkMessages(t, f.since(5), []string{"app/4 bad 4"})
	if got := a.redriveOf(t, "out"); got.Redriven != 4 || got.Rewound != 2 || got.Stored != 2 {
		t.Errorf("the ledger says %+v", got)
	}
}

func TestRefusedAgainIsADeadLetterAgain(t *testing.T) {
	f := &letterbox{refuses: []string{"bad", "worse"}}
	a := startAgent(t, shortDir(t), redriveConfig, f)
	write(t, a.dial(t, "in", 0), line("bad 1")+line("worse 2")+line("bad 3"))
	a.stored(t, "app.dead", 3)
	f.refuse("worse")
	a.redriveNow(t, query.Redrive{Stream: "app"})
	checkMessages(t, f.since(0), []string{"app/1 bad 1", "app/3 bad 3"})
	a.stored(t, "app.dead", 4)
	if got := a.redriveOf(t, "out"); got.Redriven != 2 || got.Dead != 1 {
		t.Errorf("the ledger says %+v", got)
	}
	var letters []string
	messages(t, a.store, "app.dead", func(offset uint64, v record.View) {
		attempts, _ := v.Attr("dead.attempts")
		answer, _ := v.Attr("dead.answer")
		letters = append(letters, fmt.Sprintf("%d %s, attempt %d, from %d: %s", offset, v.Message(), attempts.Int(), v.Origin().Sequence, answer.Data))
	})
	want := []string{"1 bad 1, attempt 1, from 1: 422 bad", "2 worse 2, attempt 1, from 2: 422 worse", "3 bad 3, attempt 1, from 3: 422 bad", "4 worse 2, attempt 2, from 2: 422 worse"}
	if !slices.Equal(letters, want) {
		t.Errorf("dead letters %q, want %q", letters, want)
	}
	f.refuse()
	if got := a.redriveNow(t, query.Redrive{Stream: "app"}); got.Records != 1 {
		t.Errorf("got %+v", got)
	}
	checkMessages(t, f.since(2), []string{"app/2 worse 2"})
}

// TestDeadLettersGoOnlyToWhoRefusedThem: those of another forwarder, of one that
// is gone, and of a module stay where they are, and are named.
func TestDeadLettersGoOnlyToWhoRefusedThem(t *testing.T) {
	f := &letterbox{}
	config := redriveConfig + "  other: {type: test, from: [app], note: 1}\n"
	dir := shortDir(t)
	seedLetters(t, dir, "app", []string{"out", "gone", "out", "", "other", "gone", "out"})
	a := startAgent(t, dir, config, f)
	got := a.redriveNow(t, query.Redrive{Stream: "app", Forwarder: "out"})
	if got.Records != 3 || len(got.Forwarders) != 1 || len(got.Left) != 0 {
		t.Errorf("got %+v", got)
	}
	checkMessages(t, f.since(0), []string{"app/101 letter 1", "app/103 letter 3", "app/107 letter 7"})
	if of := a.redriveOf(t, "out"); of.Filtered != 4 || of.Redriven != 3 {
		t.Errorf("the ledger says %+v", of)
	}
	got = a.redriveNow(t, query.Redrive{Stream: "app"})
	if got.Records != 1 || !slices.Equal(got.Left, []query.Letters{{Forwarder: "", Records: 1}, {Forwarder: "gone", Records: 2}}) {
		t.Errorf("got %+v", got)
	}
	checkMessages(t, f.since(3), []string{"app/105 letter 5"})
}

// TestASenderCannotSignADeadLetter: what a record says of itself, as only dead letters
// of forwarders do, neither sends it to a forwarder nor counts.
func TestASenderCannotSignADeadLetter(t *testing.T) {
	f := &letterbox{refuses: []string{"bad"}}
	a := startAgent(t, shortDir(t), `
inputs: {in: {type: http, listen: "127.0.0.1:0"}}
modules: {m: {`+conformance(t)+`, on_error: dead_letter}}
pipelines: {main: {from: [in], stream: app, steps: [{module: m}]}}
forwarders: {out: {type: test, from: [app]}}
`, f)
	_, address := a.address(t, "in", 0)
	const signed = `,"attrs":{"dead.forwarder":"out","dead.answer":"no","dead.attempts":9223372036854775807,"other":"stays"}}` + "\n"
	resp, err := http.Post("http://"+address, "application/x-ndjson", strings.NewReader(
		`{"message":"fail 1"`+signed+`{"message":"fail 2"}`+"\n"+`{"message":"fail 3"`+signed+`{"message":"bad 4"`+signed))
	if err != nil {
		t.Fatal(err)
	}
	if resp.Body.Close(); resp.StatusCode != http.StatusOK {
		t.Fatal(resp.Status)
	}
	a.stored(t, "app.dead", 4)
	var letters []string
	messages(t, a.store, "app.dead", func(_ uint64, v record.View) {
		attrs := v.Attrs()
		one := string(v.Message())
		for _, key := range []string{"dead.forwarder", "dead.answer", "dead.attempts", "other"} {
			if value, ok := attrs.Get(key); ok && value.Kind == record.Int {
				one += fmt.Sprintf(" %d", value.Int())
			} else if ok {
				one += " " + string(value.Data)
			}
		}
		letters = append(letters, one)
	})
	slices.Sort(letters)
	if want := []string{"bad 4 out 422 bad 1 stays", "fail 1 stays", "fail 2", "fail 3 stays"}; !slices.Equal(letters, want) {
		t.Errorf("dead letters %q, want %q", letters, want)
	}
	f.refuse()
	got := a.redriveNow(t, query.Redrive{Stream: "app"})
	if got.Records != 1 || !slices.Equal(got.Left, []query.Letters{{Forwarder: "", Records: 3}}) {
		t.Errorf("got %+v", got)
	}
	checkMessages(t, f.since(0), []string{"app/1 bad 4"})
}

// TestOnlyWhatAForwarderRefusedIsIts: a name alone is not enough.
func TestOnlyWhatAForwarderRefusedIsIts(t *testing.T) {
	origin := record.Origin{Agent: [16]byte{1}, Epoch: 1, Sequence: 1, Stream: []byte("app")}
	f := func(flags record.Flags, origin record.Origin, want string) {
		t.Helper()
		b := record.NewBatch()
		defer b.Release()
		r := record.Record{Received: 1, Flags: flags, Origin: origin}
		r.Attrs.SetString("dead.forwarder", "out")
		if err := b.Append(&r); err != nil {
			t.Fatal(err)
		}
		if got := signedBy(b.At(0)); got != want {
			t.Errorf("flags %v, origin %v: got %q, want %q", flags, origin, got, want)
		}
	}
	f(record.Dead, origin, "out")
	f(record.Dead, record.Origin{}, "")
	f(0, origin, "")
}

// TestARedriveOutlivesARestartAndCanBeStopped: what was asked for goes on by itself.
func TestARedriveOutlivesARestartAndCanBeStopped(t *testing.T) {
	f := &letterbox{down: true}
	dir := shortDir(t)
	seedLetters(t, dir, "app", slices.Repeat([]string{"out"}, 5))
	a := startAgent(t, dir, redriveConfig, f)
	if _, err := (host{a.Agent}).Redrive(t.Context(), query.Redrive{Stream: "app", To: query.Bound{Offset: 5}}); err != nil {
		t.Fatal(err)
	}
	if _, err := (host{a.Agent}).Redrive(t.Context(), query.Redrive{Stream: "app", From: query.Bound{Offset: 1}}); !errors.Is(err, errUnderWay) {
		t.Errorf("moved while it is under way: %v", err)
	}
	if got := a.status().Forwarders[0].Streams; len(got) != 1 || !got[0].Redrive || got[0].LagRecords != 4 {
		t.Errorf("the status says %+v", got)
	}
	a.stop(t)
	f.mu.Lock()
	f.down = false
	f.mu.Unlock()
	a = startAgent(t, dir, redriveConfig, f)
	a.redriveEnds(t)
	checkMessages(t, f.since(0), []string{"app/101 letter 1", "app/102 letter 2", "app/103 letter 3", "app/104 letter 4"})
	f.mu.Lock()
	f.down = true
	f.mu.Unlock()
	for range 2 { // what is stopped can be asked for again
		if got, err := (host{a.Agent}).Redrive(t.Context(), query.Redrive{Stream: "app"}); err != nil || got.Records != 1 {
			t.Fatalf("got %+v, %v", got, err)
		}
		if _, err := (host{a.Agent}).Redrive(t.Context(), query.Redrive{Stream: "app", Stop: true}); err != nil {
			t.Fatal(err)
		}
		if got := a.redriveOf(t, "out"); got.Redriven != 4 || got.Pending != 0 {
			t.Errorf("the ledger says %+v", got)
		}
	}
}

// TestARedriveOfSeveralIsOfAllOrNone: where one of them cannot begin elsewhere, none does.
func TestARedriveOfSeveralIsOfAllOrNone(t *testing.T) {
	f := &letterbox{down: true}
	dir := shortDir(t)
	seedLetters(t, dir, "app", []string{"aa", "bb", "aa", "bb"})
	a := startAgent(t, dir, strings.Replace(redriveConfig, "  out: {type: test, from: [app]}", "  aa: {type: test, from: [app]}\n  bb: {type: test, from: [app]}", 1), f)
	h := host{a.Agent}
	if got, err := h.Redrive(t.Context(), query.Redrive{Stream: "app", Forwarder: "bb"}); err != nil || got.Records != 2 {
		t.Fatalf("got %+v, %v", got, err)
	}
	if _, err := h.Redrive(t.Context(), query.Redrive{Stream: "app", From: query.Bound{Offset: 1}}); !errors.Is(err, errUnderWay) {
		t.Errorf("from the beginning, while one is under way: got %v", err)
	}
	if now, ok := a.delivery("aa").redrives.at("app.dead"); ok {
		t.Errorf("refused, and yet begun: %+v", now)
	}
	if _, err := h.Redrive(t.Context(), query.Redrive{Stream: "app", Stop: true}); err != nil {
		t.Fatal(err)
	}
	if got, err := h.Redrive(t.Context(), query.Redrive{Stream: "app", From: query.Bound{Offset: 1}}); err != nil || got.Records != 4 {
		t.Fatalf("got %+v, %v", got, err)
	}
	f.mu.Lock()
	f.down = false
	f.mu.Unlock()
	a.redriveEnds(t)
	if got := f.since(0); len(got) != 4 {
		t.Errorf("got %q", got)
	}
}

// TestARedriveIsOnDiskWhenItIsAnswered: and so is its stop.
func TestARedriveIsOnDiskWhenItIsAnswered(t *testing.T) {
	dir := shortDir(t)
	seedLetters(t, dir, "app", slices.Repeat([]string{"out"}, 5))
	a := startAgent(t, dir, redriveConfig, &letterbox{down: true})
	for range 3 {
		for _, q := range []query.Redrive{{Stream: "app"}, {Stream: "app", Stop: true}} {
			if _, err := (host{a.Agent}).Redrive(t.Context(), q); err != nil {
				t.Fatal(err)
			}
			r := readRedrives(a.store.Account(bookForwarders))["out"]["app.dead"]
			if r == nil || (r.next == r.until) != q.Stop {
				t.Fatalf("answered %+v, and on disk is %+v", q, r)
			}
		}
	}
}

// seedLetters stores dead letters of these forwarders, "" for a module's, before
// there is an agent.
func seedLetters(t *testing.T, dir, stream string, of []string) {
	t.Helper()
	s, err := storage.Open(storage.Options{Dir: dir + "/data", Log: zerolog.Nop(), Metrics: metrics.NewSet()})
	if err != nil {
		t.Fatal(err)
	}
	agent, epoch := s.Identity()
	b := record.NewBatch()
	var r record.Record
	for i, forwarder := range of {
		r.Reset()
		r.Received, r.Message, r.Flags = 1, fmt.Appendf(nil, "letter %d", i+1), record.Dead
		r.Origin = record.Origin{Agent: agent, Epoch: epoch, Sequence: uint64(101 + i), Stream: []byte(stream)}
		if forwarder != "" {
			r.Attrs.SetString("dead.forwarder", forwarder)
			r.Attrs.SetString("dead.answer", "no")
		}
		if err := b.Append(&r); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := s.Append(t.Context(), storage.Unit{Batches: []storage.StreamBatch{{Stream: stream + deadSuffix, Records: b}}}); err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
}

// TestKilledAgentRedrivesEachLetterOnce: kill -9 in the midst of it, again and
// again. A receiver that keeps keys has each dead letter once; what it refuses is
// in the dead letters again, once; and the ledger says how many of each.
func TestKilledAgentRedrivesEachLetterOnce(t *testing.T) {
	kills, letters := 6, 3000
	if soak {
		kills, letters = 100, 100_000
	}
	var mu sync.Mutex
	keys := map[string]string{} // guarded by mu: message by key
	repeated := 0
	up := false
	h := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
		body, err := io.ReadAll(q.Body)
		if err != nil {
			return
		}
		message := messageOf(string(body))
		mu.Lock()
		defer mu.Unlock()
		switch {
		case !up:
			w.WriteHeader(http.StatusInternalServerError)
		case strings.HasSuffix(message, "13"):
			w.WriteHeader(http.StatusUnprocessableEntity)
		default:
			key := q.Header.Get("Idempotency-Key")
			if was, seen := keys[key]; seen && was != message {
				t.Errorf("key %s is of %q and of %q", key, was, message)
			} else if seen {
				repeated++
			}
			keys[key] = message
		}
	}))
	t.Cleanup(h.Close)
	config := fmt.Sprintf(`
inputs: {in: {type: syslog, listen: ["tcp://127.0.0.1:0"]}}
pipelines: {main: {from: [in], stream: app}}
streams: {other: {max_age: 24h}}
forwarders: {hook: {type: webhook, from: [other], url: %q, body: single, batch: {records: 20, wait: 1ms}}}
`, h.URL)
	dir := childDirectory(t, config)
	seedLetters(t, dir, "other", slices.Repeat([]string{"hook"}, letters))
	a := startAgent(t, dir, config, nil)
	if _, err := (host{a.Agent}).Redrive(t.Context(), query.Redrive{Stream: "other"}); err != nil {
		t.Fatal(err)
	}
	a.stop(t)
	mu.Lock()
	up = true
	mu.Unlock()
	sent := 0
	for range kills {
		sent = killOnce(t, dir, sent, func(n int) string { return line("%d", n) })
	}
	mu.Lock()
	done := len(keys)
	mu.Unlock()
	a = startAgent(t, dir, config, nil)
	a.redriveEnds(t)
	refused := 0
	for i := range letters {
		if (i+1)%100 == 13 {
			refused++
		}
	}
	f := a.redriveOf(t, "hook")
	if f.Redriven != uint64(letters-refused) || f.Dead != uint64(refused) {
		t.Errorf("%d letters, %d of them refused again: the ledger says %+v", letters, refused, f)
	}
	again := map[string]int{}
	messages(t, a.store, "other.dead", func(_ uint64, v record.View) {
		if attempts, _ := v.Attr("dead.attempts"); attempts.Int() == 2 {
			again[string(v.Message())]++
		}
	})
	for message, n := range again {
		if n != 1 {
			t.Errorf("%q is in the dead letters %d times more", message, n)
		}
	}
	mu.Lock()
	defer mu.Unlock()
	if len(keys) != letters-refused || len(again) != refused {
		t.Errorf("%d letters arrived and %d were buried again, want %d and %d", len(keys), len(again), letters-refused, refused)
	}
	t.Logf("%d of %d letters had gone when the last kill came; %d requests were repeated under their keys", done, letters, repeated)
}
