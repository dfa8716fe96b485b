package query

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/valyala/fasthttp"

	"github.com/runnel-log/runnel/record"
)

// maxBuckets bounds a histogram's length.
const maxBuckets = 1000

// histogram is counts over time.
type histogram struct {
	From     *time.Time `json:"from,omitempty"` // absent where the range has no beginning
	To       *time.Time `json:"to,omitempty"`
	Interval float64    `json:"interval_seconds,omitempty"` // absent for one bucket over all
	Total    uint64     `json:"total"`
	Buckets  []bucket   `json:"buckets"`
	Complete bool       `json:"complete"` // false: ask again with the cursor in Runnel-Next, and add up
}

// bucket counts the records from its time on, until the next one's.
type bucket struct {
	Time     *time.Time        `json:"time,omitempty"`
	Total    uint64            `json:"total"`
	Severity map[string]uint64 `json:"severity"` // by name; "none" where none was stated
}

// count answers GET /api/v1/histogram.
func (s *Server) count(ctx context.Context, c *fasthttp.RequestCtx) {
	p, err := readParams(c.QueryArgs(), histogramParams)
	if err != nil {
		fail(c, fasthttp.StatusBadRequest, err.Error())
		return
	}
	if !s.slot(c) {
		return
	}
	defer func() { <-s.queries }()
	interval, whole := p.values["interval"]
	whole = whole && interval == "all"
	if !whole {
		p.bound()
	}
	began := time.Now()
	q, err := s.ask(p, true, maxLimit, interval)
	if err != nil {
		fail(c, fasthttp.StatusBadRequest, err.Error())
		return
	}
	step, err := stepOf(interval, whole, q.scan.want)
	if err != nil {
		q.scan.close()
		fail(c, fasthttp.StatusBadRequest, err.Error())
		return
	}
	ctx, cancel := context.WithTimeout(ctx, s.o.QueryTime)
	defer cancel()
	h := tally(ctx, q.scan, step)
	s.counts.scanned.Add(int(q.scan.bytes))
	s.counts.took.Add(time.Since(began).Seconds())
	q.close(c, h.Complete)
	c.SetContentType("application/json")
	body, err := json.Marshal(h)
	if err != nil {
		fail(c, fasthttp.StatusServiceUnavailable, err.Error())
		return
	}
	c.Response.SetBodyRaw(append(body, '\n'))
}

// bound gives the range of a histogram the ends it needs: the last hour.
func (p *params) bound() {
	if _, given := p.values["from"]; !given {
		p.values["from"] = "-1h"
	}
	if _, given := p.values["to"]; !given {
		p.values["to"] = "now"
	}
}

// stepOf returns a bucket's length: as asked for, else one that makes about
// sixty of the range; 0 for one bucket over all.
func stepOf(text string, whole bool, w wanted) (time.Duration, error) {
	if whole {
		return 0, nil
	}
	tooLong := errors.New("the range is too long for a histogram; give interval=all to count it as one")
	if w.from == alwaysFrom || w.to == alwaysTo || w.to-w.from <= 0 { // the last: the difference overflowed
		return 0, tooLong
	}
	length := time.Duration(w.to - w.from)
	if text == "" {
		for _, step := range niceSteps {
			if length/step <= 60 {
				return step, nil
			}
		}
		return 0, tooLong
	}
	step, err := span(text)
	if err != nil {
		return 0, fmt.Errorf("interval %q: %w", clip(text), err)
	}
	if step < time.Millisecond || length/step >= maxBuckets {
		return 0, fmt.Errorf("interval %q makes more than %d buckets of this range", clip(text), maxBuckets)
	}
	if w.from < alwaysFrom+int64(step) { // the first bucket would begin before time does
		return 0, tooLong
	}
	return step, nil
}

var niceSteps = [...]time.Duration{time.Second, 2 * time.Second, 5 * time.Second, 10 * time.Second, 15 * time.Second,
	30 * time.Second, time.Minute, 2 * time.Minute, 5 * time.Minute, 10 * time.Minute, 15 * time.Minute,
	30 * time.Minute, time.Hour, 2 * time.Hour, 3 * time.Hour, 6 * time.Hour, 12 * time.Hour, 24 * time.Hour,
	7 * 24 * time.Hour, 30 * 24 * time.Hour, 365 * 24 * time.Hour}

// tally counts what scan yields. Buckets begin at multiples of step, so that
// two histograms of overlapping ranges can be laid over each other.
func tally(ctx context.Context, scan *scanner, step time.Duration) histogram {
	from, to := scan.want.from, scan.want.to
	h := histogram{From: timeOrNil(from), To: timeOrNil(to), Interval: step.Seconds()}
	start, n := int64(0), 1
	if step > 0 {
		start = floor(from, int64(step))
		n = int((to-1-start)/int64(step)) + 1
	}
	counts := make([][9]uint64, n)
	for {
		scan.room = maxLimit
		v, _, err := scan.next(ctx)
		if err != nil {
			h.Complete = errors.Is(err, io.EOF)
			break
		}
		at := 0
		if step > 0 {
			at = int((v.When() - start) / int64(step))
		}
		if at >= 0 && at < n {
			counts[at][min(v.Severity(), 8)]++
		}
	}
	for i, count := range counts {
		b := bucket{Severity: make(map[string]uint64)}
		if step > 0 {
			b.Time = timeOrNil(start + int64(i)*int64(step))
		}
		for severity, c := range count {
			if c > 0 {
				b.Severity[severityName(severity)] = c
				b.Total += c
			}
		}
		h.Total += b.Total
		h.Buckets = append(h.Buckets, b)
	}
	return h
}

func severityName(s int) string {
	if s == 8 {
		return "none"
	}
	return record.SeverityName(record.Severity(s))
}

// floor returns the greatest multiple of step that is at most t.
func floor(t, step int64) int64 {
	q := t / step
	if t%step < 0 {
		q--
	}
	return q * step
}

func timeOrNil(ns int64) *time.Time {
	if ns == alwaysFrom || ns == alwaysTo {
		return nil
	}
	t := time.Unix(0, ns).UTC()
	return &t
}
