package webhook

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/runnel-log/runnel/forwarders"
	"github.com/runnel-log/runnel/forwarders/forwardertest"
	"github.com/runnel-log/runnel/internal/config"
)

func options(url string, change func(o *Options)) *Options {
	o := defaults()
	o.URL = address(url)
	if change != nil {
		change(o)
	}
	return o
}

func TestKeepsTheContract(t *testing.T) {
	f := func(name string, secure bool, change func(o *Options)) {
		t.Run(name, func(t *testing.T) {
			forwardertest.Run(t, Kind, func(t *testing.T) *forwardertest.Receiver {
				s := forwardertest.ListenHTTP(t, secure)
				r := s.Receiver()
				r.Options = options(s.URL, change)
				if !secure {
					r.Named = func(host string) config.Options {
						return options(strings.Replace(s.URL, "127.0.0.1", host, 1), change)
					}
				}
				return r
			})
		})
	}
	f("ndjson", false, nil)
	f("json", false, func(o *Options) { o.Body = bodyJSON })
	f("single", false, func(o *Options) { o.Body = bodySingle })
	f("gzip", false, func(o *Options) { o.Gzip = true })
	f("http2", true, func(o *Options) { o.TLS.SkipVerify = true })
	t.Run("https", func(t *testing.T) {
		forwardertest.Run(t, Kind, func(t *testing.T) *forwardertest.Receiver {
			shown := forwardertest.NewShown(t)
			s := forwardertest.ListenShown(t, shown)
			r := s.Receiver()
			r.Options, r.Shown = options(s.URL, func(o *Options) { o.TLS.CA = shown.CA.File }), shown
			return r
		})
	})
}

// answering returns a forwarder to a server that answers everything so.
func answering(t *testing.T, answer http.HandlerFunc, change func(o *Options)) forwarders.Forwarder {
	t.Helper()
	s := httptest.NewServer(answer)
	t.Cleanup(s.Close)
	return forwardertest.New(t, Kind, options(s.URL, change))
}

func send(t *testing.T, f forwarders.Forwarder) error {
	t.Helper()
	ack, err := f.Deliver(t.Context(), forwardertest.Batch(t, "app", 1, 4, nil))
	if err == nil && ack != nil {
		_, err = ack.Wait(t.Context())
	}
	return err
}

func TestStatusDecides(t *testing.T) {
	f := func(code int, want string) {
		t.Helper()
		err := send(t, answering(t, func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Location", "http://elsewhere.example/")
			w.WriteHeader(code)
			io.WriteString(w, "because")
		}, nil))
		got := "again"
		var refused *forwarders.Refused
		var retry *forwarders.Retry
		switch {
		case err == nil:
			got = "taken"
		case errors.As(err, &refused):
			got = "refused"
			if refused.Index != -1 || !strings.Contains(refused.Answer, "because") {
				t.Errorf("%d: refused %+v, want index -1 and the answer", code, refused)
			}
		case errors.As(err, &retry):
			got = "later"
		}
		if got != want {
			t.Errorf("%d: %s (%v), want %s", code, got, err, want)
		}
	}
	for _, code := range []int{200, 201, 202, 299} {
		f(code, "taken")
	}
	for _, code := range []int{400, 402, 406, 409, 410, 411, 413, 415, 422, 451} {
		f(code, "refused")
	}
	for _, code := range []int{401, 403, 404, 405, 407, 408, 421, 423, 425, 429, 500, 501, 502, 503, 504, 599, 301, 302, 303, 304, 307, 308} {
		f(code, "again")
	}
}

func TestRedirectIsNotFollowed(t *testing.T) {
	followed := make(chan struct{}, 1)
	other := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { followed <- struct{}{} }))
	defer other.Close()
	err := send(t, answering(t, func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, other.URL, http.StatusTemporaryRedirect)
	}, nil))
	var refused *forwarders.Refused
	if err == nil || errors.As(err, &refused) || !strings.Contains(err.Error(), other.URL) || !strings.Contains(err.Error(), "not followed") {
		t.Errorf("error %v, want one to try again that names %s", err, other.URL)
	}
	if len(followed) != 0 {
		t.Errorf("the redirect was followed")
	}
}

