package workbench

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/runnel-log/runnel/wasm"
)

func newProject(t *testing.T, language string) *Project {
	t.Helper()
	dir, err := New(language, "first", filepath.Join(t.TempDir(), "p"))
	if err != nil {
		t.Fatal(err)
	}
	p, err := ReadProject(dir)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// A project is whole: what it is built from is in it, and nothing of ours is left over.
func TestNewProjectIsWhole(t *testing.T) {
	f := func(language string, want ...string) {
		t.Helper()
		p := newProject(t, language)
		if p.Name != "first" || p.Language != language || p.Schema == nil || p.Needs != nil { // the first state_set would have to change them
			t.Errorf("%s: module.yaml says %+v", language, p)
		}
		for _, file := range append(want, "README.md", ".gitignore", "cases/first.yaml", "module.yaml") {
			text, err := os.ReadFile(filepath.Join(p.Dir, file))
			if err != nil || strings.Contains(string(text), "{{") || len(text) == 0 {
				t.Errorf("%s: %s: %v, %d bytes", language, file, err, len(text))
			}
		}
		files, err := p.CaseFiles()
		if err != nil || len(files) != 1 {
			t.Errorf("%s: cases %v, %v", language, files, err)
		}
		if _, err := ReadCases(files[0]); err != nil {
			t.Errorf("%s: %v", language, err)
		}
		if stale, err := p.Stale(); err != nil || !stale {
			t.Errorf("%s: a project that was never built is stale: %v, %v", language, stale, err)
		}
	}
	f("go", "go.mod", "main.go", "sdk/go.mod", "sdk/guest.go", "sdk/tick/tick.go")
	f("c", "main.c", "sdk/runnel.h")
	f("rust", "Cargo.toml", "src/lib.rs", ".cargo/config.toml", "sdk/Cargo.toml", "sdk/src/lib.rs")
	f("assemblyscript", "package.json", "asconfig.json", "assembly/index.ts", "sdk/runnel.ts")
}

func TestNewRefuses(t *testing.T) {
	f := func(language, name, want string) {
		t.Helper()
		dir := filepath.Join(t.TempDir(), "d")
		if _, err := New(language, name, dir); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s %q: got %v, want %s", language, name, err, want)
		}
		if _, err := os.Stat(dir); err == nil {
			t.Errorf("%s %q: something was written", language, name)
		}
	}
	f("go", "", "is no name of a module")
	f("go", "-x", "is no name of a module")
	f("go", "a/b", "is no name of a module")
	f("go", strings.Repeat("a", 65), "is no name of a module")
	f("rust", "runnel", "it is the SDK's crate")
	f("cobol", "x", `language "cobol" is not known`)

	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "mine"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := New("go", "x", dir); err == nil || !strings.Contains(err.Error(), "is not empty") {
		t.Errorf("got %v", err)
	}
}

// Every compiler that is missing is named with what to type.
func TestMissingCompilersAreNamed(t *testing.T) {
	path := os.Getenv("PATH")
	f := func(language, what string) {
		t.Helper()
		p := newProject(t, language)
		t.Setenv("PATH", t.TempDir())
		t.Setenv("HOME", t.TempDir())
		t.Setenv("WASI_SDK_PATH", "")
		_, err := p.Build(t.Context(), BuildOptions{})
		var lacks *ErrMissing
		if !errors.As(err, &lacks) || !strings.Contains(lacks.What, what) || lacks.Remedy == "" {
			t.Errorf("%s: got %v, want %s", language, err, what)
		}
		t.Setenv("PATH", path)
	}
	f("go", "no go command is in PATH")
	f("c", "no clang is in PATH")
	f("rust", "no cargo and rustc are in PATH")
	f("assemblyscript", "no node is in PATH")
}

// script writes a program that answers like a compiler.
func script(t *testing.T, dir, name, text string) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(dir, name), []byte("#!/bin/sh\n"+text+"\n"), 0o700); err != nil {
		t.Fatal(err)
	}
}

// The first cargo in PATH may have no WebAssembly target where a later one has.
func TestRustIsTakenWhereTheTargetIs(t *testing.T) {
	without, with := t.TempDir(), t.TempDir()
	for _, dir := range []string{without, with} {
		script(t, dir, "cargo", "exit 1")
		script(t, dir, "rustc", "echo "+dir)
	}
	p := newProject(t, "rust")
	t.Setenv("PATH", without+":"+with)
	t.Setenv("HOME", t.TempDir())
	if _, err := p.command(); err == nil || !strings.Contains(err.Error(), "has no WebAssembly target") {
		t.Errorf("got %v", err)
	}
	f := func(dir, target string) {
		t.Helper()
		lib := filepath.Join(dir, "lib/rustlib", target, "lib")
		if err := os.MkdirAll(lib, 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(lib, "libcore-1.rlib"), nil, 0o600); err != nil {
			t.Fatal(err)
		}
		c, err := p.command()
		if err != nil {
			t.Fatal(err)
		}
		if want := "RUSTC=" + dir + "/rustc " + dir + "/cargo build --release --offline --target " + target; c.String() != want {
			t.Errorf("got  %s\nwant %s", c, want)
		}
	}
	f(with, "wasm32-unknown-unknown")
	f(without, "wasm32-unknown-unknown") // the same target: the first in PATH
	f(with, "wasm32-wasi")               // a better one
	f(without, "wasm32-wasip1")
}

