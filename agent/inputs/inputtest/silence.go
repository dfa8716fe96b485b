package inputtest

import (
	"net"
	"runtime"
	"testing"
	"time"

	"github.com/runnel-log/runnel/agent/inputs"
)

const (
	busy = 10 // connections that go on
	// each is the bytes that a silent one may cost: 40 KiB of the input's, and 8
	// of its client's, which is in this process.
	each = 48 << 10 * memoryFactor
)

// silence has many connections fall silent beside a few that go on: none is
// large, nobody waits, and when they close all is given back (faults.md row 34).
func silence(t *testing.T, kind inputs.Kind, say Say, address string) {
	dir, text := Dir(t, section([]string{address})+"max_connections: 20000\n")
	r := Start(t, kind, dir, text, Setup{Sink: NewCounter()})
	warm := Dial(t, r.URL(0), dir) // what the first connection makes for all is none of theirs
	if err := say(t, warm, "warm"); err != nil {
		t.Fatal(err)
	}
	r.Sink.Wait(t, 1)
	before, threads := heap(), runtime.NumGoroutine()
	conns := make([]net.Conn, silent)
	for i := range conns {
		conns[i] = Dial(t, r.URL(0), dir)
		if err := say(t, conns[i], "and then nothing"); err != nil {
			t.Fatal(err)
		}
	}
	r.Sink.Wait(t, 1+silent)
	if cost := (heap() - before) / silent; cost > each {
		t.Errorf("a silent connection takes %d bytes, want at most %d", cost, each)
	} else {
		t.Logf("a silent connection takes %d bytes, its client's side included", cost)
	}
	for range busy {
		c := Dial(t, r.URL(0), dir)
		for range busy {
			if err := say(t, c, "busy"); err != nil {
				t.Fatal(err)
			}
		}
		c.Close()
	}
	r.Sink.Wait(t, 1+silent+busy*busy)
	for i := range conns {
		conns[i].Close()
		conns[i] = nil
	}
	gone := func() bool { return r.Input.Status()[0].Connections <= 1 && runtime.NumGoroutine() <= threads+5 }
	for until := time.Now().Add(Patience); !gone(); <-time.After(time.Millisecond) {
		if time.Now().After(until) {
			t.Fatalf("%d connections and %d goroutines are left, of %d", r.Input.Status()[0].Connections, runtime.NumGoroutine(), threads)
		}
	}
	// 2 % of what they had, and what the runtime does not give back at once.
	if left := heap() - before; left > silent*each/50+2<<20 {
		t.Errorf("%d bytes are left when all have gone", left)
	}
}

// heap returns the bytes that live objects and stacks take.
func heap() int64 {
	runtime.GC()
	runtime.GC() // the second empties the pools
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc + m.StackInuse)
}
