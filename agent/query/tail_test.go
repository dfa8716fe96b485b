package query

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/VictoriaMetrics/metrics"
	"github.com/rs/zerolog"
)

// pipes is a listener whose connections are net.Pipes: they have no buffers and
// run on the bubble's clock.
type pipes struct {
	conns chan net.Conn
	ended chan struct{}
	stop  context.CancelFunc // ends the server
}

func (p *pipes) Accept() (net.Conn, error) {
	select {
	case c := <-p.conns:
		return c, nil
	case <-p.ended:
		return nil, net.ErrClosed
	}
}

func (p *pipes) Close() error {
	select {
	case <-p.ended:
	default:
		close(p.ended)
	}
	return nil
}

func (p *pipes) Addr() net.Addr { return &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 4780} }

// dial returns the client's end of a new connection that has asked for path.
func (p *pipes) dial(path, header string) net.Conn {
	client, server := net.Pipe()
	p.conns <- server
	fmt.Fprintf(client, "GET %s HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer %s\r\n%s\r\n", path, testToken, header) //nolint:errcheck // reading tells
	return client
}

// inBubble runs f with a server whose clock is the test's. fasthttp starts one
// goroutine for the whole process with its first request; it must not be started in a bubble.
func inBubble(t *testing.T, f func(t *testing.T, p *pipes, m *memory, set *metrics.Set)) {
	serve(t, nil).get("/healthz")
	synctest.Test(t, func(t *testing.T) {
		p := &pipes{conns: make(chan net.Conn), ended: make(chan struct{})}
		m, set := newMemory(), metrics.NewSet()
		s := New(Options{Source: m, Host: &fakeHost{}, Token: testToken, Metrics: set, Log: zerolog.Nop(), Agent: "vm-17"})
		ctx, cancel := context.WithCancel(t.Context())
		p.stop = cancel
		done := make(chan error, 1)
		go func() { done <- s.Serve(ctx, p) }()
		f(t, p, m, set)
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Serve: %v", err)
		}
		<-time.After(time.Minute) // fasthttp's housekeeping notices only then
	})
}

// open reads the head of a tail's answer.
func open(t *testing.T, c net.Conn) (*http.Response, *bufio.Reader) {
	t.Helper()
	resp, err := http.ReadResponse(bufio.NewReader(c), nil)
	if err != nil {
		t.Fatal(err)
	}
	return resp, bufio.NewReader(resp.Body)
}

func read(t *testing.T, r *bufio.Reader) string {
	t.Helper()
	text, err := r.ReadString('\n')
	if err != nil {
		t.Fatalf("got %q, then %v", text, err)
	}
	return text
}

func TestTailSendsWhatIsStoredFromNowOn(t *testing.T) {
	inBubble(t, func(t *testing.T, p *pipes, m *memory, _ *metrics.Set) {
		m.add(t, "app", line("before", 1))
		c := p.dial("/api/v1/tail", "")
		resp, body := open(t, c)
		if resp.StatusCode != 200 || resp.Header.Get("Content-Type") != "application/x-ndjson" || resp.Header.Get("X-Content-Type-Options") != "nosniff" {
			t.Fatalf("got %v", resp)
		}
		m.add(t, "app", line("one", 2), line("two", 3))
		m.add(t, "new", line("three", 4))
		for _, want := range []string{"one", "two", "three"} {
			if got := messages(t, read(t, body)); got != want {
				t.Errorf("got %s, want %s", got, want)
			}
		}
		<-time.After(time.Hour) // on the bubble's clock: quiet is no reason to end
		m.add(t, "app", line("four", 5))
		if got := messages(t, read(t, body)); got != "four" {
			t.Errorf("after an hour: got %s, want four", got)
		}
		c.Close()
	})
}

func TestTailBeginsWithTheLastAndFilters(t *testing.T) {
	inBubble(t, func(t *testing.T, p *pipes, m *memory, _ *metrics.Set) {
		for i := range int64(20) {
			m.add(t, "app", line(fmt.Sprint("keep", i), 2*i), line("skip", 2*i+1))
			m.add(t, "other", line("keep-other", 2*i))
		}
		c := p.dial("/api/v1/tail?stream=app&grep=keep&n=3&filter=severity+%3E+0", "")
		_, body := open(t, c)
		for _, want := range []string{"keep17", "keep18", "keep19"} {
			if got := messages(t, read(t, body)); got != want {
				t.Errorf("got %s, want %s", got, want)
			}
		}
		m.add(t, "app", line("skip", 50), line("keep20", 51))
		if got := messages(t, read(t, body)); got != "keep20" {
			t.Errorf("got %s, want keep20", got)
		}
		c.Close()
	})
}

