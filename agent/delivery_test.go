package agent

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/VictoriaMetrics/metrics"
	"github.com/rs/zerolog"

	"github.com/runnel-log/runnel/forwarders"
	"github.com/runnel-log/runnel/internal/expression"
	"github.com/runnel-log/runnel/record"
	"github.com/runnel-log/runnel/storage"
)

// patience bounds how long a test waits for what should take milliseconds.
const patience = 20 * time.Second

// taker is a small honest forwarder: it keeps what it acknowledged, in order,
// and fails where a test tells it to.
type taker struct {
	mu sync.Mutex
	// guarded by mu:
	messages []string
	sizes    []int  // of the batches offered
	refuse   string // a message it will never take
	whole    bool   // a refusal does not say which record
	breakAt  int    // the ack of this batch, counted from 1, fails after half of it
	batches  int
	changed  chan struct{} // closed and replaced at every batch
	closed   bool
	stuck    bool          // nothing is taken
	asks     time.Duration // until the next try; more than 0: nothing is taken
	batching forwarders.Batching
}

func newTaker() *taker { return &taker{changed: make(chan struct{})} }

func (f *taker) Deliver(_ context.Context, b *forwarders.Batch) (forwarders.Ack, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.stuck {
		return nil, errors.New("connection refused")
	}
	if f.asks > 0 {
		return nil, &forwarders.Retry{After: f.asks, Err: errors.New("busy")}
	}
	f.batches++
	f.sizes = append(f.sizes, b.Records.Len())
	var messages []string
	for i := range b.Records.Len() {
		m := string(b.Records.At(i).Message())
		if m == f.refuse && f.refuse != "" {
			index := i
			if f.whole {
				index = -1
			}
			return nil, &forwarders.Refused{Index: index, Answer: "no such thing"}
		}
		messages = append(messages, m)
	}
	if f.batches == f.breakAt {
		return halfAck{f, messages}, nil
	}
	f.take(messages)
	return nil, nil
}

// take keeps messages; f.mu is held.
func (f *taker) take(messages []string) {
	f.messages = append(f.messages, messages...)
	close(f.changed)
	f.changed = make(chan struct{})
}

func (f *taker) Batching() forwarders.Batching { return f.batching }

func (f *taker) Close() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.closed = true
	return nil
}

// halfAck says that the connection broke when half of the batch had arrived.
type halfAck struct {
	f        *taker
	messages []string
}

func (a halfAck) Wait(context.Context) (int, error) {
	a.f.mu.Lock()
	defer a.f.mu.Unlock()
	n := len(a.messages) / 2
	a.f.take(a.messages[:n])
	return n, errors.New("connection reset")
}

// waitFor returns what arrived once it is at least n messages.
func (f *taker) waitFor(t *testing.T, n int) []string {
	t.Helper()
	deadline := time.After(patience)
	for {
		f.mu.Lock()
		got, changed := slices.Clone(f.messages), f.changed
		f.mu.Unlock()
		if len(got) >= n {
			return got
		}
		select {
		case <-changed:
		case <-deadline:
			t.Fatalf("got %d messages, want %d: %q", len(got), n, got)
		}
	}
}

// waitUntil waits until done says so: for what no channel tells of, such as a
// counter that another goroutine moves.
func waitUntil(t *testing.T, what string, done func() bool) {
	t.Helper()
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	deadline := time.After(patience)
	for !done() {
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatalf("not within %s: %s", patience, what)
		}
	}
}

