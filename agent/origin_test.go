package agent

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/runnel-log/runnel/agent/query"
)

// names are the origins that records were ever given, by message.
type names struct {
	t    *testing.T
	mu   sync.Mutex
	of   map[string]string // guarded by mu
	seen map[string]string // guarded by mu: the message by origin
	last map[string]bool   // guarded by mu: messages seen since clear
}

// give notes that somebody called the record of that message so.
func (n *names) give(who, message, origin string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if was := n.of[message]; origin == "" || was != "" && was != origin {
		n.t.Errorf("%s says that %q is %q, it was %q", who, message, origin, was)
	}
	if other := n.seen[origin]; other != "" && other != message {
		n.t.Errorf("%s says that %q is %q, as %q is", who, message, origin, other)
	}
	n.of[message], n.seen[origin], n.last[message] = origin, message, true
}

// originOf reads the origin of a record that is told as JSON.
func originOf(text string) string {
	_, rest, _ := strings.Cut(text, `"origin":"`)
	origin, _, _ := strings.Cut(rest, `"`)
	return origin
}

// passed waits until a forwarder's cursor is behind n records of a stream.
func (a *testAgent) passed(t *testing.T, forwarder, stream string, n int) {
	t.Helper()
	for until := time.Now().Add(patience); ; <-time.After(time.Millisecond) {
		if next, _ := a.store.Cursor(forwarder, stream); next > uint64(n) {
			return
		} else if time.Now().After(until) {
			t.Fatalf("forwarder %s is at %d of %s, and should have %d", forwarder, next, stream, n)
		}
	}
}

// TestOriginsStayTheSame: over restarts, in answers of the API, at receivers, in keys, in
// dead letters and when those are sent again, a record has the name that it got first; and no two have one.
func TestOriginsStayTheSame(t *testing.T) {
	n := &names{t: t, of: map[string]string{}, seen: map[string]string{}, last: map[string]bool{}}
	var mu sync.Mutex
	refuses, down := true, false // guarded by mu
	h := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
		body, err := io.ReadAll(q.Body)
		if err != nil {
			return
		}
		mu.Lock()
		defer mu.Unlock()
		message := messageOf(string(body))
		n.give("the body of a request", message, originOf(string(body)))
		if !strings.Contains(q.Header.Get("Idempotency-Key"), "/app.dead/") { // a letter's is that of its own place
			n.give("the key of a request", message, q.Header.Get("Idempotency-Key"))
		}
		switch {
		case down:
			w.WriteHeader(http.StatusServiceUnavailable)
		case refuses && strings.Contains(message, "bad"):
			w.WriteHeader(http.StatusUnprocessableEntity)
		}
	}))
	t.Cleanup(h.Close)
	config := fmt.Sprintf(`
inputs: {in: {type: syslog, listen: ["tcp://127.0.0.1:0"]}}
pipelines: {main: {from: [in], stream: app}}
forwarders: {hook: {type: webhook, from: [app], url: %q, body: single, batch: {wait: 1ms}}}
`, h.URL)
	dir := shortDir(t)
	const lives, each = 4, 3
	for life := range lives {
		mu.Lock()
		down = life == 1 // what came then goes out in the run after it
		mu.Unlock()
		a := startAgent(t, dir, config, nil)
		c := a.dial(t, "in", 0)
		for i := range each {
			kind := "good"
			if i == 1 {
				kind = "bad"
			}
			write(t, c, line("%s %d of run %d", kind, i, life))
		}
		a.stored(t, "app", each*(life+1))
		if life != 1 {
			a.passed(t, "hook", "app", each*(life+1))
		}
		for text := range strings.Lines(askIn(t, dir, "/api/v1/query?limit=1000")) {
			n.give("a query", messageOf(text), originOf(text))
		}
		a.stop(t)
	}
	mu.Lock()
	refuses = false
	mu.Unlock()
	a := startAgent(t, dir, config, nil)
	n.mu.Lock()
	clear(n.last)
	n.mu.Unlock()
	if got := a.redriveNow(t, query.Redrive{Stream: "app"}); got.Records != lives {
		t.Errorf("%d dead letters go again, want %d", got.Records, lives)
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	if len(n.of) != lives*each || len(n.last) != lives {
		t.Errorf("%d records have names, %d were sent again; want %d and %d", len(n.of), len(n.last), lives*each, lives)
	}
	epochs := map[string]bool{}
	for origin := range n.seen {
		parts := strings.Split(origin, "/")
		epochs[parts[1]] = true
	}
	if len(epochs) != lives {
		t.Errorf("epochs %v, want one for each of %d runs", epochs, lives)
	}
}
