package query

import (
	"bufio"
	"fmt"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/valyala/fasthttp"
)

func TestOtherNamesAreNotAnsweredOnLoopback(t *testing.T) {
	b := serve(t, func(o *Options) { o.Hosts = []string{"runnel.test"} })
	f := func(host string, code int) {
		t.Helper()
		for _, path := range []string{"/", "/metrics", "/api/v1/status"} {
			if resp, body := b.do("GET", path, "", "Host", host); resp.StatusCode != code {
				t.Errorf("%s of %q: got %d %s, want %d", path, host, resp.StatusCode, body, code)
			}
		}
	}
	f("localhost", 200)
	f("LOCALHOST:4780", 200)
	f("127.0.0.1", 200)
	f("127.0.0.1:80", 200)
	f("127.8.8.8", 200)
	f("[::1]:4780", 200)
	f("runnel.test:4780", 200)
	f("evil.example", 421)
	f("evil.example:4780", 421)
	f("localhost.evil.example", 421)
	f("127.0.0.1.evil.example", 421)
	f("10.0.0.1", 421)
	f("0.0.0.0:4780", 421)
	f("2130706433", 421)
}

func TestPagesOfOtherSitesMayNotAsk(t *testing.T) {
	b := serve(t, func(o *Options) { o.Open = true })
	host := strings.TrimPrefix(b.url, "http://")
	f := func(header, value string, code int) {
		t.Helper()
		if resp, body := b.do("POST", "/api/v1/reload", "", header, value); resp.StatusCode != code {
			t.Errorf("%s: %s: got %d %s, want %d", header, value, resp.StatusCode, body, code)
		}
	}
	f("Origin", "http://"+host, 200)
	f("Origin", "https://evil.example", 403)
	f("Origin", "null", 403)
	f("Origin", "http://localhost.evil.example", 403)
	f("Sec-Fetch-Site", "same-origin", 200)
	f("Sec-Fetch-Site", "none", 200)
	f("Sec-Fetch-Site", "cross-site", 403)
	f("Sec-Fetch-Site", "same-site", 403)
}

func TestAPeerThatGuessesIsNotListenedTo(t *testing.T) {
	now := time.Unix(1000, 0)
	g := newGate(testToken, false, nil, func() time.Time { return now })
	far := &net.TCPAddr{IP: net.IPv4(10, 0, 0, 1)}
	near := &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)}
	f := func(what string, auth string, from net.Addr, want int) {
		t.Helper()
		if got := g.enter([]byte(auth), from); got != want {
			t.Errorf("%s: got %d, want %d", what, got, want)
		}
	}
	for range maxFailures {
		f("a guess", "Bearer guess", far, 401)
		f("a guess from here", "Bearer guess", near, 401)
	}
	f("one guess more", "Bearer guess", far, 429)
	f("the right token after guesses", "Bearer "+testToken, far, 429)
	f("one guess more from here", "Bearer guess", near, 429)
	f("the right token from here", "Bearer "+testToken, near, 0)
	f("the right token from a unix socket", "Bearer "+testToken, &net.UnixAddr{}, 0)
	f("no token is no guess", "", far, 401)
	f("another peer", "Bearer guess", &net.TCPAddr{IP: net.IPv4(10, 0, 0, 2)}, 401)
	now = now.Add(failureWindow)
	f("a minute later", "Bearer "+testToken, far, 0)
	f("a guess a minute later", "Bearer guess", far, 401)
	for i := range 30 {
		want := 401
		if i >= maxFailures {
			want = 429
		}
		f("addresses of one network of IPv6", "Bearer guess", &net.TCPAddr{IP: net.IP{0x20, 1, 0xd, 0xb8, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, byte(i)}}, want)
	}
	for i := range 3 * maxPeers {
		g.enter([]byte("Bearer guess"), &net.TCPAddr{IP: net.IPv4(11, byte(i>>16), byte(i>>8), byte(i))})
	}
	if len(g.failures) > maxPeers {
		t.Errorf("got %d peers remembered, want at most %d", len(g.failures), maxPeers)
	}
}

func TestBearerIsReadInAnyCase(t *testing.T) {
	g := newGate(testToken, false, nil, time.Now)
	f := func(header string, want bool) {
		t.Helper()
		if got := g.knows([]byte(header)); got != want {
			t.Errorf("%q: got %v, want %v", header, got, want)
		}
	}
	f("Bearer "+testToken, true)
	f("bearer "+testToken, true)
	f("BEARER  "+testToken+" ", true)
	f("Bearer"+testToken, false)
	f("Token "+testToken, false)
	f("Bearer "+testToken[:5], false)
	f("Bearer", false)
	f("", false)
}

func TestLongRequestsAreRefused(t *testing.T) {
	b := serve(t, nil)
	f := func(what string, code int, method, path, body string, header ...string) {
		t.Helper()
		resp, text := b.do(method, path, body, header...)
		if resp.StatusCode != code || errorOf(t, text) == "" {
			t.Errorf("%s: got %d %s, want %d", what, resp.StatusCode, text, code)
		}
	}
	f("headers", 431, "GET", "/healthz", "", "X-Long", strings.Repeat("x", maxHeader))
	f("a URL", 431, "GET", "/api/v1/query?grep="+strings.Repeat("x", maxHeader), "")
	f("a body that is nearly too long", 400, "POST", "/api/v1/cursors", strings.Repeat("x", maxBody))
	announce := func(what, header string, length int) {
		t.Helper()
		c, err := net.Dial("tcp", strings.TrimPrefix(b.url, "http://"))
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		fmt.Fprintf(c, "POST /api/v1/cursors HTTP/1.1\r\nHost: localhost\r\n%sContent-Length: %d\r\n\r\n", header, length) //nolint:errcheck // reading tells
		resp, err := http.ReadResponse(bufio.NewReader(c), nil)
		if err != nil || resp.StatusCode != 413 {
			t.Errorf("%s: got %v, %v; want 413 before the body has come", what, resp, err)
		}
	}
	announce("a body", "Authorization: Bearer "+testToken+"\r\n", maxBody+1)
	announce("a stranger's body", "", 4<<10+1)
}

func TestAPanicIsAnAnswerAndNotAnEnd(t *testing.T) {
	s := New(fuzzOptions(newMemory()))
	s.routes["/panic"] = route{methods: []string{"GET"}, answer: nil}
	var c fasthttp.RequestCtx
	c.Request.SetRequestURI("http://localhost/panic")
	s.handle(t.Context(), &c, true)
	if c.Response.StatusCode() != fasthttp.StatusInternalServerError || errorOf(t, string(c.Response.Body())) == "" {
		t.Errorf("got %d %s, want 500", c.Response.StatusCode(), c.Response.Body())
	}
}
