package main

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/runnel-log/runnel/wasm/workbench"
)

// moduleNewCmd makes a project.
type moduleNewCmd struct {
	Name string `arg:"" help:"The module's name: a letter, then letters, digits, - and _."`
	Lang string `placeholder:"LANG" help:"The language: go, rust, c or assemblyscript."`
	Dir  string `placeholder:"DIR" help:"The folder, which must not be there or be empty; default one of the module's name."`
}

func (c moduleNewCmd) Run(g *globals) error {
	if known := workbench.Languages(); !slices.Contains(known, c.Lang) {
		return usageError{fmt.Errorf("%q is no language that new knows; write --lang and one of %s", c.Lang, strings.Join(known, ", "))}
	}
	dir, err := workbench.New(c.Lang, c.Name, c.Dir)
	if errors.Is(err, workbench.ErrName) {
		return usageError{err}
	}
	if err != nil {
		return err
	}
	install := ""
	if c.Lang == "assemblyscript" {
		install = " --install"
	}
	_, err = fmt.Fprintf(g.Stdout, "%s is a module in %s. Next:\n\n    cd %s\n    runnel module build%s\n    runnel module test\n", dir, c.Lang, dir, install)
	return err
}
