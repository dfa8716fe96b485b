package query

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"slices"
	"sort"
	"strings"
	"time"

	"github.com/VictoriaMetrics/metrics"
	"github.com/valyala/fasthttp"

	"github.com/runnel-log/runnel/internal/config"
	"github.com/runnel-log/runnel/record"
)

// route is what one path answers.
type route struct {
	methods []string
	free    bool // needs no token
	answer  func(ctx context.Context, c *fasthttp.RequestCtx)
}

// table is every path there is. docs/api.md names each; a test sees to it.
func (s *Server) table() map[string]route {
	get, post, both := []string{"GET", "HEAD"}, []string{"POST"}, []string{"GET", "HEAD", "POST"}
	return map[string]route{
		"/":                 {get, true, s.greet},
		"/healthz":          {get, true, s.healthy},
		"/readyz":           {get, true, s.ready},
		"/metrics":          {get, true, s.metrics},
		"/api/v1/query":     {get, false, s.find},
		"/api/v1/tail":      {[]string{"GET"}, false, s.follow},
		"/api/v1/histogram": {get, false, s.count},
		"/api/v1/streams":   {get, false, s.streams},
		"/api/v1/status":    {get, false, s.status},
		"/api/v1/audit":     {get, false, s.audit},
		"/api/v1/config":    {get, false, s.config},
		"/api/v1/cursors":   {both, false, s.cursors},
		"/api/v1/redrive":   {post, false, s.redrive},
		"/api/v1/reload":    {post, false, s.reload},
		"/api/v1/modules":   {get, false, s.modules},
		tryPath:             {post, false, s.try},
	}
}

// paths returns the routes' paths in order.
func (s *Server) paths() []string {
	var paths []string
	for path := range s.routes {
		paths = append(paths, path)
	}
	slices.Sort(paths)
	return paths
}

// handle answers one request: who may ask, then what was asked.
func (s *Server) handle(ctx context.Context, c *fasthttp.RequestCtx, loopback bool) {
	path, _ := routeOf(string(c.Path()))
	defer func() {
		if what := recover(); what != nil {
			s.events.bug(path, what)
			c.Response.Reset()
			fail(c, fasthttp.StatusInternalServerError, "a bug in runnel; its log says more")
		}
		if !c.Hijacked() {
			s.counts.answered(path, c.Response.StatusCode())
		}
	}()
	h := &c.Response.Header
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Cache-Control", "no-store")
	h.Set("Content-Security-Policy", "default-src 'none'; frame-ancestors 'none'")
	h.Set("X-Frame-Options", "DENY")
	h.Set("Referrer-Policy", "no-referrer")
	h.Set("Cross-Origin-Resource-Policy", "same-origin")
	if loopback && !s.auth.trusts(string(c.Host())) {
		fail(c, fasthttp.StatusMisdirectedRequest, fmt.Sprintf("this is not %q; ask for localhost or 127.0.0.1", clip(string(c.Host()))))
		return
	}
	if foreign(c) {
		fail(c, fasthttp.StatusForbidden, "pages of other sites may not ask")
		return
	}
	r, found := s.routes[path]
	if !r.free && !s.admit(c) {
		return
	}
	switch {
	case !found:
		fail(c, fasthttp.StatusNotFound, notThere(path, s.paths()))
	case !slices.Contains(r.methods, string(c.Method())):
		h.Set(fasthttp.HeaderAllow, strings.Join(r.methods, ", "))
		fail(c, fasthttp.StatusMethodNotAllowed, fmt.Sprintf("%s takes %s", path, strings.Join(r.methods, ", ")))
	default:
		r.answer(ctx, c)
	}
}

// admit lets the request in or answers it.
func (s *Server) admit(c *fasthttp.RequestCtx) bool {
	code := s.auth.enter(c.Request.Header.Peek(fasthttp.HeaderAuthorization), c.RemoteAddr())
	switch code {
	case 0:
		return true
	case fasthttp.StatusTooManyRequests:
		c.Response.Header.Set(fasthttp.HeaderRetryAfter, "60")
		fail(c, code, fmt.Sprintf("more than %d wrong tokens in a minute; wait", maxFailures))
	default:
		c.Response.Header.Set(fasthttp.HeaderWWWAuthenticate, "Bearer")
		fail(c, code, "this needs the header `Authorization: Bearer TOKEN`; on the agent's host the token is in the file token of its data directory")
	}
	s.counts.strangers.Inc()
	return false
}

// notThere says that a path is unknown and which one may be meant.
func notThere(path string, known []string) string {
	if near, ok := config.Nearest(path, known); ok {
		return fmt.Sprintf("there is no %q; did you mean %s?", clip(path), near)
	}
	return fmt.Sprintf("there is no %q; GET / lists what there is", clip(path))
}

// fail answers with an error.
func fail(c *fasthttp.RequestCtx, code int, text string) {
	body, _ := json.Marshal(map[string]string{"error": text}) //nolint:errcheck // strings always marshal
	c.SetStatusCode(code)
	c.SetContentType("application/json")
	c.SetBody(append(body, '\n'))
}

