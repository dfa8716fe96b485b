package workbench

import (
	"bytes"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	guestsdk "github.com/runnel-log/runnel/guest-sdk"
	"github.com/runnel-log/runnel/internal/config"
)

// templates holds what a new project begins as: common/ for every language,
// and a folder for each. A name that begins with "dot." loses that word, and one that
// ends in .txt, because our own tools would read it here, its ending.
//
//go:embed templates
var templates embed.FS

// ErrName: the name cannot be a module's.
var ErrName = errors.New("is no name of a module; write a letter and then up to 63 letters, digits, - and _")

// scaffold is what differs from one language to another.
type scaffold struct {
	title  string
	files  string // what the README says of them
	ignore string // of git
}

var scaffolds = map[string]scaffold{
	"go":             {"Go", "The source is `main.go`. `sdk/` is a copy of the SDK that belongs to this runnel; nothing else is needed, and nothing is fetched.", ""},
	"c":              {"C", "The source is `main.c`, and any other `.c` here. `sdk/runnel.h` is the SDK that belongs to this runnel; a libc is not needed, but used where WASI's is installed.", ""},
	"rust":           {"Rust", "The source is `src/lib.rs`. `sdk/` is a copy of the SDK that belongs to this runnel, which needs Rust 1.63 and no other crate.", "/target/"},
	"assemblyscript": {"AssemblyScript", "The source is `assembly/index.ts`. `sdk/` is a copy of the SDK that belongs to this runnel. The compiler comes from npm: `runnel module build --install` the first time.", "/node_modules/"},
}

// New makes a project called name in dir, which must not exist or be empty; empty: a
// folder of that name here. It builds and passes its cases as it is. It returns dir.
func New(language, name, dir string) (string, error) {
	made, known := scaffolds[language]
	if !known {
		return "", fmt.Errorf("language %q is not known; %s", language, config.Suggest(language, languages))
	}
	if !validName(name) || !strings.Contains("abcdefghijklmnopqrstuvwxyz", strings.ToLower(name[:1])) {
		return "", fmt.Errorf("%q %w", name, ErrName)
	}
	if sdkName(language, name) {
		return "", fmt.Errorf("%q %w: it is the SDK's crate", name, ErrName)
	}
	if dir == "" {
		dir = name
	}
	if entries, err := os.ReadDir(dir); err == nil && len(entries) > 0 {
		return "", fmt.Errorf("%s is not empty; name another folder with --dir, or empty it", dir)
	} else if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return "", err
	}
	words := strings.NewReplacer("{{name}}", name, "{{language}}", language, "{{title}}", made.title, "{{files}}", made.files, "{{ignore}}", made.ignore)
	for _, from := range []string{"common", language} {
		sub, err := fs.Sub(templates, "templates/"+from)
		if err != nil {
			return "", err
		}
		if err := writeAll(sub, dir, words); err != nil {
			return "", err
		}
	}
	return dir, writeSDK(language, filepath.Join(dir, "sdk"))
}

// writeAll writes the files of a template.
func writeAll(from fs.FS, dir string, words *strings.Replacer) error {
	return fs.WalkDir(from, ".", func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		text, err := fs.ReadFile(from, path)
		if err != nil {
			return err
		}
		parts := strings.Split(strings.TrimSuffix(path, ".txt"), "/")
		for i, part := range parts {
			if rest, ok := strings.CutPrefix(part, "dot."); ok {
				parts[i] = "." + rest
			}
		}
		return writeNew(filepath.Join(dir, filepath.Join(parts...)), []byte(strings.TrimRight(words.Replace(string(text)), "\n")+"\n"))
	})
}

// writeNew writes a file that must not be there.
func writeNew(path string, text []byte) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
	if err != nil {
		return err
	}
	_, err = f.Write(text)
	return errors.Join(err, f.Close())
}

// writeSDK writes a copy of the language's SDK.
func writeSDK(language, dir string) error {
	sdk, err := guestsdk.SDK(language)
	if err != nil {
		return err
	}
	if language == "assemblyscript" {
		if sdk, err = fs.Sub(sdk, "assembly"); err != nil {
			return err
		}
	}
	err = fs.WalkDir(sdk, ".", func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		text, err := fs.ReadFile(sdk, path)
		if err != nil {
			return err
		}
		if path == "Cargo.toml" {
			text = withoutWorkspace(text)
		}
		return writeNew(filepath.Join(dir, path), text)
	})
	if err != nil || language != "go" {
		return err
	}
	return writeNew(filepath.Join(dir, "go.mod"), []byte("module github.com/runnel-log/runnel/guest-sdk/go\n\ngo 1.24\n"))
}

// withoutWorkspace leaves out the sections of a Cargo.toml that only the root of a workspace may have.
func withoutWorkspace(text []byte) []byte {
	var out bytes.Buffer
	skip := false
	for line := range bytes.Lines(text) {
		if head, ok := bytes.CutPrefix(line, []byte("[")); ok {
			word, _, _ := bytes.Cut(head, []byte("]"))
			name, _, _ := strings.Cut(string(word), ".")
			skip = slices.Contains([]string{"workspace", "profile"}, name)
		}
		if !skip {
			out.Write(line)
		}
	}
	return out.Bytes()
}
