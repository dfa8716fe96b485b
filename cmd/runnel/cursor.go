package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
)

// cursorCmd looks at forwarders' cursors and moves them.
type cursorCmd struct {
	List cursorListCmd `cmd:"" default:"1" help:"List every forwarder's cursor in every stream."`
	Set  cursorSetCmd  `cmd:"" help:"Make an offset the next one that a forwarder gets of a stream. Set back, a relay sends only what its receiver has lost."`
	Skip cursorSkipCmd `cmd:"" help:"Move a forwarder's cursor over the next records of a stream."`
}

// cursorListCmd lists cursors.
type cursorListCmd struct{}

// listed is the answer of GET /api/v1/cursors.
type listed struct {
	Cursors []struct {
		Forwarder string `json:"forwarder"`
		cursorState
	} `json:"cursors"`
}

func (cursorListCmd) Run(g *globals) error {
	agent, err := g.client()
	if err != nil {
		return err
	}
	ctx, stop := interruptible()
	defer stop()
	var raw json.RawMessage
	if err := agent.GetJSON(ctx, "/api/v1/cursors", nil, &raw); err != nil {
		return err
	}
	if g.Output == "json" {
		return printJSON(g.Stdout, raw)
	}
	var all listed
	if err := json.Unmarshal(raw, &all); err != nil {
		return err
	}
	t := table{head: []string{"FORWARDER", "STREAM", "NEXT", "END", "LAG", "BEHIND"}}
	for _, c := range all.Cursors {
		t.add(c.Forwarder, c.Stream, num(c.Next), num(c.End), num(c.LagRecords), span(c.LagSeconds))
	}
	return t.print(g.Stdout)
}

// cursorSetCmd moves a cursor to an offset.
type cursorSetCmd struct {
	Forwarder string `arg:"" help:"The forwarder's name."`
	Stream    string `arg:"" help:"The stream's name."`
	Offset    string `arg:"" help:"The offset, or oldest, or end."`
}

func (c cursorSetCmd) Run(g *globals) error {
	var to any = c.Offset
	if c.Offset != "oldest" && c.Offset != "end" {
		n, err := strconv.ParseUint(c.Offset, 10, 64)
		if err != nil {
			return usageError{fmt.Errorf("%q is not an offset; write a number, oldest or end", c.Offset)}
		}
		to = n
	}
	return g.move(map[string]any{"forwarder": c.Forwarder, "stream": c.Stream, "set": to})
}

// cursorSkipCmd moves a cursor on.
type cursorSkipCmd struct {
	Forwarder string `arg:"" help:"The forwarder's name."`
	Stream    string `arg:"" help:"The stream's name."`
	N         uint64 `arg:"" optional:"" default:"1" help:"How many records; default the one that is next."`
}

func (c cursorSkipCmd) Run(g *globals) error {
	if c.N == 0 {
		return usageError{errors.New("skipping 0 records does nothing")}
	}
	return g.move(map[string]any{"forwarder": c.Forwarder, "stream": c.Stream, "skip": c.N})
}

// remembered is what setting a cursor back does where the receiver is a runnel.
const remembered = `its receiver keeps what it was told of each record: only what it has lost is sent again, and not what it has, nor what "where" or
a skip left out before; those count as filtered. "runnel query" here, or another receiver, has them`

// move asks the agent to move a cursor and says where it is now.
func (g *globals) move(body map[string]any) error {
	agent, err := g.client()
	if err != nil {
		return err
	}
	ctx, stop := interruptible()
	defer stop()
	var now struct {
		Forwarder string `json:"forwarder"`
		Stream    string `json:"stream"`
		Next      uint64 `json:"next"`

		Remembered bool `json:"remembered,omitempty"` // it was set back, and the receiver keeps what it was told
	}
	if err := agent.Post(ctx, "/api/v1/cursors", body, &now); err != nil {
		return asUsage(err)
	}
	if g.Output == "json" {
		return json.NewEncoder(g.Stdout).Encode(now)
	}
	_, err = fmt.Fprintf(g.Stdout, "%s goes on at %d of %s\n", visible(g.Stdout, now.Forwarder), now.Next, visible(g.Stdout, now.Stream))
	if err == nil && now.Remembered {
		_, err = fmt.Fprintln(g.Stdout, remembered)
	}
	return err
}
