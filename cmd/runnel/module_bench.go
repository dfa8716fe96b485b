package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"time"

	"github.com/runnel-log/runnel/record"
	"github.com/runnel-log/runnel/wasm"
	"github.com/runnel-log/runnel/wasm/workbench"
)

// moduleBenchCmd measures a module.
type moduleBenchCmd struct {
	Path string `arg:"" optional:"" default:"." help:"A .wasm file, or a project's folder."`
	moduleWith
	File        string        `short:"f" placeholder:"FILE" xor:"from" help:"Records to measure with, one a line: as JSON, syslog lines, or plain text. Default: generated ones."`
	FromStore   bool          `xor:"from" help:"Measure with the newest 10 000 records that the running agent holds."`
	Stream      string        `short:"s" help:"With --from-store: of this stream only."`
	Batch       int           `default:"256" help:"Records in a batch."`
	Time        time.Duration `default:"2s" help:"How long to measure each."`
	Interpreter bool          `help:"Measure on the interpreter too."`
}

func (c moduleBenchCmd) Run(g *globals) error {
	ctx, stop := interruptible()
	defer stop()
	if c.Batch < 1 || c.Time <= 0 {
		return usageError{errors.New("--batch and --time are more than 0")}
	}
	given, tables, err := c.read()
	if err != nil {
		return err
	}
	file, err := g.moduleOf(c.Path, true)
	if err != nil {
		return err
	}
	batches, from, err := c.records(ctx, g)
	if err != nil {
		return err
	}
	o := workbench.BenchOptions{Config: given, Tables: tables, Batch: c.Batch, Time: c.Time, Batches: batches}
	engines := []wasm.Engine{wasm.Auto}
	if c.Interpreter {
		engines = append(engines, wasm.Interpreter)
	}
	var all []*workbench.Measure
	for _, engine := range engines {
		m, err := measure(ctx, file, o, engine)
		if err != nil {
			return err
		}
		base, err := workbench.Baseline(ctx, o, engine)
		if err != nil {
			return err
		}
		all = append(all, m, base)
	}
	return c.print(g, file, from, all)
}

// measure measures the module on one engine.
func measure(ctx context.Context, file string, o workbench.BenchOptions, engine wasm.Engine) (m *workbench.Measure, err error) {
	desk, err := workbench.NewDesk(ctx, file, workbench.DeskOptions{Engine: engine})
	if err != nil {
		return nil, err
	}
	m, err = desk.Bench(ctx, o)
	return m, errors.Join(err, desk.Close(context.WithoutCancel(ctx)))
}

// storeRecords is how many records --from-store asks for, the most that one answer has.
const storeRecords = 10_000

// records returns what to measure with, and what to call it.
func (c moduleBenchCmd) records(ctx context.Context, g *globals) ([]*record.Batch, string, error) {
	var in io.ReadCloser
	from := c.File
	switch {
	case c.FromStore:
		agent, err := g.client()
		if err != nil {
			return nil, "", err
		}
		p := url.Values{"limit": {fmt.Sprint(storeRecords)}}
		set(p, "stream", c.Stream)
		answer, err := agent.Get(ctx, "/api/v1/query", p)
		if err != nil {
			return nil, "", asUsage(err)
		}
		in, from = answer.Body, "the store"
	case c.File != "":
		f, err := os.Open(c.File)
		if err != nil {
			return nil, "", usageError{err}
		}
		in = f
	default:
		batches, err := workbench.Batches(workbench.Generated(max(4096, 8*c.Batch)), c.Batch)
		return batches, "generated", err
	}
	defer in.Close()
	batches, err := c.readAll(in)
	if err == nil && len(batches) == 0 {
		err = usageError{fmt.Errorf("%s holds no records", from)}
	}
	return batches, from, err
}

// readAll reads a record of each line.
func (c moduleBenchCmd) readAll(in io.Reader) (batches []*record.Batch, err error) {
	lines := bufio.NewReaderSize(in, 64<<10)
	all, wrong := workbench.Batches(func(yield func(*record.Record) bool) {
		for n := 1; err == nil; n++ {
			line, end := readLine(lines)
			if len(bytes.TrimSpace(line)) > 0 {
				b, bad := recordOf(line, "")
				if bad != nil {
					err = fmt.Errorf("line %d: %w", n, bad)
					return
				}
				var r record.Record
				b.At(0).Decode(&r)
				if !yield(&r) {
					return
				}
			}
			if end != nil {
				err = notEOF(end)
				return
			}
		}
	}, c.Batch)
	return all, errors.Join(err, wrong)
}

func (c moduleBenchCmd) print(g *globals, file, from string, all []*workbench.Measure) error {
	if g.Output == "json" {
		return json.NewEncoder(g.Stdout).Encode(struct {
			File     string               `json:"file"`
			From     string               `json:"records_from"`
			Batch    int                  `json:"batch"`
			Measures []*workbench.Measure `json:"measures"`
		}{file, from, c.Batch, all})
	}
	fmt.Fprintf(g.Stdout, "%s on %s records, %d a batch, one core, host's work included\n\n", file, from, c.Batch)
	t := table{head: []string{"module", "engine", "ns/record", "records/s", "MB/s", "fuel/record", "allocs/batch", "memory", "load", "out", "dropped", "failed"}}
	for _, m := range all {
		share := func(n int) string { return fmt.Sprintf("%.0f%%", 100*float64(n)/float64(m.Records)) }
		t.add(m.Name, m.Engine, fmt.Sprintf("%.0f", m.NsRecord), num(uint64(1e9/m.NsRecord)), fmt.Sprintf("%.0f", m.MBSecond),
			fmt.Sprintf("%.0f", m.Fuel), fmt.Sprintf("%.1f", m.Allocs), size(m.Memory), m.Load.Round(10*time.Microsecond).String(), share(m.Kept), share(m.Dropped), share(m.Failed))
	}
	if err := t.print(g.Stdout); err != nil {
		return err
	}
	if why := all[0].LastError; why != "" {
		fmt.Fprintf(g.Stdout, "\nthe module failed: %s\n", visible(g.Stdout, why))
	}
	return nil
}
