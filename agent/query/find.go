package query

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/valyala/fasthttp"

	"github.com/runnel-log/runnel/record"
)

// The headers of an answer in pages.
const (
	headerNext     = "Runnel-Next"           // the cursor of the next page
	headerComplete = "Runnel-Complete"       // true: there is no next page
	headerDamaged  = "Runnel-Damaged"        // how many records in range could not be read
	headerUnknown  = "Runnel-Unknown-Stream" // a stream that was asked for and holds nothing
)

// question is a query or histogram that has been understood.
type question struct {
	page    page
	scan    *scanner
	unknown []string // streams asked for that the store does not have
}

// ask turns parameters into a question: a new one, or the next page of one.
// limit is how many records may be taken.
func (s *Server) ask(p params, desc bool, limit int, extra string) (question, error) {
	var q question
	want, err := p.wanted(s.o.Now())
	if err != nil {
		return q, err
	}
	agent, fork := s.o.Source.Identity()
	print := fingerprint(agent, fork, strings.Join(p.streams, ","), p.values["from"], p.values["to"],
		p.values["filter"], p.values["grep"], strconv.FormatBool(desc), extra)
	text, next := p.values["cursor"]
	if next {
		if q.page, err = decodePage(text); err != nil {
			return q, err
		}
		if q.page.question != print || q.page.desc != desc {
			return q, errors.New("cursor belongs to another question or another store; repeat the parameters that it was given for, or leave it out")
		}
		want.from, want.to = q.page.from, q.page.to
	} else {
		q.page = page{desc: desc, from: want.from, to: want.to, question: print}
	}
	streams, unknown := s.choose(p.streams)
	q.unknown = unknown
	lanes, err := lanesOf(streams, q.page.lanes, next)
	if err != nil {
		return q, err
	}
	q.scan = newScanner(s.o.Source, want, desc, lanes, limit, s.o.ScanBytes)
	q.scan.onDamage = func(stream string, h Head, err error) {
		s.counts.damaged.Add(int(h.Next - h.First))
		s.events.damaged(stream, h.First, h.Next, err)
	}
	return q, nil
}

// choose returns the streams of those names, or all, and the names that no stream has.
func (s *Server) choose(names []string) (chosen []Stream, unknown []string) {
	all := s.o.Source.Streams()
	if len(names) == 0 {
		return all, nil
	}
	for _, name := range names {
		i := slices.IndexFunc(all, func(st Stream) bool { return st.Name == name })
		if i < 0 {
			unknown = append(unknown, name)
		} else {
			chosen = append(chosen, all[i])
		}
	}
	return chosen, unknown
}

// lanesOf returns what is to be read of the streams: all that they hold now, or
// what an earlier page left.
func lanesOf(streams []Stream, left []mark, next bool) ([]lane, error) {
	var lanes []lane
	if !next {
		for _, st := range streams {
			if st.First < st.Next {
				lanes = append(lanes, lane{stream: st.Name, lo: st.First, hi: st.Next})
			}
		}
		if len(lanes) > maxLanes {
			return nil, fmt.Errorf("there are %d streams, and one question reads at most %d; name some with stream=", len(lanes), maxLanes)
		}
		return lanes, nil
	}
	for _, m := range left {
		i := slices.IndexFunc(streams, func(st Stream) bool { return streamHash(st.Name) == m.stream })
		// A stream that is gone has nothing left; one named twice is read once.
		if i >= 0 && !slices.ContainsFunc(lanes, func(l lane) bool { return l.stream == streams[i].Name }) {
			lanes = append(lanes, lane{stream: streams[i].Name, lo: m.lo, hi: m.hi})
		}
	}
	return lanes, nil
}

// close says in the headers where the question stands, and frees its memory.
func (q *question) close(c *fasthttp.RequestCtx, complete bool) {
	if complete {
		c.Response.Header.Set(headerComplete, "true")
	} else {
		q.page.lanes = q.page.lanes[:0]
		for _, l := range q.scan.rest() {
			q.page.lanes = append(q.page.lanes, mark{streamHash(l.stream), l.lo, l.hi})
		}
		c.Response.Header.Set(headerNext, q.page.encode())
	}
	if q.scan.damaged > 0 {
		c.Response.Header.Set(headerDamaged, strconv.FormatUint(q.scan.damaged, 10))
	}
	for _, name := range q.unknown {
		c.Response.Header.Add(headerUnknown, name)
	}
	q.scan.close()
}

// slot takes one of the few places for questions; false when all are taken.
func (s *Server) slot(c *fasthttp.RequestCtx) bool {
	select {
	case s.queries <- struct{}{}:
		return true
	default:
		c.Response.Header.Set(fasthttp.HeaderRetryAfter, "1")
		fail(c, fasthttp.StatusTooManyRequests, fmt.Sprintf("%d queries are under way already; try again in a second", maxQueries))
		return false
	}
}

// find answers GET /api/v1/query.
func (s *Server) find(ctx context.Context, c *fasthttp.RequestCtx) {
	p, err := readParams(c.QueryArgs(), queryParams)
	if err != nil {
		fail(c, fasthttp.StatusBadRequest, err.Error())
		return
	}
	limit, err1 := p.number("limit", 1, maxLimit, defaultLimit)
	desc, err2 := p.order()
	if err := errors.Join(err1, err2); err != nil {
		fail(c, fasthttp.StatusBadRequest, err.Error())
		return
	}
	if !s.slot(c) {
		return
	}
	defer func() { <-s.queries }()
	began := time.Now()
	q, err := s.ask(p, desc, limit, "")
	if err != nil {
		fail(c, fasthttp.StatusBadRequest, err.Error())
		return
	}
	ctx, cancel := context.WithTimeout(ctx, s.o.QueryTime)
	defer cancel()
	body, complete := s.take(ctx, q.scan, limit)
	s.counts.scanned.Add(int(q.scan.bytes))
	s.counts.took.Add(time.Since(began).Seconds())
	q.close(c, complete)
	c.SetContentType("application/x-ndjson")
	c.Response.SetBodyRaw(body)
}

// take writes up to limit records as NDJSON, and reports whether there are no more.
func (s *Server) take(ctx context.Context, scan *scanner, limit int) (body []byte, complete bool) {
	body = make([]byte, 0, 16<<10)
	for range limit {
		v, at, err := scan.next(ctx)
		if err != nil {
			return body, errors.Is(err, io.EOF)
		}
		body = record.AppendJSON(body, v, s.meta(at))
		body = append(body, '\n')
		if len(body) >= maxAnswer {
			break
		}
	}
	return body, len(scan.rest()) == 0
}

// meta is what a record does not say of itself.
func (s *Server) meta(at spot) record.Meta {
	agent, _ := s.o.Source.Identity()
	return record.Meta{Stream: at.stream, Offset: at.offset, Agent: s.o.Agent, OriginAgent: agent, OriginEpoch: at.epoch}
}
