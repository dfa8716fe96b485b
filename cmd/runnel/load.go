package main

import (
	"bytes"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/runnel-log/runnel/agent"
)

// embeddedName stands for the embedded default where a file name would.
const embeddedName = "(embedded default)"

//go:embed default.yaml
var embeddedConfig []byte

// bundled holds the modules of the embedded default, as far as `make guests`
// has built them.
//
//go:embed bundled
var bundled embed.FS

// load reads the configuration that the flags name: -c, else ./runnel.yaml,
// else /etc/runnel/runnel.yaml, else the embedded default.
func (g *globals) load() (*agent.Config, error) {
	if g.Config != "" {
		return agent.LoadConfig(g.Config, kinds())
	}
	for _, path := range []string{"runnel.yaml", "/etc/runnel/runnel.yaml"} {
		if _, err := os.Stat(path); err == nil {
			return agent.LoadConfig(path, kinds())
		} else if !errors.Is(err, fs.ErrNotExist) {
			return nil, err
		}
	}
	if err := unpackModules(); err != nil {
		return nil, err
	}
	return agent.ParseConfig(embeddedName, embeddedConfig, ".", kinds())
}

// unpackModules writes the bundled modules where the embedded default names
// them, so that a user can look at them and replace them.
func unpackModules() error {
	dir := filepath.Join(defaultDataDir(), "modules")
	files, err := fs.Glob(bundled, "bundled/*.wasm")
	if err != nil || len(files) == 0 {
		return errors.New("this binary was built without its modules; build it with `make build`, or give a configuration with -c")
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fmt.Errorf("data directory: %w; set RUNNEL_DATA to one that can be written", err)
	}
	for _, file := range files {
		code, err := bundled.ReadFile(file)
		if err != nil {
			return err
		}
		if err := writeIfChanged(filepath.Join(dir, filepath.Base(file)), code); err != nil {
			return err
		}
	}
	return nil
}

func writeIfChanged(path string, content []byte) error {
	if old, err := os.ReadFile(path); err == nil && bytes.Equal(old, content) {
		return nil
	}
	temp := path + ".new"
	if err := os.WriteFile(temp, content, 0o600); err != nil {
		return err
	}
	return os.Rename(temp, path)
}

// defaultDataDir is the embedded default's data directory.
func defaultDataDir() string {
	if dir := os.Getenv("RUNNEL_DATA"); dir != "" {
		return dir
	}
	return "runnel-data"
}
