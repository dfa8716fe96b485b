package agent

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/VictoriaMetrics/metrics"
	"github.com/rs/zerolog"

	"github.com/runnel-log/runnel/agent/query"
	"github.com/runnel-log/runnel/forwarders"
	"github.com/runnel-log/runnel/record"
	"github.com/runnel-log/runnel/storage"
)

var deliverySeed = flag.Uint64("delivery.seed", 0, "run TestEveryRecordIsAccountedFor with this seed alone")

// What the messages of this test are for the receiver and the filter.
const (
	poison = "poison" // never taken
	unseen = "unseen" // the filter leaves it out
)

// erratic is a receiver and the forwarder to it, which fail in every way that
// the contract knows, as chance has it. It remembers what arrived.
type erratic struct {
	t    *testing.T
	rand *rand.Rand

	mu sync.Mutex
	// guarded by mu:
	honest  bool              // nothing fails but what is refused
	down    bool              // nothing gets through
	highest map[string]uint64 // offset that has arrived
	arrived map[string]map[uint64]bool
	again   map[string]map[uint64]bool // of those that were dead letters, by their own stream and offset
	rewind  forwarders.Rewind
	size    forwarders.Batching
	wrote   map[string]map[uint64]written
}

func (f *erratic) Batching() forwarders.Batching { return f.size }

func (f *erratic) Close() error { return nil }

// arrive notes the first n records of b: never one before a lower one that has
// not arrived. The guard against gaps is the count at the end.
func (f *erratic) arrive(b *forwarders.Batch, n int) {
	if b.From != "" {
		f.arriveAgain(b, n)
		return
	}
	for i := range n {
		offset, message := b.Offsets[i], string(b.Records.At(i).Message())
		if want := fmt.Sprintf("%s %d", b.Stream, offset); !strings.HasPrefix(message, want+" ") {
			f.t.Errorf("offset %d of %s holds %q", offset, b.Stream, message)
		}
		if strings.Contains(message, unseen) {
			f.t.Errorf("offset %d of %s should have been filtered", offset, b.Stream)
		}
		if !f.arrived[b.Stream][offset] && offset < f.highest[b.Stream] {
			f.t.Errorf("offset %d of %s arrives after %d", offset, b.Stream, f.highest[b.Stream])
		}
		f.arrived[b.Stream][offset] = true
		f.highest[b.Stream] = max(f.highest[b.Stream], offset)
	}
}

// written is what was appended: poison, unseen or nothing special, and under which epoch.
type written struct {
	kind  string
	epoch uint32
}

// accounts checks what a batch says of itself: it is of one epoch, the one under which
// its records were appended, however often the store was opened since; and from First to
// Next each offset has a record here, or is gone, or is one that is left out.
func (f *erratic) accounts(b *forwarders.Batch) {
	last := b.Offsets[len(b.Offsets)-1]
	if want := fmt.Sprintf("/%d/%s/%d-%d", b.Epoch, b.Stream, b.Offsets[0], last); !strings.HasSuffix(b.Key, want) || b.Epoch == 0 {
		f.t.Errorf("key %q, want one that ends with %q", b.Key, want)
	}
	if b.First > b.Offsets[0] || b.Next <= last {
		f.t.Errorf("%d to %d of %s are to account for %d to %d", b.First, b.Next, b.Stream, b.Offsets[0], last)
	}
	offsets, gone := b.Offsets, b.Gone
	for at := b.First; at < b.Next; at++ {
		wrote, known := f.wrote[b.Stream][at] // dead letters are not
		switch {
		case len(offsets) > 0 && offsets[0] == at:
			if offsets = offsets[1:]; known && wrote.epoch != b.Epoch {
				f.t.Errorf("offset %d of %s is told under epoch %d, and was written under %d", at, b.Stream, b.Epoch, wrote.epoch)
			}
		case len(gone) > 0 && gone[0].From <= at:
			if gone[0].Damaged || b.Stream == "keep" {
				f.t.Errorf("offset %d of %s is told to be lost: %+v", at, b.Stream, gone[0])
			}
			if at+1 == gone[0].To {
				gone = gone[1:]
			}
		case known && wrote.kind == "":
			f.t.Errorf("offset %d of %s is left out of %d to %d", at, b.Stream, b.First, b.Next)
		case known && wrote.epoch != b.Epoch:
			f.t.Errorf("offset %d of %s was left out under epoch %d, and is told under %d", at, b.Stream, wrote.epoch, b.Epoch)
		}
	}
	if len(offsets)+len(gone) > 0 {
		f.t.Errorf("%d to %d of %s do not have %v, %v", b.First, b.Next, b.Stream, offsets, gone)
	}
}

