package runnel

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

const module = "github.com/runnel-log/runnel"

// arrows says which of our folders each folder may import. A folder covers
// those below it unless they have a row of their own.
var arrows = map[string][]string{
	"record":              {},
	"wasm":                {"record", "internal/syslog", "internal/testkit"},                      // internal: in tests, which run on real messages
	"wasm/workbench":      {"record", "wasm", "guest-sdk", "internal/config", "internal/testkit"}, // testkit: in tests
	"storage":             {"record"},
	"forwarders":          {"record", "forwarders", "internal"},
	"agent":               {"record", "wasm", "storage", "forwarders", "agent/inputs", "agent/query", "internal"},
	"agent/inputs":        {"record", "agent/inputs", "internal"},
	"agent/query":         {"record", "internal"},
	"internal":            {"record", "internal"},
	"internal/testkit":    {"record", "internal", "agent", "forwarders", "storage", "wasm"},
	"guest-sdk":           {"guest-sdk", "record"}, // record: in tests, which hold the SDK against its vectors
	"examples":            {"guest-sdk", "internal", "record"},
	"cmd/runnel":          {"record", "wasm", "storage", "forwarders", "agent", "internal"},
	"cmd/oracle":          {"internal"},
	"agent/inputs/syslog": {"record", "agent/inputs", "internal"},
}

// concrete are the folders of one kind each: only cmd/runnel, which lists the
// kinds, and the kind's own tests may import them.
var concrete = []string{"agent/inputs/", "forwarders/"}

// doors says which folder alone may import a heavy dependency.
var doors = map[string]string{
	"github.com/tetratelabs/wazero":         "wasm",
	"go.etcd.io/bbolt":                      "storage",
	"github.com/valyala/fasthttp":           "agent/query",
	"github.com/leodido/go-syslog":          "internal/syslog",
	"github.com/expr-lang/expr":             "internal/expression",
	"github.com/goccy/go-yaml":              "internal/config",
	"github.com/alecthomas/kong":            "cmd/runnel",
	"github.com/santhosh-tekuri/jsonschema": "internal/config",
	"github.com/fsnotify/fsnotify":          "agent",
	"github.com/coreos/go-systemd/v22":      "internal/listen",
}

// inGuests says that a guest's own code imports nothing of the host's.
func inGuests(f file) bool {
	return (within(f.folder, "guest-sdk") || within(f.folder, "examples/modules")) && !strings.HasSuffix(f.path, "_test.go")
}

// topLevel is everything that may stand beside go.mod.
var topLevel = []string{"agent", "cmd", "docs", "examples", "forwarders", "guest-sdk", "internal", "packaging", "record", "storage", "testdata", "wasm",
	"CHANGELOG.md", "LICENSE", "Makefile", "README.md", "doc.go", "go.mod", "go.sum", "layout_test.go",
	"bin", "dist", "runnel-data"} // the last three are made, not kept

// file is one parsed Go file.
type file struct {
	path   string // slash-separated, from the root
	folder string
	syntax *ast.File
}

func goFiles(t *testing.T) []file {
	t.Helper()
	var files []file
	err := filepath.WalkDir(".", func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() && path != "." && (strings.HasPrefix(d.Name(), ".") || d.Name() == "testdata" || slices.Contains([]string{"bin", "dist", "runnel-data"}, path)) {
			return filepath.SkipDir
		}
		if filepath.Ext(path) != ".go" {
			return nil
		}
		syntax, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.ParseComments)
		if err != nil {
			return err
		}
		files = append(files, file{filepath.ToSlash(path), filepath.ToSlash(filepath.Dir(path)), syntax})
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(files) < 50 {
		t.Fatalf("found %d Go files; the walk is broken", len(files))
	}
	return files
}

// allowed returns the row of arrows that covers folder.
func allowed(folder string) ([]string, bool) {
	for f := folder; f != "."; f = filepath.ToSlash(filepath.Dir(f)) {
		if row, ok := arrows[f]; ok {
			return row, true
		}
	}
	return nil, false
}

func within(folder, room string) bool { return folder == room || strings.HasPrefix(folder, room+"/") }

func TestArrowsGoOneWay(t *testing.T) {
	for _, f := range goFiles(t) {
		if f.folder == "." {
			continue
		}
		row, ok := allowed(f.folder)
		if !ok {
			t.Errorf("%s: no row in arrows covers this folder", f.path)
			continue
		}
		for _, spec := range f.syntax.Imports {
			path, _ := strconv.Unquote(spec.Path.Value)
			target, ours := strings.CutPrefix(path, module+"/")
			if !ours || within(target, f.folder) {
				continue
			}
			if !slices.ContainsFunc(row, func(room string) bool { return within(target, room) }) {
				t.Errorf("%s imports %s; %s may import only %v", f.path, target, f.folder, row)
			}
			if inGuests(f) && !within(target, "guest-sdk") {
				t.Errorf("%s imports %s; a guest's own code imports the SDK alone", f.path, target)
			}
			for _, room := range concrete {
				kind := strings.HasPrefix(target, room) && !strings.HasSuffix(target, "test")
				if kind && f.folder != "cmd/runnel" && !within(f.folder, target) && !strings.HasSuffix(f.path, "_test.go") {
					t.Errorf("%s imports the kind %s; only cmd/runnel/parts.go lists kinds", f.path, target)
				}
			}
		}
	}
}

