package query

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/valyala/fasthttp"
)

// Redrive asks for dead letters to be sent again to the forwarders that refused them.
type Redrive struct {
	Stream    string // "app" and "app.dead" mean the same
	Forwarder string // empty: all
	From      Bound  // none: where the last one of that stream and forwarder ended
	To        Bound  // none: the last dead letter there is now
	DryRun    bool   // only count
	Stop      bool   // end those that are under way, where they are
}

// Bound is a place in a stream: an offset, or a time, in nanoseconds since 1970
// UTC, at which dead letters were stored. The zero value is none.
type Bound struct {
	Offset uint64
	Time   int64
}

// Redriven is what becomes of a Redrive.
type Redriven struct {
	Stream     string      `json:"stream"` // of the dead letters
	DryRun     bool        `json:"dry_run,omitempty"`
	Stopped    bool        `json:"stopped,omitempty"`
	Records    uint64      `json:"records"` // that go again, of all forwarders together
	Forwarders []RedriveOf `json:"forwarders"`
	Left       []Letters   `json:"left"`     // dead letters that go nowhere
	Complete   bool        `json:"complete"` // all were counted; there may be more than the numbers say otherwise
}

// RedriveOf is one forwarder's part: its dead letters from one offset to another,
// without that.
type RedriveOf struct {
	Forwarder string `json:"forwarder"`
	Records   uint64 `json:"records"`
	From      uint64 `json:"from"`
	Until     uint64 `json:"until"`
}

// Letters are dead letters of a forwarder that the configuration has no more or, with
// no name, of modules, which none can take.
type Letters struct {
	Forwarder string `json:"forwarder"`
	Records   uint64 `json:"records"`
}

func (s *Server) redrive(ctx context.Context, c *fasthttp.RequestCtx) {
	if !plain(c) {
		return
	}
	var body struct {
		Stream    string          `json:"stream"`
		Forwarder string          `json:"forwarder"`
		From      json.RawMessage `json:"from"`
		To        json.RawMessage `json:"to"`
		DryRun    bool            `json:"dry_run"`
		Stop      bool            `json:"stop"`
	}
	if err := strictJSON(c.PostBody(), &body); err != nil {
		fail(c, fasthttp.StatusBadRequest, `the body is not {"stream":"…"} with "forwarder", "from", "to", "dry_run" or "stop" beside it: `+err.Error())
		return
	}
	if body.Stream == "" || body.Stop && (body.DryRun || body.From != nil || body.To != nil) {
		fail(c, fasthttp.StatusBadRequest, "the body must name a stream, and stop stands alone")
		return
	}
	q := Redrive{Stream: body.Stream, Forwarder: body.Forwarder, DryRun: body.DryRun, Stop: body.Stop}
	var err error
	if q.From, err = s.bound("from", body.From); err == nil {
		q.To, err = s.bound("to", body.To)
	}
	if err != nil {
		fail(c, fasthttp.StatusBadRequest, err.Error())
		return
	}
	done, err := s.o.Host.Redrive(ctx, q)
	switch {
	case errors.Is(err, ErrNotFound):
		fail(c, fasthttp.StatusNotFound, err.Error())
	case err != nil:
		fail(c, fasthttp.StatusServiceUnavailable, err.Error())
	default:
		answer(c, done)
	}
}

// bound reads a place in a stream: an offset, "oldest", or a time in a text.
func (s *Server) bound(name string, raw json.RawMessage) (b Bound, err error) {
	if raw == nil {
		return b, nil
	}
	var text string
	switch {
	case json.Unmarshal(raw, &b.Offset) == nil && b.Offset > 0:
		return b, nil
	case json.Unmarshal(raw, &text) != nil:
		return Bound{}, fmt.Errorf(`%s is neither an offset, nor "oldest", nor a time in a text`, name)
	case text == "oldest":
		return Bound{Offset: 1}, nil
	}
	if b.Time, err = instant(text, s.o.Now()); err != nil {
		return Bound{}, fmt.Errorf("%s: %w", name, err)
	}
	return b, nil
}
