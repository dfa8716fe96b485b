package agent

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/runnel-log/runnel/record"
	"github.com/runnel-log/runnel/storage"
)

// postTo sends one body and returns the status; 0 if there was no answer.
func postTo(client *http.Client, address, key string, body []byte) (code int, text string) {
	q, err := http.NewRequest(http.MethodPost, "http://"+address+"/", bytes.NewReader(body))
	if err != nil {
		return 0, err.Error()
	}
	q.Header.Set("Content-Type", "application/x-ndjson")
	if key != "" {
		q.Header.Set("Idempotency-Key", key)
	}
	answer, err := client.Do(q)
	if err != nil {
		return 0, err.Error()
	}
	defer answer.Body.Close()
	b, err := io.ReadAll(answer.Body)
	if err != nil {
		return 0, err.Error()
	}
	return answer.StatusCode, string(b)
}

// posters are senders that number what they send, each with one body under way,
// and repeat it under its key until it is acknowledged.
type posters struct {
	address atomic.Pointer[string]
	acked   atomic.Int64
	stop    atomic.Bool
	bodies  []int // acknowledged, by sender; the last one of each is its own to write
}

// bodyOf is body n of a sender. Its records count through the module's state.
func bodyOf(sender, n int) (body []byte, records int) {
	records = 1 + (sender*31+n*7)%40
	for i := range records {
		body = fmt.Appendf(body, `{"host":"s%d","app":"%d","procid":"%d","message":"count n"}`+"\n", sender, n, i)
	}
	return body, records
}

func (o *posters) runSender(t *testing.T, sender int, acks chan<- struct{}) {
	client := &http.Client{Transport: &http.Transport{}, Timeout: patience}
	defer client.CloseIdleConnections()
	for n := o.bodies[sender]; !o.stop.Load(); {
		body, records := bodyOf(sender, n)
		code, text := postTo(client, *o.address.Load(), fmt.Sprintf("%d/%d", sender, n), body)
		switch code {
		case 200:
			if want := fmt.Sprintf("{\"accepted\":%d}\n", records); text != want {
				t.Errorf("sender %d, body %d: got %s want %s", sender, n, text, want)
			}
			n++
			o.bodies[sender] = n
			o.acked.Add(1)
			select {
			case acks <- struct{}{}:
			default:
			}
		case 0, 503: // it was killed, or is full: again, under the same key
		default:
			t.Errorf("sender %d, body %d: got %d %s", sender, n, code, text)
			return
		}
	}
}

// TestKilledAgentTakesEachBodyOnce: kill -9 under load, again and again. What was
// answered with 200 is there, each body is there whole and once however often it
// was sent, and the module's state moved with it: it has counted every record once.
func TestKilledAgentTakesEachBodyOnce(t *testing.T) {
	kills := often(10, 200)
	dir := childDirectory(t, fmt.Sprintf(`
inputs: {in: {type: http, listen: "127.0.0.1:0"}}
modules: {m: {%s}}
pipelines: {main: {from: [in], stream: app, steps: [{module: m}]}}
`, conformance(t)))
	o := &posters{bodies: make([]int, 3)}
	acks := make(chan struct{}, 1) // one stands for any number
	var wg sync.WaitGroup
	for k := range kills {
		end := httpChild(t, dir, o)
		if k == 0 {
			for sender := range o.bodies {
				wg.Go(func() { o.runSender(t, sender, acks) })
			}
		}
		for range 1 + rand.IntN(8) {
			select {
			case <-acks:
			case <-time.After(patience):
				t.Fatalf("kill %d: no body was acknowledged", k)
			}
		}
		if k == kills-1 {
			o.stop.Store(true)
			wg.Wait()
		}
		end()
	}
	checkBodies(t, openedAfter(t, dir), o.bodies)
	t.Logf("%d bodies acknowledged over %d kills", o.acked.Load(), kills)
}