func TestTailAsServerSentEvents(t *testing.T) {
	inBubble(t, func(t *testing.T, p *pipes, m *memory, _ *metrics.Set) {
		c := p.dial("/api/v1/tail", "Accept: text/event-stream\r\n")
		resp, body := open(t, c)
		if resp.Header.Get("Content-Type") != "text/event-stream" {
			t.Fatalf("got %v", resp.Header)
		}
		m.add(t, "app", line("two\nlines", 2))
		text, empty := read(t, body), read(t, body)
		if !strings.HasPrefix(text, `data: {"`) || messages(t, text[len("data: "):]) != "two\nlines" || empty != "\n" {
			t.Errorf("got %q %q", text, empty)
		}
		began := time.Now()
		if beat := read(t, body); beat != ":\n" || time.Since(began) > sseBeat {
			t.Errorf("got %q after %s, want a sign of life", beat, time.Since(began))
		}
		c.Close()
	})
}

// TestTailsBeginInTurn: what tails begin with is held in memory until their
// clients take it, so no more than maxLasts hold some at a time.
func TestTailsBeginInTurn(t *testing.T) {
	inBubble(t, func(t *testing.T, p *pipes, m *memory, _ *metrics.Set) {
		m.add(t, "app", line("stored", 1))
		var idle []net.Conn // they take the head of the answer and then nothing
		for range maxLasts {
			c := p.dial("/api/v1/tail?n=1", "")
			open(t, c)
			idle = append(idle, c)
		}
		synctest.Wait()
		began := time.Now()
		c := p.dial("/api/v1/tail?n=1", "")
		_, body := open(t, c)
		if got := messages(t, read(t, body)); got != "stored" || time.Since(began) < 5*time.Second {
			t.Errorf("got %s after %s, want it once an idle tail has been dropped", got, time.Since(began))
		}
		c.Close()
		for _, c := range idle {
			c.Close()
		}
	})
}

// TestLongRecordsAreSentInTurn: a record of 16 MiB can take 96 MiB as JSON, so
// no more than maxWides tails hold a long one at a time, and the others wait.
func TestLongRecordsAreSentInTurn(t *testing.T) {
	inBubble(t, func(t *testing.T, p *pipes, m *memory, _ *metrics.Set) {
		var idle []net.Conn // they take the head of the answer and then nothing
		for range maxWides {
			c := p.dial("/api/v1/tail", "")
			open(t, c)
			idle = append(idle, c)
		}
		synctest.Wait()
		long := strings.Repeat("x", wideBlock+1)
		m.add(t, "app", line(long, 1))
		synctest.Wait()
		c := p.dial("/api/v1/tail?n=0", "")
		_, body := open(t, c)
		synctest.Wait()
		m.add(t, "app", line("short", 2))
		began := time.Now()
		if got := messages(t, read(t, body)); got != "short" || time.Since(began) != 0 {
			t.Errorf("a short record: got %.20s after %s, want it at once", got, time.Since(began))
		}
		m.add(t, "app", line(long, 3), line("with it", 4))
		if got := read(t, body); !strings.Contains(got, long) || time.Since(began) < 5*time.Second {
			t.Errorf("a long record: got %.20s after %s, want it once an idle tail has been dropped", got, time.Since(began))
		}
		if got := messages(t, read(t, body)); got != "with it" {
			t.Errorf("got %.20s, want what was stored with it", got)
		}
		for _, c := range append(idle, c) {
			c.Close()
		}
	})
}

func TestATailThatTakesNothingIsDropped(t *testing.T) {
	inBubble(t, func(t *testing.T, p *pipes, m *memory, set *metrics.Set) {
		c := p.dial("/api/v1/tail", "")
		_, body := open(t, c)
		other := p.dial("/api/v1/tail", "")
		_, otherBody := open(t, other)
		began := time.Now()
		m.add(t, "app", line("x", 1))
		if got := messages(t, read(t, otherBody)); got != "x" || time.Since(began) != 0 {
			t.Errorf("the other client: got %s after %s, want it at once", got, time.Since(began))
		}
		<-time.After(11 * time.Second) // on the bubble's clock
		if text, err := io.ReadAll(body); !errors.Is(err, io.ErrUnexpectedEOF) {
			t.Errorf("got %q, %v; want the answer broken off, not ended", text, err)
		}
		if got := metric(set, `runnel_tail_dropped_clients_total{reason="slow"}`); got != "1" {
			t.Errorf("dropped: got %s, want 1", got)
		}
		m.add(t, "app", line("y", 2))
		if got := messages(t, read(t, otherBody)); got != "y" {
			t.Errorf("the other client: got %s, want y", got)
		}
		c.Close()
		other.Close()
	})
}

