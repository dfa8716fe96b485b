package agent

import (
	"context"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/VictoriaMetrics/metrics"
	"github.com/rs/zerolog"

	"github.com/runnel-log/runnel/forwarders"
	"github.com/runnel-log/runnel/storage"
)

// crawler is a receiver that takes one record a second, and no other kind of batch.
type crawler struct{ *taker }

func (f crawler) Batching() forwarders.Batching { return forwarders.Batching{Records: 1} }

func (f crawler) Deliver(ctx context.Context, b *forwarders.Batch) (forwarders.Ack, error) {
	_, err := f.taker.Deliver(ctx, b)
	return lateAck{time.Second, b.Records.Len()}, err
}

// TestASlowConsumerHoldsUpNobody: how far another forwarder is behind, at the
// worst, is the same whether or not there is one that takes a record a second.
func TestASlowConsumerHoldsUpNobody(t *testing.T) {
	metrics.NewSet().NewSummary("first") // starts its package's own goroutine, which must not be in a bubble
	const records, perSecond = 3000, 100
	run := func(slow bool) (worst time.Duration) {
		synctest.Test(t, func(t *testing.T) {
			store, err := storage.Open(storage.Options{Dir: t.TempDir(), Log: zerolog.Nop()})
			if err != nil {
				t.Fatal(err)
			}
			defer store.Close()
			ctx, cancel := context.WithCancel(t.Context())
			var wg sync.WaitGroup
			defer wg.Wait()
			defer cancel()
			begin := func(name string, f forwarders.Forwarder) {
				d := newDelivery(ForwarderConfig{Name: name, From: []string{"app"}}, f, store, newDeliveryCounts(metrics.NewSet(), name), newEvents(zerolog.Nop()))
				wg.Go(func() { d.Run(ctx, t.Context()) }) //nolint:errcheck // always nil
			}
			fast, crawls := newTaker(), newTaker()
			begin("fast", fast)
			if slow {
				begin("slow", crawler{crawls})
			}
			arrived := func(f *taker) int {
				f.mu.Lock()
				defer f.mu.Unlock()
				return len(f.messages)
			}
			behind := time.Duration(0)
			for n := 0; n < records; n += perSecond / 10 {
				appendMessages(t, store, "app", numbered(n, n+perSecond/10)...)
				sent := time.Now()
				for arrived(fast) < n+perSecond/10 {
					sleep(ctx, time.Millisecond)
					if behind = time.Since(sent); behind > time.Minute {
						t.Fatalf("%d of %d records arrived", arrived(fast), n+perSecond/10)
					}
				}
				worst = max(worst, behind)
				sleep(ctx, 100*time.Millisecond)
			}
			checkMessages(t, fast.waitFor(t, records), numbered(0, records))
			if got := arrived(crawls); slow && (got < 20 || got > records/10) {
				t.Errorf("the slow one was offered %d records, so it was not slow, or stood still", got)
			}
		})
		return worst
	}
	alone := run(false)
	if beside := run(true); beside > alone+alone/10+time.Millisecond {
		t.Errorf("behind by %s beside a slow one, and by %s alone", beside, alone)
	}
}