// answer answers with v as JSON.
func answer(c *fasthttp.RequestCtx, v any) {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		fail(c, fasthttp.StatusInternalServerError, err.Error())
		return
	}
	c.SetContentType("application/json")
	c.SetBody(b.Bytes())
}

// plain refuses parameters where there are none, and reports whether to go on.
func plain(c *fasthttp.RequestCtx) bool {
	if _, err := readParams(c.QueryArgs(), nil); err != nil {
		fail(c, fasthttp.StatusBadRequest, err.Error())
		return false
	}
	return true
}

const greeting = `This is runnel %s on %s.

Ask with the header "Authorization: Bearer TOKEN", or with the program: runnel query, runnel tail, runnel status.

  GET  /api/v1/query       stored records: stream from to filter grep limit order cursor
  GET  /api/v1/tail        the same live: stream from filter grep n
  GET  /api/v1/histogram   counts over time by severity: stream from to filter grep interval cursor
  GET  /api/v1/streams     what is stored
  GET  /api/v1/status      inputs, pipelines, modules, streams, forwarders
  GET  /api/v1/audit       the ledger: every record, and what became of it
  GET  /api/v1/config      the effective configuration
  GET  /api/v1/cursors     how far each forwarder has come
  POST /api/v1/cursors     move one: {"forwarder":"hook","stream":"app","set":42}
  POST /api/v1/redrive     send dead letters again: {"stream":"app"}
  POST /api/v1/reload      read the configuration again
  GET  /api/v1/modules     the modules
  POST /api/v1/modules/NAME/try   records in, verdicts out, nothing stored

Without a token:

  GET  /metrics            for Prometheus
  GET  /healthz  /readyz   for whoever watches

docs/api.md has the details.
`

func (s *Server) greet(_ context.Context, c *fasthttp.RequestCtx) {
	c.SetContentType("text/plain; charset=utf-8")
	fmt.Fprintf(c, greeting, s.o.Version, s.o.Agent) //nolint:errcheck // into memory
}

func (s *Server) healthy(_ context.Context, c *fasthttp.RequestCtx) {
	c.SetContentType("text/plain; charset=utf-8")
	c.SetBodyString("ok\n")
}

func (s *Server) ready(_ context.Context, c *fasthttp.RequestCtx) {
	if err := s.o.Host.Ready(); err != nil {
		fail(c, fasthttp.StatusServiceUnavailable, err.Error())
		return
	}
	c.SetContentType("text/plain; charset=utf-8")
	c.SetBodyString("ready\n")
}

func (s *Server) metrics(_ context.Context, c *fasthttp.RequestCtx) {
	c.SetContentType("text/plain; version=0.0.4; charset=utf-8")
	s.o.Metrics.WritePrometheus(c)
	audit := s.o.Host.Audit()
	writeLosses(c, &audit)
	metrics.WriteProcessMetrics(c)
}

// streams answers GET /api/v1/streams, in the order of their names.
func (s *Server) streams(_ context.Context, c *fasthttp.RequestCtx) {
	if !plain(c) {
		return
	}
	all := []StreamStatus{}
	for _, st := range s.o.Source.Streams() {
		one := StreamStatus{Name: st.Name, First: st.First, Next: st.Next, Records: st.Records, Bytes: st.Bytes, RawBytes: st.RawBytes}
		if st.First < st.Next {
			one.Oldest, one.Newest = record.TimeOf(st.OldestReceived), record.TimeOf(st.NewestReceived)
		}
		all = append(all, one)
	}
	sort.Slice(all, func(i, j int) bool { return all[i].Name < all[j].Name })
	answer(c, map[string]any{"streams": all})
}

func (s *Server) status(_ context.Context, c *fasthttp.RequestCtx) {
	if !plain(c) {
		return
	}
	answer(c, s.currentStatus())
}

// currentStatus is the host's, with what it left to the server.
func (s *Server) currentStatus() Status {
	st := s.o.Host.Status()
	a := &st.Agent
	if a.Name == "" {
		a.Name = s.o.Agent
	}
	if a.Version == "" {
		a.Version = s.o.Version
	}
	if a.Started.IsZero() {
		a.Started = s.o.Started
	}
	if a.Uptime == 0 && !a.Started.IsZero() {
		a.Uptime = s.o.Now().Sub(a.Started).Round(time.Millisecond).Seconds()
	}
	if err := s.o.Host.Ready(); err != nil && a.Ready == "" {
		a.Ready = err.Error()
	}
	// Lists are never null: whoever reads them should not have to ask.
	st.Inputs, st.Pipelines, st.Modules = list(st.Inputs), list(st.Pipelines), list(st.Modules)
	st.Streams, st.Forwarders = list(st.Streams), list(st.Forwarders)
	return st
}

func list[T any](l []T) []T {
	if l == nil {
		return []T{}
	}
	return l
}

func (s *Server) config(_ context.Context, c *fasthttp.RequestCtx) {
	if !plain(c) {
		return
	}
	c.SetContentType("application/yaml")
	c.SetBody(s.o.Host.Config())
}