func TestRetryAfter(t *testing.T) {
	now := time.Date(2026, 11, 22, 10, 0, 0, 0, time.UTC)
	f := func(value, date string, want time.Duration, ok bool) {
		t.Helper()
		h := http.Header{}
		if value != "" {
			h.Set("Retry-After", value)
		}
		if date != "" {
			h.Set("Date", date)
		}
		if got, found := retryAfter(h, now); got != want || found != ok {
			t.Errorf("Retry-After %q = %s, %t, want %s, %t", value, got, found, want, ok)
		}
	}
	f("", "", 0, false)
	f("120", "", 2*time.Minute, true)
	f(" 0 ", "", 0, true)
	f("99999", "", maxRetryAfter, true)
	f("99999999999999999999999", "", maxRetryAfter, true)
	f("-5", "", 0, false)
	f("soon", "", 0, false)
	f("Sun, 22 Nov 2026 10:00:30 GMT", "", 30*time.Second, true)
	f("Sun, 22 Nov 2026 09:00:00 GMT", "", 0, true)
	f("Sun, 22 Nov 2099 09:00:00 GMT", "", maxRetryAfter, true)
	f("Sun, 22 Nov 2020 10:00:30 GMT", "Sun, 22 Nov 2020 10:00:00 GMT", 30*time.Second, true)
}

func TestRetryAfterReachesTheAgent(t *testing.T) {
	err := send(t, answering(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Retry-After", "7")
		w.WriteHeader(http.StatusTooManyRequests)
	}, nil))
	var retry *forwarders.Retry
	if !errors.As(err, &retry) || retry.After != 7*time.Second {
		t.Errorf("error %v, want a wait of 7s", err)
	}
}

func TestRequestSaysWhatItIs(t *testing.T) {
	s := forwardertest.ListenHTTP(t, false)
	f := forwardertest.New(t, Kind, options(s.URL, func(o *Options) {
		o.Gzip = true
		o.Headers = map[string]config.Secret{"X-Key": config.LiteralSecret("k"), "content-type": config.LiteralSecret("text/x")}
	}))
	if err := send(t, f); err != nil {
		t.Fatal(err)
	}
	got := s.Headers()[0]
	for name, want := range map[string]string{"X-Key": "k", "Content-Type": "text/x", "Content-Encoding": "gzip",
		"User-Agent": "runnel/test", "Idempotency-Key": forwardertest.AgentID + "/3/app/1-3"} {
		if got.Get(name) != want {
			t.Errorf("%s: %q, want %q", name, got.Get(name), want)
		}
	}
}

// The key of a record sent alone does not change when the batch around it does.
func TestSingleKeysAreTheRecords(t *testing.T) {
	s := forwardertest.ListenHTTP(t, false)
	f := forwardertest.New(t, Kind, options(s.URL, func(o *Options) { o.Body = bodySingle }))
	for _, first := range []uint64{1, 2} {
		if _, err := f.Deliver(t.Context(), forwardertest.Batch(t, "app", first, 4, nil)); err != nil {
			t.Fatal(err)
		}
	}
	var keys []string
	for _, h := range s.Headers() {
		keys = append(keys, strings.TrimPrefix(h.Get("Idempotency-Key"), forwardertest.AgentID))
	}
	if got := strings.Join(keys, " "); got != "/3/app/1 /3/app/2 /3/app/3" {
		t.Errorf("keys %s, want each record's own, once", got)
	}
}

func TestSingleSaysHowFarItCame(t *testing.T) {
	s := forwardertest.ListenHTTP(t, false)
	s.Refuse("record=00000003")
	f := forwardertest.New(t, Kind, options(s.URL, func(o *Options) { o.Body = bodySingle }))
	ack, err := f.Deliver(t.Context(), forwardertest.Batch(t, "app", 1, 6, nil))
	if err != nil || ack == nil {
		t.Fatalf("Deliver = %v, %v, want an Ack", ack, err)
	}
	var refused *forwarders.Refused
	if n, err := ack.Wait(t.Context()); n != 2 || !errors.As(err, &refused) || refused.Index != 2 {
		t.Errorf("Wait = %d, %v, want 2 and a refusal of index 2", n, err)
	}
}

