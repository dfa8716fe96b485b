package workbench

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/runnel-log/runnel/wasm"
)

// BuildOptions say how to build.
type BuildOptions struct {
	Install bool      // run npm where the compiler is missing from node_modules
	Output  io.Writer // what the commands print as they run; nil: nowhere
}

// Built is a module that was built.
type Built struct {
	File        string            `json:"file"`
	Size        int64             `json:"size"`
	Took        time.Duration     `json:"took_ns"`
	Command     string            `json:"command"`
	Untouched   bool              `json:"untouched"` // a command of the project's own left the file as it was
	Description *wasm.Description `json:"module"`
}

// ErrCompile: the compiler refused the source. Its output has been shown.
type ErrCompile struct {
	Command string
	Cause   error
	Output  string // what it printed, where BuildOptions had no Output
}

func (e *ErrCompile) Error() string {
	text := fmt.Sprintf("%s: %v", e.Command, e.Cause)
	if e.Output != "" {
		text += "\n" + strings.TrimRight(e.Output, "\n")
	}
	return text
}

func (e *ErrCompile) Unwrap() error { return e.Cause }

// Build compiles the project, checks that a host would take the result, and
// writes it, with its manifest, to Output. A module that no host would take is
// written too, so that it can be looked at; the error says why.
func (p *Project) Build(ctx context.Context, o BuildOptions) (*Built, error) {
	begin := time.Now()
	c, err := p.command()
	if lacks := (*ErrMissing)(nil); errors.As(err, &lacks) && o.Install && p.Language == "assemblyscript" {
		if err := p.run(ctx, command{args: p.npm()}, o.Output); err != nil {
			return nil, err
		}
		c, err = p.command()
	}
	if err != nil {
		return nil, err
	}
	before, err := os.Stat(c.output)
	if err != nil {
		before = nil
	}
	if err := p.run(ctx, c, o.Output); err != nil {
		return nil, err
	}
	code, err := os.ReadFile(c.output)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%s went well, but there is no %s; is its name that of module.yaml?", c, c.output)
	}
	if err != nil {
		return nil, err
	}
	untouched := p.Command != "" && before != nil && isUnchanged(before, c.output)
	code, d, err := p.finish(code)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", c.output, err)
	}
	if err := replaceFile(p.Output(), code); err != nil {
		return nil, err
	}
	b := &Built{File: p.Output(), Size: int64(len(code)), Took: time.Since(begin), Command: c.String(), Untouched: untouched, Description: d}
	return b, refusal(b.File, d)
}

// isUnchanged reports whether a file is still the one that it was.
func isUnchanged(before os.FileInfo, path string) bool {
	now, err := os.Stat(path)
	return err == nil && os.SameFile(before, now) && before.ModTime().Equal(now.ModTime()) && before.Size() == now.Size()
}

// finish puts the manifest into a module and looks at the result.
func (p *Project) finish(code []byte) ([]byte, *wasm.Description, error) {
	d, err := wasm.Inspect(code)
	if err != nil {
		return nil, nil, err
	}
	code, err = p.Manifest(d.Needs).Append(code)
	if err != nil {
		return nil, nil, err
	}
	d, err = wasm.Inspect(code)
	return code, d, err
}

// ErrRefused: a host would not take the module, for these reasons.
type ErrRefused struct {
	File    string
	Reasons []string
}

func (e *ErrRefused) Error() string {
	return fmt.Sprintf("a host would refuse %s: it %s", e.File, strings.Join(e.Reasons, "; it "))
}

func refusal(file string, d *wasm.Description) error {
	if len(d.Refusals) == 0 {
		return nil
	}
	return &ErrRefused{file, d.Refusals}
}

// run runs a command in the project's folder.
func (p *Project) run(ctx context.Context, c command, output io.Writer) error {
	cmd := exec.CommandContext(ctx, c.args[0], c.args[1:]...)
	cmd.Dir = p.Dir
	cmd.Env = append(append(os.Environ(), "GOWORK=off", "GOTOOLCHAIN=local"), c.env...)
	var kept strings.Builder
	cmd.Stdout = &kept
	if output != nil {
		cmd.Stdout = output
	}
	cmd.Stderr = cmd.Stdout
	if err := cmd.Run(); err != nil {
		return &ErrCompile{c.String(), err, kept.String()}
	}
	return nil
}

// replaceFile writes a file so that who reads it finds the old one or the new.
func replaceFile(path string, content []byte) error {
	temp, err := os.CreateTemp(filepath.Dir(path), ".module-*")
	if err != nil {
		return err
	}
	_, err = temp.Write(content)
	err = errors.Join(err, temp.Chmod(0o644), temp.Close())
	if err == nil {
		err = os.Rename(temp.Name(), path)
	}
	if err != nil {
		return errors.Join(err, os.Remove(temp.Name()))
	}
	return nil
}