// httpChild starts an agent in dir and says where it is; end kills it.
func httpChild(t *testing.T, dir string, o *posters) (end func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	cmd := exec.CommandContext(ctx, os.Args[0])
	cmd.Env = append(os.Environ(), childDir+"="+dir)
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewScanner(out)
	if !lines.Scan() || !strings.HasPrefix(lines.Text(), "listening tcp://") {
		t.Fatalf("the child said %q", lines.Text())
	}
	address := strings.TrimPrefix(lines.Text(), "listening tcp://")
	o.address.Store(&address)
	read := make(chan struct{})
	go func() {
		defer close(read)
		for lines.Scan() { //nolint:revive // or it would block on its output
		}
	}()
	return func() {
		cancel() // SIGKILL
		<-read
		cmd.Wait() //nolint:errcheck // it was killed
	}
}

// isCounted reports whether the module has counted the record as the nth.
func isCounted(v record.View, n int64) bool {
	attrs := v.Attrs()
	value, ok := attrs.Get("n")
	return ok && value.Kind == record.Int && value.Int() == n
}

// isTick reports whether the guest has made the record of nothing but the time:
// it does so once a second.
func isTick(v record.View) bool { return string(v.Message()) == "tick" }

// checkBodies holds the store against what the senders know to be there.
func checkBodies(t *testing.T, s *storage.Store, bodies []int) {
	t.Helper()
	next := make([]struct{ body, record int }, len(bodies))
	counted := int64(0)
	messages(t, s, "app", func(offset uint64, v record.View) {
		var sender, n, i int
		if isTick(v) {
			return
		}
		if _, err := fmt.Sscanf(fmt.Sprintf("%s %s %s", v.Host(), v.App(), v.ProcID()), "s%d %d %d", &sender, &n, &i); err != nil {
			t.Fatalf("offset %d: %v: %s", offset, err, record.AppendJSON(nil, v, record.Meta{}))
		}
		at := &next[sender]
		if n != at.body || i != at.record {
			t.Fatalf("offset %d: sender %d, body %d, record %d; want body %d, record %d", offset, sender, n, i, at.body, at.record)
		}
		if _, records := bodyOf(sender, n); i == records-1 {
			at.body, at.record = n+1, 0
		} else {
			at.record++
		}
		counted++
		if !isCounted(v, counted) {
			t.Fatalf("offset %d: the module has not counted it as %d", offset, counted)
		}
	})
	for sender, at := range next {
		if at.body != bodies[sender] || at.record != 0 {
			t.Errorf("sender %d: %d bodies and %d records are there, %d bodies were acknowledged", sender, at.body, at.record, bodies[sender])
		}
	}
}

// TestMarksAreCommittedWhereEverythingIsDropped: what was answered once is
// answered so again after a restart, also where the pipeline kept nothing of it.
func TestMarksAreCommittedWhereEverythingIsDropped(t *testing.T) {
	const config = `
inputs: {in: {type: http, listen: "127.0.0.1:0"}}
pipelines: {main: {from: [in], stream: app, steps: [{drop: 'true'}]}}
`
	dir := shortDir(t)
	f := func(code int, body string) {
		t.Helper()
		a := startAgent(t, dir, config, nil)
		_, address := a.address(t, "in", 0)
		client := &http.Client{Transport: &http.Transport{}}
		defer client.CloseIdleConnections()
		if got, text := postTo(client, address, "key", []byte(body)); got != code {
			t.Errorf("%s: got %d %s want %d", body, got, text, code)
		}
		a.stop(t)
	}
	f(200, `{"message":"a"}`)
	f(200, `{"message":"a"}`)
	f(422, `{"message":"b"}`)

	// An input that the configuration has no more is forgotten at the next start.
	a := startAgent(t, dir, `inputs: {other: {type: http, listen: "127.0.0.1:0"}}`, nil)
	a.stop(t)
	openedAfter(t, dir).State("", func(key string, _ []byte) { t.Errorf("state %q is left", key) })
}