func TestAnswerIsBounded(t *testing.T) {
	endless := func(w http.ResponseWriter, r *http.Request) {
		w.WriteHeader(http.StatusBadRequest)
		line := strings.Repeat("A\x1b", 4096)
		for r.Context().Err() == nil {
			if _, err := io.WriteString(w, line); err != nil {
				return
			}
		}
	}
	err := send(t, answering(t, endless, nil))
	var refused *forwarders.Refused
	if !errors.As(err, &refused) || len(refused.Answer) > forwarders.MaxAnswer {
		t.Errorf("an endless answer gave %v, want a refusal of at most 1 KiB", err)
	}
	headers := func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("X-Long", strings.Repeat("h", 10*maxResponseHeader))
	}
	if err := send(t, answering(t, headers, nil)); err == nil || !strings.Contains(err.Error(), "header") {
		t.Errorf("a header of 160 KiB gave %v, want an error", err)
	}
}

func TestTimeout(t *testing.T) {
	over := make(chan struct{})
	defer close(over)
	f := answering(t, func(http.ResponseWriter, *http.Request) { <-over }, func(o *Options) { o.Timeout = 20 * time.Millisecond })
	if err := send(t, f); !errors.Is(err, errTimeout) {
		t.Errorf("error %v, want %v", err, errTimeout)
	}
}

// The path and the query of a webhook's URL are often its password.
func TestErrorsDoNotTellTheURL(t *testing.T) {
	s := httptest.NewServer(nil)
	url := s.URL
	s.Close() // nobody listens there now
	f := forwardertest.New(t, Kind, options(url+"/T0KEN?key=S3CRET", nil))
	err := send(t, f)
	if err == nil || strings.Contains(err.Error(), "T0KEN") || strings.Contains(err.Error(), "S3CRET") {
		t.Errorf("error %v, want one without path and query", err)
	}
}

// What receivers let a sender in by is not for whoever may see the configuration.
func TestConfigDoesNotTellTheQuery(t *testing.T) {
	f := func(url, want string) {
		t.Helper()
		o := defaults()
		o.URL = address(url)
		var b strings.Builder
		if err := config.Format(&b, 0, o); err != nil {
			t.Fatal(err)
		}
		if got := b.String(); !strings.Contains(got, "url: "+want+"\n") || strings.Contains(got+fmt.Sprint(o.URL), "S3CRET") {
			t.Errorf("%s: got %s, want %s", url, got, want)
		}
	}
	f("https://example.org/hook", "https://example.org/hook")
	f("https://example.org/hook?key=S3CRET", "'https://example.org/hook?***'")
	f("https://example.org?S3CRET", "'https://example.org?***'")
	f("https://me:S3CRET@example.org:444/hook/@x?a=S3CRET?", "'https://***@example.org:444/hook/@x?***'")
	f("https://example.org/?", "'https://example.org/?***'")
}

// A receiver that moves is told apart without the token that it passes on.
func TestRedirectDoesNotTellTheQuery(t *testing.T) {
	err := send(t, answering(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Location", "https://example.org/other?key=S3CRET")
		w.WriteHeader(http.StatusPermanentRedirect)
	}, nil))
	if err == nil || !strings.Contains(err.Error(), "https://example.org/other?***") || strings.Contains(err.Error(), "S3CRET") {
		t.Errorf("error %v, want one that names the place without its query", err)
	}
}

