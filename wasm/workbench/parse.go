package workbench

import (
	"encoding/hex"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/runnel-log/runnel/internal/config"
	"github.com/runnel-log/runnel/record"
)

// standardNow is the clock of a case that names none.
var standardNow = time.Date(2026, 11, 22, 10, 0, 0, 0, time.UTC)

// source is where a case or step stands in its file.
type source struct {
	node *config.Node // the mapping that has, or lacks, want
	want *config.Node // nil: not written
}

// caseText and stepText are what a file says.
type caseText struct {
	Name     string               `yaml:"name"`
	Config   *config.Node         `yaml:"config"`
	Tables   map[string]tableText `yaml:"tables"`
	State    *config.Node         `yaml:"state"`
	Streams  []string             `yaml:"streams"`
	OnError  string               `yaml:"on_error" oneof:"keep drop dead_letter"`
	Now      string               `yaml:"now"`
	Records  *config.Node         `yaml:"records"`
	Want     *config.Node         `yaml:"want"`
	StepList []*config.Node       `yaml:"steps"`
}

type tableText struct {
	Rows *config.Node `yaml:"rows"`
	File string       `yaml:"file"`
	Key  string       `yaml:"key"`
}

type stepText struct {
	Records *config.Node `yaml:"records"`
	Now     string       `yaml:"now"`
	Tick    string       `yaml:"tick"`
	Flush   bool         `yaml:"flush"`
	Restart bool         `yaml:"restart"`
	Want    *config.Node `yaml:"want"`
}

type wantText struct {
	Records *config.Node       `yaml:"records"`
	Dead    *config.Node       `yaml:"dead"`
	Dropped map[string]int     `yaml:"dropped"`
	Held    int                `yaml:"held"`
	State   *config.Node       `yaml:"state"`
	Metrics map[string]float64 `yaml:"metrics"`
	Log     []string           `yaml:"log"`
	Failed  string             `yaml:"failed"`
	Refused string             `yaml:"refused"`
}

// ReadCases reads the cases of a file, YAML or txtar. Its error is a
// config.Problems that names every mistake with its place.
func ReadCases(path string) ([]*Case, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("read cases: %w", err)
	}
	if filepath.Ext(path) == ".txtar" {
		return readArchive(path, text)
	}
	return ParseCases(path, text)
}

// ParseCases reads cases from the text of a YAML file called name.
func ParseCases(name string, text []byte) ([]*Case, error) {
	var cases []*Case
	var ps config.Problems
	for _, doc := range documents(string(text)) {
		root, problems := config.ParseLiteral(name, filepath.Dir(name), []byte(doc))
		ps = append(ps, problems...)
		if root == nil {
			continue
		}
		nodes := []*config.Node{root}
		if list := root.Key("cases"); list != nil {
			var file struct {
				Cases []*config.Node `yaml:"cases"`
			}
			config.Decode(root, &file, &ps)
			nodes = file.Cases
		}
		for _, n := range nodes {
			cases = append(cases, readCase(n, &ps))
		}
	}
	if err := ps.Err(); err != nil {
		return nil, err
	}
	for i, c := range cases {
		if c.Name == "" {
			c.Name = strings.TrimSuffix(filepath.Base(name), filepath.Ext(name))
			if len(cases) > 1 {
				c.Name = fmt.Sprintf("%s %d", c.Name, i+1)
			}
		}
	}
	return cases, nil
}

// documents splits a file at its lines of ---. Each part keeps its place: the
// lines of the others are empty in it.
func documents(text string) []string {
	lines := strings.Split(strings.ReplaceAll(text, "\r\n", "\n"), "\n")
	var docs []string
	for from, i := 0, 0; i <= len(lines); i++ {
		if i < len(lines) && lines[i] != "---" && !strings.HasPrefix(lines[i], "--- ") {
			continue
		}
		part := lines[from:i]
		if slices.ContainsFunc(part, func(l string) bool { l = strings.TrimSpace(l); return l != "" && l[0] != '#' }) {
			docs = append(docs, strings.Repeat("\n", from)+strings.Join(part, "\n")+"\n")
		}
		from = i + 1
	}
	return docs
}

// caseReader reads one case.
type caseReader struct {
	ps   *config.Problems
	c    *Case
	seen []Fields // the records of all steps so far
	now  time.Time
}

func readCase(n *config.Node, ps *config.Problems) *Case {
	var t caseText
	config.Decode(n, &t, ps)
	at := n.At(ps)
	line, _ := n.Position()
	if keys := n.Keys(); len(keys) > 0 {
		line, _ = n.KeyPosition(keys[0])
	}
	c := &Case{Name: t.Name, File: n.File, Line: max(line, 1), Streams: t.Streams, OnError: t.OnError, Now: standardNow, Config: []byte("{}")}
	r := &caseReader{ps: ps, c: c}
	if t.Now != "" {
		c.Now = r.clock(at.Key("now"), t.Now, standardNow)
	}
	r.now = c.Now
	if t.Config != nil {
		c.Config = []byte(jsonOf(t.Config))
		if t.Config.Kind() != config.Map {
			at.Key("config").Problemf("is %s; write a mapping", t.Config.Kind())
		}
	}
	c.Tables = r.tables(n, t.Tables)
	c.State = r.state(t.State)
	switch {
	case t.StepList == nil:
		step := stepText{Records: t.Records, Want: t.Want}
		if t.Records == nil && (t.Want == nil || t.Want.Key("refused") == nil) {
			at.Problemf("has neither records nor steps; write what goes in")
		}
		c.Steps = []Step{r.step(n, step)}
	case t.Records != nil || t.Want != nil:
		at.Key("steps").Problemf("stands beside records or want; write those within a step")
	default:
		for _, s := range t.StepList {
			var text stepText
			config.Decode(s, &text, ps)
			c.Steps = append(c.Steps, r.step(s, text))
		}
	}
	return c
}