func openStore(t *testing.T, dir string) *storage.Store {
	t.Helper()
	s, err := storage.Open(storage.Options{Dir: dir, MaxSize: 1 << 30, Log: zerolog.Nop(), Metrics: metrics.NewSet(),
		Policy: func(string) storage.Policy { return storage.Policy{MaxAge: time.Hour, MaxSize: 1 << 30} }})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

// appendMessages stores messages in one batch and waits until they are on disk.
func appendMessages(t *testing.T, s *storage.Store, stream string, messages ...string) {
	t.Helper()
	receipt, err := s.Append(t.Context(), storage.Unit{Batches: []storage.StreamBatch{{Stream: stream, Records: batchOf(t, messages...)}}, Hurry: true})
	if err != nil {
		t.Fatal(err)
	}
	if err := receipt.Wait(t.Context()); err != nil {
		t.Fatal(err)
	}
}

func batchOf(t testing.TB, messages ...string) *record.Batch {
	t.Helper()
	b := record.NewBatch()
	var r record.Record
	for _, m := range messages {
		r.Reset()
		r.Severity, r.Facility, r.Received, r.Message = 6, 1, time.Now().UnixNano(), []byte(m)
		if err := b.Append(&r); err != nil {
			t.Fatal(err)
		}
	}
	return b
}

func numbered(from, to int) []string {
	var messages []string
	for i := from; i < to; i++ {
		messages = append(messages, fmt.Sprintf("message %d", i))
	}
	return messages
}

// deliver runs a delivery until the test ends and returns it.
func deliver(t *testing.T, s *storage.Store, f *taker, c ForwarderConfig) *delivery {
	t.Helper()
	c.Name = "out"
	if c.From == nil {
		c.From = []string{"app"}
	}
	d := newDelivery(c, f, s, newDeliveryCounts(metrics.NewSet(), "out"), newEvents(zerolog.Nop()))
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		d.Run(ctx, context.Background()) //nolint:errcheck // always nil
	}()
	t.Cleanup(func() {
		cancel()
		<-done
		if !f.closed {
			t.Error("the forwarder was not closed")
		}
	})
	return d
}

func checkMessages(t *testing.T, got, want []string) {
	t.Helper()
	if !slices.Equal(got, want) {
		t.Errorf("got %d messages %q, want %d %q", len(got), got, len(want), want)
	}
}

func TestDeliveryKeepsOrderAcrossBatches(t *testing.T) {
	s, f := openStore(t, t.TempDir()), newTaker()
	appendMessages(t, s, "app", numbered(0, 300)...)
	deliver(t, s, f, ForwarderConfig{})
	f.waitFor(t, 300)
	for i := 300; i < 400; i += 10 {
		appendMessages(t, s, "app", numbered(i, i+10)...)
	}
	checkMessages(t, f.waitFor(t, 400), numbered(0, 400))
}

func TestUnackedBatchIsOfferedAgain(t *testing.T) {
	s, f := openStore(t, t.TempDir()), newTaker()
	f.breakAt = 1
	appendMessages(t, s, "app", numbered(0, 10)...)
	d := deliver(t, s, f, ForwarderConfig{})
	checkMessages(t, f.waitFor(t, 10), numbered(0, 10)) // the half that had arrived does not come again
	if at, _ := d.position("app"); at > 11 {
		t.Errorf("cursor at %d, want at most 11", at)
	}
}

func TestCursorOutlivesTheAgent(t *testing.T) {
	dir := t.TempDir()
	s, f := openStore(t, dir), newTaker()
	appendMessages(t, s, "app", numbered(0, 10)...)
	ctx, cancel := context.WithCancel(t.Context())
	d := newDelivery(ForwarderConfig{Name: "out", From: []string{"app"}}, f, s, newDeliveryCounts(metrics.NewSet(), "out"), newEvents(zerolog.Nop()))
	done := make(chan struct{})
	go func() { defer close(done); d.Run(ctx, t.Context()) }() //nolint:errcheck // always nil
	f.waitFor(t, 10)
	cancel()
	<-done
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	s = openStore(t, dir)
	appendMessages(t, s, "app", numbered(10, 20)...)
	again := newTaker()
	deliver(t, s, again, ForwarderConfig{})
	checkMessages(t, again.waitFor(t, 10), numbered(10, 20))
}

