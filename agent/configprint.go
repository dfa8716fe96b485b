package agent

import (
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/runnel-log/runnel/internal/config"
)

// Effective writes the configuration as YAML with every default written out.
// Secrets show where they come from and never what they are.
func (c *Config) Effective(w io.Writer) error {
	p := &printer{w: w}
	commit := "auto"
	if c.CommitEvery != 0 {
		commit = config.FormatDuration(c.CommitEvery)
	}
	p.printf("agent:\n")
	p.format(2, agentSection{Name: c.Name, DataDir: c.DataDir, MaxSize: config.Bytes(c.MaxSize), CommitEvery: commit, Engine: c.Engine.String()})
	p.printf("api:\n")
	p.format(2, c.API)
	p.section("inputs", len(c.Inputs))
	for _, in := range c.Inputs {
		p.printf("  %s:\n", config.Quote(in.Name))
		p.format(4, common{in.Kind.Name})
		p.format(4, in.Options)
	}
	p.section("modules", len(c.Modules))
	for _, m := range c.Modules {
		p.module(m)
	}
	p.section("pipelines", len(c.Pipelines))
	for _, pc := range c.Pipelines {
		p.pipeline(pc)
	}
	p.section("streams", len(c.Streams))
	for _, name := range sortedNames(c.Streams) {
		s := c.Streams[name]
		section := streamSection{MaxAge: s.MaxAge, MaxSize: config.Bytes(s.MaxSize)}
		for word, full := range onFull {
			if full == s.OnFull {
				section.OnFull = word
			}
		}
		p.printf("  %s:\n", config.Quote(name))
		p.format(4, section)
	}
	p.section("forwarders", len(c.Forwarders))
	for _, f := range c.Forwarders {
		p.printf("  %s:\n", config.Quote(f.Name))
		p.format(4, forwarderSection{common: common{f.Kind.Name}, From: f.From, Start: f.Start})
		if f.Where != nil {
			p.printf("    where: %s\n", config.Quote(f.WhereText))
		}
		p.format(4, f.Options)
	}
	return p.err
}

// printer keeps the first error of a row of writes.
type printer struct {
	w   io.Writer
	err error
}

func (p *printer) printf(format string, args ...any) {
	if p.err == nil {
		_, p.err = fmt.Fprintf(p.w, format, args...)
	}
}

func (p *printer) format(indent int, v any) {
	if p.err == nil {
		p.err = config.Format(p.w, indent, v)
	}
}

func (p *printer) section(name string, parts int) {
	if parts == 0 {
		p.printf("%s: {}\n", name)
		return
	}
	p.printf("%s:\n", name)
}

func (p *printer) module(m ModuleConfig) {
	o := m.Options
	p.printf("  %s:\n", config.Quote(m.Name))
	p.format(4, moduleSection{File: o.File, Memory: config.Bytes(o.Memory), Time: o.Time, OnError: o.OnError.String(),
		Grant: grantNames(o.Grant), State: config.Bytes(o.State)})
	p.printf("    config: %s\n", flow(o.Config))
	p.section("    tables", len(m.Tables))
	for _, t := range m.Tables {
		p.printf("      %s:\n", config.Quote(t.Name))
		p.format(8, tableSection{File: t.File, Key: t.Key})
	}
}

func (p *printer) pipeline(pc PipelineConfig) {
	p.printf("  %s:\n", config.Quote(pc.Name))
	names := make([]string, len(pc.From))
	for i := range names {
		names[i] = config.Quote(pc.From[i])
	}
	p.printf("    from: [%s]\n", strings.Join(names, ", "))
	if len(pc.Steps) == 0 {
		p.printf("    steps: []\n")
	} else {
		p.printf("    steps:\n")
	}
	for _, s := range pc.Steps {
		p.step(s)
	}
	if !pc.KeepsStreams { // written, it would be kept to
		p.printf("    stream: %s\n", pc.Stream)
	}
}

func (p *printer) step(s StepConfig) {
	switch {
	case s.Parse != "":
		p.printf("      - parse: {%s: {map: %v}}\n", s.Parse, s.ParseMap)
	case s.Drop != nil:
		p.printf("      - drop: %s\n", config.Quote(s.Drop.String()))
	case s.Module != "":
		p.printf("      - module: %s\n", config.Quote(s.Module))
	case s.Set != nil:
		p.printf("      - set:\n")
		for _, f := range s.Set {
			p.printf("          %s: %s\n", config.Quote(f.Key), config.Quote(f.Value.String()))
		}
	case s.Route != nil:
		p.printf("      - route:\n")
		for _, r := range s.Route {
			p.printf("          %s: %s\n", config.Quote(r.Stream), config.Quote(r.When.String()))
		}
	}
}

// flow writes a module's JSON as YAML on one line.
func flow(b []byte) string {
	d := json.NewDecoder(strings.NewReader(string(b)))
	d.UseNumber()
	var v any
	if d.Decode(&v) != nil {
		return "{}"
	}
	return flowValue(v)
}

func flowValue(v any) string {
	switch v := v.(type) {
	case nil:
		return "null"
	case string:
		return config.Quote(v)
	case []any:
		words := make([]string, len(v))
		for i := range v {
			words[i] = flowValue(v[i])
		}
		return "[" + strings.Join(words, ", ") + "]"
	case map[string]any:
		words := make([]string, 0, len(v))
		for _, key := range sortedNames(v) {
			words = append(words, config.Quote(key)+": "+flowValue(v[key]))
		}
		return "{" + strings.Join(words, ", ") + "}"
	}
	return fmt.Sprint(v)
}

func sortedNames[V any](m map[string]V) []string {
	names := make([]string, 0, len(m))
	for name := range m {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}