// TestABodyLargerThanABatchIsOneTransaction: all of it passes the modules in
// pieces that they can bear, and has one receipt.
func TestABodyLargerThanABatchIsOneTransaction(t *testing.T) {
	a := startAgent(t, shortDir(t), fmt.Sprintf(`
inputs: {in: {type: http, listen: "127.0.0.1:0"}}
modules: {classify: {file: %q, config: {drop_debug: true}}, m: {%s}}
pipelines: {main: {from: [in], stream: app, steps: [{drop: 'message == "no"'}, {module: classify}, {module: m}]}}
`, guest(t, classifyFolder), conformance(t)), nil)
	var body []byte
	const n = 20_000
	for i := range n {
		body = fmt.Appendf(body, "{\"message\":\"count n\",\"app\":\"%d\"}\n{\"message\":\"no\"}\n", i)
	}
	_, address := a.address(t, "in", 0)
	client := &http.Client{Transport: &http.Transport{}}
	defer client.CloseIdleConnections()
	if code, text := postTo(client, address, "", body); code != 200 || text != fmt.Sprintf("{\"accepted\":%d}\n", 2*n) {
		t.Fatalf("got %d %s", code, text)
	}
	counted := int64(0)
	messages(t, a.store, "app", func(offset uint64, v record.View) {
		if isTick(v) {
			return
		}
		if counted++; string(v.App()) != fmt.Sprint(counted-1) || !isCounted(v, counted) {
			t.Fatalf("offset %d: app %s, not counted as %d", offset, v.App(), counted)
		}
	})
	if p := a.status().Pipelines[0]; counted != n || p.Received != 2*n || p.Stored != n+p.Emitted {
		t.Errorf("%d records are stored, pipeline %+v; want %d of %d", counted, p, n, 2*n)
	}
}

// TestAFullStreamIs503: a stream that takes nothing new, for whatever reason, is
// told to the sender and never acknowledged.
func TestAFullStreamIs503(t *testing.T) {
	for _, policy := range []string{"drop_new", "push_back"} {
		a := startAgent(t, shortDir(t), fmt.Sprintf(`
inputs: {in: {type: http, listen: "127.0.0.1:0"}}
streams: {default: {max_size: 1MiB, on_full: %s}}
forwarders: {out: {type: webhook, from: [default], url: "http://127.0.0.1:1/"}}
`, policy), nil)
		_, address := a.address(t, "in", 0)
		client := &http.Client{Transport: &http.Transport{}}
		accepted, code := 0, 200
		for n := 0; code == 200 && n < 200; n++ {
			body := make([]byte, 0, 64<<10)
			for len(body) < 60<<10 {
				body = fmt.Appendf(body, "{\"message\":\"%x\"}\n", [3]uint64{rand.Uint64(), rand.Uint64(), rand.Uint64()})
			}
			if code, _ = postTo(client, address, "", body); code == 200 {
				accepted += bytes.Count(body, []byte("\n"))
			}
		}
		client.CloseIdleConnections()
		here := len(texts(t, a.store, "default"))
		if code != 503 || here != accepted {
			t.Errorf("%s: got %d at last; %d records acknowledged, %d stored", policy, code, accepted, here)
		}
		a.stop(t)
	}
}

// cutter is a proxy that passes whole requests on and, for every other one and
// as often as it is told, closes the connection in place of the answer.
type cutter struct {
	net.Listener
	to   string
	cuts atomic.Int64
	seen atomic.Int64
}

func newCutter(t *testing.T, to string, cuts int) *cutter {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	c := &cutter{Listener: l, to: to}
	c.cuts.Store(int64(cuts))
	go http.Serve(l, c) //nolint:errcheck // until the listener is closed
	return c
}

func (c *cutter) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		panic(http.ErrAbortHandler)
	}
	q, _ := http.NewRequest(r.Method, "http://"+c.to+"/", bytes.NewReader(body))
	q.Header = r.Header.Clone()
	answer, err := http.DefaultTransport.RoundTrip(q)
	if err != nil {
		panic(http.ErrAbortHandler)
	}
	defer answer.Body.Close()
	if c.seen.Add(1)%2 == 1 && c.cuts.Add(-1) >= 0 {
		panic(http.ErrAbortHandler) // the receiver has it, and the sender will never know
	}
	w.WriteHeader(answer.StatusCode)
	io.Copy(w, answer.Body) //nolint:errcheck // the sender may have gone
}

