package query

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"github.com/valyala/fasthttp"

	"github.com/runnel-log/runnel/record"
)

// maxTried is how many records one call may give a module to try.
const maxTried = 1000

// tryPath is the one path with a name in it.
const tryPath = "/api/v1/modules/NAME/try"

// routeOf returns the path in the table that a path stands for, and the name in it.
func routeOf(path string) (known, name string) {
	rest, ok := strings.CutPrefix(path, "/api/v1/modules/")
	if !ok {
		return path, ""
	}
	if name, ok = strings.CutSuffix(rest, "/try"); !ok || name == "" || strings.Contains(name, "/") {
		return path, ""
	}
	return tryPath, name
}

// Verdict is what a module made of one record.
type Verdict struct {
	Index   int               `json:"index"`             // of the record in the request, from 0
	Verdict string            `json:"verdict"`           // keep, change, drop, hold or fail
	Records []json.RawMessage `json:"records"`           // what goes on: the record, and what the module emitted or let go
	Dropped map[string]int    `json:"dropped,omitempty"` // by reason
	Held    int               `json:"held,omitempty"`
	Error   string            `json:"error,omitempty"` // why the module failed
}

func (s *Server) modules(_ context.Context, c *fasthttp.RequestCtx) {
	if plain(c) {
		answer(c, map[string]any{"modules": list(s.o.Host.Status().Modules)})
	}
}

// try gives records to a module and answers with its verdicts. Nothing is stored.
func (s *Server) try(ctx context.Context, c *fasthttp.RequestCtx) {
	if !plain(c) {
		return
	}
	_, name := routeOf(string(c.Path()))
	records, err := readRecords(c.PostBody(), s.o.Agent)
	defer func() {
		for _, b := range records {
			b.Release()
		}
	}()
	if err != nil {
		fail(c, fasthttp.StatusBadRequest, err.Error())
		return
	}
	if !s.trying.TryLock() { // each loads the module anew
		c.Response.Header.Set(fasthttp.HeaderRetryAfter, "1")
		fail(c, fasthttp.StatusTooManyRequests, "another module is being tried; ask again")
		return
	}
	defer s.trying.Unlock()
	verdicts, err := s.o.Host.TryModule(ctx, name, records)
	switch {
	case errors.Is(err, ErrNotFound):
		fail(c, fasthttp.StatusNotFound, err.Error())
	case err != nil:
		fail(c, fasthttp.StatusServiceUnavailable, err.Error())
	default:
		answer(c, map[string]any{"verdicts": list(verdicts)})
	}
}

// readRecords reads a JSON array of records, or records one behind another, as
// in NDJSON. Each becomes a batch of its own.
func readRecords(body []byte, agent string) (all []*record.Batch, err error) {
	dec := json.NewDecoder(bytes.NewReader(body))
	array := bytes.HasPrefix(bytes.TrimSpace(body), []byte("["))
	if array {
		if _, err := dec.Token(); err != nil {
			return nil, err
		}
	}
	var r record.Record
	for dec.More() {
		var raw json.RawMessage
		if err := dec.Decode(&raw); err != nil {
			return all, fmt.Errorf("record %d is no JSON: %w", len(all), err)
		}
		if err := record.ParseJSON(raw, &r); err != nil {
			return all, fmt.Errorf("record %d: %w", len(all), err)
		}
		if len(all) == maxTried {
			return all, fmt.Errorf("more than %d records; send fewer", maxTried)
		}
		if len(r.Agent) == 0 {
			r.Agent = []byte(agent)
		}
		b := record.NewBatch()
		all = append(all, b)
		if err := b.Append(&r); err != nil {
			return all, fmt.Errorf("record %d: %w", len(all)-1, err)
		}
	}
	if array {
		if _, err := dec.Token(); err != nil {
			return all, fmt.Errorf("the list of records does not end: %w", err)
		}
	}
	switch {
	case dec.More() || len(bytes.TrimSpace(body[min(int(dec.InputOffset()), len(body)):])) > 0:
		return all, errors.New("something follows the list of records")
	case len(all) == 0:
		return all, errors.New(`the body holds no record; send records as JSON, one a line or as a list, such as {"message":"hello"}`)
	}
	return all, nil
}
