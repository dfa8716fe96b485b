package agent

import (
	"context"
	"errors"
	"math"
	"math/rand/v2"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/VictoriaMetrics/metrics"
	"github.com/rs/zerolog"

	"github.com/runnel-log/runnel/record"
	"github.com/runnel-log/runnel/storage"
)

// TestOutlookAgainstAModel: what a backlog that grows in a known way makes of the limits.
func TestOutlookAgainstAModel(t *testing.T) {
	const mib = 1 << 20
	type world struct {
		policy storage.Policy
		limit  int64 // of all segments
		at     func(since time.Duration) storage.Backlog
	}
	noisy := rand.New(rand.NewPCG(1, 2))
	grows := func(bytesPerSecond float64, noise float64) func(time.Duration) storage.Backlog {
		return func(since time.Duration) storage.Backlog {
			n := int64(bytesPerSecond*since.Seconds() + noise*noisy.Float64())
			return storage.Backlog{Records: 1, Bytes: n, Stream: n + 100*mib, Held: n + 10*mib, Age: since}
		}
	}
	f := func(name string, w world, after time.Duration, want int, in time.Duration, by, then string) {
		t.Helper()
		var o outlook
		begin := time.Now()
		for since := time.Duration(0); since <= after; since += rateEvery {
			b := w.at(since)
			if b.Policy, b.Limit = w.policy, w.limit; w.limit == 0 {
				b.Limit = math.MaxInt64
			}
			o.add(begin.Add(since), b)
		}
		got, is := o.ahead(900 * mib)
		if is != want || is == outlookFull && (got.by != by || got.then != then || math.Abs((got.in-in).Seconds()) > 0.05*in.Seconds()+1) {
			t.Errorf("%s: got %d, %+v; want %d, %s by %s, then %s", name, is, got, want, in, by, then)
		}
	}
	oldest := storage.Policy{MaxSize: 360 * mib}
	aged := storage.Policy{MaxSize: 360 * mib, MaxAge: 10 * time.Minute}
	push := storage.Policy{MaxSize: 360 * mib, MaxAge: time.Minute, OnFull: storage.PushBack}
	drops := storage.Policy{MaxSize: 200 * mib, OnFull: storage.DropNew}
	f("not behind", world{oldest, 0, func(time.Duration) storage.Backlog {
		return storage.Backlog{Records: 9, Bytes: mib, Age: 2 * time.Second}
	}}, time.Hour, outlookNone, 0, "", "")
	f("behind for a moment", world{oldest, 0, grows(mib, 0)}, 50*time.Second, outlookMeasuring, 0, "", "")
	f("behind for a minute", world{oldest, 0, grows(mib, 0)}, time.Minute, outlookFull, 5*time.Minute, "max_size", thenExpire)
	f("in bursts", world{oldest, 0, grows(mib, 8*mib)}, 4*time.Minute, outlookFull, 2*time.Minute, "max_size", thenExpire)
	f("slowly", world{oldest, 0, grows(2048, 0)}, 5*time.Minute, outlookFull, time.Duration(360*512)*time.Second-5*time.Minute, "max_size", thenExpire)
	f("by age first", world{aged, 0, grows(1000, 0)}, 4*time.Minute, outlookFull, 6*time.Minute, "max_age", thenExpire)
	f("age takes nothing that is pinned", world{push, 0, grows(mib, 0)}, 2*time.Minute, outlookFull, 4*time.Minute, "max_size", thenPushBack)
	f("the whole stream counts where the new is dropped", world{drops, 0, grows(mib/2, 0)}, 100*time.Second, outlookFull, 100*time.Second, "max_size", thenDropNew)
	f("all together", world{storage.Policy{}, 810 * mib, grows(mib, 0)}, 200*time.Second, outlookFull, 600*time.Second, "agent.max_size", thenExpire)
	f("the disk", world{storage.Policy{}, 310 * mib, grows(mib, 0)}, 200*time.Second, outlookFull, 100*time.Second, "disk", thenExpire)
	f("it is full", world{oldest, 0, grows(3*mib, 0)}, 3*time.Minute, outlookFull, 0, "max_size", thenExpire)
	takesNone := func(oldest bool) func(time.Duration) storage.Backlog {
		return func(since time.Duration) storage.Backlog {
			return storage.Backlog{Records: 1, Bytes: 355 * mib, Stream: 360*mib + 1, Age: since, Oldest: oldest}
		}
	}
	f("it takes no more", world{push, 0, takesNone(true)}, 0, outlookFull, 0, "max_size", thenPushBack)
	f("it takes no more for a while", world{push, 0, takesNone(true)}, 2*time.Minute, outlookFull, 0, "max_size", thenPushBack)
	f("it takes no more, for another forwarder", world{push, 0, takesNone(false)}, 10*time.Second, outlookNone, 0, "", "")
	f("it takes nothing new", world{storage.Policy{MaxSize: 360 * mib, OnFull: storage.DropNew}, 0, takesNone(false)}, 0, outlookFull, 0, "max_size", thenDropNew)
	f("it gives way", world{storage.Policy{MaxSize: 360 * mib}, 0, takesNone(true)}, 10*time.Second, outlookNone, 0, "", "")
	f("all of it is full", world{storage.Policy{}, mib, grows(0, 0)}, behindFrom, outlookFull, 0, "disk", thenExpire)
	f("it shrinks", world{oldest, 0, func(since time.Duration) storage.Backlog {
		return storage.Backlog{Records: 1, Bytes: 300*mib - int64(since.Seconds())*mib, Held: 310 * mib, Age: time.Hour}
	}}, 4*time.Minute, outlookNone, 0, "", "")
	f("it caught up, and falls back once more", world{oldest, 0, func(since time.Duration) storage.Backlog {
		if since < 10*time.Minute {
			return storage.Backlog{Records: 1, Bytes: 5 * mib, Age: time.Second}
		}
		return grows(mib, 0)(since - 10*time.Minute)
	}}, 12*time.Minute, outlookFull, 4*time.Minute, "max_size", thenExpire)
}

