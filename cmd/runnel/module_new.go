package main

import (
	"errors"
	"fmt"

	"github.com/runnel-log/runnel/wasm/workbench"
)

// moduleNewCmd makes a project.
type moduleNewCmd struct {
	Name string `arg:"" help:"The module's name: a letter, then letters, digits, - and _."`
	Lang string `enum:"go,rust,c,assemblyscript" required:"" help:"The language."`
	Dir  string `placeholder:"DIR" help:"The folder, which must not be there or be empty; default one of the module's name."`
}

func (c moduleNewCmd) Run(g *globals) error {
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
