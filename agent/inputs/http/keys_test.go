package http

import (
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"runtime"
	"testing"
	"time"

	"github.com/VictoriaMetrics/metrics"

	"github.com/runnel-log/runnel/agent/inputs"
	"github.com/runnel-log/runnel/agent/inputs/inputtest"
)

func TestARepeatedRequestIsStoredOnce(t *testing.T) {
	r := start(t, "", inputtest.Setup{})
	f := func(code int, answer, body string, header ...string) {
		t.Helper()
		got, text := r.send(t, []byte(body), header...)
		if got != code || answer != "" && text != answer {
			t.Errorf("%q %q: got %d %s want %d %s", header, body, got, text, code, answer)
		}
	}
	const key = "Idempotency-Key: origin/3/app/1-2"
	f(200, "{\"accepted\":2}\n", "a\nb", key)
	f(200, "{\"accepted\":2}\n", "a\nb", key)
	f(422, "", "a\nc", key)
	f(422, "", "a\nb", key, ndjson[:len(ndjson)-len("x-ndjson")]+"syslog") // the same bytes mean something else
	f(200, "{\"accepted\":2}\n", string(pack(t, "gzip", []byte("a\nb"))), key, "Content-Encoding: gzip")
	f(200, "{\"accepted\":1}\n", "a", "Idempotency-Key: another")
	f(400, "", "{", "Idempotency-Key: third", ndjson)
	f(200, "{\"accepted\":1}\n", "{}", "Idempotency-Key: third", ndjson) // what is not stored has no answer to repeat
	if r.Sink.Len() != 4 {
		t.Errorf("%d records, want 4", r.Sink.Len())
	}
	if n := r.Count(`runnel_input_repeated_requests_total{input="in"}`); n != 2 {
		t.Errorf("%v repeated, want 2", n)
	}
	if n := r.Count(`runnel_input_keys{input="in"}`); n != 3 {
		t.Errorf("%v keys, want 3", n)
	}
}

// One under way is waited for: whoever asks again at once gets its answer.
func TestARequestUnderWayIsWaitedFor(t *testing.T) {
	r := start(t, "", inputtest.Setup{})
	release := r.Sink.Hold()
	const n = 8
	codes := make(chan string, n)
	for range n {
		go func() {
			code, text, err := r.try([]byte("a"), "Idempotency-Key: k")
			codes <- fmt.Sprint(code, text, err)
		}()
	}
	r.Sink.Wait(t, 1)
	release()
	for range n {
		if got, want := <-codes, "200{\"accepted\":1}\n<nil>"; got != want {
			t.Errorf("got %s want %s", got, want)
		}
	}
	if r.Sink.Len() != 1 {
		t.Errorf("%d records, want one", r.Sink.Len())
	}
}

func TestKeysOutliveARestartAndAReload(t *testing.T) {
	sink, memory := inputtest.NewSink(), new(inputs.Memory)
	body := func(i int) ([]byte, string) { return fmt.Appendf(nil, "%d", i), fmt.Sprintf("Idempotency-Key: k%d", i) }
	const n = 4*pageKeys + 7
	r := start(t, "", inputtest.Setup{Sink: sink, Memory: memory})
	for i := range n {
		b, key := body(i)
		if code, text := r.send(t, b, key); code != 200 {
			t.Fatalf("got %d %s", code, text)
		}
	}
	marks := 0
	sink.Marks(func(string, []byte) { marks++ })
	if marks >= n/2 {
		t.Errorf("%d marks for %d keys, want them put together", marks, n)
	}
	r.Input.Retire()
	next := start(t, "", inputtest.Setup{Sink: sink, Memory: memory}) // a reload
	r.Stop(t)
	again := start(t, "", inputtest.Setup{Sink: sink}) // a restart
	for _, r := range []*running{next, again} {
		for i := range n {
			b, key := body(i)
			if code, text := r.send(t, b, key); code != 200 {
				t.Errorf("again: got %d %s", code, text)
			}
		}
		if code, _ := r.send(t, []byte("other"), "Idempotency-Key: k0"); code != 422 {
			t.Errorf("another body: got %d, want 422", code)
		}
	}
	if sink.Len() != n {
		t.Errorf("%d records, want each of %d once", sink.Len(), n)
	}
}

