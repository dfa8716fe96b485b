//go:build integration

package integration

import (
	"bytes"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/runnel-log/runnel/internal/relp"
)

// loadKinds are the senders of a load, each into an input of its own name.
var loadKinds = []string{"http", "relp", "tcp", "unix", "udp"}

// load is a sender of every kind at once. Each numbers what it sends and
// keeps how far it was acknowledged, where its protocol can.
type load struct {
	senders map[string]*sender
	rate    int // messages a sender and second
	ended   chan struct{}
	running sync.WaitGroup
}

// sender is one of them. Its messages are "KIND NUMBER noise".
type sender struct {
	kind, address string
	rate          int
	ended         chan struct{}
	noise         *rand.ChaCha8

	sent    atomic.Int64 // handed to the kernel, or to a request
	acked   atomic.Int64 // of those, from the first
	refused atomic.Int64 // answers 503, or connections that ended without an answer
	broken  atomic.Int64 // connections that ended
	wrong   atomic.Pointer[string]
}

// loadInputs is the configuration of the inputs that a load sends to, in
// the folder of the agent.
func loadInputs(t *testing.T, dir string) (config string, addresses map[string]string) {
	t.Helper()
	addresses = map[string]string{"unix": dir + "/in.sock"}
	for _, kind := range []string{"http", "relp", "tcp", "udp"} {
		addresses[kind] = fmt.Sprintf("127.0.0.1:%d", freePort(t))
	}
	return fmt.Sprintf(`
inputs:
  http: {type: http, listen: "tcp://%s"}
  relp: {type: relp, listen: "tcp://%s"}
  tcp: {type: syslog, listen: ["tcp://%s"]}
  unix: {type: syslog, listen: ["unix://%s"]}
  udp: {type: syslog, listen: ["udp://%s"]}
pipelines: {main: {from: [http, relp, tcp, unix, udp], stream: app}}
`, addresses["http"], addresses["relp"], addresses["tcp"], addresses["unix"], addresses["udp"]), addresses
}

// startLoad sends so many messages a second with each of the kinds until the test ends, or end.
func startLoad(t *testing.T, addresses map[string]string, rate int, kinds ...string) *load {
	t.Helper()
	l := &load{senders: map[string]*sender{}, rate: rate, ended: make(chan struct{})}
	run := map[string]func(*sender){"http": (*sender).runHTTP, "relp": (*sender).runRELP, "tcp": (*sender).runLines, "unix": (*sender).runLines, "udp": (*sender).runLines}
	for i, kind := range kinds {
		s := &sender{kind: kind, address: addresses[kind], rate: rate, ended: l.ended, noise: newNoise(byte(i))}
		l.senders[kind] = s
		l.running.Go(func() { run[kind](s) })
	}
	t.Cleanup(func() { l.end(t) })
	return l
}

func newNoise(seed byte) *rand.ChaCha8 { return rand.NewChaCha8([32]byte{seed}) }

// end stops the senders, and says what any of them found wrong.
func (l *load) end(t *testing.T) {
	t.Helper()
	select {
	case <-l.ended:
		return
	default:
	}
	close(l.ended)
	l.running.Wait()
	for kind, s := range l.senders {
		if wrong := s.wrong.Load(); wrong != nil {
			t.Errorf("%s: %s", kind, *wrong)
		}
	}
}

func (s *sender) fail(format string, args ...any) {
	text := fmt.Sprintf(format, args...)
	s.wrong.CompareAndSwap(nil, &text)
}

// wait waits, and reports whether to go on.
func (s *sender) wait(d time.Duration) bool {
	select {
	case <-s.ended:
		return false
	case <-time.After(d):
		return true
	}
}

// beat is how often a sender sends, and each is of how many messages.
const beat = 10 * time.Millisecond

func (s *sender) each() int { return max(1, s.rate/int(time.Second/beat)) }

// message is one that does not compress.
func (s *sender) message(n int64) string {
	noise := make([]byte, 300)
	s.noise.Read(noise) //nolint:errcheck // never fails
	return fmt.Sprintf("%s %d %s", s.kind, n, base64.StdEncoding.EncodeToString(noise))
}

// runHTTP posts bodies of lines, each under a key until it is answered with 200.
func (s *sender) runHTTP() {
	client := &http.Client{Transport: &http.Transport{}, Timeout: patience}
	defer client.CloseIdleConnections()
	key, ok := strconv.FormatUint(rand.Uint64(), 36), true
	for ok {
		var body bytes.Buffer
		from := s.sent.Load()
		for n := range int64(s.each()) {
			body.WriteString(s.message(from+n) + "\n")
		}
		s.sent.Add(int64(s.each()))
		for ok && !s.post(client, fmt.Sprint(key, from), body.Bytes()) {
			ok = s.wait(50 * time.Millisecond)
		}
		if ok {
			s.acked.Store(s.sent.Load())
			ok = s.wait(beat)
		}
	}
}

// post reports whether the body was answered with 200.
func (s *sender) post(client *http.Client, key string, body []byte) bool {
	q, err := http.NewRequest(http.MethodPost, "http://"+s.address+"/", bytes.NewReader(body))
	if err != nil {
		s.fail("%v", err)
		return false
	}
	q.Header.Set("Content-Type", "text/plain")
	if key != "" {
		q.Header.Set("Idempotency-Key", key)
	}
	answer, err := client.Do(q)
	if err != nil {
		s.broken.Add(1)
		return false
	}
	defer answer.Body.Close()
	text, _ := io.ReadAll(answer.Body)
	switch {
	case answer.StatusCode == http.StatusOK:
		return true
	case answer.StatusCode != http.StatusServiceUnavailable || answer.Header.Get("Retry-After") == "":
		s.fail("answered %s, Retry-After %q: %s", answer.Status, answer.Header.Get("Retry-After"), text)
	}
	s.refused.Add(1)
	return false
}

