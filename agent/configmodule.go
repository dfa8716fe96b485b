package agent

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"time"

	"github.com/runnel-log/runnel/internal/config"
	"github.com/runnel-log/runnel/internal/plainfile"
	"github.com/runnel-log/runnel/wasm"
)

// moduleSection is one module.
type moduleSection struct {
	File    string          `yaml:"file" required:"true"`
	Config  *config.Node    `yaml:"config"`
	Memory  config.Bytes    `yaml:"memory"`
	Time    config.Duration `yaml:"time"`
	OnError string          `yaml:"on_error" oneof:"keep drop dead_letter"`
	Grant   []string        `yaml:"grant"`
	Tables  *config.Node    `yaml:"tables"`
	State   config.Bytes    `yaml:"state"`
}

// tableSection is a table that a module may look things up in.
type tableSection struct {
	File string `yaml:"file" required:"true"`
	Key  string `yaml:"key"`
}

// TableConfig is one table of a module.
type TableConfig struct {
	Name, File, Key string
}

var onError = map[string]wasm.OnError{"keep": wasm.Keep, "drop": wasm.Drop, "dead_letter": wasm.DeadLetter}

// The host services that a config grants by name (ABI §5).
const (
	grantState   = "state"
	grantMetrics = "metrics"
)

// wasmPage is what linear memory is counted in.
const wasmPage = 64 << 10

func (l *loader) modules(section *config.Node) {
	l.section(section, "modules: {NAME: {file: FILE.wasm}}", func(name string, n *config.Node) {
		l.named(section, name)
		s := moduleSection{Memory: wasm.DefaultMemory, Time: wasm.DefaultTime, OnError: "keep", State: wasm.DefaultState}
		config.Decode(n, &s, &l.problems)
		at := n.At(&l.problems)
		l.bounds(s, at)
		m := ModuleConfig{Name: name, at: at, Options: wasm.Options{Name: name, File: at.File(s.File), Config: []byte("{}"),
			Memory: int64(s.Memory), Time: s.Time, OnError: onError[s.OnError], State: int64(s.State), Grant: grants(s.Grant, at.Key("grant"))}}
		present := s.Config != nil && s.Config.Kind() != config.Null
		if present {
			b, err := s.Config.JSON()
			if err != nil {
				at.Key("config").Problemf("%v", err)
			}
			m.Options.Config = b
		}
		if s.File != "" {
			m.section = n.Digest()
			if code := l.moduleFile(at.Key("file"), m.Options.File); code != nil {
				l.refusals(at, code, s, m.Options)
				l.schema(at, code, present)
			}
		}
		l.tables(&m, s.Tables)
		m.Digest = m.digest()
		l.config.Modules = append(l.config.Modules, m)
	})
}

// bounds checks the figures of a module's section.
func (l *loader) bounds(s moduleSection, at *config.At) {
	if !memoryFits(s.Memory) {
		at.Key("memory").Problemf("%s is no size for a module's memory; write a multiple of 64KiB up to 1GiB", s.Memory)
	}
	if s.Time < time.Millisecond || s.Time > time.Minute {
		at.Key("time").Problemf("%s is no time for a batch; write 1ms to 1m", config.FormatDuration(s.Time))
	}
	if s.State < 64<<10 || s.State > 256<<20 {
		at.Key("state").Problemf("%s is no size for what a module keeps; write 64KiB to 256MiB", s.State)
	}
}

func memoryFits(size config.Bytes) bool {
	return size >= wasmPage && size <= 1<<30 && size%wasmPage == 0
}

// grants reads the list of services.
func grants(names []string, at *config.At) (g wasm.Grants) {
	known := []string{grantState, grantMetrics}
	for i, name := range names {
		switch {
		case slices.Contains(names[:i], name):
			at.Index(i).Problemf("%q is named twice; remove one", name)
		case name == grantState:
			g.State = true
		case name == grantMetrics:
			g.Metrics = true
		case name == "lookup":
			at.Index(i).Problemf("lookup is granted by naming tables; write tables: {NAME: {file: FILE.csv}}")
		default:
			at.Index(i).Problemf("%q is no host service; %s", name, config.Suggest(name, known))
		}
	}
	return g
}

// grantNames is what grants was read from.
func grantNames(g wasm.Grants) (names []string) {
	if g.State {
		names = append(names, grantState)
	}
	if g.Metrics {
		names = append(names, grantMetrics)
	}
	return names
}

