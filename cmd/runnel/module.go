package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/runnel-log/runnel/wasm/workbench"
)

// moduleCmd is the workbench: a verb a file, module_*.go.
type moduleCmd struct {
	New     moduleNewCmd     `cmd:"" help:"Make a project of a module, which builds and passes its test as it is."`
	Build   moduleBuildCmd   `cmd:"" help:"Compile a project to NAME.wasm, with its manifest in it."`
	Test    moduleTestCmd    `cmd:"" help:"Run a project's cases: records in; records, drops and state out."`
	Bench   moduleBenchCmd   `cmd:"" help:"Measure what a module costs."`
	Inspect moduleInspectCmd `cmd:"" help:"Describe a module: what it is, what it needs, and why a host would refuse it."`
	Run     moduleRunCmd     `cmd:"" help:"Run a module as a filter: records on standard input, records on standard output."`
}

// usageOf makes a file that is not there a mistake in the command line.
func usageOf(err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return usageError{err}
	}
	return err
}

// moduleOf returns the file that path means: a .wasm, or the project in a
// folder, which is built first if it is stale and build says so.
func (g *globals) moduleOf(path string, build bool) (string, error) {
	info, err := os.Stat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return "", usageError{fmt.Errorf("%s does not exist; name a .wasm file or a project's folder", path)}
	case err != nil:
		return "", err
	}
	if !info.IsDir() {
		return path, nil
	}
	p, err := workbench.ReadProject(path)
	if err != nil {
		return "", projectError(path, err)
	}
	return p.Output(), g.fresh(p, build)
}

// projectError makes a usage error of a folder that is no project.
func projectError(path string, err error) error {
	if _, none := os.Stat(filepath.Join(path, workbench.ProjectFile)); none != nil {
		return usageError{err}
	}
	return err
}

// fresh builds the project if it is stale.
func (g *globals) fresh(p *workbench.Project, build bool) error {
	stale, err := p.Stale()
	if err != nil || !stale || !build {
		return err
	}
	ctx, stop := interruptible()
	defer stop()
	fmt.Fprintf(g.Stderr, "building %s\n", p.Output())
	_, err = p.Build(ctx, workbench.BuildOptions{})
	return err
}

// paint puts text in a colour of the terminal, where there are any.
func paint(colour bool, code, text string) string {
	if !colour {
		return text
	}
	return "\x1b[" + code + "m" + text + "\x1b[0m"
}