func (s *Server) reload(ctx context.Context, c *fasthttp.RequestCtx) {
	if !plain(c) {
		return
	}
	if err := s.o.Host.Reload(ctx); err != nil {
		s.events.reloadRefused(err)
		fail(c, fasthttp.StatusBadRequest, err.Error())
		return
	}
	answer(c, map[string]bool{"reloaded": true})
}

// place is one forwarder's cursor in one stream, as GET /api/v1/cursors lists it.
type place struct {
	Forwarder string `json:"forwarder"`
	CursorStatus
}

// move is the body of POST /api/v1/cursors: set or skip, not both.
type move struct {
	Forwarder string          `json:"forwarder"`
	Stream    string          `json:"stream"`
	Set       json.RawMessage `json:"set"`  // an offset, "oldest" or "end"
	Skip      *uint64         `json:"skip"` // how many records
}

func (s *Server) cursors(_ context.Context, c *fasthttp.RequestCtx) {
	if !plain(c) {
		return
	}
	if c.IsPost() {
		s.moveCursor(c)
		return
	}
	places := []place{}
	for _, f := range s.o.Host.Status().Forwarders {
		for _, st := range f.Streams {
			places = append(places, place{f.Name, st})
		}
	}
	answer(c, map[string]any{"cursors": places})
}

func (s *Server) moveCursor(c *fasthttp.RequestCtx) {
	var m move
	if err := strictJSON(c.PostBody(), &m); err != nil {
		fail(c, fasthttp.StatusBadRequest, `the body is not {"forwarder":"…","stream":"…","set":42} or with "skip":1 in place of "set": `+err.Error())
		return
	}
	if m.Forwarder == "" || m.Stream == "" || (m.Set == nil) == (m.Skip == nil) {
		fail(c, fasthttp.StatusBadRequest, "the body must name a forwarder, a stream, and either set or skip")
		return
	}
	if m.Skip != nil && (*m.Skip == 0 || *m.Skip > math.MaxInt64) {
		fail(c, fasthttp.StatusBadRequest, "skip is not a number of records")
		return
	}
	before, remembers := s.standing(m)
	var to uint64
	var err error
	if m.Skip != nil {
		to, err = s.o.Host.SkipCursor(m.Forwarder, m.Stream, *m.Skip)
	} else if to, err = s.target(m); err == nil {
		err = s.o.Host.SetCursor(m.Forwarder, m.Stream, to)
	}
	switch {
	case errors.As(err, new(badTarget)):
		fail(c, fasthttp.StatusBadRequest, err.Error())
	case errors.Is(err, ErrNotFound):
		fail(c, fasthttp.StatusNotFound, err.Error())
	case err != nil:
		fail(c, fasthttp.StatusServiceUnavailable, err.Error())
	default:
		s.events.cursorMoved(m.Forwarder, m.Stream, to)
		said := map[string]any{"forwarder": m.Forwarder, "stream": m.Stream, "next": to}
		if remembers && to < before {
			said["remembered"] = true
		}
		answer(c, said)
	}
}

// standing returns where a cursor is, and whether its forwarder's receivers remember what they were told.
func (s *Server) standing(m move) (next uint64, remembers bool) {
	for _, f := range s.o.Host.Status().Forwarders {
		for _, st := range f.Streams {
			if f.Name == m.Forwarder && st.Stream == m.Stream && !st.Redrive {
				return st.Next, f.Remembers
			}
		}
	}
	return 0, false
}

// badTarget is what is wrong with a place where a cursor is to be set to.
type badTarget string

func (e badTarget) Error() string { return string(e) }

func newBadTarget(set string, in Stream) badTarget {
	has := "has none"
	if in.First < in.Next {
		has = fmt.Sprintf("has %d to %d", in.First, in.Next-1)
	}
	return badTarget(fmt.Sprintf(`%s is neither an offset of %s, which %s, nor its next, %d, nor "oldest" or "end"`, clip(set), in.Name, has, in.Next))
}

// target returns the offset that m.Set means. An offset beyond the stream's end would
// silently lose what comes until then, so it is refused.
func (s *Server) target(m move) (uint64, error) {
	all := s.o.Source.Streams()
	i := slices.IndexFunc(all, func(st Stream) bool { return st.Name == m.Stream })
	if i < 0 {
		return 0, fmt.Errorf("stream %q: %w", clip(m.Stream), ErrNotFound)
	}
	switch string(m.Set) {
	case `"oldest"`:
		return all[i].First, nil
	case `"end"`:
		return all[i].Next, nil
	}
	var to uint64
	if json.Unmarshal(m.Set, &to) != nil || to > all[i].Next || to < 1 {
		return 0, newBadTarget(string(m.Set), all[i])
	}
	return to, nil
}

// strictJSON decodes exactly one JSON value and nothing that into does not have.
func strictJSON(body []byte, into any) error {
	dec := json.NewDecoder(bytes.NewReader(body))
	dec.DisallowUnknownFields()
	if err := dec.Decode(into); err != nil {
		return err
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return errors.New("something follows the object")
	}
	return nil
}