func TestAStoreThatDoesNotAnswerStopsNewRequests(t *testing.T) {
	r := start(t, "", inputtest.Setup{Options: quick(func(o *times) { o.store = 50 * time.Millisecond })})
	release := r.Sink.Hold()
	defer release()
	if code, text := r.send(t, []byte("a"), "Idempotency-Key: k"); code != 503 {
		t.Errorf("got %d %s, want 503", code, text)
	}
	if code, text := r.send(t, []byte("b")); code != 503 || r.Sink.Len() != 1 {
		t.Errorf("meanwhile: got %d %s and %d records, want 503 and none more", code, text, r.Sink.Len())
	}
	release()
	r.Input.(*Input).fates.Wait()
	if code, text := r.send(t, []byte("a"), "Idempotency-Key: k"); code != 200 {
		t.Errorf("afterwards: got %d %s, want the answer of the first", code, text)
	}
	if code, text := r.send(t, []byte("b")); code != 200 || r.Sink.Len() != 2 {
		t.Errorf("afterwards: got %d %s and %d records, want 2", code, text, r.Sink.Len())
	}
}

// TestAKeyIsHeldUntilItsFateIsKnown: an input that gives up on the store leaves its
// keys under way to the one that a reload brings, which stores nothing of them again.
func TestAKeyIsHeldUntilItsFateIsKnown(t *testing.T) {
	const key = "Idempotency-Key: k"
	sink, memory := inputtest.NewSink(), new(inputs.Memory)
	first := start(t, "", inputtest.Setup{Sink: sink, Memory: memory})
	release := sink.Hold()
	defer release()
	told := make(chan int, 1) // its one value
	go func() {
		code, _, _ := first.try([]byte("a"), key)
		told <- code
	}()
	sink.Wait(t, 1)
	first.Stop(t)
	if code := <-told; code == 200 {
		t.Error("a body whose fate is unknown was answered with 200")
	}

	next := start(t, "", inputtest.Setup{Sink: sink, Memory: memory, Options: quick(func(o *times) { o.store = 50 * time.Millisecond })})
	if code, text := next.send(t, []byte("a"), key); code != 503 {
		t.Errorf("while it is under way: got %d %s, want 503", code, text)
	}
	release()
	memory.Settled()
	if code, text := next.send(t, []byte("a"), key); code != 200 || text != "{\"accepted\":1}\n" {
		t.Errorf("once it is stored: got %d %s, want the answer of the first", code, text)
	}
	if sink.Len() != 1 {
		t.Errorf("%d records are stored, want one", sink.Len())
	}
}

// fakeStore keeps marks as a store does whose commits may fail.
type fakeStore map[string][]byte

func (s fakeStore) commit(marks []inputs.Mark) {
	for _, m := range marks {
		if s[m.Key] = m.Value; m.Value == nil {
			delete(s, m.Key)
		}
	}
}

func (s fakeStore) marks(f func(string, []byte)) {
	for key, value := range s {
		f(key, value)
	}
}

func keyOfNumber(n int) (d digest) {
	binary.LittleEndian.PutUint64(d[:], uint64(n))
	return d
}

// TestKeysAgainstAModel: requests that succeed and fail, several at once, over
// days and restarts; what is remembered is what the last 24 hours saw, up to the bound.
func TestKeysAgainstAModel(t *testing.T) {
	for seed := range uint64(20) {
		r := rand.New(rand.NewPCG(seed, 1))
		now := time.Unix(1_800_000_000, 0)
		store, count := fakeStore{}, metrics.NewSet().NewCounter("early")
		const most = 3 * pageKeys
		fresh := func() *keys {
			k := newKeys(store.marks, most, func() time.Time { return now })
			k.evicted(count)
			return k
		}
		k := fresh()
		model := map[digest]answered{}
		var open []*claim
		for step := range 6000 {
			switch r.IntN(12) {
			case 0:
				now = now.Add(time.Duration(r.IntN(1800)) * time.Second)
			case 1:
				if r.IntN(40) == 0 { // the process dies: what is under way was not stored
					open, k = nil, fresh()
				}
			case 2, 3, 4:
				for len(open) > 3 || len(open) > 0 && r.IntN(2) == 0 {
					c := open[0]
					open = open[1:]
					stored := r.IntN(5) > 0
					if marks := c.marks(step); stored {
						store.commit(marks)
						model[c.entry.key] = c.entry.answered
					}
					c.settle(stored)
				}
			default:
				key, body := keyOfNumber(r.IntN(2000)), keyOfNumber(r.IntN(3))
				c, was, wait := k.claim(key, body)
				known, ok := model[key]
				ok = ok && !k.expired(known.at)
				switch {
				case was != nil && (!ok || *was != known):
					t.Fatalf("seed %d: %x was answered with %+v, the model has %+v", seed, key, *was, known)
				case c != nil && ok && count.Get() == 0:
					t.Fatalf("seed %d: %x is forgotten", seed, key)
				case c != nil:
					open = append(open, c)
				case wait != nil && len(open) == 0:
					t.Fatalf("seed %d: waiting for nobody", seed)
				}
			}
			if n := k.kept(); n > most+3*pageKeys {
				t.Fatalf("seed %d: %d keys are kept, want at most about %d", seed, n, most)
			}
		}
		for _, c := range open {
			c.settle(false)
		}
		if again := fresh(); !maps.Equal(live(again), live(k)) {
			t.Errorf("seed %d: after a restart %d keys are known, before it %d", seed, len(live(again)), len(live(k)))
		}
	}
}

