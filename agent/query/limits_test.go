package query

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/runnel-log/runnel/internal/listen"
)

// TestAPageIsBounded: a page ends with the record that takes it over its bound,
// and the next goes on behind it.
func TestAPageIsBounded(t *testing.T) {
	b := serve(t, nil)
	const n = 25
	long := strings.Repeat("x", 1<<20)
	for i := range int64(n) {
		b.source.add(t, "app", line(long, i))
	}
	pages, records := 0, 0
	for next := ""; ; pages++ {
		resp, body := b.get("/api/v1/query?limit=10000" + next)
		if resp.StatusCode != 200 || len(body) > maxAnswer+2<<20 {
			t.Fatalf("got %d and %d bytes, want at most %d and a record", resp.StatusCode, len(body), maxAnswer)
		}
		records += strings.Count(body, "\n")
		cursor := resp.Header.Get(headerNext)
		if cursor == "" {
			break
		}
		if len(body) < maxAnswer {
			t.Errorf("a page of %d bytes is not full, and not the last", len(body))
		}
		next = "&cursor=" + cursor
	}
	if pages != 2 || records != n {
		t.Errorf("got %d records on %d pages, want %d on 3", records, pages+1, n)
	}
}

// TestConnectionsOfTheAPIAreBounded: one more than maxConnections is told to come
// again, and there is room when another has gone.
func TestConnectionsOfTheAPIAreBounded(t *testing.T) {
	b := serve(t, nil)
	address := strings.TrimPrefix(b.url, "http://")
	ask := func() (net.Conn, int) {
		t.Helper()
		c, err := net.Dial("tcp", address)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { c.Close() })
		c.SetDeadline(time.Now().Add(20 * time.Second))
		fmt.Fprint(c, "GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n") //nolint:errcheck // reading tells
		resp, err := http.ReadResponse(bufio.NewReader(c), nil)
		if err != nil {
			return c, 0
		}
		io.Copy(io.Discard, resp.Body) //nolint:errcheck // a few bytes
		return c, resp.StatusCode
	}
	var first net.Conn
	for i := range maxConnections {
		c, code := ask()
		if code != 200 {
			t.Fatalf("connection %d: got %d", i+1, code)
		}
		if i == 0 {
			first = c
		}
	}
	for range 20 {
		if _, code := ask(); code != 503 && code != 0 {
			t.Fatalf("one connection too many: got %d, want 503 or the end", code)
		}
	}
	first.Close()
	for until := time.Now().Add(20 * time.Second); ; {
		if _, code := ask(); code == 200 {
			break
		}
		if time.Now().After(until) {
			t.Fatal("there is no room although one has gone")
		}
	}
}

// TestAConnectionOfTheAPIEndsAfterItsLastRequest, so that a busy one does not
// keep to one agent, or one set of certificates, for ever.
func TestAConnectionOfTheAPIEndsAfterItsLastRequest(t *testing.T) {
	b := serve(t, nil)
	c, err := net.Dial("tcp", strings.TrimPrefix(b.url, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	in := bufio.NewReader(c)
	for i := 1; i <= 1000; i++ {
		fmt.Fprint(c, "GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n") //nolint:errcheck // reading tells
		resp, err := http.ReadResponse(in, nil)
		if err != nil || resp.StatusCode != 200 || resp.Close != (i == 1000) {
			t.Fatalf("request %d: got %v, %v", i, resp, err)
		}
		io.Copy(io.Discard, resp.Body) //nolint:errcheck // a few bytes
	}
	if _, err := in.ReadByte(); err != io.EOF {
		t.Errorf("got %v, want the end of the connection", err)
	}
}

// elsewhere makes every connection one of another machine.
type elsewhere struct {
	net.Listener
	from net.Addr
}

type movedConn struct {
	net.Conn
	from net.Addr
}

func (c *movedConn) RemoteAddr() net.Addr { return c.from }

func (l *elsewhere) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return &movedConn{c, l.from}, nil
}

// TestOneMachineHasNotAllConnections: beyond listen.PerAddress they are closed,
// also tails', and there is room when one has gone.
func TestOneMachineHasNotAllConnections(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	o := fuzzOptions(newMemory())
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() {
		done <- New(o).Serve(ctx, &elsewhere{ln, &net.TCPAddr{IP: net.IPv4(192, 0, 2, 1), Port: 9}})
	}()
	ask := func(path string) (net.Conn, bool) {
		t.Helper()
		c, err := net.Dial("tcp", ln.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { c.Close() })
		c.SetDeadline(time.Now().Add(20 * time.Second))
		fmt.Fprintf(c, "GET %s HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer %s\r\n\r\n", path, testToken) //nolint:errcheck // reading tells
		resp, err := http.ReadResponse(bufio.NewReader(c), nil)
		return c, err == nil && resp.StatusCode == 200
	}
	tail, served := ask("/api/v1/tail")
	for range listen.PerAddress - 1 {
		_, ok := ask("/healthz")
		served = served && ok
	}
	if !served {
		t.Fatal("not all that may be were served")
	}
	for range 100 {
		if _, ok := ask("/healthz"); ok {
			t.Fatalf("connection %d of one address was served", listen.PerAddress+1)
		}
	}
	tail.Close()
	for until := time.Now().Add(20 * time.Second); ; {
		if _, ok := ask("/healthz"); ok {
			break
		}
		if time.Now().After(until) {
			t.Fatal("there is no room although a tail has gone")
		}
	}
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
}
