package main

import (
	"context"
	"errors"
	"net/url"
	"strconv"

	"github.com/runnel-log/runnel/internal/client"
)

// tailCmd prints records as they are stored.
type tailCmd struct {
	selection
	N    int   `short:"n" name:"last" default:"0" help:"Begin with this many that are stored already."`
	From value `placeholder:"TIME" help:"Of those, only from this time on: 2026-11-22T10:00:00Z, seconds since 1970, or -15m."`
}

func (c tailCmd) Run(g *globals) error {
	if c.N < 0 {
		return usageError{errors.New("-n is less than 0")}
	}
	agent, err := g.client()
	if err != nil {
		return err
	}
	ctx, stop := interruptible()
	defer stop()
	p := c.params()
	set(p, "from", string(c.From))
	if c.N > 0 {
		p.Set("n", strconv.Itoa(c.N))
	}
	return g.tail(ctx, agent, p)
}

// tail prints what the agent sends until the user or the agent ends it.
func (g *globals) tail(ctx context.Context, agent *client.Client, p url.Values) error {
	answer, err := agent.Get(ctx, "/api/v1/tail", p)
	if err != nil {
		return asUsage(err)
	}
	defer answer.Body.Close()
	out := g.lines()
	_, err = out.each(answer.Body, 0, true)
	flushed := out.out.Flush()
	switch {
	case ctx.Err() != nil:
		return nil // the user has seen enough
	case flushed != nil:
		return flushed
	case err != nil:
		return errors.New("the agent has broken off: it was killed, or it dropped this tail because it was too slow")
	}
	return errors.New("the agent has stopped")
}
