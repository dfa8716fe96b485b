package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strconv"

	"github.com/runnel-log/runnel/internal/client"
)

// pageLimit is how many records one request asks for at most.
const pageLimit = 1000

// selection is what query and tail both choose records by.
type selection struct {
	Filter []string `arg:"" optional:"" help:"Which records: an expression such as severity <= \"err\" or attrs.status >= 500."`
	Stream []string `short:"s" sep:"," help:"Of these streams only; may be repeated."`
	Grep   value    `short:"g" placeholder:"TEXT" help:"Only records with this text in them."`
}

func (s selection) params() url.Values {
	p := url.Values{}
	for _, stream := range s.Stream {
		p.Add("stream", stream)
	}
	set(p, "filter", asFilter(s.Filter))
	set(p, "grep", string(s.Grep))
	return p
}

func set(p url.Values, key, value string) {
	if value != "" {
		p.Set(key, value)
	}
}

// queryCmd prints stored records.
type queryCmd struct {
	selection
	From   value  `placeholder:"TIME" help:"From this time on: 2026-11-22T10:00:00Z, seconds since 1970, or -15m."`
	To     value  `placeholder:"TIME" help:"Until before this time, or now."`
	N      int    `short:"n" name:"limit" default:"100" help:"At most this many; 0 for all."`
	Order  string `enum:"desc,asc" default:"desc" help:"desc: newest first; asc: oldest first."`
	Count  bool   `help:"Print how many there are, by severity, instead of the records."`
	Follow bool   `short:"f" help:"Print the newest ones, oldest first, and then each new one as it is stored."`
}

func (c queryCmd) Run(g *globals) error {
	agent, err := g.client()
	if err != nil {
		return err
	}
	ctx, stop := interruptible()
	defer stop()
	p := c.params()
	set(p, "from", string(c.From))
	switch {
	case c.N < 0:
		return usageError{errors.New("-n is less than 0")}
	case c.Follow && (c.To != "" || c.Count || c.Order == "asc"):
		return usageError{errors.New("--follow has no end, no count and one order: leave out --to, --count and --order")}
	case c.Follow:
		p.Set("n", strconv.Itoa(min(c.N, 10_000)))
		return g.tail(ctx, agent, p)
	}
	set(p, "to", string(c.To))
	if c.Count {
		return g.count(ctx, agent, p)
	}
	p.Set("order", c.Order)
	return asUsage(g.pages(ctx, agent, p, c.N))
}

// asUsage turns what the agent finds wrong with a question into what it is: a
// mistake in the command line.
func asUsage(err error) error {
	var refusal *client.Refusal
	if errors.As(err, &refusal) && refusal.Code == http.StatusBadRequest {
		return usageError{err}
	}
	if errors.Is(err, context.Canceled) {
		return nil // the user has seen enough
	}
	return err
}

// pages prints n records, or all if n is 0, page by page.
func (g *globals) pages(ctx context.Context, agent *client.Client, p url.Values, n int) error {
	out := g.lines()
	told := make(map[string]bool)
	for left := n; n == 0 || left > 0; {
		limit := pageLimit
		if n > 0 {
			limit = min(left, pageLimit)
		}
		p.Set("limit", strconv.Itoa(limit))
		answer, err := agent.Get(ctx, "/api/v1/query", p)
		if err != nil {
			return err
		}
		g.warn(answer.Header, told)
		got, err := out.each(answer.Body, 0, false)
		answer.Body.Close()
		if err == nil {
			err = out.out.Flush()
		}
		next := answer.Header.Get("Runnel-Next")
		if err != nil || next == "" {
			return err
		}
		left -= got
		p.Set("cursor", next)
	}
	return nil
}

// warn says what an answer leaves out, once.
func (g *globals) warn(h http.Header, told map[string]bool) {
	say := func(text string) {
		if !told[text] {
			fmt.Fprintf(g.Stderr, "runnel: %s\n", text)
			told[text] = true
		}
	}
	if n := h.Get("Runnel-Damaged"); n != "" {
		say(n + " records are in damaged blocks and left out")
	}
	for _, stream := range h.Values("Runnel-Unknown-Stream") {
		say(fmt.Sprintf("nothing has been stored in a stream %q; runnel status lists the streams", stream))
	}
}

// counted is an answer of the histogram.
type counted struct {
	Total   uint64 `json:"total"`
	Buckets []struct {
		Severity map[string]uint64 `json:"severity"`
	} `json:"buckets"`
}

// count prints how many records there are.
func (g *globals) count(ctx context.Context, agent *client.Client, p url.Values) error {
	p.Set("interval", "all")
	total, severities, told := uint64(0), make(map[string]uint64), make(map[string]bool)
	for {
		answer, err := agent.Get(ctx, "/api/v1/histogram", p)
		if err != nil {
			return asUsage(err)
		}
		g.warn(answer.Header, told)
		var c counted
		err = json.NewDecoder(answer.Body).Decode(&c)
		answer.Body.Close()
		if err != nil {
			return fmt.Errorf("read the agent's answer: %w", err)
		}
		total += c.Total
		for _, b := range c.Buckets {
			for severity, n := range b.Severity {
				severities[severity] += n
			}
		}
		next := answer.Header.Get("Runnel-Next")
		if next == "" {
			break
		}
		p.Set("cursor", next)
	}
	if g.Output == "json" {
		return json.NewEncoder(g.Stdout).Encode(map[string]any{"total": total, "severity": severities})
	}
	if _, err := fmt.Fprintln(g.Stdout, total); err != nil || g.Output == "raw" {
		return err
	}
	for _, severity := range []string{"emerg", "alert", "crit", "err", "warning", "notice", "info", "debug", "none"} {
		if n := severities[severity]; n > 0 {
			fmt.Fprintf(g.Stdout, "%10d  %s\n", n, severity)
		}
	}
	return nil
}