// probe posts one more body beside those of the sender, which may have one under way
// that waits for the disk. It says nothing of its own that must be stored.
func (s *sender) probe(t *testing.T) {
	t.Helper()
	client := &http.Client{Transport: &http.Transport{}, Timeout: time.Second / 2}
	defer client.CloseIdleConnections()
	broken := s.broken.Load()
	s.post(client, "", []byte("probe\n"))
	s.broken.Store(broken) // its own, and no promise
}

// relpWindow is how many messages may have no answer.
const relpWindow = 128

// runRELP keeps a session, and begins another with what has no answer.
func (s *sender) runRELP() {
	for first := true; s.wait(50 * time.Millisecond); first = false {
		if !first {
			s.broken.Add(1)
		}
		if err := s.session(); err != nil {
			s.fail("%v", err)
		}
	}
}

// session sends until the connection ends; an error is a broken promise.
func (s *sender) session() error {
	c, err := net.Dial("tcp", s.address)
	if err != nil {
		return nil
	}
	defer c.Close()
	o := relp.Offers{Version: 1, Commands: []string{relp.Syslog}}
	r := relp.NewReader(c)
	if _, err := c.Write(relp.AppendOpen(nil, 1, &o)); err != nil {
		return nil
	}
	if _, err := r.Next(); err != nil {
		return nil
	}
	base := s.acked.Load() // has transaction 2
	answers := make(chan error, 1)
	go func() { answers <- s.answers(r, base) }()
	var wire []byte
	for next := base; ; {
		wire = wire[:0]
		for range s.each() {
			if next-s.acked.Load() < relpWindow {
				wire = relp.AppendFrame(wire, uint32(next-base)+2, relp.Syslog, []byte("<13>1 - vm app - - - "+s.message(next)))
				next++
			}
		}
		s.sent.Store(max(s.sent.Load(), next))
		if _, err := c.Write(wire); err != nil {
			c.Close()
			return <-answers
		}
		select {
		case err := <-answers:
			s.refused.Add(1)
			return err
		case <-s.ended:
			c.Close()
			return <-answers
		case <-time.After(beat):
		}
	}
}

// answers reads them until the connection ends.
func (s *sender) answers(r *relp.Reader, base int64) error {
	for {
		f, err := r.Next()
		if err != nil || f.Txnr == 0 {
			return nil
		}
		a, err := relp.ParseAnswer(f.Data)
		if err != nil || a.Code != relp.CodeOK || int64(f.Txnr) != s.acked.Load()-base+2 {
			return fmt.Errorf("answer %d %q where %d was due", f.Txnr, f.Data, s.acked.Load()-base+2)
		}
		s.acked.Add(1)
	}
}

// runLines sends syslog, which nobody acknowledges.
func (s *sender) runLines() {
	for first := true; s.wait(50 * time.Millisecond); first = false {
		if !first {
			s.broken.Add(1)
		}
		s.connection()
	}
}

func (s *sender) connection() {
	c, err := net.Dial(s.kind, s.address)
	if err != nil {
		return
	}
	defer c.Close()
	end := "\n"
	if s.kind == "udp" {
		end = ""
	}
	for s.wait(beat) {
		for range s.each() {
			if err := c.SetWriteDeadline(time.Now().Add(patience)); err != nil {
				return
			}
			_, err := io.WriteString(c, "<13>1 - vm app - - - "+s.message(s.sent.Load())+end)
			if err != nil {
				if errors.Is(err, io.ErrShortWrite) {
					s.fail("%v", err)
				}
				return
			}
			s.sent.Add(1)
		}
	}
}

// tally is a webhook's receiver that counts how often each message of a load came.
type tally struct {
	url    string
	before func() // of every request; nil: nothing

	mu    sync.Mutex
	times map[string][]uint8 // by kind, by number; guarded by mu
}

func startTally(t *testing.T) *tally {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	y := &tally{url: "http://" + l.Addr().String() + "/", times: map[string][]uint8{}}
	server := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
		body, err := io.ReadAll(q.Body)
		if err != nil { // cut short: take none of it
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		if y.before != nil {
			y.before()
		}
		y.mu.Lock()
		defer y.mu.Unlock()
		for line := range bytes.Lines(body) {
			y.add(line)
		}
	})}
	go server.Serve(l) //nolint:errcheck // ends with Close
	t.Cleanup(func() { server.Close() })
	return y
}

// add counts the message of a record as JSON. y.mu is held.
func (y *tally) add(line []byte) {
	_, rest, _ := strings.Cut(string(line), `"message":"`)
	fields := strings.SplitN(rest, " ", 3)
	if len(fields) < 3 {
		return
	}
	y.note(fields[0], fields[1])
}

// note counts one message. y.mu is held, or nobody else has y.
func (y *tally) note(kind, number string) {
	n, err := strconv.Atoi(number)
	if err != nil {
		return
	}
	for len(y.times[kind]) <= n {
		y.times[kind] = append(y.times[kind], 0)
	}
	if y.times[kind][n] < 255 {
		y.times[kind][n]++
	}
}

// of returns how many of the first n messages of a kind have not come, and how many
// of all came more than once.
func (y *tally) of(kind string, n int64) (missing, again int) {
	y.mu.Lock()
	defer y.mu.Unlock()
	times := y.times[kind]
	missing = max(0, int(n)-len(times))
	for i, t := range times {
		if t == 0 && int64(i) < n {
			missing++
		}
		if t > 1 {
			again++
		}
	}
	return missing, again
}