func TestATailThatFallsBehindRetentionIsDropped(t *testing.T) {
	inBubble(t, func(t *testing.T, p *pipes, m *memory, set *metrics.Set) {
		c := p.dial("/api/v1/tail", "")
		_, body := open(t, c)
		m.add(t, "app", line("a", 1))
		synctest.Wait() // the tail is held up by sending it
		m.add(t, "app", line("b", 2))
		m.add(t, "app", line("c", 3))
		m.expire("app", 2)
		if got := messages(t, read(t, body)); got != "a" {
			t.Errorf("got %s, want a", got)
		}
		if text, err := io.ReadAll(body); !errors.Is(err, io.ErrUnexpectedEOF) || len(text) > 0 {
			t.Errorf("got %q, %v; want the answer broken off", text, err)
		}
		if got := metric(set, `runnel_tail_dropped_clients_total{reason="slow"}`); got != "1" {
			t.Errorf("dropped: got %s, want 1", got)
		}
		c.Close()
	})
}

func TestTailEndsWhenTheServerDoes(t *testing.T) {
	inBubble(t, func(t *testing.T, p *pipes, _ *memory, _ *metrics.Set) {
		_, body := open(t, p.dial("/api/v1/tail", ""))
		p.stop()
		if text, err := io.ReadAll(body); err != nil || len(text) > 0 {
			t.Errorf("got %q, %v; want a proper end", text, err)
		}
	})
}

func TestOneTailTooManyIsRefused(t *testing.T) {
	inBubble(t, func(t *testing.T, p *pipes, _ *memory, _ *metrics.Set) {
		var all []net.Conn
		for range maxTails {
			c := p.dial("/api/v1/tail", "")
			if resp, _ := open(t, c); resp.StatusCode != 200 {
				t.Fatalf("got %d", resp.StatusCode)
			}
			all = append(all, c)
		}
		resp, _ := open(t, p.dial("/api/v1/tail", ""))
		if text, _ := io.ReadAll(resp.Body); resp.StatusCode != 429 || errorOf(t, string(text)) == "" {
			t.Errorf("got %d %s, want 429", resp.StatusCode, text)
		}
		all[0].Close()
		synctest.Wait()
		if resp, _ := open(t, p.dial("/api/v1/tail", "")); resp.StatusCode != 200 {
			t.Errorf("after one has gone: got %d", resp.StatusCode)
		}
		for _, c := range all {
			c.Close()
		}
	})
}

// TestSlowRequestsAreEnded is slowloris: a header, then a body, a byte at a time.
func TestSlowRequestsAreEnded(t *testing.T) {
	for name, head := range map[string]string{
		"header": "GET /healthz HTTP/1.1\r\nHost: localhost\r\nX-Slow: ",
		"body":   "POST /api/v1/cursors HTTP/1.1\r\nHost: localhost\r\nContent-Length: 4000\r\n\r\n",
		"chunks": "POST /api/v1/cursors HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n",
		"empty":  "",
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, p *pipes, _ *memory, _ *metrics.Set) {
				client, server := net.Pipe()
				p.conns <- server
				began := time.Now()
				go io.Copy(io.Discard, client) //nolint:errcheck // until it is closed
				client.Write([]byte(head))     //nolint:errcheck // the loop sees it
				for {
					if _, err := client.Write([]byte("1")); err != nil || name == "empty" && time.Since(began) > 30*time.Second {
						break
					}
					<-time.After(time.Second) // on the bubble's clock
				}
				if took := time.Since(began); took > 30*time.Second {
					t.Errorf("got %s, want it ended within 30 s", took)
				}
				client.Close()
			})
		})
	}
}

func TestServeEndsWithRequestsUnderWay(t *testing.T) {
	inBubble(t, func(t *testing.T, p *pipes, _ *memory, _ *metrics.Set) {
		client, server := net.Pipe()
		p.conns <- server
		fmt.Fprint(client, "GET /healthz HTTP/1.1\r\nHost: loc") //nolint:errcheck // never ends
		began := time.Now()
		p.stop()
		io.ReadAll(client) //nolint:errcheck // however it ends
		if took := time.Since(began); took > shutdownGrace+time.Second {
			t.Errorf("got %s, want it ended within %s", took, shutdownGrace)
		}
	})
}

// metric returns the value of one metric.
func metric(set *metrics.Set, name string) string {
	var b bytes.Buffer
	set.WritePrometheus(&b)
	for row := range strings.Lines(b.String()) {
		if value, ok := strings.CutPrefix(row, name+" "); ok {
			return strings.TrimSpace(value)
		}
	}
	return "absent"
}