// TestFromWebhookToHTTPOnceEach: one agent's webhook to another's input, where
// every other answer is lost while more records keep coming: each arrives once.
func TestFromWebhookToHTTPOnceEach(t *testing.T) {
	to := startAgent(t, shortDir(t), `
inputs: {in: {type: http, listen: "127.0.0.1:0"}}
pipelines: {main: {from: [in], stream: app}}
`, nil)
	_, address := to.address(t, "in", 0)
	proxy := newCutter(t, address, 6)
	from := startAgent(t, shortDir(t), fmt.Sprintf(`
inputs: {in: {type: syslog, listen: ["tcp://127.0.0.1:0"]}}
pipelines: {main: {from: [in], stream: app}}
forwarders: {out: {type: webhook, from: [app], url: "http://%s/", batch: {records: 300, wait: 1ms}}}
`, proxy.Addr()), nil)
	c := from.dial(t, "in", 0)
	const n = 3000
	for i := range n {
		write(t, c, line("%d", i))
		if i%250 == 0 {
			from.stored(t, "app", i+1)
		}
	}
	to.stored(t, "app", n)
	waitUntil(t, "the cursor to be at the end", func() bool {
		at, _ := from.store.Cursor("out", "app")
		return at == n+1
	})
	want := make([]string, n)
	for i := range want {
		want[i] = fmt.Sprint(i)
	}
	checkMessages(t, texts(t, to.store, "app"), want)
	if left := proxy.cuts.Load(); left > 0 {
		t.Errorf("only some answers were lost, %d are left", left)
	}
	if again := to.metric("runnel_input_repeated_requests_total"); again == 0 {
		t.Error("no request was repeated; the test shows nothing")
	}
}

// TestAKeyIsTakenOnceOverReloads: an input that is taken out of the configuration
// while its last body is on the way to the disk, and put back, knows that body's key.
func TestAKeyIsTakenOnceOverReloads(t *testing.T) {
	const with, without = `
inputs: {in: {type: http, listen: "127.0.0.1:0"}}
pipelines: {main: {from: [in], stream: app}}
`, `
inputs: {other: {type: http, listen: "127.0.0.1:0"}}
pipelines: {main: {from: [other], stream: app}}
`
	a := newAgent(shortDir(t), with, nil)
	var holds atomic.Bool
	staged, hold := make(chan struct{}), make(chan struct{})
	a.options.points.reached = func(point string) {
		if point == "commit" && holds.CompareAndSwap(true, false) {
			close(staged)
			<-hold
		}
	}
	if err := a.run(); err != nil {
		t.Fatal(err)
	}
	client := &http.Client{Transport: &http.Transport{}, Timeout: patience}
	defer client.CloseIdleConnections()
	body, told := []byte(`{"message":"once"}`), make(chan int, 1) // its one value
	_, address := a.address(t, "in", 0)
	holds.Store(true)
	go func() {
		code, _ := postTo(client, address, "key", body)
		told <- code
	}()
	<-staged
	if err := a.reload(without); err != nil {
		t.Fatal(err)
	}
	if code := <-told; code == 200 {
		t.Error("answered with 200 before it is on disk")
	}
	if err := a.reload(with); err != nil {
		t.Fatal(err)
	}
	_, address = a.address(t, "in", 0)
	go func() {
		code, _ := postTo(client, address, "key", body)
		told <- code
	}()
	close(hold)
	if code := <-told; code != 200 {
		t.Errorf("again: got %d, want 200", code)
	}
	if got := texts(t, a.store, "app"); len(got) != 1 {
		t.Errorf("stored %q, want it once", got)
	}
	a.stop(t)
}
