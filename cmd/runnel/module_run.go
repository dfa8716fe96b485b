package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/runnel-log/runnel/record"
	"github.com/runnel-log/runnel/wasm/workbench"
)

// moduleWith is how run and bench say what the module is given.
type moduleWith struct {
	With  string            `placeholder:"YAML" help:"The module's config, such as {drop_debug: true}, or @FILE."`
	Table map[string]string `placeholder:"NAME=FILE" help:"A table for lookup: hosts=hosts.csv, or hosts=hosts.csv#COLUMN where the key is not the first."`
}

// read returns the config as JSON, and the tables.
func (w moduleWith) read() (config []byte, tables map[string]workbench.Table, err error) {
	text := w.With
	if name, ok := strings.CutPrefix(text, "@"); ok {
		b, err := os.ReadFile(name)
		if err != nil {
			return nil, nil, usageError{err}
		}
		text = string(b)
	}
	if config, err = workbench.ParseConfig(text); err != nil {
		return nil, nil, err
	}
	tables = map[string]workbench.Table{}
	for name, file := range w.Table {
		file, key, _ := strings.Cut(file, "#")
		tables[name] = workbench.Table{File: file, Key: key}
	}
	return config, tables, nil
}

// moduleRunCmd is a module as a filter.
type moduleRunCmd struct {
	Path string `arg:"" help:"A .wasm file, or a project's folder."`
	moduleWith
	Plain   bool   `help:"Every line is a message, whole. Otherwise a line is a record as JSON, a syslog line, or plain text."`
	OnError string `enum:"keep,drop,dead_letter" default:"keep" help:"What becomes of a record that the module fails on."`
}

func (c moduleRunCmd) Run(g *globals) error {
	ctx, stop := interruptible()
	defer stop()
	given, tables, err := c.read()
	if err != nil {
		return err
	}
	file, err := g.moduleOf(c.Path, true)
	if err != nil {
		return err
	}
	desk, err := workbench.NewDesk(ctx, file, workbench.DeskOptions{Log: func(level, line string) {
		fmt.Fprintf(g.Stderr, "%s: %s\n", level, visible(g.Stderr, line))
	}})
	if err != nil {
		return err
	}
	end := context.WithoutCancel(ctx) // what is held still goes on after Ctrl-C
	filter, err := desk.Filter(ctx, workbench.FilterOptions{Config: given, Tables: tables, OnError: c.OnError})
	if err != nil {
		return errors.Join(err, desk.Close(end))
	}
	out := recordWriter{out: bufio.NewWriterSize(g.Stdout, 64<<10), raw: g.Output == "raw", terminal: isTerminal(g.Stdout)}
	err = c.pump(ctx, g.Stdin, filter, &out)
	if err == nil {
		err = filter.Flush(end, out.write)
	}
	err = errors.Join(err, out.out.Flush(), filter.Close(end), desk.Close(end))
	fmt.Fprintln(g.Stderr, countsText(filter.Counts))
	return err
}

// runBatch is how many records a filter is given at once, at most: as many as have come.
const runBatch = 256

// pump gives the filter what comes until it ends, and ticks.
func (c moduleRunCmd) pump(ctx context.Context, in io.Reader, filter *workbench.Filter, out *recordWriter) error {
	batches := make(chan *record.Batch, 1) // one is read while another is worked on
	failed := make(chan error, 1)
	ctx, stop := context.WithCancel(ctx)
	defer stop() // the reader may stay in a read that nobody ends: the process does
	go func() {
		defer close(batches)
		failed <- c.readInto(ctx, in, batches)
	}()
	var ticks <-chan time.Time
	if filter.Ticks() {
		ticker := time.NewTicker(time.Second)
		defer ticker.Stop()
		ticks = ticker.C
	}
	for {
		select {
		case b, more := <-batches:
			if !more {
				return <-failed
			}
			if err := filter.Process(ctx, b, out.write); err != nil {
				return err
			}
			b.Release()
		case <-ticks:
			if err := filter.Tick(ctx, out.write); err != nil {
				return err
			}
		case <-ctx.Done():
			return nil
		}
		if len(batches) == 0 {
			if err := out.out.Flush(); err != nil {
				return err
			}
		}
	}
}

// readInto reads records into batches, and gives one on when it is full or nothing more has come yet.
func (c moduleRunCmd) readInto(ctx context.Context, in io.Reader, batches chan<- *record.Batch) error {
	from := bufio.NewReaderSize(in, 64<<10)
	b := record.NewBatch()
	var r record.Record
	give := func() bool {
		if b.Len() == 0 {
			return true
		}
		select {
		case batches <- b:
			b = record.NewBatch()
			return true
		case <-ctx.Done():
			return false
		}
	}
	for n := 1; ; n++ {
		line, err := readLine(from)
		if len(line) > 0 {
			c.parse(line, &r)
			if wrong := b.Append(&r); wrong != nil {
				give()
				return fmt.Errorf("line %d: %w", n, wrong)
			}
		}
		if b.Len() >= runBatch || b.Full() || from.Buffered() == 0 || err != nil {
			if !give() {
				return nil
			}
		}
		if err != nil {
			return notEOF(err)
		}
	}
}

// parse reads a line as a record.
func (c moduleRunCmd) parse(line []byte, r *record.Record) {
	if !c.Plain {
		if isJSON := parseLine(line, r); !isJSON && line[0] != '<' {
			r.Flags &^= record.Malformed // it is plain text, and never meant to be syslog
		}
		return
	}
	r.Reset()
	r.Message, r.Received = line, time.Now().UnixNano()
}

// recordWriter prints records as NDJSON, or their messages alone.
type recordWriter struct {
	out           *bufio.Writer
	raw, terminal bool
	buf           []byte
}

func (w *recordWriter) write(v record.View) error {
	switch {
	case w.raw && w.terminal:
		w.buf = appendVisible(w.buf[:0], v.Message())
	case w.raw:
		w.buf = append(w.buf[:0], v.Message()...)
	default:
		w.buf = record.AppendJSON(w.buf[:0], v, record.Meta{})
		if w.terminal {
			w.buf = appendVisibleJSON(nil, w.buf)
		}
	}
	w.buf = append(bytes.TrimRight(w.buf, "\n"), '\n')
	_, err := w.out.Write(w.buf)
	return err
}

// countsText says what became of the records.
func countsText(c workbench.Counts) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%d in, %d out", c.In, c.Out)
	for _, reason := range slices.Sorted(maps.Keys(c.Dropped)) {
		fmt.Fprintf(&b, ", %d dropped as %s", c.Dropped[reason], reason)
	}
	if c.Dead > 0 {
		fmt.Fprintf(&b, ", %d dead letters", c.Dead)
	}
	if c.Failed > 0 {
		fmt.Fprintf(&b, ", %d failed: %s", c.Failed, c.LastError)
	}
	return b.String()
}