// stubborn says which dead letters are refused again, however often they are sent.
func stubborn(offset uint64) bool { return offset%3 == 0 }

// arriveAgain notes the first n records of b, which were dead letters.
func (f *erratic) arriveAgain(b *forwarders.Batch, n int) {
	if f.again[b.From] == nil {
		f.again[b.From] = map[uint64]bool{}
	}
	for i := range n {
		v, place := b.Records.At(i), b.Place(i)
		if want := fmt.Sprintf("%s %d %s", b.From, place, poison); string(v.Message()) != want || v.Flags()&record.Dead != 0 || stubborn(place) {
			f.t.Errorf("offset %d of %s is sent again as %q", place, b.From, v.Message())
		}
		f.again[b.From][place] = true
	}
}

// refuses reports whether the ith record of b is one that is never taken.
func (f *erratic) refuses(b *forwarders.Batch, i int) bool {
	return strings.Contains(string(b.Records.At(i).Message()), poison) && (b.From == "" || stubborn(b.Place(i)))
}

func (f *erratic) Deliver(_ context.Context, b *forwarders.Batch) (forwarders.Ack, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.arrived[b.Stream] == nil {
		f.arrived[b.Stream] = map[uint64]bool{}
	}
	if len(b.Offsets) != b.Records.Len() || len(b.Offsets) == 0 {
		f.t.Errorf("%d offsets for %d records", len(b.Offsets), b.Records.Len())
	}
	f.accounts(b)
	if n := f.size.Bytes; n > 0 && len(b.Offsets) > 1 && int64(b.Records.Size()) > n {
		f.t.Errorf("a batch of %d bytes, wanted at most %d", b.Records.Size(), n)
	}
	if n := f.size.Records; n > 0 && len(b.Offsets) > n {
		f.t.Errorf("a batch of %d records, wanted at most %d", len(b.Offsets), n)
	}
	if f.down {
		return nil, errors.New("connection refused")
	}
	if err := f.rewind.Overtakes(b); err != nil {
		return nil, err
	}
	n := len(b.Offsets)
	for i := range n {
		if f.refuses(b, i) {
			if f.rand.IntN(2) == 0 {
				return nil, &forwarders.Refused{Index: -1, Answer: "one of them is bad"}
			}
			f.arrive(b, i)
			return f.rewind.Partly(b, i, &forwarders.Refused{Index: i, Answer: "bad"})
		}
	}
	some := f.rand.IntN(n + 1)
	switch chance := f.rand.IntN(12); {
	case f.honest || chance < 6:
		f.arrive(b, n)
		if f.rand.IntN(2) == 0 {
			return nil, nil
		}
		return lateAck{time.Duration(f.rand.IntN(50)) * time.Millisecond, n}, nil
	case chance < 7:
		return nil, errors.New("connection reset")
	case chance < 8:
		return nil, &forwarders.Retry{After: time.Second, Err: errors.New("busy")}
	case chance < 10 && some < n: // some of it arrived, and the forwarder knows how much
		f.arrive(b, some)
		return f.rewind.Partly(b, some, errors.New("broken pipe"))
	default: // all of it arrived, and only some was acknowledged
		f.arrive(b, n)
		if some == n {
			return nil, errors.New("no answer")
		}
		return f.rewind.Partly(b, some, errors.New("no answer to the rest"))
	}
}

// lateAck comes after a while.
type lateAck struct {
	after time.Duration
	n     int
}

func (a lateAck) Wait(ctx context.Context) (int, error) {
	if sleep(ctx, a.after); ctx.Err() != nil {
		return 0, ctx.Err()
	}
	return a.n, nil
}