// step reads one step; what the case before it holds is known.
func (r *caseReader) step(n *config.Node, t stepText) Step {
	s := Step{Tick: t.Tick != "", Flush: t.Flush, Restart: t.Restart, first: len(r.seen) + 1, source: source{n, t.Want}}
	at := n.At(r.ps)
	kinds := 0
	for _, is := range []bool{t.Records != nil, s.Tick, s.Flush, s.Restart} {
		if is {
			kinds++
		}
	}
	refusal := t.Want.Key("refused") != nil
	if kinds != 1 && !(kinds == 0 && refusal) {
		at.Problemf("is %d steps in one; write one of records, tick, flush: true and restart: true", kinds)
	}
	switch {
	case t.Tick != "" && t.Now != "":
		at.Key("now").Problemf("stands beside tick, which is a time itself; remove it")
	case t.Tick != "":
		r.now = r.clock(at.Key("tick"), t.Tick, r.now)
	case t.Now != "":
		r.now = r.clock(at.Key("now"), t.Now, r.now)
	}
	s.Now = r.now
	if t.Records != nil {
		s.Records = r.records(t.Records)
	}
	s.Want = r.want(t.Want, s)
	if s.Want == nil && (s.Flush || s.Restart) {
		s.Want = &Want{}
	}
	return s
}

// clock reads a time, or how much later than last it is.
func (r *caseReader) clock(at *config.At, text string, last time.Time) time.Time {
	if rest, ok := strings.CutPrefix(text, "+"); ok {
		if d, err := config.ParseDuration(rest); err == nil {
			return last.Add(d)
		}
	}
	t, err := time.Parse(time.RFC3339Nano, text)
	if err != nil {
		at.Problemf("%q is no time; write one as 2026-11-22T10:00:00Z, or how much later as +5s", text)
		return last
	}
	return t
}

// tables reads the tables, rows as the JSON that a file would hold.
func (r *caseReader) tables(n *config.Node, texts map[string]tableText) map[string]Table {
	tables := map[string]Table{}
	for name, t := range texts {
		at := n.Key("tables").At(r.ps).Key(name)
		switch {
		case (t.Rows == nil) == (t.File == ""):
			at.Problemf("has rows and file, or neither; write one of them")
		case t.Rows != nil:
			tables[name] = Table{Rows: []byte(jsonOf(t.Rows)), Key: t.Key}
		default:
			tables[name] = Table{File: at.File(t.File), Key: t.Key}
		}
	}
	return tables
}

// state reads keys and values; nil for nothing written.
func (r *caseReader) state(n *config.Node) map[string][]byte {
	if n == nil {
		return nil
	}
	if n.Kind() != config.Map {
		n.At(r.ps).Problemf("is %s; write a mapping of keys and values", n.Kind())
	}
	state := map[string][]byte{}
	for i, key := range n.Keys() {
		v := n.Items()[i]
		text, scalar := v.Text()
		if h := v.Key("hex"); !scalar && h != nil && len(v.Keys()) == 1 {
			digits, _ := h.Text()
			b, err := hex.DecodeString(strings.ReplaceAll(digits, " ", ""))
			if err != nil {
				h.At(r.ps).Problemf("is not hexadecimal; write two digits for each byte")
			}
			state[key] = b
			continue
		}
		if !scalar {
			v.At(r.ps).Problemf(`is %s; write a text, or {hex: "00ff"}`, v.Kind())
		}
		state[key] = []byte(text)
	}
	return state
}

// records reads the records of a step as one batch.
func (r *caseReader) records(n *config.Node) *record.Batch {
	b := new(record.Batch)
	if n.Kind() != config.List || len(n.Items()) == 0 {
		n.At(r.ps).Problemf("holds no list of records; write one or more, each as - {message: TEXT}")
		return b
	}
	for _, item := range n.Items() {
		rec, _, err := parseRecord([]byte(recordJSON(item)))
		if err != nil {
			item.At(r.ps).Problemf("is no record: %v", err)
			continue
		}
		r.append(b, rec)
	}
	return b
}

// append adds a record of the case to a batch.
func (r *caseReader) append(b *record.Batch, rec *record.Record) {
	if rec.Received == 0 {
		rec.Received = r.now.UnixNano()
	}
	if err := b.Append(rec); err != nil {
		panic("bug: a record that was appended once cannot be again: " + err.Error())
	}
	r.seen = append(r.seen, fieldsOf(b.At(b.Len()-1)))
}
