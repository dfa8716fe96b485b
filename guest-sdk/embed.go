// Package guestsdk holds the sources of the guest SDKs, so that the binary can
// put the one of a language into a new module's project: what a project builds
// with is then what its agent speaks. It knows file names and nothing of their
// content.
package guestsdk

import (
	"embed"
	"fmt"
	"io/fs"
	"slices"
	"strings"
)

//go:embed go/*.go go/tick/*.go
//go:embed c/runnel.h
//go:embed rust/Cargo.toml rust/src
//go:embed assemblyscript/assembly/*.ts
var sources embed.FS

// Languages returns the languages that there is an SDK for, as SDK takes them.
func Languages() []string { return []string{"assemblyscript", "c", "go", "rust"} }

// SDK returns the files of a language's SDK that a project needs to build and to
// test natively, without the SDK's own tests: for Go a package that is imported as
// github.com/runnel-log/runnel/guest-sdk/go, for C runnel.h, for Rust the crate
// (Cargo.toml and src), for AssemblyScript the folder assembly.
func SDK(language string) (fs.FS, error) {
	if !slices.Contains(Languages(), language) {
		return nil, fmt.Errorf("no SDK for %q; there is one for %s", language, strings.Join(Languages(), ", "))
	}
	sub, err := fs.Sub(sources, language)
	if err != nil {
		return nil, fmt.Errorf("open the SDK for %s: %w", language, err)
	}
	return withoutTests{sub}, nil
}

// withoutTests is a file system without Go test files, which hold an SDK
// against the vectors of this repository.
type withoutTests struct{ fs.FS }

func isTest(name string) bool { return strings.HasSuffix(name, "_test.go") }

func (w withoutTests) Open(name string) (fs.File, error) {
	if isTest(name) {
		return nil, &fs.PathError{Op: "open", Path: name, Err: fs.ErrNotExist}
	}
	return w.FS.Open(name)
}

// ReadDir is what fs.WalkDir and os.CopyFS ask.
func (w withoutTests) ReadDir(name string) ([]fs.DirEntry, error) {
	list, err := fs.ReadDir(w.FS, name)
	return slices.DeleteFunc(list, func(e fs.DirEntry) bool { return isTest(e.Name()) }), err
}