// TestOutlookComesTrue: a destination is down, and the store does what was
// foretold when it was foretold, give or take.
func TestOutlookComesTrue(t *testing.T) {
	metrics.NewSet().NewSummary("first") // starts its package's own goroutine, which must not be in a bubble
	f := func(name string, o storage.Options, by, then string) {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { comesTrue(t, o, by, then) })
		})
	}
	policy := func(p storage.Policy) func(string) storage.Policy { return func(string) storage.Policy { return p } }
	f("max_size", storage.Options{Policy: policy(storage.Policy{MaxSize: 2 << 20})}, "max_size", thenExpire)
	f("max_age", storage.Options{Policy: policy(storage.Policy{MaxSize: 1 << 30, MaxAge: 10 * time.Minute})}, "max_age", thenExpire)
	f("push_back", storage.Options{Policy: policy(storage.Policy{MaxSize: 2 << 20, OnFull: storage.PushBack})}, "max_size", thenPushBack)
	f("drop_new", storage.Options{Policy: policy(storage.Policy{MaxSize: 2 << 20, OnFull: storage.DropNew})}, "max_size", thenDropNew)
	f("agent.max_size", storage.Options{MaxSize: 8 << 20, SegmentSize: 512 << 10}, "agent.max_size", thenExpire)
}

func comesTrue(t *testing.T, o storage.Options, by, then string) {
	o.Dir, o.Log = t.TempDir(), zerolog.Nop()
	store, err := storage.Open(o)
	if err != nil {
		t.Fatal(err)
	}
	defer store.Close()
	f := newTaker()
	f.stuck = true
	d := newDelivery(ForwarderConfig{Name: "out", From: []string{"app"}}, f, store, newDeliveryCounts(metrics.NewSet(), "out"), newEvents(zerolog.Nop()))
	d.maxSize = o.MaxSize
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	wg.Go(func() { d.Run(ctx, t.Context()) }) //nolint:errcheck // always nil
	defer wg.Wait()
	defer cancel()
	noise := make([]byte, 20<<10) // 4 KiB a second, and they do not compress
	r := rand.New(rand.NewPCG(3, 4))
	begun, foretold := time.Now(), time.Duration(0)
	for since := time.Duration(0); since < time.Hour; since = time.Since(begun) {
		for i := range noise {
			noise[i] = byte(r.Uint32())
		}
		b := record.NewBatch()
		if err := b.Append(&record.Record{Received: time.Now().UnixNano(), Message: noise}); err != nil {
			t.Fatal(err)
		}
		_, err := store.Append(ctx, storage.Unit{Batches: []storage.StreamBatch{{Stream: "app", Records: b}}})
		in := store.Streams()
		if errors.Is(err, storage.ErrFull) || len(in) > 0 && (in[0].Expired > 0 || in[0].Dropped > 0) {
			if foretold == 0 || math.Abs((since-foretold).Seconds()) > 0.15*foretold.Seconds()+10 {
				t.Errorf("it was full after %s, and foretold for %s", since, foretold)
			}
			return
		}
		sleep(ctx, rateEvery)
		d.look(time.Now())
		if f, is := d.counts.of("app").outlook.ahead(d.maxSize); foretold == 0 && since > 2*time.Minute {
			if is != outlookFull || f.by != by || f.then != then {
				t.Fatalf("after %s: got %d, %+v; want one by %s, then %s", since, is, f, by, then)
			}
			foretold = since + f.in
		}
	}
	t.Error("it was never full")
}

// TestAFullStreamIsSaidToBeFullAtOnce: from the first look on, to those for whom it is.
func TestAFullStreamIsSaidToBeFullAtOnce(t *testing.T) {
	store, err := storage.Open(storage.Options{Dir: t.TempDir(), Log: zerolog.Nop(), Policy: func(string) storage.Policy {
		return storage.Policy{MaxSize: 64 << 10, OnFull: storage.PushBack}
	}})
	if err != nil {
		t.Fatal(err)
	}
	defer store.Close()
	store.MoveCursor("out", "app", 1)
	noise := make([]byte, 20<<10)
	r := rand.New(rand.NewPCG(5, 6))
	for err == nil {
		for i := range noise {
			noise[i] = byte(r.Uint32())
		}
		b := record.NewBatch()
		if err := b.Append(&record.Record{Received: time.Now().UnixNano(), Message: noise}); err != nil {
			t.Fatal(err)
		}
		receipt, refused := store.Append(t.Context(), storage.Unit{Batches: []storage.StreamBatch{{Stream: "app", Records: b}}, Hurry: true})
		if err = refused; err == nil {
			<-receipt.Done()
		}
	}
	if !errors.Is(err, storage.ErrFull) {
		t.Fatalf("got %v, want that it is full", err)
	}
	f := func(at uint64, want int) {
		t.Helper()
		var o outlook
		o.add(time.Now(), store.Backlog("app", at))
		if got, is := o.ahead(0); is != want || is == outlookFull && got != (forecast{0, "max_size", thenPushBack}) {
			t.Errorf("a forwarder at %d: got %d, %+v; want %d", at, is, got, want)
		}
	}
	f(1, outlookFull)
	f(store.Streams()[0].Next-1, outlookNone)
	f(store.Streams()[0].Next, outlookNone)
}