func TestHeavyDependenciesHaveOneDoor(t *testing.T) {
	for _, f := range goFiles(t) {
		for _, spec := range f.syntax.Imports {
			path, _ := strconv.Unquote(spec.Path.Value)
			for dependency, door := range doors {
				if door != "" && within(path, dependency) && !within(f.folder, door) && !strings.HasSuffix(f.path, "_test.go") {
					t.Errorf("%s imports %s; its one door is %s", f.path, dependency, door)
				}
			}
			if path == "github.com/rs/zerolog/log" {
				t.Errorf("%s imports zerolog's global logger; take a zerolog.Logger in the constructor", f.path)
			}
			if path == "unsafe" && !within(f.folder, "record") && !within(f.folder, "wasm") && !within(f.folder, "guest-sdk") {
				t.Errorf("%s imports unsafe; only record, wasm and guests may", f.path)
			}
		}
	}
}

// TestNothingIsATemplateOrACommand: what a record says must not become a
// program, so nothing of the agent's can make one of text, or start one. Compilers
// of modules are started by whoever writes them.
func TestNothingIsATemplateOrACommand(t *testing.T) {
	for _, f := range goFiles(t) {
		if strings.HasSuffix(f.path, "_test.go") || within(f.folder, "internal/testkit") || strings.HasSuffix(f.folder, "test") {
			continue
		}
		for _, spec := range f.syntax.Imports {
			switch path, _ := strconv.Unquote(spec.Path.Value); {
			case path == "text/template", path == "html/template", path == "plugin", path == "os/exec" && f.folder != "wasm/workbench":
				t.Errorf("%s imports %s", f.path, path)
			}
		}
	}
}

// TestPromisesNameTestsThatAre: what these pages promise names the test that
// holds it, and a test that is renamed must not leave a promise alone.
func TestPromisesNameTestsThatAre(t *testing.T) {
	tests := map[string]bool{}
	for _, f := range goFiles(t) {
		for _, d := range f.syntax.Decls {
			if fn, ok := d.(*ast.FuncDecl); ok && strings.HasSuffix(f.path, "_test.go") {
				tests[fn.Name.Name] = true
			}
		}
	}
	named := regexp.MustCompile("`((?:Test|Fuzz)[A-Z]\\w*)")
	for _, page := range []string{"docs/limits.md", "docs/delivery.md"} {
		text, err := os.ReadFile(page)
		if err != nil {
			t.Fatal(err)
		}
		all := named.FindAllStringSubmatch(string(text), -1)
		if len(all) < 20 {
			t.Errorf("%s names %d tests; the pattern is broken", page, len(all))
		}
		for _, m := range all {
			if !tests[m[1]] {
				t.Errorf("%s names %s, and there is none", page, m[1])
			}
		}
	}
}

func TestEveryPackageSaysWhatItHolds(t *testing.T) {
	docs := map[string]string{}
	for _, f := range goFiles(t) {
		if strings.HasSuffix(f.path, "_test.go") {
			continue
		}
		docs[f.folder] += f.syntax.Doc.Text()
	}
	for folder, doc := range docs {
		if sentences := strings.Count(doc, ".") + strings.Count(doc, ";"); len(doc) < 80 || sentences < 2 {
			t.Errorf("package in %s: its comment must say in two to six sentences what it holds, hides and must never do; it says %q", folder, doc)
		}
	}
}

func TestEveryKindIsInPartsGo(t *testing.T) {
	parts, err := os.ReadFile("cmd/runnel/parts.go")
	if err != nil {
		t.Fatal(err)
	}
	found := 0
	for _, room := range concrete {
		entries, err := os.ReadDir(room)
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range entries {
			if !e.IsDir() || strings.HasSuffix(e.Name(), "test") || e.Name() == "testdata" {
				continue
			}
			found++
			if !strings.Contains(string(parts), `"`+module+"/"+room+e.Name()+`"`) {
				t.Errorf("%s%s is not listed in cmd/runnel/parts.go", room, e.Name())
			}
			if _, err := os.Stat(filepath.Join(room, e.Name(), "sample.yaml")); err != nil {
				t.Errorf("%s%s has no sample.yaml: %v", room, e.Name(), err)
			}
		}
	}
	if found < 5 {
		t.Errorf("found %d kinds, want at least the 5 of the first release", found)
	}
}

func TestNothingElseStandsAtTheTop(t *testing.T) {
	entries, err := os.ReadDir(".")
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if !strings.HasPrefix(e.Name(), ".") && !slices.Contains(topLevel, e.Name()) {
			t.Errorf("%s: not part of the layout; see doc.go", e.Name())
		}
	}
}

func TestNoInitNoSleepInTests(t *testing.T) {
	for _, f := range goFiles(t) {
		ast.Inspect(f.syntax, func(n ast.Node) bool {
			switch n := n.(type) {
			case *ast.FuncDecl:
				// A guest registers its handler before the host calls it: it has no main to do so.
				if n.Name.Name == "init" && n.Recv == nil && !within(f.folder, "examples") && !strings.Contains(f.path, "testdata") && !within(f.folder, "guest-sdk") {
					t.Errorf("%s: func init", f.path)
				}
			case *ast.SelectorExpr:
				if x, ok := n.X.(*ast.Ident); ok && x.Name == "time" && n.Sel.Name == "Sleep" && strings.HasSuffix(f.path, "_test.go") {
					t.Errorf("%s: time.Sleep in a test; use synctest, a channel, or a condition with a deadline", f.path)
				}
			}
			return true
		})
	}
}
