package main

import (
	"encoding/json"
	"fmt"
	"os"
	"strings"

	"github.com/runnel-log/runnel/wasm"
	"github.com/runnel-log/runnel/wasm/workbench"
)

// moduleInspectCmd describes a module.
type moduleInspectCmd struct {
	Path string `arg:"" optional:"" default:"." help:"A .wasm file, or a project's folder."`
}

// errRefusedModule: what a host would refuse has been told.
var errRefusedModule = fmt.Errorf("a host would refuse the module")

func (c moduleInspectCmd) Run(g *globals) error {
	file, err := g.moduleOf(c.Path, false)
	if err != nil {
		return err
	}
	code, err := os.ReadFile(file)
	if err != nil {
		return usageOf(err)
	}
	d, err := wasm.Inspect(code)
	if err != nil {
		return fmt.Errorf("%s %w", file, err)
	}
	about := workbench.Describe(file, d)
	if g.Output == "json" {
		err = json.NewEncoder(g.Stdout).Encode(about)
	} else {
		err = printDescription(g, about)
	}
	if err == nil && len(d.Refusals) > 0 {
		err = errRefusedModule
	}
	return err
}

func printDescription(g *globals, a *workbench.About) error {
	t := table{head: []string{"file", a.File}}
	row := func(name, format string, args ...any) {
		if text := fmt.Sprintf(format, args...); text != "" {
			t.add(name, text)
		}
	}
	if m := a.Manifest; m != nil {
		row("module", "%s", strings.TrimSpace(m.Name+" "+m.Version))
		row("about", "%s", m.Description)
		row("config", "%s", a.Config)
	} else {
		row("module", "carries no manifest; runnel module build puts one in")
	}
	row("size", "%s: %s of code in %d functions, %s of data", size(int64(a.Size)), size(int64(a.CodeBytes)), a.Functions, size(int64(a.Data)))
	row("sha256", "%s", a.Hash)
	row("memory", "%s", a.Memory)
	row("runs", "%s", a.Runs)
	row("beyond 1.0", "%s", strings.Join(a.Features, ", "))
	row("imports", "%s", strings.Join(a.Imports, " "))
	row("exports", "%s", strings.Join(a.Exports, " "))
	row("needs", "%s", strings.Join(a.Needs, ", "))
	if err := t.print(g.Stdout); err != nil {
		return err
	}
	fmt.Fprintf(g.Stdout, "\nin the configuration:\n%s", a.Write)
	if len(a.Refusals) > 0 {
		fmt.Fprintf(g.Stdout, "\n%s\n", paint(g.colour(g.Stdout), "31", "a host would refuse it, since it"))
		for _, why := range a.Refusals {
			fmt.Fprintf(g.Stdout, "  - %s\n", visible(g.Stdout, why))
		}
	}
	return nil
}
