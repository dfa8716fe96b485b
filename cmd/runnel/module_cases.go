package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/runnel-log/runnel/wasm/workbench"
)

// moduleTestCmd runs cases.
type moduleTestCmd struct {
	Path    []string `arg:"" optional:"" help:"A project's folder, or files of cases; default the project here."`
	Match   string   `name:"run" placeholder:"PATTERN" help:"Only cases whose name, or file, contains this."`
	Update  bool     `help:"Write what came out into the cases that fail. Read the difference before you commit it."`
	Strict  bool     `help:"Also run each case with every record a batch of its own, and with a restart before each, and want the same."`
	NoBuild bool     `help:"Do not build first, even if the source is newer than the module."`
	Module  string   `placeholder:"FILE" help:"The module to test; default the project's."`
}

// errCases: some case failed, which has been told.
var errCases = errors.New("failed")

func cases(n int) string {
	if n == 1 {
		return "1 case"
	}
	return fmt.Sprintf("%d cases", n)
}

func (c moduleTestCmd) Run(g *globals) error {
	ctx, stop := interruptible()
	defer stop()
	module, files, err := c.find(g)
	if err != nil {
		return err
	}
	begin := time.Now()
	results, err := c.run(ctx, module, files)
	if err != nil {
		return err
	}
	if c.Update {
		changed, err := workbench.Update(failedOf(results))
		for _, file := range changed {
			fmt.Fprintf(g.Stderr, "%s: written anew\n", file)
		}
		if err != nil {
			return err
		}
		if len(changed) > 0 {
			if results, err = c.run(ctx, module, files); err != nil {
				return err
			}
		}
	}
	return c.report(g, results, time.Since(begin))
}

func failedOf(results []caseResult) (failed []*workbench.Result) {
	for _, r := range results {
		if !r.Passed() {
			failed = append(failed, r.Result)
		}
	}
	return failed
}

// find returns the module, built if need be, and the files of its cases.
func (c moduleTestCmd) find(g *globals) (module string, files []string, err error) {
	dir := "."
	switch {
	case len(c.Path) == 0:
	case len(c.Path) == 1 && isDir(c.Path[0]):
		dir = c.Path[0]
	default:
		files = c.Path
		if dir = filepath.Dir(files[0]); filepath.Base(dir) == "cases" {
			dir = filepath.Dir(dir)
		}
		for _, file := range files {
			if _, err := os.Stat(file); errors.Is(err, fs.ErrNotExist) {
				return "", nil, usageError{fmt.Errorf("%s does not exist; name one project's folder, or files of cases", file)}
			} else if err != nil || isDir(file) {
				return "", nil, usageError{fmt.Errorf("%s is no file of cases; name one project's folder, or files", file)}
			}
		}
	}
	module = c.Module
	if module == "" {
		if module, err = g.moduleOf(dir, !c.NoBuild); err != nil {
			return "", nil, err
		}
	}
	if files == nil {
		if files, err = (&workbench.Project{Dir: dir}).CaseFiles(); err != nil {
			return "", nil, err
		}
		if len(files) == 0 {
			return "", nil, usageError{fmt.Errorf("%s has no cases; write one in %s", dir, filepath.Join(dir, "cases", "first.yaml"))}
		}
	}
	return module, files, nil
}

func isDir(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.IsDir()
}

// caseResult is a case and whether it depends on batches.
type caseResult struct {
	*workbench.Result
	batching []workbench.Finding
}

// run runs the cases that match.
func (c moduleTestCmd) run(ctx context.Context, module string, files []string) (results []caseResult, err error) {
	var all []*workbench.Case
	for _, file := range files {
		some, err := workbench.ReadCases(file)
		if err != nil {
			return nil, usageOf(err)
		}
		for _, one := range some {
			if one.Matches(c.Match) {
				all = append(all, one)
			}
		}
	}
	if len(all) == 0 {
		return nil, usageError{fmt.Errorf("no case matches %q", c.Match)}
	}
	desk, err := workbench.NewDesk(ctx, module, workbench.DeskOptions{})
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, desk.Close(context.Background())) }()
	for _, one := range all {
		r, err := desk.Run(ctx, one)
		if err != nil {
			return nil, err
		}
		result := caseResult{Result: r}
		if c.Strict {
			if result.batching, err = desk.CheckBatching(ctx, r); err != nil {
				return nil, err
			}
		}
		results = append(results, result)
	}
	return results, nil
}

// report prints how the cases went.
func (c moduleTestCmd) report(g *globals, results []caseResult, took time.Duration) error {
	failed := 0
	colour := g.colour(g.Stdout)
	for _, r := range results {
		good := r.Passed() && len(r.batching) == 0
		if !good {
			failed++
		}
		switch {
		case g.Output == "json":
			if err := printResult(g, r); err != nil {
				return err
			}
		case good:
			fmt.Fprintf(g.Stdout, "%s  %s\n", paint(colour, "32", "ok  "), visible(g.Stdout, r.Case.Name))
		default:
			fmt.Fprintf(g.Stdout, "%s  %s  %s:%d\n", paint(colour, "31", "FAIL"), visible(g.Stdout, r.Case.Name), r.Case.File, r.Case.Line)
			printFindings(g, colour, r, append(r.Diff, r.batching...))
		}
	}
	if g.Output != "json" {
		text := cases(len(results)) + " passed"
		if failed > 0 {
			text = fmt.Sprintf("%d of %s failed", failed, cases(len(results)))
		}
		fmt.Fprintf(g.Stdout, "%s in %s\n", text, took.Round(time.Millisecond))
	}
	if failed > 0 {
		return fmt.Errorf("%s %w", cases(failed), errCases)
	}
	return nil
}

// printFindings prints what was wanted in red and what came in green.
func printFindings(g *globals, colour bool, r caseResult, findings []workbench.Finding) {
	const in = "        "
	for _, f := range findings {
		what := f.What
		if len(r.Case.Steps) > 1 {
			what = fmt.Sprintf("step %d, %s", f.Step+1, what)
		}
		fmt.Fprintf(g.Stdout, "      %s\n", visible(g.Stdout, what))
		for _, side := range []struct{ mark, code, text string }{{"-", "31", f.Want}, {"+", "32", f.Got}} {
			if side.text == "" {
				continue
			}
			for line := range strings.Lines(side.text) {
				fmt.Fprintf(g.Stdout, "%s%s\n", in, paint(colour, side.code, side.mark+" "+visible(g.Stdout, strings.TrimRight(line, "\n"))))
			}
		}
	}
}

func printResult(g *globals, r caseResult) error {
	findings := append(append([]workbench.Finding{}, r.Diff...), r.batching...)
	for i := range findings {
		findings[i].Step++ // from 1, as the text has it
	}
	return json.NewEncoder(g.Stdout).Encode(struct {
		Name     string              `json:"name"`
		File     string              `json:"file"`
		Line     int                 `json:"line"`
		Passed   bool                `json:"passed"`
		Took     time.Duration       `json:"took_ns"`
		Findings []workbench.Finding `json:"findings,omitempty"`
	}{r.Case.Name, r.Case.File, r.Case.Line, len(findings) == 0, r.Took, findings})
}
