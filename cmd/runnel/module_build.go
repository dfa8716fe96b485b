package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/runnel-log/runnel/wasm/workbench"
)

// moduleBuildCmd compiles a project.
type moduleBuildCmd struct {
	Dir     string `arg:"" optional:"" default:"." help:"The project's folder."`
	Install bool   `help:"Let npm install the AssemblyScript compiler if it is not there."`
}

func (c moduleBuildCmd) Run(g *globals) error {
	ctx, stop := interruptible()
	defer stop()
	p, err := workbench.ReadProject(c.Dir)
	if err != nil {
		return projectError(c.Dir, err)
	}
	b, err := p.Build(ctx, workbench.BuildOptions{Install: c.Install})
	var refused *workbench.ErrRefused
	if err != nil && !errors.As(err, &refused) {
		return err
	}
	if g.Output == "json" {
		return errors.Join(json.NewEncoder(g.Stdout).Encode(b), err)
	}
	fmt.Fprintf(g.Stdout, "%s  %s  built in %s\n", b.File, size(b.Size), b.Took.Round(10*time.Millisecond))
	if b.Untouched {
		fmt.Fprintf(g.Stdout, "the command did not write %s: it is what it was, with the manifest put in anew\n", b.File)
	}
	if needs := b.Description.Needs; len(needs) > 0 {
		fmt.Fprintf(g.Stdout, "needs %s: runnel module inspect says what to write in the configuration\n", strings.Join(needs, ", "))
	}
	return err
}