func TestRefusedRecordGoesToTheDeadLettersAlone(t *testing.T) {
	for _, whole := range []bool{false, true} { // whether the receiver says which one
		s, f := openStore(t, t.TempDir()), newTaker()
		f.refuse, f.whole = "message 7", whole
		appendMessages(t, s, "app", numbered(0, 20)...)
		d := deliver(t, s, f, ForwarderConfig{})
		want := append(numbered(0, 7), numbered(8, 20)...)
		checkMessages(t, f.waitFor(t, 19), want)
		if err := s.Wait(t.Context(), "app.dead", 1); err != nil { // it is committed as the cursor passes it
			t.Fatal(err)
		}
		dead := record.NewBatch()
		if _, err := s.Read("app.dead", 1, dead); err != nil {
			t.Fatal(err)
		}
		if dead.Len() != 1 {
			t.Fatalf("%d dead letters, want 1", dead.Len())
		}
		v := dead.At(0)
		answer, _ := v.Attr("dead.answer")
		origin := v.Origin()
		if string(v.Message()) != "message 7" || v.Flags()&record.Dead == 0 || string(answer.Data) != "no such thing" || origin.Sequence != 8 {
			t.Errorf("dead letter %q, flags %v, answer %q, origin %d; want message 7, dead, its answer, 8",
				v.Message(), v.Flags().Names(), answer.Data, origin.Sequence)
		}
		waitUntil(t, "1 dead, 19 delivered", func() bool {
			counts := d.counts.of("app")
			return counts.dead.Get() == 1 && counts.delivered.Get() == 19
		})
	}
}

func TestStartEndSkipsOnlyWhatWasThere(t *testing.T) {
	s, f := openStore(t, t.TempDir()), newTaker()
	appendMessages(t, s, "app", "old")
	d := deliver(t, s, f, ForwarderConfig{Start: "end", From: []string{"*"}})
	deadline := time.After(patience)
	for { // until the delivery has taken its place
		changed := s.Changed()
		if _, ok := s.Cursor("out", startMark); ok {
			break
		}
		select {
		case <-changed:
		case <-deadline:
			t.Fatal("the delivery did not begin")
		}
	}
	appendMessages(t, s, "app", "new")
	appendMessages(t, s, "late", "first of a stream that came later")
	got := f.waitFor(t, 2)
	slices.Sort(got)
	checkMessages(t, got, []string{"first of a stream that came later", "new"})
	_ = d
}

func TestWhereIsCountedNotSent(t *testing.T) {
	s, f := openStore(t, t.TempDir()), newTaker()
	where, err := expression.Condition(`message endsWith "3"`)
	if err != nil {
		t.Fatal(err)
	}
	appendMessages(t, s, "app", numbered(0, 30)...)
	d := deliver(t, s, f, ForwarderConfig{Where: where})
	checkMessages(t, f.waitFor(t, 3), []string{"message 3", "message 13", "message 23"})
	appendMessages(t, s, "app", "message 33")
	f.waitFor(t, 4)
	waitUntil(t, "27 filtered", func() bool { return d.counts.of("app").filtered.Get() == 27 })
}

func TestBatchingWaitsForCompany(t *testing.T) {
	s, f := openStore(t, t.TempDir()), newTaker()
	f.batching = forwarders.Batching{Records: 50, Bytes: 1 << 20, Wait: time.Minute}
	for i := 0; i < 100; i += 10 {
		appendMessages(t, s, "app", numbered(i, i+10)...)
	}
	deliver(t, s, f, ForwarderConfig{})
	checkMessages(t, f.waitFor(t, 100), numbered(0, 100))
	if !slices.Equal(f.sizes, []int{50, 50}) {
		t.Errorf("batches of %v, want two of 50", f.sizes)
	}
}

func TestMovedCursorIsFollowed(t *testing.T) {
	s, f := openStore(t, t.TempDir()), newTaker()
	appendMessages(t, s, "app", numbered(0, 5)...)
	d := deliver(t, s, f, ForwarderConfig{})
	f.waitFor(t, 5)
	if err := d.setCursor("app", 3, true); err != nil {
		t.Fatal(err)
	}
	checkMessages(t, f.waitFor(t, 8), append(numbered(0, 5), numbered(2, 5)...))
}

