package forwardertest

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
)

// WebServer takes bodies of NDJSON, a JSON array or one JSON object over HTTP.
type WebServer struct {
	*httptest.Server
	Reached chan struct{}

	mu   sync.Mutex
	thaw *sync.Cond // on mu
	// guarded by mu:
	frozen  bool
	ended   bool
	busy    int
	refused string
	texts   []string
	headers []http.Header
	keys    map[string]string // Idempotency-Key: body
	clash   string            // a key that came with two bodies
}

// ListenHTTP starts a web server on loopback; it ends with the test. secure
// makes it speak TLS, and HTTP/2.
func ListenHTTP(t testing.TB, secure bool) *WebServer {
	t.Helper()
	return listenHTTP(t, secure, nil)
}

// ListenShown is ListenHTTP with TLS and a certificate that the test can change.
func ListenShown(t testing.TB, shown *Shown) *WebServer {
	t.Helper()
	return listenHTTP(t, true, shown)
}

func listenHTTP(t testing.TB, secure bool, shown *Shown) *WebServer {
	t.Helper()
	s := &WebServer{Reached: make(chan struct{}, 1<<16), keys: make(map[string]string)}
	s.thaw = sync.NewCond(&s.mu)
	s.Server = httptest.NewUnstartedServer(s)
	if s.EnableHTTP2 = secure; shown != nil {
		s.TLS = shown.Config()
	}
	s.Config.ErrorLog = log.New(io.Discard, "", 0) // a broken connection is what tests are about
	if secure {
		s.StartTLS()
	} else {
		s.Start()
	}
	t.Cleanup(func() {
		s.mu.Lock()
		s.frozen, s.ended = false, true
		clash := s.clash
		s.mu.Unlock()
		s.thaw.Broadcast()
		s.Close()
		if clash != "" {
			t.Errorf("Idempotency-Key %q came with two different bodies", clash)
		}
	})
	return s
}

// ServeHTTP takes one request.
func (s *WebServer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.Reached <- struct{}{}
	body, err := read(r)
	s.mu.Lock()
	defer s.mu.Unlock()
	for s.frozen {
		s.thaw.Wait()
	}
	switch {
	case err != nil || s.ended:
		http.Error(w, "unreadable", http.StatusBadRequest)
	case s.busy > 0:
		s.busy--
		w.Header().Set("Retry-After", "0")
		http.Error(w, "later", http.StatusServiceUnavailable)
	case s.refused != "" && bytes.Contains(body, []byte(s.refused)):
		http.Error(w, "not this one", http.StatusUnprocessableEntity)
	default:
		s.take(r, body)
	}
}

func read(r *http.Request) ([]byte, error) {
	if r.Header.Get("Content-Encoding") != "gzip" {
		return io.ReadAll(r.Body)
	}
	z, err := gzip.NewReader(r.Body)
	if err != nil {
		return nil, err
	}
	return io.ReadAll(z)
}

// take keeps what a request brought, unless its key says that it is here
// already; mu is held.
func (s *WebServer) take(r *http.Request, body []byte) {
	key := r.Header.Get("Idempotency-Key")
	if was, seen := s.keys[key]; seen {
		if was != string(body) {
			s.clash = key
		}
		return
	}
	s.keys[key] = string(body)
	s.headers = append(s.headers, r.Header.Clone())
	for _, line := range split(body) {
		var one struct{ Message string }
		if err := json.Unmarshal([]byte(line), &one); err != nil {
			s.texts = append(s.texts, "bad JSON: "+err.Error())
			continue
		}
		s.texts = append(s.texts, one.Message)
	}
}

// split takes a body apart into records.
func split(body []byte) []string {
	if body[0] != '[' {
		return strings.Split(strings.TrimSuffix(string(body), "\n"), "\n")
	}
	var all []json.RawMessage
	if err := json.Unmarshal(body, &all); err != nil {
		return []string{string(body)}
	}
	lines := make([]string, len(all))
	for i := range all {
		lines[i] = string(all[i])
	}
	return lines
}

// Freeze makes requests wait for their answer.
func (s *WebServer) Freeze(frozen bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.frozen = frozen
	s.thaw.Broadcast()
}

// Texts returns the messages of the records so far, those that came twice under one key once.
func (s *WebServer) Texts() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.texts)
}

// Headers returns the headers of the requests that were taken.
func (s *WebServer) Headers() []http.Header {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.headers)
}

// Refuse answers 422 to every body that contains text.
func (s *WebServer) Refuse(text string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.refused = text
}

// Busy answers 503 to the next n requests.
func (s *WebServer) Busy(n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.busy = n
}

// Receiver wraps s for the suite.
func (s *WebServer) Receiver() *Receiver {
	return &Receiver{Texts: s.Texts, Freeze: s.Freeze, Reached: s.Reached, Break: s.CloseClientConnections,
		Refuse: s.Refuse, Busy: s.Busy}
}