func live(k *keys) map[digest]answered {
	all := maps.Clone(k.done)
	maps.DeleteFunc(all, func(_ digest, a answered) bool { return k.expired(a.at) })
	return all
}

func TestKeysAreForgottenAfterADayAndNotBefore(t *testing.T) {
	now := time.Unix(1_800_000_000, 0)
	store, count := fakeStore{}, metrics.NewSet().NewCounter("early")
	k := newKeys(store.marks, 1000, func() time.Time { return now })
	k.evicted(count)
	add := func(n int) {
		c, was, _ := k.claim(keyOfNumber(n), digest{})
		if c == nil {
			t.Fatalf("key %d is known: %+v", n, was)
		}
		store.commit(c.marks(1))
		c.settle(true)
	}
	for i := range 3 * pageKeys {
		add(i)
	}
	now = now.Add(keepKeys - time.Second)
	if c, _, _ := k.claim(keyOfNumber(0), digest{}); c != nil {
		t.Error("forgotten a second early")
	}
	now = now.Add(time.Second)
	add(0)
	for i := range 2 * pageKeys {
		add(10000 + i)
	}
	if c, _, _ := k.claim(keyOfNumber(0), digest{}); c != nil {
		t.Error("the second answer went with the first")
	}
	if n := k.kept(); n > 4*pageKeys+1 || count.Get() != 0 {
		t.Errorf("%d keys are kept and %d went early, want the old ones to go in time", n, count.Get())
	}
	k.most = 10
	for i := range 8 * pageKeys {
		add(20000 + i)
	}
	if count.Get() == 0 || k.kept() > 3*pageKeys {
		t.Errorf("%d keys are kept and %d went early, want the bound held and counted", k.kept(), count.Get())
	}
	// A clock that was set back neither keeps keys longer nor forgets them.
	now = now.Add(-30 * 24 * time.Hour)
	again := newKeys(store.marks, 1000, func() time.Time { return now })
	if len(live(again)) != len(live(k)) || again.clock() < k.base {
		t.Errorf("with the clock set back %d keys are known, want %d", len(live(again)), len(live(k)))
	}
}

func TestMarksOfAnotherBuildAreLeftAlone(t *testing.T) {
	store := fakeStore{"short": {1}, "12345678": {9, 1, 2}, "abcdefgh": {markVersion, 1, 2}, "": nil}
	if k := newKeys(store.marks, 10, time.Now); k.kept() != 0 || k.next != 1 {
		t.Errorf("%d keys were read from them", k.kept())
	}
}

// go test ./agent/inputs/http -run - -bench Keys -benchtime 1000000x
//
// B/key is what the input holds of a key; the store holds another 44 bytes of it.
// The time is no measure of the input's: the collector works on ever more.
func BenchmarkKeys(b *testing.B) {
	store := fakeStore{}
	k := newKeys(store.marks, maxKeys, time.Now)
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	held := make([]inputs.Mark, 0, 8)
	for i := range b.N {
		c, _, _ := k.claim(keyOfNumber(i), digest{})
		held = append(held[:0], c.marks(1)...)
		for _, m := range held {
			if m.Value == nil {
				delete(store, m.Key)
			} else {
				store[m.Key] = nil // its size is counted below
			}
		}
		c.settle(true)
	}
	b.StopTimer()
	marks := len(store)
	clear(store)
	runtime.GC()
	runtime.ReadMemStats(&after)
	b.ReportMetric(float64(int64(after.HeapAlloc)-int64(before.HeapAlloc))/float64(k.kept()), "B/key")
	b.ReportMetric(float64(marks)/float64(k.kept()), "marks/key")
	if k.kept() == 0 {
		b.Fatal(errors.New("nothing is kept"))
	}
}
