package main

import (
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/runnel-log/runnel/agent/query"
)

// auditCmd prints the ledger.
type auditCmd struct{}

func (auditCmd) Run(g *globals) error {
	agent, err := g.client()
	if err != nil {
		return err
	}
	ctx, stop := interruptible()
	defer stop()
	var raw json.RawMessage
	if err := agent.GetJSON(ctx, "/api/v1/audit", nil, &raw); err != nil {
		return err
	}
	var a query.Audit
	if err := json.Unmarshal(raw, &a); err != nil {
		return fmt.Errorf("read the agent's answer: %w", err)
	}
	if g.Output == "json" {
		err = printJSON(g.Stdout, raw)
	} else {
		err = printAudit(g.Stdout, &a)
	}
	if err == nil && a.Unexplained != 0 {
		return fmt.Errorf("%d records are unexplained: this is a bug in runnel; please report it with runnel audit -o json", a.Unexplained)
	}
	return err
}

// printAudit prints every part as a table, and the sum of what none explains.
func printAudit(w io.Writer, a *query.Audit) error {
	tables := []table{inputAudit(a), pipelineAudit(a), moduleAudit(a), streamAudit(a), forwarderAudit(a)}
	for i := range tables {
		if err := tables[i].print(w); err != nil {
			return err
		}
	}
	if err := printLosses(w, a); err != nil {
		return err
	}
	_, err := fmt.Fprintf(w, "\nunexplained: %d\n", a.Unexplained)
	return err
}

func inputAudit(a *query.Audit) table {
	t := table{title: "INPUTS", head: []string{"NAME", "RECEIVED", "DROPPED", "BY THE KERNEL"}}
	for _, in := range a.Inputs {
		t.add(in.Name, num(in.Received), zero(in.Dropped), zero(in.KernelDrops))
	}
	return t
}

func pipelineAudit(a *query.Audit) table {
	t := table{title: "PIPELINES", head: []string{"NAME", "RECEIVED", "EMITTED", "BROUGHT", "STORED", "DROPPED", "HELD", "LEFT", "UNEXPLAINED", "REJECTED", "REASONS"}}
	for _, p := range a.Pipelines {
		t.add(p.Name, num(total(p.Received)), zero(p.Emitted), zero(p.Brought), num(total(p.Stored)), zero(total(p.Dropped)), zero(p.Held), zero(p.Left),
			signed(p.Unexplained), zero(p.Rejected), reasons(p.Dropped))
	}
	return t
}

func moduleAudit(a *query.Audit) table {
	t := table{title: "MODULES", head: []string{"NAME", "PIPELINE", "IN", "EMITTED", "BROUGHT", "OUT", "DEAD", "DROPPED", "HELD", "UNEXPLAINED", "REASONS"}}
	for _, m := range a.Modules {
		t.add(m.Name, m.Pipeline, num(m.In), zero(m.Emitted), zero(m.Brought), num(m.Out), zero(m.Dead), zero(total(m.Dropped)), zero(m.Held),
			signed(m.Unexplained), reasons(m.Dropped))
	}
	return t
}

func streamAudit(a *query.Audit) table {
	t := table{title: "STREAMS", head: []string{"NAME", "PIPELINES", "DEAD LETTERS", "EARLIER", "LOST", "STORED", "HERE", "RETENTION", "DAMAGED", "UNEXPLAINED", "DROPPED", "EXPIRED"}}
	for _, s := range a.Streams {
		t.add(s.Name, num(s.Pipelines), zero(s.DeadLetters), zero(s.Earlier), zero(s.Lost), num(s.Stored), num(s.Here), zero(s.Retention),
			zero(s.Damaged), signed(s.Unexplained), zero(s.Dropped+s.Uncommitted), zero(s.Expired))
	}
	return t
}

func forwarderAudit(a *query.Audit) table {
	t := table{title: "FORWARDERS", head: []string{"NAME", "STREAM", "FROM", "STORED", "DELIVERED", "REDRIVEN", "FILTERED", "DEAD", "EXPIRED", "DAMAGED", "SKIPPED", "REWOUND", "PENDING", "UNEXPLAINED", "REPEATED"}}
	for _, f := range a.Forwarders {
		t.add(f.Name, f.Stream, num(f.Start), num(f.Stored), num(f.Delivered), zero(f.Redriven), zero(f.Filtered), zero(f.Dead), zero(f.Expired), zero(f.Damaged),
			zero(f.Skipped), zero(f.Rewound), zero(f.Pending), signed(f.Unexplained), zero(f.Repeated))
	}
	return t
}

func total(counts map[string]uint64) (sum uint64) {
	for _, n := range counts {
		sum += n
	}
	return sum
}

func reasons(counts map[string]uint64) string {
	var all []string
	for _, reason := range slices.Sorted(maps.Keys(counts)) {
		if n := counts[reason]; n > 0 {
			all = append(all, reason+"="+num(n))
		}
	}
	if len(all) == 0 {
		return "-"
	}
	return strings.Join(all, ",")
}

func signed(n int64) string { return strconv.FormatInt(n, 10) }