// tables reads which tables a module may look things up in.
func (l *loader) tables(m *ModuleConfig, section *config.Node) {
	l.section(section, "tables: {NAME: {file: FILE.csv}}", func(name string, n *config.Node) {
		l.named(section, name)
		var s tableSection
		config.Decode(n, &s, &l.problems)
		if s.File == "" {
			return
		}
		at := n.At(&l.problems)
		t := TableConfig{Name: name, File: at.File(s.File), Key: s.Key}
		if f, err := plainfile.Open(t.File); err != nil {
			at.Key("file").Problemf("%s cannot be read: %v; write where the table is", absolute(t.File), err)
		} else {
			f.Close()
		}
		m.Tables = append(m.Tables, t)
	})
}

// maxModule is more than any module that wasm would load.
const maxModule = 64 << 20

// moduleFile reads a module's file, and reports why it cannot be.
func (l *loader) moduleFile(at *config.At, path string) []byte {
	info, err := os.Stat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		at.Problemf("%s does not exist; build it, or write where it is", absolute(path))
		return nil
	case err != nil:
		at.Problemf("%v", err)
		return nil
	case !info.Mode().IsRegular():
		at.Problemf("%s is no file; write the path of a .wasm file", absolute(path))
		return nil
	case info.Size() > maxModule:
		at.Problemf("%s has %s; a module has at most %s", absolute(path), config.Bytes(info.Size()), config.Bytes(maxModule))
		return nil
	}
	code, err := plainfile.Read(path, maxModule)
	if err != nil {
		at.Problemf("%s: %v", absolute(path), err)
	}
	return code
}

// refusals reports why the module would not be loaded with this section, but for
// what only compiling and starting it can tell. A key that is wrong by itself is
// not told what else it lacks.
func (l *loader) refusals(at *config.At, code []byte, s moduleSection, o wasm.Options) {
	for _, name := range s.Tables.Keys() {
		o.Tables = map[string]*wasm.Table{name: nil} // read when the module is loaded
	}
	for _, r := range wasm.Refusals(code, o) {
		switch r.Key {
		case "":
			at.Key("file").Problemf("%s %s", absolute(o.File), r.Text)
		case "grant":
			if len(grantNames(o.Grant)) == len(s.Grant) {
				at.Key("grant").Problemf("the module %s", r.Text)
			}
		case "memory":
			if memoryFits(s.Memory) {
				at.Key("memory").Problemf("the module %s", r.Text)
			}
		default:
			at.Key(r.Key).Problemf("the module %s", r.Text)
		}
	}
}

// schema checks a module's config against the schema that its manifest carries.
func (l *loader) schema(at *config.At, code []byte, present bool) {
	manifest, err := wasm.ReadManifest(code)
	if err != nil || manifest == nil || manifest.Config == nil {
		return
	}
	s, err := config.ParseSchema(manifest.Config)
	if err != nil {
		at.Key("file").Problemf("the module's manifest has a config schema that is wrong: %v; mend its module.yaml and build it again", err)
		return
	}
	at.Key("config").CheckSchema(s, present)
}

// digest tells what the module is made of from what it was: its section, its
// file and its tables. A file that cannot be read counts as one that is empty.
func (m *ModuleConfig) digest() string {
	h := sha256.New()
	fmt.Fprintf(h, "%s\n", m.section)
	for _, path := range m.files() {
		content, _ := plainfile.Read(path, maxModule) //nolint:errcheck // said by whoever loads it
		sum := sha256.Sum256(content)
		h.Write(sum[:])
	}
	return hex.EncodeToString(h.Sum(nil))
}

// files are those that the module is made of.
func (m *ModuleConfig) files() []string {
	files := []string{m.Options.File}
	for _, t := range m.Tables {
		files = append(files, t.File)
	}
	return files
}

// tableError is what is wrong with a table of a module.
type tableError struct {
	name string
	err  error
}

func (e tableError) Error() string { return fmt.Sprintf("table %q: %v", e.name, e.err) }

func (e tableError) Unwrap() error { return e.err }

// options returns what to load the module with, its tables read.
func (m *ModuleConfig) options() (wasm.Options, error) {
	o := m.Options
	for _, t := range m.Tables {
		table, err := wasm.LoadTable(t.File, t.Key)
		if err != nil {
			return o, tableError{t.Name, err}
		}
		if o.Tables == nil {
			o.Tables = make(map[string]*wasm.Table)
		}
		o.Tables[t.Name] = table
	}
	return o, nil
}
