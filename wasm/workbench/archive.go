package workbench

import (
	"bytes"
	"fmt"
	"path/filepath"
	"strings"

	"github.com/runnel-log/runnel/internal/config"
	"github.com/runnel-log/runnel/record"
)

// readArchive reads a case in txtar form: in and want as NDJSON, the rest in case.yaml.
func readArchive(path string, text []byte) ([]*Case, error) {
	comment, files := archive(string(text))
	var ps config.Problems
	root, problems := config.ParseLiteral(path, filepath.Dir(path), []byte(files["case.yaml"]))
	ps = append(ps, problems...)
	if root == nil {
		return nil, ps.Err()
	}
	at := root.At(&ps)
	for name := range files {
		if name != "case.yaml" && name != "in" && name != "want" {
			at.Problemf("holds a file %q; write in, want and case.yaml", name)
		}
	}
	var t caseText
	config.Decode(root, &t, &ps)
	if t.Records != nil || t.StepList != nil {
		at.Problemf("has records or steps in case.yaml; write the records in the file in")
	}
	c := &Case{Name: t.Name, File: path, Line: 1, Streams: t.Streams, OnError: t.OnError, Now: standardNow, Config: []byte("{}")}
	if c.Name == "" {
		c.Name = strings.TrimSpace(strings.SplitN(comment, "\n", 2)[0])
	}
	if c.Name == "" {
		c.Name = strings.TrimSuffix(filepath.Base(path), ".txtar")
	}
	r := &caseReader{ps: &ps, c: c}
	if t.Now != "" {
		c.Now = r.clock(at.Key("now"), t.Now, standardNow)
	}
	r.now = c.Now
	if t.Config != nil {
		c.Config = []byte(jsonOf(t.Config))
	}
	c.Tables, c.State = r.tables(root, t.Tables), r.state(t.State)
	s := Step{Records: new(record.Batch), Now: c.Now, first: 1}
	r.lines(at, "in", files["in"], func(rec *record.Record, _ Fields) { r.append(s.Records, rec) })
	if s.Records.Len() == 0 {
		at.Problemf("has no records; write them as NDJSON in the file in")
	}
	s.Want = r.want(t.Want, s)
	if s.Want == nil {
		s.Want = &Want{}
	}
	r.lines(at, "want", files["want"], func(_ *record.Record, f Fields) { s.Want.Records = append(s.Want.Records, f) })
	c.Steps = []Step{s}
	return []*Case{c}, ps.Err()
}

// lines reads NDJSON.
func (r *caseReader) lines(at *config.At, name, text string, f func(*record.Record, Fields)) {
	for i, line := range bytes.Split([]byte(text), []byte("\n")) {
		if len(bytes.TrimSpace(line)) == 0 {
			continue
		}
		rec, fields, err := parseRecord(line)
		if err != nil {
			at.Problemf("line %d of %s is no record: %v", i+1, name, err)
			continue
		}
		f(rec, fields)
	}
}

// archive splits a txtar text into its comment and its files.
func archive(text string) (comment string, files map[string]string) {
	files = map[string]string{}
	var name string
	var part strings.Builder
	end := func() {
		if name == "" {
			comment = part.String()
		} else {
			files[name] = part.String()
		}
		part.Reset()
	}
	for line := range strings.Lines(text) {
		if mark, ok := marker(line); ok {
			end()
			name = mark
			continue
		}
		part.WriteString(line)
	}
	end()
	return comment, files
}

// marker reads the line that begins a file: -- NAME --.
func marker(line string) (name string, ok bool) {
	line = strings.TrimRight(line, "\r\n")
	if !strings.HasPrefix(line, "-- ") || !strings.HasSuffix(line, " --") || len(line) < len("-- x --") {
		return "", false
	}
	return strings.TrimSpace(line[3 : len(line)-3]), true
}

// archiveWith returns a txtar text with another file want.
func archiveWith(text, want string) string {
	var b strings.Builder
	skip, written := false, false
	for line := range strings.Lines(text) {
		if name, ok := marker(line); ok {
			skip = name == "want"
			if skip {
				fmt.Fprintf(&b, "%s%s", line, want)
				written = true
				continue
			}
		}
		if !skip {
			b.WriteString(line)
		}
	}
	if !written {
		fmt.Fprintf(&b, "-- want --\n%s", want)
	}
	return b.String()
}
