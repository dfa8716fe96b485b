package workbench

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/VictoriaMetrics/metrics"
	"github.com/rs/zerolog"

	"github.com/runnel-log/runnel/internal/config"
	"github.com/runnel-log/runnel/wasm"
)

// Desk is where a module runs without an agent. It gets every host service that
// its manifest needs. Not safe for concurrent use.
type Desk struct {
	File string

	Description *wasm.Description

	code     []byte
	engine   wasm.Engine
	schema   *config.Schema
	runtime  *wasm.Runtime
	counters *metrics.Set
	log      *guestLines
	temp     string // folder of tables written out; made when needed
}

// DeskOptions say how a desk runs modules. The zero value will do.
type DeskOptions struct {
	Engine wasm.Engine
	// Log gets what the module says, line by line; nil: it is kept for the cases alone.
	Log func(level, line string)
}

// NewDesk reads the module in file and says in its error why a host would refuse it.
func NewDesk(ctx context.Context, file string, o DeskOptions) (*Desk, error) {
	code, err := os.ReadFile(file)
	if errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("%s does not exist; build it with runnel module build", file)
	}
	if err != nil {
		return nil, err
	}
	return newDesk(ctx, file, code, o)
}

func newDesk(ctx context.Context, file string, code []byte, o DeskOptions) (*Desk, error) {
	d := &Desk{File: file, code: code, engine: o.Engine, counters: metrics.NewSet(), log: &guestLines{to: o.Log}}
	var err error
	if d.Description, err = wasm.Inspect(code); err != nil {
		return nil, fmt.Errorf("%s %w", file, err)
	}
	if err := refusal(file, d.Description); err != nil {
		return nil, err
	}
	if m := d.Description.Manifest; m != nil && len(m.Config) > 0 {
		if d.schema, err = config.ParseSchema(m.Config); err != nil {
			return nil, fmt.Errorf("%s: the config schema in its manifest: %w", file, err)
		}
	}
	d.runtime, err = wasm.NewRuntime(ctx, wasm.RuntimeOptions{CacheDir: cacheDir(), Log: zerolog.New(d.log), Metrics: d.counters, Engine: o.Engine})
	return d, err
}

// cacheDir keeps compiled code between calls; empty where the user has no such folder.
func cacheDir() string {
	dir, err := os.UserCacheDir()
	if err != nil {
		return ""
	}
	return filepath.Join(dir, "runnel", "modules")
}

// Close releases what the desk holds.
func (d *Desk) Close(ctx context.Context) error {
	err := d.runtime.Close(ctx)
	if d.temp != "" {
		err = errors.Join(err, os.RemoveAll(d.temp))
	}
	return err
}

// setting is how one case, or one run, wants the module.
type setting struct {
	config  []byte
	tables  map[string]Table
	streams []string
	onError string
	now     func() time.Time
	time    time.Duration
}

// load loads the module. The error is errRefused where the config is at fault: it
// says what the schema and what the module itself have against it.
func (d *Desk) load(ctx context.Context, s setting) (*wasm.Module, error) {
	o := wasm.Options{Name: d.name(), File: d.File, Code: d.code, Config: s.config, Now: s.now, Time: s.time, Tables: map[string]*wasm.Table{}}
	for _, need := range d.Description.Needs {
		switch need {
		case "state":
			o.Grant.State = true
		case "metrics":
			o.Grant.Metrics = true
		}
	}
	var err error
	for name, t := range s.tables {
		if o.Tables[name], err = d.table(name, t); err != nil {
			return nil, err
		}
	}
	if len(o.Tables) == 0 { // lookup is granted by there being a table
		if o.Tables["none"], err = d.table("none", Table{Rows: []byte("{}")}); err != nil {
			return nil, err
		}
	}
	switch s.onError {
	case "drop":
		o.OnError = wasm.Drop
	case "dead_letter":
		o.OnError = wasm.DeadLetter
	}
	if s.streams != nil {
		o.KnownStream = func(name string) bool {
			for _, s := range s.streams {
				if s == name {
					return true
				}
			}
			return false
		}
	}
	wrong := d.checkConfig(s.config)
	m, err := d.runtime.Load(ctx, o)
	if wrong == nil && err == nil {
		return m, nil
	}
	if err == nil {
		err = m.Close(ctx)
	}
	return nil, &errRefused{wrong, err}
}

// open is load for somebody who reads what is wrong: it is said once, as the
// schema says it if that does, and not by the module's log as well.
func (d *Desk) open(ctx context.Context, s setting) (*wasm.Module, error) {
	to := d.log.to
	var said [][2]string
	d.log.to = func(level, line string) { said = append(said, [2]string{level, line}) }
	m, err := d.load(ctx, s)
	d.log.to = to
	if refused := (*errRefused)(nil); errors.As(err, &refused) {
		if refused.schema != nil {
			return nil, fmt.Errorf("%s refuses this config: %w", d.File, refused.schema)
		}
		return nil, refused.module
	}
	for _, line := range said {
		if to != nil {
			to(line[0], line[1])
		}
	}
	return m, err
}

// errRefused: the module does not take its config, which its schema says, or the
// module itself, or both.
type errRefused struct{ schema, module error }

func (e *errRefused) Error() string { return errors.Join(e.schema, e.module).Error() }

// checkConfig holds a config against the schema in the manifest, as check does.
func (d *Desk) checkConfig(text []byte) error {
	if d.schema == nil {
		return nil
	}
	var ps config.Problems
	root, _ := config.ParseLiteral("config", ".", text)
	if root == nil {
		return nil // the module itself says so
	}
	root.At(&ps).CheckSchema(d.schema, true)
	if len(ps) == 0 {
		return nil
	}
	var all []string
	for _, p := range ps {
		all = append(all, "config."+strings.TrimPrefix(p.Path+": ", ": ")+p.Text)
	}
	return errors.New(strings.Join(all, "; "))
}

func (d *Desk) name() string {
	if m := d.Description.Manifest; m != nil {
		return m.Name
	}
	return strings.TrimSuffix(filepath.Base(d.File), ".wasm")
}

// table loads a table; rows written out go by way of a file.
func (d *Desk) table(name string, t Table) (*wasm.Table, error) {
	if t.File != "" {
		return wasm.LoadTable(t.File, t.Key)
	}
	if d.temp == "" {
		dir, err := os.MkdirTemp("", "runnel-tables-")
		if err != nil {
			return nil, err
		}
		d.temp = dir
	}
	path := filepath.Join(d.temp, "rows.json")
	if err := os.WriteFile(path, t.Rows, 0o600); err != nil {
		return nil, err
	}
	table, err := wasm.LoadTable(path, t.Key)
	if err != nil {
		return nil, fmt.Errorf("tables.%s: %s", name, strings.ReplaceAll(err.Error(), path, "rows"))
	}
	return table, nil
}

// guestLines gathers what the module says.
type guestLines struct {
	to    func(level, line string)
	lines []string
}

// Write takes one line of the host's log.
func (g *guestLines) Write(p []byte) (int, error) {
	for line := range bytes.Lines(p) {
		var e struct{ Level, Message, Guest string }
		if json.Unmarshal(line, &e) != nil || e.Message != "module says" {
			continue
		}
		g.lines = append(g.lines, e.Guest)
		if g.to != nil {
			g.to(e.Level, e.Guest)
		}
	}
	return len(p), nil
}

func (g *guestLines) take() []string {
	lines := g.lines
	g.lines = nil
	return lines
}