// TestEveryRecordIsAccountedFor appends, fails, restarts and expires as chance
// has it; in the end every record was delivered in order, filtered, dead or
// expired, and the counters say how many of each.
func TestEveryRecordIsAccountedFor(t *testing.T) {
	seeds := []uint64{*deliverySeed}
	if *deliverySeed == 0 {
		seeds = seeds[:0]
		for range often(6, 100) {
			seeds = append(seeds, rand.Uint64N(1<<32)+1)
		}
	}
	metrics.NewSet().NewSummary("first") // starts its package's own goroutine, which must not be in a bubble
	for _, seed := range seeds {
		t.Run(fmt.Sprintf("seed=%d", seed), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { accountFor(t, rand.New(rand.NewPCG(seed, 1))) })
		})
	}
}

// account is the world of one seed.
type account struct {
	t       *testing.T
	rand    *rand.Rand
	dir     string
	store   *storage.Store
	book    *book
	d       *delivery
	f       *erratic
	config  ForwarderConfig
	streams []string
	wrote   map[string]map[uint64]written
	totals  map[string]map[string]uint64 // stream → fate → records, of all starts
}

func accountFor(t *testing.T, r *rand.Rand) {
	w := &account{t: t, rand: r, dir: t.TempDir(), streams: []string{"keep", "forget"}, wrote: map[string]map[uint64]written{}, totals: map[string]map[string]uint64{}}
	w.f = &erratic{t: t, rand: rand.New(rand.NewPCG(r.Uint64(), 2)), highest: map[string]uint64{}, arrived: map[string]map[uint64]bool{}, again: map[string]map[uint64]bool{}}
	w.f.size = []forwarders.Batching{{}, {Records: 7}, {Records: 900, Bytes: 4 << 10, Wait: time.Second}, {Bytes: 300}, {Records: 100, Wait: 3 * time.Second}}[r.IntN(5)]
	w.config = ForwarderConfig{Name: "out", From: []string{"*"}}
	if r.IntN(3) > 0 {
		w.config.Where = condition(t, `not (message contains "unseen")`)
	}
	for _, stream := range w.streams {
		w.wrote[stream], w.totals[stream] = map[uint64]written{}, map[string]uint64{}
	}
	w.f.wrote = w.wrote
	for range 4 {
		w.life(func() {
			for range 6 + r.IntN(6) {
				w.step()
			}
		})
	}
	w.f.mu.Lock()
	w.f.honest, w.f.down = true, false
	w.f.mu.Unlock()
	w.life(func() {
		w.drain()
		w.pass(time.Second) // until the last dead letter is on disk: the cursor is past it as soon as it is staged
		w.redriveAll()
	})
	w.check()
}

// life is one start of the agent's store and delivery, and their end.
func (w *account) life(during func()) {
	set := metrics.NewSet()
	store, err := storage.Open(storage.Options{Dir: w.dir, Metrics: set, Policy: func(stream string) storage.Policy {
		if stream == "forget" { // not its dead letters
			return storage.Policy{MaxAge: time.Hour}
		}
		return storage.Policy{}
	}})
	if err != nil {
		w.t.Fatal(err)
	}
	w.store = store
	d := newDelivery(w.config, w.f, store, newDeliveryCounts(set, "out"), newEvents(zerolog.Nop()))
	if w.book, err = openBook(store, bookPipeline+"test"); err != nil {
		w.t.Fatal(err)
	}
	if d.book, err = openBook(store, bookForwarders); err != nil {
		w.t.Fatal(err)
	}
	if of := readRedrives(store.Account(bookForwarders))["out"]; of != nil {
		d.redrives.of = of
	}
	w.d = d
	ctx, cancel := context.WithCancel(w.t.Context())
	var wg sync.WaitGroup
	wg.Go(func() { d.Run(ctx, w.t.Context()) }) //nolint:errcheck // always nil
	during()
	cancel()
	wg.Wait()
	for _, stream := range w.streams {
		counts, total := d.counts.of(stream), w.totals[stream]
		total["delivered"] += counts.delivered.Get()
		total["filtered"] += counts.filtered.Get()
		total["expired"] += counts.expired.Get()
		total["damaged"] += counts.damaged.Get()
		total["dead"] += counts.dead.Get()
		at, _ := store.Cursor("out", stream)
		if sum := total["delivered"] + total["filtered"] + total["expired"] + total["damaged"] + total["dead"]; at > 0 && sum != at-1 {
			w.t.Errorf("stream %s: cursor at %d, and the counters say %v", stream, at, total)
		}
	}
	if err := store.Close(); err != nil {
		w.t.Error(err)
	}
}

