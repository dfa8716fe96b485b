package agent

import (
	"context"
	"fmt"
	"reflect"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/VictoriaMetrics/metrics"
	"github.com/rs/zerolog"

	"github.com/runnel-log/runnel/forwarders"
	"github.com/runnel-log/runnel/record"
	"github.com/runnel-log/runnel/storage"
)

// bookkeeper is a receiver that takes everything and writes down what each batch said.
type bookkeeper struct {
	mu     sync.Mutex
	said   []said // guarded by mu
	broken int    // guarded by mu: so many answers are lost
}

// said is what a batch says of itself.
type said struct {
	Epoch       uint32
	First, Next uint64
	Offsets     []uint64
	Gone        []forwarders.Gone
	Key         string
}

func (f *bookkeeper) Deliver(_ context.Context, b *forwarders.Batch) (forwarders.Ack, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.said = append(f.said, said{b.Epoch, b.First, b.Next, slices.Clone(b.Offsets), slices.Clone(b.Gone), b.Key})
	if f.broken > 0 {
		f.broken--
		return nil, fmt.Errorf("no answer")
	}
	return nil, nil
}

func (f *bookkeeper) Close() error { return nil }

// take returns what was said since the last time, without keys.
func (f *bookkeeper) take() []said {
	f.mu.Lock()
	defer f.mu.Unlock()
	all := f.said
	f.said = nil
	for i := range all {
		all[i].Key = ""
	}
	return all
}

// accounting is a store and its way to a bookkeeper, in a bubble of time.
type accounting struct {
	t     *testing.T
	store *storage.Store
	to    *bookkeeper
}

// accountTo runs a test over a delivery that leaves out "unseen".
func accountTo(t *testing.T, test func(a *accounting)) {
	t.Helper()
	metrics.NewSet().NewSummary("first") // starts its package's own goroutine, which must not be in a bubble
	synctest.Test(t, func(t *testing.T) {
		set := metrics.NewSet()
		s, err := storage.Open(storage.Options{Dir: t.TempDir(), Metrics: set, Log: zerolog.Nop(), Policy: func(string) storage.Policy {
			return storage.Policy{MaxAge: time.Hour}
		}})
		if err != nil {
			t.Fatal(err)
		}
		a := &accounting{t: t, store: s, to: new(bookkeeper)}
		d := newDelivery(ForwarderConfig{Name: "out", From: []string{"app"}, Where: condition(t, `not (message contains "unseen")`)},
			a.to, s, newDeliveryCounts(set, "out"), newEvents(zerolog.Nop()))
		ctx, cancel := context.WithCancel(t.Context())
		var wg sync.WaitGroup
		wg.Go(func() { d.Run(ctx, t.Context()) }) //nolint:errcheck // always nil
		test(a)
		cancel()
		wg.Wait()
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
}

// put stores one record for each message.
func (a *accounting) put(messages ...string) {
	a.t.Helper()
	b := record.NewBatch()
	for _, m := range messages {
		if err := b.Append(&record.Record{Received: time.Now().UnixNano(), Message: []byte(m)}); err != nil {
			a.t.Fatal(err)
		}
	}
	r, err := a.store.Append(a.t.Context(), storage.Unit{Batches: []storage.StreamBatch{{Stream: "app", Records: b}}, Hurry: true})
	if err == nil {
		err = r.Wait(a.t.Context())
	}
	if err != nil {
		a.t.Fatal(err)
	}
}

// want compares what the receiver was told, once all is quiet.
func (a *accounting) want(want ...said) {
	a.t.Helper()
	a.pass(10 * time.Second)
	if got := a.to.take(); !reflect.DeepEqual(got, want) {
		a.t.Errorf("got  %+v\nwant %+v", got, want)
	}
}

// pass lets time pass, which costs none here.
func (a *accounting) pass(d time.Duration) { sleep(a.t.Context(), d) }

// hold has the receiver lose that many answers from now on.
func (a *accounting) hold(answers int) {
	a.to.mu.Lock()
	defer a.to.mu.Unlock()
	a.to.broken = answers
}

// TestABatchAccountsForWhatItLeavesOut: also for what was moved over before it, without
// any record to send; but not for what was written under another epoch.
func TestABatchAccountsForWhatItLeavesOut(t *testing.T) {
	accountTo(t, func(a *accounting) {
		one := a.store.Epoch()
		a.put("unseen", "seen", "unseen")
		a.want(said{Epoch: one, First: 1, Next: 4, Offsets: []uint64{2}})
		a.put("unseen", "unseen")
		a.want()
		a.put("unseen")
		a.want()
		a.put("seen")
		a.want(said{Epoch: one, First: 4, Next: 8, Offsets: []uint64{7}})
		a.put("unseen")
		a.want()
		two := a.store.NewEpoch()
		a.put("unseen", "seen")
		a.want(said{Epoch: two, First: 9, Next: 11, Offsets: []uint64{10}})
	})
}

// TestABatchIsOfOneEpoch: records that wait together are told apart by who wrote them; and
// after an answer that was lost they are cut the same way again, though more has come.
func TestABatchIsOfOneEpoch(t *testing.T) {
	accountTo(t, func(a *accounting) {
		a.hold(1 << 20)
		one := a.store.Epoch()
		a.put("seen", "seen")
		a.pass(time.Second)
		a.put("seen")
		two := a.store.NewEpoch()
		a.put("seen", "unseen")
		a.pass(time.Minute)
		three := a.store.NewEpoch()
		a.put("seen", "seen")
		a.to.take()
		a.hold(0)
		a.pass(10 * time.Minute)
		a.want(said{Epoch: one, First: 1, Next: 3, Offsets: []uint64{1, 2}},
			said{Epoch: one, First: 3, Next: 4, Offsets: []uint64{3}},
			said{Epoch: two, First: 4, Next: 6, Offsets: []uint64{4}},
			said{Epoch: three, First: 6, Next: 8, Offsets: []uint64{6, 7}})
	})
}

// TestGoneIsToldWithWhatFollows: what retention has taken is of no epoch that anybody
// knows of, and is told with the records behind it.
func TestGoneIsToldWithWhatFollows(t *testing.T) {
	accountTo(t, func(a *accounting) {
		a.hold(1 << 20)
		a.put("seen", "seen", "seen")
		a.pass(2 * time.Hour)
		a.hold(0)
		a.pass(10 * time.Minute) // longer than it waits between two tries
		a.to.take()
		epoch := a.store.NewEpoch()
		a.put("unseen", "seen")
		a.want(said{Epoch: epoch, First: 1, Next: 6, Offsets: []uint64{5}, Gone: []forwarders.Gone{{From: 1, To: 4}}})
	})
}
