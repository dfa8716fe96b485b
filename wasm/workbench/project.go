package workbench

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/runnel-log/runnel/internal/config"
	"github.com/runnel-log/runnel/wasm"
)

// ProjectFile is what makes a folder a project.
const ProjectFile = "module.yaml"

// Languages are those that New scaffolds and Build knows a compiler of.
var languages = []string{"go", "rust", "c", "assemblyscript"}

// Languages returns the languages that New and Build know.
func Languages() []string { return slices.Clone(languages) }

// Project is a folder with a module's source and its module.yaml.
type Project struct {
	Dir         string
	Name        string
	Language    string // one of Languages, or any other where Command is set
	Version     string
	Description string
	Needs       []string // host services; nil: what the module imports
	Command     string   // a shell command that builds, run in Dir; empty: the language's own
	Schema      []byte   // JSON Schema of its config; nil: none
}

type projectText struct {
	Name        string       `yaml:"name" required:"true"`
	Language    string       `yaml:"language"`
	Version     string       `yaml:"version"`
	Description string       `yaml:"description"`
	Needs       []string     `yaml:"needs"`
	Build       string       `yaml:"build"`
	Config      *config.Node `yaml:"config"`
}

// ReadProject reads the module.yaml of a folder. Its error is a config.Problems where the file is wrong.
func ReadProject(dir string) (*Project, error) {
	path := filepath.Join(dir, ProjectFile)
	text, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%s has no %s; make a project with runnel module new, or name its folder", display(dir), ProjectFile)
	}
	if err != nil {
		return nil, err
	}
	root, ps := config.ParseLiteral(path, dir, text)
	if root == nil {
		return nil, ps.Err()
	}
	var t projectText
	config.Decode(root, &t, &ps)
	at := root.At(&ps)
	p := &Project{Dir: dir, Name: t.Name, Language: t.Language, Version: t.Version, Description: t.Description, Needs: t.Needs, Command: t.Build}
	if t.Name != "" && !validName(t.Name) {
		at.Key("name").Problemf("%q is not 1 to 64 letters, digits, - and _", t.Name)
	}
	if t.Build == "" && !slices.Contains(languages, t.Language) {
		at.Key("language").Problemf("%q is not known; %s, or a build command", t.Language, config.Suggest(t.Language, languages))
	}
	if sdkName(t.Language, t.Name) {
		at.Key("name").Problemf("%q is the name of the SDK's crate; write another", t.Name)
	}
	checkNeeds(at, t.Needs)
	if t.Config != nil {
		p.Schema = []byte(jsonOf(t.Config))
		if _, err := config.ParseSchema(p.Schema); err != nil {
			at.Key("config").Problemf("is no JSON Schema: %v", err)
		}
	}
	return p, ps.Err()
}

// sdkName reports whether a module would have the name of the SDK it is built from,
// which cargo does not tell apart.
func sdkName(language, name string) bool { return language == "rust" && name == "runnel" }

// hostServices are what a module may need.
var hostServices = []string{"state", "metrics", "lookup"}

// checkNeeds reports needs that no host knows.
func checkNeeds(at *config.At, needs []string) {
	if n := at.Node().Key("needs"); n != nil && n.Kind() != config.List && n.Kind() != config.Null {
		at.Key("needs").Problemf("is %s; write a list, such as [state]", n.Kind())
		return
	}
	for i, need := range needs {
		switch {
		case !slices.Contains(hostServices, need):
			at.Key("needs").Index(i).Problemf("%q is no host service; %s", need, config.Suggest(need, hostServices))
		case slices.Contains(needs[:i], need):
			at.Key("needs").Index(i).Problemf("%q is named twice; remove one", need)
		}
	}
}

func validName(name string) bool {
	return len(name) <= 64 && name != "" && strings.Trim(strings.ToLower(name), "abcdefghijklmnopqrstuvwxyz0123456789-_") == "" && name[0] != '-'
}

// Output returns the file that Build writes.
func (p *Project) Output() string { return filepath.Join(p.Dir, p.Name+".wasm") }

// Manifest returns what the module says of itself, with these needs where module.yaml names none.
func (p *Project) Manifest(needs []string) *wasm.Manifest {
	if p.Needs != nil {
		needs = p.Needs
	}
	return &wasm.Manifest{Name: p.Name, Version: p.Version, ABI: wasm.ABI, Description: p.Description, Needs: needs, Config: json.RawMessage(p.Schema)}
}

// notSource are the folders of a project that hold nothing a module is built from.
var notSource = []string{"cases", "node_modules", "target", "testdata", "build"}

// Stale reports whether the module is not there, or older than its source.
func (p *Project) Stale() (bool, error) {
	built, err := os.Stat(p.Output())
	if errors.Is(err, fs.ErrNotExist) {
		return true, nil
	}
	if err != nil {
		return false, err
	}
	newest, err := p.newest()
	return newest.After(built.ModTime()), err
}

// newest returns when the source was last changed.
func (p *Project) newest() (newest time.Time, err error) {
	err = filepath.WalkDir(p.Dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		name := d.Name()
		switch {
		case path == p.Dir:
			return nil
		case d.IsDir() && (strings.HasPrefix(name, ".") || slices.Contains(notSource, name)):
			return filepath.SkipDir
		case d.IsDir() || strings.HasSuffix(name, ".wasm") || strings.HasSuffix(name, ".md") || strings.HasSuffix(name, ".lock"):
			return nil
		}
		info, err := d.Info()
		if err == nil && info.ModTime().After(newest) {
			newest = info.ModTime()
		}
		return err
	})
	return newest, err
}

// CaseFiles returns the files in cases/, in order.
func (p *Project) CaseFiles() ([]string, error) {
	entries, err := os.ReadDir(filepath.Join(p.Dir, "cases"))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	var files []string
	for _, e := range entries {
		if ext := filepath.Ext(e.Name()); !e.IsDir() && (ext == ".yaml" || ext == ".yml" || ext == ".txtar") {
			files = append(files, filepath.Join(p.Dir, "cases", e.Name()))
		}
	}
	return files, nil
}

// display names a folder for the user.
func display(dir string) string {
	if dir == "." || dir == "" {
		return "this folder"
	}
	return dir
}
