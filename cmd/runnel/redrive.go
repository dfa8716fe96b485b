package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strconv"

	"github.com/runnel-log/runnel/agent/query"
)

// redriveCmd sends dead letters to the forwarders that refused them again.
type redriveCmd struct {
	Stream    string `arg:"" help:"The stream whose dead letters go again: app, or app.dead."`
	Forwarder string `help:"Only those that this forwarder refused." placeholder:"NAME"`
	From      value  `help:"Begin there: an offset of the dead letters, oldest, or when they were stored (2026-11-22T10:00:00Z, -1h). Default: where the last redrive ended. Those that have gone again already go once more." placeholder:"PLACE"`
	To        value  `help:"End there; that one goes no more. Default: the last dead letter there is now." placeholder:"PLACE"`
	DryRun    bool   `help:"Only say how many would go."`
	Stop      bool   `help:"End redrives that are under way, where they are."`
}

func (c redriveCmd) Run(g *globals) error {
	if c.Stop && (c.DryRun || c.From != "" || c.To != "") {
		return usageError{errors.New("--stop stands alone")}
	}
	body := map[string]any{"stream": c.Stream, "dry_run": c.DryRun, "stop": c.Stop}
	if c.Forwarder != "" {
		body["forwarder"] = c.Forwarder
	}
	for key, place := range map[string]value{"from": c.From, "to": c.To} {
		if n, err := strconv.ParseUint(string(place), 10, 64); err == nil {
			body[key] = n
		} else if place != "" {
			body[key] = string(place)
		}
	}
	agent, err := g.client()
	if err != nil {
		return err
	}
	ctx, stop := interruptible()
	defer stop()
	var done query.Redriven
	if err := agent.Post(ctx, "/api/v1/redrive", body, &done); err != nil {
		return asUsage(err)
	}
	if g.Output == "json" {
		return json.NewEncoder(g.Stdout).Encode(done)
	}
	return printRedriven(g.Stdout, &done)
}

// printRedriven says how many go where, and which go nowhere.
func printRedriven(w io.Writer, done *query.Redriven) error {
	stream, least, verb := visible(w, done.Stream), "", "go again"
	if !done.Complete {
		least = "at least "
	}
	if done.DryRun {
		verb = "would go again"
	}
	nothing := len(done.Left) == 0
	for _, f := range done.Forwarders {
		if f.Records == 0 && done.Complete && !done.Stopped {
			continue
		}
		nothing = false
		name := visible(w, f.Forwarder)
		if done.Stopped {
			fmt.Fprintf(w, "%s: stopped at offset %d of %s\n", name, f.From, stream)
			continue
		}
		fmt.Fprintf(w, "%s: %s%d of %s %s, from offset %d to %d\n", name, least, f.Records, stream, verb, f.From, max(f.From, f.Until-1))
	}
	for _, l := range done.Left {
		if l.Forwarder == "" {
			fmt.Fprintf(w, "%d are of modules, which no forwarder can take\n", l.Records)
			continue
		}
		fmt.Fprintf(w, "%d are of the forwarder %s, which the configuration does not have\n", l.Records, visible(w, l.Forwarder))
	}
	if nothing {
		_, err := fmt.Fprintf(w, "nothing of %s is left to go again\n", stream)
		return err
	}
	return nil
}