func TestGuard(t *testing.T) {
	f := func(address string, open, strict bool) {
		t.Helper()
		ip := netip.MustParseAddr(address)
		if got := (guard{allowPrivate: true}).check(ip) == nil; got != open {
			t.Errorf("%s with allow_private: %t, want %t", address, got, open)
		}
		if got := (guard{}).check(ip) == nil; got != strict {
			t.Errorf("%s without allow_private: %t, want %t", address, got, strict)
		}
	}
	for _, never := range []string{"169.254.169.254", "169.254.0.1", "fe80::1", "fe80::1%lo", "febf::1", "fd00:ec2::254",
		"100.100.100.200", "168.63.129.16", "fd20:ce::254", "::ffff:169.254.169.254", "::ffff:a9fe:a9fe", "64:ff9b::a9fe:a9fe", "2002:a9fe:a9fe::1",
		"::ffff:100.100.100.200", "224.0.0.1", "ff02::1", "255.255.255.255"} {
		f(never, false, false)
	}
	for _, private := range []string{"127.0.0.1", "::1", "10.0.0.1", "172.16.5.4", "192.168.1.1", "fd12::1", "0.0.0.0", "::",
		"100.64.0.1", "::ffff:10.0.0.1", "64:ff9b::a00:1", "0.1.2.3"} {
		f(private, true, false)
	}
	for _, public := range []string{"192.0.2.1", "2001:db8::1", "9.9.9.9", "64:ff9b::909:909"} {
		f(public, true, true)
	}
}

// The guard looks at what is connected to, not at how it is spelt.
func TestGuardIsOnTheWire(t *testing.T) {
	s := forwardertest.ListenHTTP(t, false)
	port := s.URL[strings.LastIndexByte(s.URL, ':'):]
	for _, host := range []string{"127.0.0.1", "localhost", "[::ffff:127.0.0.1]"} {
		f := forwardertest.New(t, Kind, options("http://"+host+port, func(o *Options) { o.AllowPrivate = false }))
		if err := send(t, f); err == nil || !strings.Contains(err.Error(), "allow_private") {
			t.Errorf("%s: error %v, want the guard's", host, err)
		}
	}
	if n := len(s.Texts()); n != 0 {
		t.Errorf("%d records got through", n)
	}
}

// An answer that comes before the body was read must not leave the HTTP client
// with memory that the next batch is encoded into.
func TestEarlyAnswer(t *testing.T) {
	early := func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusOK) }
	f := answering(t, early, nil)
	big := func(uint64) string { return strings.Repeat("x", 1<<20) }
	for i := range uint64(10) {
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		_, _ = f.Deliver(ctx, forwardertest.Batch(t, "app", 1+i, 5+i, big)) // either way is right; the race detector judges
		cancel()
	}
}

func TestHeadersThatCannotBe(t *testing.T) {
	f := func(name, value string, ok bool) {
		t.Helper()
		if err := checkHeader(name, value); (err == nil) != ok {
			t.Errorf("%q: %q gave %v", name, value, err)
		} else if err != nil && strings.ContainsAny(value, "\r\n\x00") && strings.Contains(err.Error(), value) {
			t.Errorf("%v tells the value", err)
		}
	}
	f("X-Team", "pay", true)
	f("X-Team", "p\ta y é", true)
	for _, bad := range []string{"a\r\nX: y", "a\n", "\r", "a\x00b", "\x7f", "\x1b"} {
		f("X-Team", bad, false)
	}
	for _, name := range []string{"", "X Y", "X:Y", "X\r\n", "é", "Host", "host", "content-length", "Transfer-Encoding",
		"Connection", "Idempotency-Key", "content-encoding"} {
		f(name, "v", false)
	}
}

func TestHTTP2IsSpokenWhereOffered(t *testing.T) {
	protocol := make(chan string, 1)
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { protocol <- r.Proto }))
	s.EnableHTTP2 = true
	s.StartTLS()
	defer s.Close()
	f := forwardertest.New(t, Kind, options(s.URL, func(o *Options) { o.TLS.SkipVerify = true }))
	if err := send(t, f); err != nil {
		t.Fatal(err)
	}
	if got := <-protocol; got != "HTTP/2.0" {
		t.Errorf("spoke %s, want HTTP/2.0", got)
	}
	strict := forwardertest.New(t, Kind, options(s.URL, nil))
	if err := send(t, strict); err == nil || !strings.Contains(err.Error(), "certificate") {
		t.Errorf("an unknown authority gave %v, want an error", err)
	}
}
