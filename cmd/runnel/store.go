package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/rs/zerolog"

	"github.com/runnel-log/runnel/storage"
)

// storeCmd looks at a data directory that no agent has.
type storeCmd struct {
	Check  storeCheckCmd  `cmd:"" help:"Read everything in a data directory, checksum by checksum, and say what is wrong; changes nothing."`
	Repair storeRepairCmd `cmd:"" help:"Do at once what a start would do with a damaged data directory: save what can be read, set the damaged files aside, and say what is lost."`
	Export storeExportCmd `cmd:"" help:"Print the records of a data directory or of one segment, damaged or not, without an agent."`
}

// storeCheckCmd checks a data directory.
type storeCheckCmd struct {
	Dir string `arg:"" help:"The data directory. No agent may be running on it."`
}

// errDamagedStore: what is wrong has been told.
var errDamagedStore = errors.New("the store is damaged; the next start deals with it, or runnel store repair now")

func (c storeCheckCmd) Run(g *globals) error {
	r, err := g.checkStore(c.Dir)
	if err == nil {
		err = g.printReport(c.Dir, r)
	}
	if err == nil && !r.Good() {
		err = errDamagedStore
	}
	return err
}

// checkStore reads all of a data directory, with a bar on a terminal.
func (g *globals) checkStore(dir string) (*storage.Report, error) {
	s, err := storage.View(storage.Options{Dir: dir, Log: zerolog.Nop()})
	if err != nil {
		return nil, asStoreUsage(err)
	}
	b := bar{out: g.Stderr, on: isTerminal(g.Stderr)}
	r := s.Check(b.show)
	b.clear()
	return r, s.Close()
}

// asStoreUsage makes a mistake in the command line of a wrong directory.
func asStoreUsage(err error) error {
	if errors.Is(err, storage.ErrNoStore) || errors.Is(err, os.ErrNotExist) {
		return usageError{err}
	}
	return err
}

// storeRepairCmd repairs a data directory.
type storeRepairCmd struct {
	Dir    string `arg:"" help:"The data directory. No agent may be running on it."`
	DryRun bool   `help:"Only say what would be done."`
}

func (c storeRepairCmd) Run(g *globals) error {
	if c.DryRun {
		r, err := g.checkStore(c.Dir)
		if err != nil {
			return err
		}
		return g.printReport(c.Dir, r)
	}
	b := bar{out: g.Stderr, on: isTerminal(g.Stderr)}
	r, err := storage.Repair(storage.Options{Dir: c.Dir, Log: zerolog.Nop()}, b.show)
	b.clear()
	if r == nil {
		return asStoreUsage(err)
	}
	if printed := g.printReport(c.Dir, r); err == nil {
		err = printed
	}
	if err == nil && g.Output != "json" && !r.Good() {
		_, err = fmt.Fprintf(g.Stdout, "repaired; the damaged files are in %s/quarantine until you remove them\n", visible(g.Stdout, c.Dir))
	}
	return err
}

// printReport prints what a check found.
func (g *globals) printReport(dir string, r *storage.Report) error {
	if g.Output == "json" {
		return printReportJSON(g.Stdout, r)
	}
	var b strings.Builder
	for _, p := range r.Problems {
		fmt.Fprintf(&b, "%s: %s\n", p.File, p.Text)
	}
	if r.StateLost {
		b.WriteString("state: state.db cannot be read; cursors and what modules keep are rebuilt from the segments, as far as those go back, and history may have forked\n")
	}
	if r.StateBehind {
		b.WriteString("state: the newest is missing, so what modules keep may be older than the records, and history may have forked\n")
	}
	for _, l := range r.Lost {
		fmt.Fprintf(&b, "lost: %s of stream %s, offsets %d to %d\n", records(l.To-l.From), l.Stream, l.From, l.To-1)
	}
	for _, k := range r.Gaps {
		fmt.Fprintf(&b, "gap: %s of stream %s, offsets %d to %d, known since %s\n", records(k.To-k.From), k.Stream, k.From, k.To-1, k.Found.UTC().Format(time.RFC3339))
	}
	verdict := "good"
	if !r.Good() {
		verdict = "damaged"
	}
	text := ""
	for line := range strings.Lines(b.String()) {
		text += visible(g.Stdout, strings.TrimSuffix(line, "\n")) + "\n"
	}
	_, err := fmt.Fprintf(g.Stdout, "%s%s is %s: %s in %d blocks of %d segments, %s read\n", text, visible(g.Stdout, dir), verdict,
		records(r.Records), r.Blocks, r.Segments, size(r.Bytes))
	return err
}

func records(n uint64) string {
	if n == 1 {
		return "1 record"
	}
	return num(n) + " records"
}

// lostRange is a gap as JSON.
type lostRange struct {
	Stream string     `json:"stream"`
	From   uint64     `json:"from"`
	To     uint64     `json:"to"` // the last
	Found  *time.Time `json:"found,omitempty"`
}

func printReportJSON(w io.Writer, r *storage.Report) error {
	type problem struct {
		File string `json:"file"`
		Text string `json:"text"`
	}
	out := struct {
		Good        bool        `json:"good"`
		Segments    int         `json:"segments"`
		Blocks      int         `json:"blocks"`
		Records     uint64      `json:"records"`
		Bytes       int64       `json:"bytes"`
		Seconds     float64     `json:"seconds"`
		StateLost   bool        `json:"state_lost"`
		StateBehind bool        `json:"state_behind"`
		Problems    []problem   `json:"problems"`
		Lost        []lostRange `json:"lost"`
		Gaps        []lostRange `json:"gaps"`
	}{r.Good(), r.Segments, r.Blocks, r.Records, r.Bytes, r.Took.Seconds(), r.StateLost, r.StateBehind, []problem{}, []lostRange{}, []lostRange{}}
	for _, p := range r.Problems {
		out.Problems = append(out.Problems, problem{p.File, p.Text})
	}
	for _, l := range r.Lost {
		out.Lost = append(out.Lost, lostRange{Stream: l.Stream, From: l.From, To: l.To - 1})
	}
	for _, k := range r.Gaps {
		found := k.Found.UTC()
		out.Gaps = append(out.Gaps, lostRange{k.Stream, k.From, k.To - 1, &found})
	}
	raw, err := json.Marshal(out)
	if err != nil {
		return err
	}
	return printJSON(w, raw)
}

// bar is a line on a terminal that says how far something is.
type bar struct {
	out   io.Writer
	on    bool
	shown time.Time
}

const barWidth = 30

// show draws the bar, ten times a second at most.
func (b *bar) show(done, total int64) {
	if !b.on || total <= 0 || (time.Since(b.shown) < 100*time.Millisecond && done < total) {
		return
	}
	b.shown = time.Now()
	full := int(done * barWidth / total)
	fmt.Fprintf(b.out, "\r[%s%s] %3d %%  %s of %s ", strings.Repeat("#", full), strings.Repeat(".", barWidth-full), done*100/total, size(done), size(total))
}

// clear takes the bar away.
func (b *bar) clear() {
	if b.on && !b.shown.IsZero() {
		fmt.Fprint(b.out, "\r\x1b[K")
	}
}
