package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/runnel-log/runnel/agent"
	"github.com/runnel-log/runnel/internal/syslog"
	"github.com/runnel-log/runnel/record"
)

// tryCmd shows what each step of a pipeline makes of some records.
type tryCmd struct {
	Message  []string `arg:"" optional:"" help:"One record: a syslog line, a record as JSON, or plain text. Default: lines on standard input."`
	File     string   `short:"f" placeholder:"FILE" help:"A file of records, one a line, instead of the arguments."`
	Pipeline string   `placeholder:"NAME" help:"The pipeline; default the first one of the configuration."`
}

func (c tryCmd) Run(g *globals) error {
	ctx := context.Background()
	config, err := g.load()
	if err != nil {
		return err
	}
	in, err := c.open(g.Stdin)
	if err != nil {
		return err
	}
	defer in.Close()
	trier, err := agent.NewTrier(ctx, config, c.Pipeline)
	if errors.Is(err, agent.ErrNoPipeline) {
		return usageError{err}
	}
	if err != nil {
		return err
	}
	show := trialPrinter{g: g, stream: trier.Stream()}
	lines := bufio.NewScanner(in)
	lines.Buffer(make([]byte, 64<<10), 4<<20)
	for n := 1; lines.Scan(); n++ {
		if len(bytes.TrimSpace(lines.Bytes())) == 0 {
			continue
		}
		b, err := recordOf(lines.Bytes(), config.Name)
		if err != nil {
			return errors.Join(fmt.Errorf("line %d: %w", n, err), trier.Close())
		}
		show.begin(n)
		if err := trier.Try(ctx, b, show.step); err != nil {
			return errors.Join(fmt.Errorf("line %d: %w", n, err), trier.Close())
		}
		if err := show.end(); err != nil {
			return errors.Join(err, trier.Close())
		}
	}
	return errors.Join(lines.Err(), trier.Close())
}

func (c tryCmd) open(stdin io.Reader) (io.ReadCloser, error) {
	switch {
	case c.File != "" && len(c.Message) > 0:
		return nil, usageError{errors.New("give a message or --file, not both")}
	case c.File != "":
		return os.Open(c.File)
	case len(c.Message) > 0:
		return io.NopCloser(strings.NewReader(strings.Join(c.Message, " "))), nil
	}
	return io.NopCloser(stdin), nil
}

// recordOf reads a line as a record that came from nowhere but here.
func recordOf(line []byte, agentName string) (*record.Batch, error) {
	var r record.Record
	if !parseLine(line, &r) {
		r.Peer, r.Input = []byte("try"), []byte("try")
	}
	if len(r.Agent) == 0 {
		r.Agent = []byte(agentName)
	}
	b := record.NewBatch()
	return b, b.Append(&r)
}

// parseLine reads a line into r: as JSON if it is a record as JSON, which it
// reports, else as whatever the syslog parser makes of it. r may borrow from line.
func parseLine(line []byte, r *record.Record) (isJSON bool) {
	r.Reset()
	now := time.Now()
	if isJSON = line[0] == '{' && record.ParseJSON(line, r) == nil; !isJSON {
		r.Reset()
		parser := syslog.Parser{Location: time.Local, Now: func() time.Time { return now }}
		parser.Parse(line, r)
	}
	if r.Received == 0 {
		r.Received = now.UnixNano()
	}
	return isJSON
}

// trialPrinter prints what the steps made of one record.
type trialPrinter struct {
	g      *globals
	stream string
	line   int
	steps  []trial
}

// trial is one step as JSON.
type trial struct {
	Step    string            `json:"step"`
	Records []json.RawMessage `json:"records"`
	Dropped map[string]int    `json:"dropped,omitempty"`
	Dead    []json.RawMessage `json:"dead,omitempty"`
	Held    int               `json:"held,omitempty"`
	Failed  string            `json:"failed,omitempty"`
	text    []string
}

func (p *trialPrinter) begin(line int) { p.line, p.steps = line, nil }

func (p *trialPrinter) step(t agent.Trial) {
	s := trial{Step: t.Step, Dropped: t.Dropped, Held: t.Held, Failed: t.Failed, Records: []json.RawMessage{}}
	s.Records, s.text = p.render(t.Records)
	s.Dead, _ = p.render(t.Dead)
	p.steps = append(p.steps, s)
}

func (p *trialPrinter) render(b *record.Batch) (asJSON []json.RawMessage, asText []string) {
	asJSON = []json.RawMessage{}
	if b == nil {
		return nil, nil
	}
	for i := range b.Len() {
		v := b.At(i)
		m := record.Meta{Stream: p.stream}
		if s := v.Stream(); len(s) > 0 {
			m.Stream = string(s)
		}
		asJSON = append(asJSON, record.AppendJSON(nil, v, m))
		text := record.AppendText(nil, v, m, record.TextOptions{Terminal: true})
		asText = append(asText, fmt.Sprintf("[%s] %s", m.Stream, bytes.TrimRight(text, "\n")))
	}
	return asJSON, asText
}

func (p *trialPrinter) end() error {
	if p.g.Output == "json" {
		return json.NewEncoder(p.g.Stdout).Encode(struct {
			Line  int     `json:"line"`
			Steps []trial `json:"steps"`
		}{p.line, p.steps})
	}
	fmt.Fprintf(p.g.Stdout, "record %d\n", p.line)
	for i, s := range p.steps {
		name := s.Step
		if i == 0 {
			name = "in"
		}
		switch {
		case i > 0 && slices.Equal(s.text, p.steps[i-1].text) && len(s.Dropped) == 0 && s.Held == 0 && s.Failed == "":
			fmt.Fprintf(p.g.Stdout, "  %s\n      unchanged\n", name)
			continue
		default:
			fmt.Fprintf(p.g.Stdout, "  %s\n", name)
		}
		for _, line := range s.text {
			fmt.Fprintf(p.g.Stdout, "      %s\n", line)
		}
		for reason, n := range s.Dropped {
			fmt.Fprintf(p.g.Stdout, "      dropped %d: %s\n", n, reason)
		}
		if s.Held > 0 {
			fmt.Fprintf(p.g.Stdout, "      held %d, to go on with a later record or a tick\n", s.Held)
		}
		if len(s.Dead) > 0 {
			fmt.Fprintf(p.g.Stdout, "      %d to the dead letters\n", len(s.Dead))
		}
		if s.Failed != "" {
			fmt.Fprintf(p.g.Stdout, "      the module failed: %s\n", visible(p.g.Stdout, s.Failed))
		}
	}
	return nil
}
