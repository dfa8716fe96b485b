package agent

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/runnel-log/runnel/record"
)

// hook is a webhook's receiver, which answers only when it is told to.
type hook struct {
	*httptest.Server
	mu sync.Mutex
	// guarded by mu:
	answers  bool
	messages []string
	asked    chan struct{} // closed at the first request
	once     sync.Once
}

func newHook(t *testing.T) *hook {
	h := &hook{asked: make(chan struct{})}
	h.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h.once.Do(func() { close(h.asked) })
		body, err := io.ReadAll(r.Body)
		if err != nil {
			return
		}
		h.mu.Lock()
		answers := h.answers
		h.mu.Unlock()
		if !answers {
			<-r.Context().Done()
			return
		}
		h.mu.Lock()
		defer h.mu.Unlock()
		for s := range strings.Lines(string(body)) {
			h.messages = append(h.messages, messageOf(s))
		}
	}))
	t.Cleanup(h.Close)
	return h
}

// messageOf takes the message out of a record as JSON.
func messageOf(line string) string {
	_, rest, _ := strings.Cut(line, `"message":"`)
	message, _, _ := strings.Cut(rest, `"`)
	return message
}

func (h *hook) got() []string {
	h.mu.Lock()
	defer h.mu.Unlock()
	return slices.Clone(h.messages)
}

// receiver is a syslog receiver, which reads only when it is told to.
type receiver struct {
	net.Listener
	reads chan struct{} // closed when it begins to read

	mu       sync.Mutex
	messages []string // guarded by mu
}

func newReceiver(t *testing.T) *receiver {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	r := &receiver{Listener: l, reads: make(chan struct{})}
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			wg.Go(func() {
				defer c.Close()
				<-r.reads
				for s := bufio.NewScanner(c); s.Scan(); {
					fields := strings.SplitN(s.Text(), " ", 8)
					r.mu.Lock()
					r.messages = append(r.messages, fields[len(fields)-1])
					r.mu.Unlock()
				}
			})
		}
	})
	t.Cleanup(func() { l.Close(); wg.Wait() })
	return r
}

func (r *receiver) got() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.messages)
}

// distinct returns messages without those that came before already.
func distinct(messages []string) (first []string) {
	seen := map[string]bool{}
	for _, m := range messages {
		if !seen[m] {
			first = append(first, m)
		}
		seen[m] = true
	}
	return first
}

func TestStopWithEveryDestinationDown(t *testing.T) {
	h, never := newHook(t), newReceiver(t)
	closed, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	closed.Close()
	text := fmt.Sprintf(`
inputs: {in: {type: syslog, listen: ["tcp://127.0.0.1:0", "unix://DIR/in.sock"]}}
pipelines: {main: {from: [in], stream: app}}
forwarders:
  hook: {type: webhook, from: [app], url: %q, batch: {records: 100, wait: 1ms}}
  full: {type: syslog, from: [app], to: "tcp://%s"}
  none: {type: syslog, from: [app], to: "tcp://%s"}
`, h.URL, never.Addr(), closed.Addr())
	dir := shortDir(t)
	a := startAgent(t, dir, text, nil)
	const conns, lines = 8, 4000 // more than a socket's buffers hold
	pad := strings.Repeat("x", 500)
	var want []string
	for i := range conns {
		c := a.dial(t, "in", i%2)
		if i >= 6 {
			continue // connected, and silent
		}
		var b strings.Builder
		for n := range lines {
			message := fmt.Sprintf("%d-%d-%s", i, n, pad)
			want = append(want, message)
			b.WriteString(line("%s", message))
		}
		write(t, c, b.String()) // and stays open
	}
	a.stored(t, "app", len(want))
	select { // the webhook has a request, which it does not answer
	case <-h.asked:
	case <-time.After(patience):
		t.Fatal("the webhook was not asked")
	}
	if took := a.stop(t); took > 5*time.Second {
		t.Errorf("the stop took %s", took)
	} else {
		t.Logf("the stop took %s", took)
	}
	h.mu.Lock()
	h.answers = true
	h.mu.Unlock()
	close(never.reads)
	h.CloseClientConnections()

	back := startAgent(t, dir, text, nil)
	waitUntil(t, "everything to be delivered", func() bool {
		return len(h.got()) >= len(want) && len(distinct(never.got())) >= len(want)
	})
	slices.Sort(want)
	arrived := h.got()
	slices.Sort(arrived)
	if !slices.Equal(arrived, want) {
		t.Errorf("the webhook acknowledged %d messages, want each of %d once", len(arrived), len(want))
	}
	if got := len(never.got()) - len(want); got != 0 {
		t.Logf("the receiver that did not read got %d messages twice: its kernel had not acknowledged them", got)
	}
	if got := back.status(); got.Forwarders[2].State != "retrying" || got.Forwarders[2].Streams[0].LagRecords != uint64(len(want)) {
		t.Errorf("the forwarder to nobody: %+v", got.Forwarders[2])
	}
	back.stop(t)
	h.CloseClientConnections()
	store := openedAfter(t, dir)
	stored := texts(t, store, "app")
	slices.Sort(stored)
	if !slices.Equal(stored, want) {
		t.Errorf("%d messages are stored, want each of %d once", len(stored), len(want))
	}
}

