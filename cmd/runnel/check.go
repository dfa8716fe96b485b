package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"

	"github.com/runnel-log/runnel/agent"
	"github.com/runnel-log/runnel/internal/config"
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
	checked, err := g.load()
	var warnings config.Problems
	if err == nil {
		err = agent.Check(context.Background(), checked)
		warnings = agent.Warnings(checked)
	}
	if g.Output == "json" {
		return printProblems(g, err, warnings)
	}
	for i := range warnings {
		warnings[i].Text = "warning: " + warnings[i].Text
	}
	warnings.Write(g.Stderr, g.colour(g.Stderr))
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(g.Stdout, "%s is good: %s, %s, %s, %s\n", checked.File, plural(len(checked.Inputs), "input"),
		plural(len(checked.Modules), "module"), plural(len(checked.Pipelines), "pipeline"), plural(len(checked.Forwarders), "forwarder"))
	return err
}

// problem is one as JSON; what is not there is the file as a whole.
type problem struct {
	File string `json:"file"`
	Line int    `json:"line,omitempty"`
	Col  int    `json:"col,omitempty"`
	Path string `json:"path,omitempty"`
	Text string `json:"text"`

	Warning bool `json:"warning,omitempty"` // it is good, and may not be what was meant
}

// printProblems prints what check has found as a list, which is empty where all is good.
// Warnings alone are no failure.
func printProblems(g *globals, err error, warnings config.Problems) error {
	var found config.Problems
	if err != nil && !errors.As(err, &found) {
		return err
	}
	list := make([]problem, 0, len(found)+len(warnings))
	for i, p := range slices.Concat(found, warnings) {
		list = append(list, problem{p.File, p.Line, p.Col, p.Path, p.Text, i >= len(found)})
	}
	if err := json.NewEncoder(g.Stdout).Encode(list); err != nil || len(found) == 0 {
		return err
	}
	return usageError{fmt.Errorf("%s found", plural(len(found), "problem"))}
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