// TestAReloadWakesForwardersThatWait: the receiver asks for an hour, and is mended before. The
// status says when the next try is, and a reload that changes nothing has it made now.
func TestAReloadWakesForwardersThatWait(t *testing.T) {
	f := newTaker()
	f.asks = time.Hour
	a := startAgent(t, shortDir(t), auditConfig+"forwarders: {out: {type: test, from: [app]}}\n", f)
	write(t, a.dial(t, "in", 0), line("message 0")+line("message 1"))
	nextTry := func() time.Time { return a.status().Forwarders[0].NextTry }
	waitUntil(t, "the forwarder to wait", func() bool { return !nextTry().IsZero() })
	if next := nextTry(); time.Until(next) < 30*time.Minute {
		t.Errorf("the next try is at %v, want that in an hour", next)
	}
	f.mu.Lock()
	f.asks = 0
	f.mu.Unlock()
	if err := a.Reload(t.Context()); err != nil {
		t.Fatal(err)
	}
	checkMessages(t, f.waitFor(t, 2), numbered(0, 2))
	if next := nextTry(); !next.IsZero() {
		t.Errorf("it still says that the next try is at %v", next)
	}
}

func TestBackoffHonoursTheReceiver(t *testing.T) {
	asked := &forwarders.Retry{After: 3 * time.Minute, Err: errors.New("busy")}
	if got := backoff(0, fmt.Errorf("deliver: %w", asked)); got < 3*time.Minute {
		t.Errorf("waits %s, the receiver asked for 3m", got)
	}
	for attempt := range 40 {
		if got := backoff(attempt, errors.New("refused")); got <= 0 || got > retryMost+time.Millisecond {
			t.Errorf("attempt %d waits %s", attempt, got)
		}
	}
}

// Ten thousand agents that lose one receiver come back, or turn to another, soon and not at once.
func TestManyAgentsDoNotComeBackAtOnce(t *testing.T) {
	const agents, slices = 10_000, 20
	lost := &forwarders.Soon{Err: &forwarders.Retry{After: time.Hour, Err: errors.New("ends")}}
	var at [slices]int
	for range agents {
		wait := backoff(9, lost)
		if wait <= 0 || wait > soonWithin+time.Millisecond {
			t.Fatalf("waits %s, want up to %s", wait, soonWithin)
		}
		at[min(slices-1, wait*slices/soonWithin)]++
	}
	for i, n := range at {
		if n > 2*agents/slices {
			t.Errorf("%d of %d come in part %d of %d", n, agents, i, slices)
		}
	}
}

// unreached is a taker that nobody can connect to until the test says so.
type unreached struct {
	*taker
	reachable atomic.Bool
	kept      chan func() // what it says when it is connected
}

func (u *unreached) Deliver(ctx context.Context, b *forwarders.Batch) (forwarders.Ack, error) {
	if !u.reachable.Load() {
		return nil, &forwarders.Unreached{Err: &forwarders.Retry{After: time.Hour, Err: errors.New("nobody is there")}}
	}
	return u.taker.Deliver(ctx, b)
}

func (u *unreached) Keep(ctx context.Context, _ func(*forwarders.Behind), up func(), _ func(error, time.Duration)) {
	u.kept <- up
	<-ctx.Done()
}

// A delivery that waits since nobody could be connected to goes on when somebody can.
func TestADeliveryGoesOnOnceThereIsAConnection(t *testing.T) {
	f := &unreached{taker: newTaker(), kept: make(chan func(), 1)}
	a := startAgent(t, shortDir(t), `
inputs: {in: {type: syslog, listen: ["tcp://127.0.0.1:0"]}}
pipelines: {main: {from: [in], stream: app}}
forwarders: {out: {type: test, from: [app]}}
`, f)
	up := <-f.kept
	c := a.dial(t, "in", 0)
	defer c.Close()
	write(t, c, line("first"))
	waitUntil(t, "the forwarder to wait", func() bool { return !a.status().Forwarders[0].NextTry.IsZero() })
	f.reachable.Store(true)
	up()
	if got := f.waitFor(t, 1); got[0] != "first" {
		t.Errorf("got %q", got)
	}
}