// TestStopDuringAReload: the reload waits for a forwarder that does not come
// back, and the stop is bounded all the same.
func TestStopDuringAReload(t *testing.T) {
	h := newHook(t)
	text := func(n int) string {
		return fmt.Sprintf(`
inputs: {in: {type: syslog, listen: ["tcp://127.0.0.1:0"]}}
forwarders: {hook: {type: webhook, from: [default], url: %q, batch: {records: %d, wait: 1ms}}}
`, h.URL, n)
	}
	a := startAgent(t, shortDir(t), text(100), nil)
	write(t, a.dial(t, "in", 0), line("one"))
	select {
	case <-h.asked:
	case <-time.After(patience):
		t.Fatal("the webhook was not asked")
	}
	done := make(chan error, 1)
	go func() { done <- a.reload(text(200)) }()
	waitUntil(t, "the reload to have begun", func() bool { return len(a.status().Forwarders) == 0 })
	if took := a.stop(t); took > 5*time.Second {
		t.Errorf("the stop took %s", took)
	}
	if err := <-done; err != nil {
		t.Errorf("the reload: %v", err)
	}
	if got := texts(t, openedAfter(t, a.dir), "default"); !slices.Equal(got, []string{"one"}) {
		t.Errorf("stored %q", got)
	}
}

// TestStoppedAgentKeepsWhatWasRead: what a sender had begun to write is kept
// as well.
func TestStoppedAgentKeepsWhatWasRead(t *testing.T) {
	a := startAgent(t, shortDir(t), "inputs: {in: {type: syslog, listen: ['unix://DIR/in.sock']}}\n", nil)
	c := a.dial(t, "in", 0)
	write(t, c, line("whole")+"<14>1 - vm app - - - half")
	a.stored(t, "default", 1)
	a.stop(t)
	var got []string
	messages(t, openedAfter(t, a.dir), "default", func(_ uint64, v record.View) { got = append(got, string(v.Message())) })
	if !slices.Equal(got, []string{"whole", "half"}) {
		t.Errorf("stored %q, want the whole line and the half one", got)
	}
}

// TestStopsDuringAnOutage: an agent is stopped again and again while every
// destination is down, in each way that there is. Each stop ends in time and loses
// nothing; and when they are back everything arrives, in order, once.
func TestStopsDuringAnOutage(t *testing.T) {
	stops, lines := often(5, 100), 300
	h, to := newHook(t), newTarget(t)
	text := fmt.Sprintf(`
inputs: {in: {type: syslog, listen: ["tcp://127.0.0.1:0"]}}
pipelines: {main: {from: [in], stream: app}}
forwarders:
  hook: {type: webhook, from: [app], url: %q, batch: {records: 100, wait: 1ms}}
  far: {type: syslog, from: [app], to: "tcp://%s"}
  lost: {type: syslog, from: [app], to: "tcp://nowhere.invalid:514"}
`, h.URL, to.address)
	dir, sent, slowest := shortDir(t), 0, time.Duration(0)
	var want []string
	for range stops {
		a := startAgent(t, dir, text, nil)
		c := a.dial(t, "in", 0)
		var b strings.Builder
		for range lines {
			want = append(want, fmt.Sprint(sent))
			b.WriteString(line("%d", sent))
			sent++
		}
		write(t, c, b.String())
		a.stored(t, "app", sent)
		took := a.stop(t)
		if slowest = max(slowest, took); took > 5*time.Second {
			t.Errorf("a stop took %s", took)
		}
	}
	h.mu.Lock()
	h.answers = true
	h.mu.Unlock()
	h.CloseClientConnections()
	to.up(t)
	a := startAgent(t, dir, text, nil)
	to.reaches(t, sent)
	to.inOrder(t)
	waitUntil(t, "the webhook to have everything", func() bool { return len(h.got()) >= sent })
	checkMessages(t, h.got(), want)
	if to.arrived.Load() != int64(sent) {
		t.Errorf("%d arrived over syslog, want %d", to.arrived.Load(), sent)
	}
	if f := a.status().Forwarders[2]; f.State != "retrying" || !strings.Contains(f.LastError, "nowhere.invalid") {
		t.Errorf("the forwarder to a name that does not exist: %+v", f)
	}
	t.Logf("%d stops, the slowest took %s", stops, slowest)
}
