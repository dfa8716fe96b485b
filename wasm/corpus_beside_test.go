package wasm

import (
	"context"
	"math"
	"runtime/metrics"
	"slices"
	"testing"
	"time"

	"github.com/runnel-log/runnel/record"
)

// benign runs a module that does no harm over a batch, again and again until stop
// is closed, and returns how long each took.
func benign(tb testing.TB, m *Module, in *record.Batch, stop <-chan struct{}) (took []time.Duration) {
	tb.Helper()
	for {
		select {
		case <-stop:
			slices.Sort(took)
			return took
		default:
		}
		from := time.Now()
		var out Outcome
		if err := m.Process(context.Background(), in, &out); err != nil || out.Failed > 0 {
			tb.Errorf("%v, %d failed: %s", err, out.Failed, out.LastError)
			return took
		}
		out.release(in)
		took = append(took, time.Since(from))
	}
}

// stops returns the histogram of how long the world took to stop for the collector.
func stops() *metrics.Float64Histogram {
	s := []metrics.Sample{{Name: "/sched/pauses/stopping/gc:seconds"}}
	metrics.Read(s)
	return s[0].Value.Float64Histogram()
}

// stopsSince returns how many stops there were since, and how many took longer
// than a bound.
func stopsSince(before *metrics.Float64Histogram, bound time.Duration) (all, long uint64, longest time.Duration) {
	now := stops()
	for i, n := range now.Counts {
		if n -= before.Counts[i]; n == 0 {
			continue
		}
		all += n
		if to := now.Buckets[i+1]; to > bound.Seconds() && !math.IsInf(to, 1) {
			long += n
		}
		longest = time.Duration(now.Buckets[i] * 1e9)
	}
	return all, long, longest
}

// TestHostileModulesBesideOthers runs a module that does no harm while hostile ones
// run: every batch of it ends, and the collector is not held up. How much longer
// its batches take is only told, since whatever else this machine does is in it.
func TestHostileModulesBesideOthers(t *testing.T) {
	plain, _ := realRecords(t, 512)
	batches := batchesOf(t, plain, 256)
	m := load(t, Options{File: watGuest, KnownStream: known, Time: time.Second})
	during := func(f func()) []time.Duration {
		stop, took := make(chan struct{}), make(chan []time.Duration)
		go func() { took <- benign(t, m, batches[0], stop) }()
		f()
		close(stop)
		return <-took
	}
	at := func(took []time.Duration, share float64) time.Duration { return took[int(float64(len(took)-1)*share)] }
	alone := during(func() { // beside work that is none of ours
		for end := process() + 500*time.Millisecond; process() < end; {
		}
	})
	before := stops()
	beside := during(func() {
		for _, h := range hostiles(t) {
			if !h.endless || h.fate == "refused" {
				continue
			}
			tr := newTrial(t, h, Auto)
			if m := tr.load(t, tr.options(t)); m != nil {
				tr.calls(t, m, batches[1:])
				tr.close(t, m)
			}
		}
	})
	all, long, longest := stopsSince(before, 10*time.Millisecond)
	t.Logf("alone  %d batches: half within %v, 99%% within %v, all within %v", len(alone), at(alone, .5), at(alone, .99), at(alone, 1))
	t.Logf("beside %d batches: half within %v, 99%% within %v, all within %v", len(beside), at(beside, .5), at(beside, .99), at(beside, 1))
	t.Logf("p99 beside hostile modules is %.2f of that alone; the world took at most %v to stop, and more than 10ms %d of %d times", float64(at(beside, .99))/float64(at(alone, .99)), longest, long, all)
	// Other processes of a busy machine keep a thread from stopping too; a guest that
	// cannot be stopped would do so every time.
	if all == 0 || long*2 > all {
		t.Errorf("the world took more than 10ms to stop for the collector %d of %d times", long, all)
	}
}
