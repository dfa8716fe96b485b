package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/rs/zerolog"

	"github.com/runnel-log/runnel/internal/syslog"
	"github.com/runnel-log/runnel/record"
	"github.com/runnel-log/runnel/storage"
)

// storeExportCmd prints records without an agent.
type storeExportCmd struct {
	Path   string   `arg:"" help:"A data directory, or a segment's file, as from its quarantine folder."`
	Stream []string `short:"s" sep:"," help:"Of these streams only; may be repeated."`
	From   value    `placeholder:"TIME" help:"Received from this time on: 2026-11-22T10:00:00Z, seconds since 1970, or -15m."`
	To     value    `placeholder:"TIME" help:"Received before this time."`
	Format string   `enum:"json,syslog" default:"json" help:"json: a line of JSON a record. syslog: RFC 5424 lines. -o raw: messages only."`
}

func (c storeExportCmd) Run(g *globals) error {
	from, err := asTime(string(c.From), -1<<63)
	if err != nil {
		return err
	}
	to, err := asTime(string(c.To), 1<<63-1)
	if err != nil {
		return err
	}
	s, err := openForExport(c.Path)
	if err != nil {
		return asStoreUsage(err)
	}
	e := exporter{store: s, out: bufio.NewWriterSize(g.Stdout, 64<<10), terminal: isTerminal(g.Stdout), format: c.Format, from: from, to: to}
	if g.Output == "raw" {
		e.format = "raw"
	}
	e.meta.OriginAgent, _ = s.Identity()
	for _, name := range c.Stream {
		if !slices.ContainsFunc(s.Streams(), func(i storage.StreamInfo) bool { return i.Name == name }) {
			return errors.Join(usageError{fmt.Errorf("no stream %q in %s", name, c.Path)}, s.Close())
		}
	}
	for _, i := range s.Streams() {
		if len(c.Stream) > 0 && !slices.Contains(c.Stream, i.Name) {
			continue
		}
		if err := e.stream(i); err != nil {
			return errors.Join(err, s.Close())
		}
	}
	if err := errors.Join(e.out.Flush(), s.Close()); err != nil {
		return err
	}
	if e.damaged > 0 {
		fmt.Fprintf(g.Stderr, "%s could not be read: they are damaged\n", records(e.damaged))
	}
	return nil
}

// openForExport opens a data directory or a segment.
func openForExport(path string) (*storage.Store, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	o := storage.Options{Log: zerolog.Nop()}
	if info.IsDir() {
		o.Dir = path
		return storage.View(o)
	}
	return storage.ViewFile(o, path)
}

// asTime reads a time as query does; without text it is unset.
func asTime(text string, unset int64) (int64, error) {
	if text == "" {
		return unset, nil
	}
	if back, ok := strings.CutPrefix(text, "-"); ok {
		if d, err := time.ParseDuration(back); err == nil {
			return time.Now().Add(-d).UnixNano(), nil
		}
	}
	if seconds, err := strconv.ParseInt(text, 10, 64); err == nil {
		return time.Unix(seconds, 0).UnixNano(), nil
	}
	t, err := time.Parse(time.RFC3339Nano, text)
	if err != nil {
		return 0, usageError{fmt.Errorf("%q is no time; write 2026-11-22T10:00:00Z, seconds since 1970, or -15m", text)}
	}
	return t.UnixNano(), nil
}

// exporter prints the records of streams.
type exporter struct {
	store    *storage.Store
	out      *bufio.Writer
	terminal bool
	format   string
	from, to int64 // received; without to
	meta     record.Meta
	encoder  syslog.Encoder
	buf, msg []byte
	damaged  uint64 // records
}

func (e *exporter) stream(i storage.StreamInfo) error {
	b := record.NewBatch()
	defer b.Release()
	e.meta.Stream = i.Name
	for at := i.First; at < i.Next; {
		h, ok := e.store.Head(i.Name, at)
		if !ok {
			return nil
		}
		if !h.Damaged && (h.MaxReceived < e.from || h.MinReceived >= e.to) {
			at = h.Next
			continue
		}
		first, epoch, err := e.store.ReadBlock(i.Name, at, b)
		e.meta.OriginEpoch = epoch
		switch {
		case errors.Is(err, storage.ErrDamaged):
			e.damaged += h.Next - max(h.First, at)
			at = h.Next
			continue
		case errors.Is(err, io.EOF):
			return nil
		case err != nil:
			return err
		}
		for n := range b.Len() {
			if v := b.At(n); v.Received() >= e.from && v.Received() < e.to {
				if err := e.print(v, first+uint64(n)); err != nil {
					return err
				}
			}
		}
		at = first + uint64(b.Len())
	}
	return nil
}

// print prints one record.
func (e *exporter) print(v record.View, offset uint64) error {
	e.buf, e.meta.Offset = e.buf[:0], offset
	switch e.format {
	case "json":
		e.msg = record.AppendJSON(e.msg[:0], v, e.meta)
		if e.terminal {
			e.buf = appendVisibleJSON(e.buf, e.msg)
		} else {
			e.buf = append(e.buf, e.msg...)
		}
		e.buf = append(e.buf, '\n')
	case "syslog":
		e.msg = e.encoder.Append5424(e.msg[:0], v)
		if e.terminal {
			e.msg = appendVisible(nil, e.msg)
		}
		e.buf = syslog.AppendLF(e.buf, e.msg)
	default:
		if e.terminal {
			e.buf = appendVisible(e.buf, v.Message())
		} else {
			e.buf = append(e.buf, v.Message()...)
		}
		e.buf = append(e.buf, '\n')
	}
	_, err := e.out.Write(e.buf)
	return err
}
