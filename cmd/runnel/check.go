package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/runnel-log/runnel/agent"
)

// checkCmd validates the configuration, certificates and modules.
type checkCmd struct {
	File string `arg:"" optional:"" help:"The file to check, instead of the one that run would read."`
}

func (c checkCmd) Run(g *globals) error {
	if c.File != "" && g.Config != "" {
		return usageError{errors.New("give a file or --config, not both")}
	}
	if c.File != "" {
		g.Config = c.File
	}
	config, err := g.load()
	if err != nil {
		return err
	}
	if err := agent.CheckModules(context.Background(), config); err != nil {
		return err
	}
	_, err = fmt.Fprintf(g.Stdout, "%s is good: %s, %s, %s, %s\n", config.File, plural(len(config.Inputs), "input"),
		plural(len(config.Modules), "module"), plural(len(config.Pipelines), "pipeline"), plural(len(config.Forwarders), "forwarder"))
	return err
}

func plural(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return fmt.Sprintf("%d %ss", n, noun)
}

// configCmd prints the effective configuration.
type configCmd struct{}

func (configCmd) Run(g *globals) error {
	config, err := g.load()
	if err != nil {
		return err
	}
	return config.Effective(g.Stdout)
}
