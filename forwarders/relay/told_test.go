package relay

import (
	"bytes"
	"context"
	"crypto/tls"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"github.com/runnel-log/runnel/forwarders/forwardertest"
	"github.com/runnel-log/runnel/internal/relaywire"
)

// refusedWith delivers a batch, which must fail with words in its error.
func (f *sender) refusedWith(t *testing.T, words ...string) {
	t.Helper()
	ack, err := f.Deliver(t.Context(), forwardertest.Batch(t, "app", 1, 11, nil))
	if err == nil {
		_, err = ack.Wait(t.Context())
	}
	for _, want := range words {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %s in it", err, want)
		}
	}
}

func TestACircleIsNamed(t *testing.T) {
	s, f := begin(t, nil)
	s.set(func() {
		s.above = []relaywire.Hop{{Agent: receiverID, Name: "cluster"}, {Agent: forwardertest.ID(), Name: "vm-17"}}
	})
	f.refusedWith(t, `circle: "vm-17" → "cluster" → "vm-17"; have one of them send elsewhere`)
}

// What a receiver says of our certificate is told with its file, and since when that is no good.
func TestOurOwnCertificateIsNamed(t *testing.T) {
	shown := forwardertest.NewShown(t)
	secure := shown.Config()
	given := secure.GetConfigForClient
	secure.GetConfigForClient = func(h *tls.ClientHelloInfo) (*tls.Config, error) {
		c := secure.Clone()
		if given != nil {
			var err error
			if c, err = given(h); err != nil {
				return nil, err
			}
			c = c.Clone()
		}
		c.GetConfigForClient, c.ClientAuth, c.ClientCAs = nil, tls.RequireAndVerifyClientCert, shown.CA.Pool()
		return c, nil
	}
	s := startReceiver(t, "tcp", "127.0.0.1:0", secure)
	until := time.Now().Add(-time.Hour)
	cert, key := shown.CA.Issue(t, "vm-17", until)
	f := newSender(t, options("tls://"+s.address, func(o *Options) { o.TLS.CA, o.TLS.Cert, o.TLS.Key = shown.CA.File, cert, key }), nil)
	f.refusedWith(t, "expired certificate: the receiver says so of this agent's own certificate: "+cert+" expired on "+until.UTC().Format("2006-01-02 15:04"))
}

// Of several receivers the one whose session is under way is named.
func TestTheReceiverInUseIsNamed(t *testing.T) {
	s := startReceiver(t, "tcp", "127.0.0.1:0", nil)
	nobody, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	nobody.Close()
	f := newSender(t, options("tcp://"+nobody.Addr().String(), func(o *Options) { o.To = append(o.To, "tcp://"+s.address) }), nil)
	if got := f.Using(); got != "" {
		t.Errorf("%s is in use", got)
	}
	f.acked(t, 1, 11) // at the first try: nobody waits between two receivers
	if got := f.Using(); got != "tcp://"+s.address {
		t.Errorf("%q is in use, want the second", got)
	}
	s.cut(t)
	forwardertest.Eventually(t, "the end is noticed", func() bool { return f.Using() == "" })
}

// lagging is a source with so much that waits.
type lagging struct {
	*forwardertest.Source
	records uint64
}

func (l lagging) Lag() (records, bytes uint64, oldest time.Duration, lost uint64) {
	return l.records, 0, 0, 0
}

// That nothing waits for a receiver which cannot be reached is said where nothing does.
func TestOnlyAnIdleForwarderSaysThatNothingWaits(t *testing.T) {
	t.Parallel()
	f := func(records uint64, want bool) {
		t.Helper()
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		f := newSender(t, options("tcp://"+l.Addr().String(), nil), nil)
		var said lines
		f.events.log = zerolog.New(&said)
		f.Forwarder.source = lagging{f.source, records}
		ctx, cancel := context.WithCancel(t.Context())
		var keeping sync.WaitGroup
		keeping.Go(func() { f.Keep(ctx, nil, func() {}, func(error, time.Duration) {}) })
		for range 2 { // the second try comes after what is said of the first
			c, err := l.Accept()
			if err != nil {
				t.Fatal(err)
			}
			c.Close()
		}
		cancel()
		keeping.Wait()
		if got := strings.Count(said.String(), "nothing waits for it yet"); got > 1 || (got == 1) != want {
			t.Errorf("with %d records waiting: said %d times, want %v", records, got, want)
		}
	}
	f(7, false)
	f(0, true)
}

// lines is a log.
type lines struct {
	mu   sync.Mutex
	text bytes.Buffer // guarded by mu
}

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

func (l *lines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}