// step does one random thing and lets a random time pass.
func (w *account) step() {
	switch w.rand.IntN(8) {
	case 7:
		w.store.NewEpoch()
	case 6:
		w.redrive(w.streams[w.rand.IntN(2)])
	case 0:
		w.f.mu.Lock()
		w.f.down = !w.f.down
		w.f.mu.Unlock()
	case 1:
		w.pass(2 * time.Hour) // long enough for retention
	default:
		w.append(w.streams[w.rand.IntN(2)], 1+w.rand.IntN(1200))
	}
	w.pass(time.Duration(w.rand.IntN(3000)) * time.Millisecond)
}

// redrive asks for the dead letters of a stream to be sent again.
func (w *account) redrive(stream string) {
	for _, s := range w.store.Streams() {
		if s.Name == stream+deadSuffix {
			if err := askRedrives(w.t.Context(), []*delivery{w.d}, s.Name, false, func(r *redrive) { r.ask(s.First, 0, s.Next) }); err != nil {
				w.t.Fatal(err)
			}
		}
	}
}

// redriveAll waits until all dead letters have been sent again.
func (w *account) redriveAll() {
	for _, stream := range w.streams {
		w.redrive(stream)
	}
	for range 10_000 {
		if len(w.d.redrives.underWay()) == 0 {
			w.pass(2 * time.Second) // until the ledger is on disk
			return
		}
		w.pass(time.Second)
	}
	w.t.Errorf("the redrives do not end: %+v", w.d.redrives.of)
}

// pass lets time pass, which costs none here.
func (w *account) pass(d time.Duration) { sleep(w.t.Context(), d) }

func (w *account) append(stream string, n int) {
	next := uint64(1)
	for _, s := range w.store.Streams() {
		if s.Name == stream {
			next = s.Next
		}
	}
	b := record.NewBatch()
	var r record.Record
	for i := range uint64(n) {
		kind := ""
		switch chance := w.rand.IntN(400); {
		case chance == 0:
			kind = poison
		case chance < 100 && w.config.Where != nil:
			kind = unseen
		}
		w.f.mu.Lock()
		w.wrote[stream][next+i] = written{kind, w.store.Epoch()}
		w.f.mu.Unlock()
		r.Reset()
		r.Received, r.Message = time.Now().UnixNano(), fmt.Appendf(nil, "%s %d %s", stream, next+i, kind)
		if err := b.Append(&r); err != nil {
			w.t.Fatal(err)
		}
	}
	receipt, err := w.store.Append(w.t.Context(), storage.Unit{Batches: []storage.StreamBatch{{Stream: stream, Records: b}}, Hurry: w.rand.IntN(2) == 0,
		Account: &w.book.account, Posting: &tally{counts: &pipelineCounts{book: w.book, emitted: new(metrics.Counter), stored: new(metrics.Counter)}, took: n}})
	if err == nil {
		err = receipt.Wait(w.t.Context())
	}
	if err != nil {
		w.t.Fatal(err)
	}
}

// drain waits until the cursors are at the ends.
func (w *account) drain() {
	for range 10_000 {
		left := 0
		for _, s := range w.store.Streams() {
			if at, _ := w.store.Cursor("out", s.Name); !strings.HasSuffix(s.Name, deadSuffix) && at < s.Next {
				left++
			}
		}
		if left == 0 {
			return
		}
		w.pass(time.Second)
	}
	w.t.Errorf("the cursors do not come to the ends: %+v of %+v", w.store.Cursors(), w.store.Streams())
}