func TestOldGoIsNamed(t *testing.T) {
	dir := t.TempDir()
	script(t, dir, "go", "echo go1.22.4")
	p := newProject(t, "go")
	t.Setenv("PATH", dir)
	if _, err := p.command(); err == nil || !strings.Contains(err.Error(), "go1.22.4 is older than go1.24; ") {
		t.Errorf("got %v", err)
	}
}

func TestMissingNodeIsNamed(t *testing.T) {
	p := newProject(t, "assemblyscript")
	dir := t.TempDir()
	t.Setenv("PATH", dir)
	f := func(want string) {
		t.Helper()
		if _, err := p.command(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %s", err, want)
		}
	}
	f("no node is in PATH, on which the AssemblyScript compiler runs; install Node.js 20 or later")
	script(t, dir, "node", "exit 0")
	f("no npm is in PATH")
	script(t, dir, "npm", "exit 0")
	f("type: runnel module build --install")
}

func TestModuleYAMLMistakes(t *testing.T) {
	f := func(text, want string) {
		t.Helper()
		dir := t.TempDir()
		if err := os.WriteFile(filepath.Join(dir, ProjectFile), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := ReadProject(dir); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: got %v, want %s", text, err, want)
		}
	}
	f("language: go", "name: is missing")
	f("{name: a b, language: go}", `"a b" is not 1 to 64`)
	f("{name: a, language: rusty}", "write rust, or a build command")
	f("{name: a, language: go, config: {type: 7}}", "is no JSON Schema")
	f("{name: a, langage: go}", "did you mean language?")
	f("name: a\nlanguage: go\nneeds: state", "module.yaml:3:8: needs: is a text; write a list, such as [state]")
	f("name: a\nlanguage: go\nneeds: [metrics, stat]", `module.yaml:3:18: needs[1]: "stat" is no host service; write state`)
	f("name: a\nlanguage: go\nneeds: [state, state]", `module.yaml:3:16: needs[1]: "state" is named twice`)
	f("name: runnel\nlanguage: rust", `module.yaml:1:7: name: "runnel" is the name of the SDK's crate`)
}

// A build of one's own puts the module in its place; the manifest goes into it,
// with the needs that it imports, and what no host takes is written all the same, but said.
func TestBuildWithOnesOwnCommand(t *testing.T) {
	conformanceFile, err := filepath.Abs(conformance)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	write := func(yaml string) *Project {
		t.Helper()
		if err := os.WriteFile(filepath.Join(dir, ProjectFile), []byte(yaml), 0o600); err != nil {
			t.Fatal(err)
		}
		p, err := ReadProject(dir)
		if err != nil {
			t.Fatal(err)
		}
		return p
	}
	p := write("{name: mine, language: wat, version: '2', build: 'cp " + conformanceFile + " mine.wasm'}")
	b, err := p.Build(t.Context(), BuildOptions{})
	if err != nil {
		t.Fatal(err)
	}
	m := b.Description.Manifest
	if m == nil || m.Name != "mine" || m.Version != "2" || strings.Join(m.Needs, " ") != strings.Join(b.Description.Needs, " ") || len(m.Needs) != 3 {
		t.Errorf("the manifest is %+v, the needs %v", m, b.Description.Needs)
	}
	code, err := os.ReadFile(b.File)
	if err != nil || int64(len(code)) != b.Size {
		t.Errorf("%d bytes, %v, want %d", len(code), err, b.Size)
	}
	if again, err := wasm.ReadManifest(code); err != nil || again == nil || again.Name != "mine" {
		t.Errorf("read back %+v, %v", again, err)
	}
	if stale, err := p.Stale(); err != nil || stale {
		t.Errorf("stale after a build: %v, %v", stale, err)
	}
	if b.Untouched {
		t.Error("the command did write the module")
	}
	if b, err := write("{name: mine, version: '3', build: 'true'}").Build(t.Context(), BuildOptions{}); err != nil || !b.Untouched || b.Description.Manifest.Version != "3" {
		t.Errorf("a command that writes nothing: got %+v, %v", b, err)
	}
	later := time.Now().Add(time.Hour)
	if err := os.Chtimes(filepath.Join(dir, ProjectFile), later, later); err != nil {
		t.Fatal(err)
	}
	if stale, err := p.Stale(); err != nil || !stale {
		t.Errorf("not stale after a change: %v, %v", stale, err)
	}

	_, err = write("{name: mine, build: 'cp "+conformanceFile+" mine.wasm', needs: []}").Build(t.Context(), BuildOptions{})
	var refused *ErrRefused
	if !errors.As(err, &refused) || !strings.Contains(err.Error(), "state") {
		t.Errorf("needs that are not listed: got %v", err)
	}
	_, err = write("{name: mine, build: 'echo nonsense; exit 3'}").Build(t.Context(), BuildOptions{})
	var compile *ErrCompile
	if !errors.As(err, &compile) || !strings.Contains(err.Error(), "exit status 3\nnonsense") {
		t.Errorf("got %v", err)
	}
	_, err = write("{name: other, build: 'true'}").Build(t.Context(), BuildOptions{})
	if err == nil || !strings.Contains(err.Error(), "there is no "+filepath.Join(dir, "other.wasm")) {
		t.Errorf("got %v", err)
	}
}