// check compares what arrived with what was written.
func (w *account) check() {
	store, err := storage.Open(storage.Options{Dir: w.dir})
	if err != nil {
		w.t.Fatal(err)
	}
	defer store.Close()
	for _, stream := range w.streams {
		dead := w.deadOf(store, stream)
		missing, wantDead := uint64(0), uint64(0)
		for offset, wrote := range w.wrote[stream] {
			kind := wrote.kind
			arrived := w.f.arrived[stream][offset]
			switch {
			case kind == poison && dead[offset]:
				wantDead++
			case kind == unseen:
			case !arrived:
				missing++
			}
			if dead[offset] && kind != poison {
				w.t.Errorf("offset %d of %s is dead, and nobody refused it", offset, stream)
			}
		}
		total := w.totals[stream]
		// Dead letters and the cursor go together: each is there once, and counted once.
		if total["dead"] != wantDead || missing > total["expired"] || total["damaged"] != 0 {
			w.t.Errorf("stream %s: %d dead and %d missing; the counters say %v", stream, wantDead, missing, total)
		}
		if stream == "keep" && total["expired"] != 0 {
			w.t.Errorf("stream keep: %d expired, and it keeps everything", total["expired"])
		}
		for offset := range dead {
			if !stubborn(offset) && !w.f.again[stream][offset] {
				w.t.Errorf("the dead letter of offset %d of %s did not go again", offset, stream)
			}
		}
		w.audit(store, stream)
		w.t.Logf("%s: %d written, %v", stream, len(w.wrote[stream]), total)
	}
}

// audit holds the durable ledger against what was counted over all starts.
func (w *account) audit(store *storage.Store, stream string) {
	audit := auditOf(store.Books())
	if audit.Unexplained != 0 {
		w.t.Errorf("the ledger does not add up: %+v", audit)
	}
	total := w.totals[stream]
	for _, f := range audit.Forwarders {
		if f.Redrive && f.Stream == stream+deadSuffix {
			w.auditRedrive(store, stream, &f)
		}
		if f.Stream != stream {
			continue
		}
		if f.Delivered != total["delivered"] || f.Filtered != total["filtered"] || f.Dead != total["dead"] || f.Expired != total["expired"] ||
			f.Damaged != 0 || f.Pending != 0 || f.Stored != uint64(len(w.wrote[stream])) {
			w.t.Errorf("stream %s: %d written, counted were %v, and the ledger says %+v", stream, len(w.wrote[stream]), total, f)
		}
	}
}

// auditRedrive holds the ledger of a redrive against the dead letters: each that is not
// stubborn went once, and each time that a stubborn one went there is one more letter of it.
func (w *account) auditRedrive(store *storage.Store, stream string, f *query.ForwarderAudit) {
	went, again := uint64(0), uint64(0)
	messages(w.t, store, stream+deadSuffix, func(_ uint64, v record.View) {
		attempts, _ := v.Attr(deadAttempts)
		switch {
		case !stubborn(v.Origin().Sequence):
			went++
		case attempts.Int() > 1:
			again++
		}
	})
	if f.Redriven != went || f.Dead != again || f.Filtered+f.Expired+f.Damaged+f.Rewound+f.Pending != 0 {
		w.t.Errorf("stream %s: %d dead letters are to have gone, %d to have been refused again; the ledger says %+v", stream, went, again, f)
	}
}

// deadOf returns the offsets whose records are in the dead letters of stream.
func (w *account) deadOf(store *storage.Store, stream string) map[uint64]bool {
	t := w.t
	dead := map[uint64]bool{}
	messages(t, store, stream+deadSuffix, func(_ uint64, v record.View) {
		offset := v.Origin().Sequence
		if epoch := w.wrote[stream][offset].epoch; v.Origin().Epoch != epoch {
			t.Errorf("the dead letter of offset %d of %s has the origin %+v, it was written under %d", offset, stream, v.Origin(), epoch)
		}
		if attempts, _ := v.Attr(deadAttempts); attempts.Int() > 1 {
			return // refused again
		}
		if dead[offset] {
			t.Errorf("offset %d of %s is in the dead letters twice", offset, stream)
		}
		dead[offset] = true
	})
	return dead
}
